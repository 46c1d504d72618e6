"""TOML with limits, and the line that a value was written on."""

from __future__ import annotations

import re
from bisect import bisect_left
from functools import lru_cache
from typing import Any

from element_jupyter.adapters.definitions.failures import unreadable

MOST_PARTS = 50
MOST_MISSES = 100

_KEY = re.compile(r"""(?m)^[ \t]*+["']?([\w.-]+)["']?[ \t]*=""")
_QUOTED = re.compile(r""""[^"]*"|'[^']*'""")


def read_toml(text: str, path: str) -> Any:
    """Return a TOML document; it is shared between calls, so nobody may change it.

    Raises:
        EnvironmentFailed: it is no TOML, or has a key that takes minutes to read.
    """
    for line in text.split("\n"):
        # the time that a key takes grows with the square of its parts
        if line.count(".") > MOST_PARTS and _QUOTED.sub("", line).count(".") > MOST_PARTS:
            raise unreadable(
                f"{path} has a key of more than {MOST_PARTS} parts.",
                "Check that it is the file you meant.",
                file=path,
            )
    document = _parse(text)
    if isinstance(document, dict):
        return document
    line_number = re.search(r"at line (\d+)", document)
    raise unreadable(
        f"{path} is not TOML: {document}.",
        "Check the quotes, brackets and commas there.",
        file=path,
        line=int(line_number[1]) if line_number else None,
    )


@lru_cache(maxsize=16)
def _parse(text: str) -> dict[str, Any] | str:
    import tomllib

    try:
        return tomllib.loads(text)
    except RecursionError:
        return "it is nested too deep"
    except ValueError as error:
        return str(error)


class Lines:
    """Finds where texts are written in a TOML document, reading on from the last one."""

    def __init__(self, text: str, file: str) -> None:
        self.file = file
        self._text = text
        self._ends = [match.start() for match in re.finditer("\n", text)]
        self._at = 0
        self._misses = 0
        self._keys: dict[str, int] | None = None

    def of(self, value: str) -> int | None:
        """Return the line of a quoted text, None when it is written with escapes."""
        if self._misses > MOST_MISSES:
            return None
        for quoted in (f'"{value}"', f"'{value}'"):
            for start in (self._at, 0):
                found = self._text.find(quoted, start)
                if found >= 0:
                    self._at = found
                    return bisect_left(self._ends, found) + 1
        self._misses += 1
        return None

    def of_key(self, name: str) -> int | None:
        """Return the line on which a key is first given a value."""
        if self._keys is None:
            self._keys = {}
            for found in _KEY.finditer(self._text):
                self._keys.setdefault(found[1], bisect_left(self._ends, found.start()) + 1)
        return self._keys.get(name)

    def after(self, pattern: str) -> int | None:
        """Return the line of the first match of a pattern, whose `^` is a line's beginning."""
        found = re.search(pattern, self._text, re.MULTILINE)
        return bisect_left(self._ends, found.start()) + 1 if found else None
