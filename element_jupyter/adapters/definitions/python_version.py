"""Which Python is asked for: `requires-python`, `.python-version`, `runtime.txt`."""

from __future__ import annotations

import re
from functools import lru_cache

from element_jupyter.adapters.definitions.failures import shown, unreadable, unsupported
from element_jupyter.adapters.definitions.reading import Draft

_VERSION = re.compile(r"(?:c?python[-@ ]?|cp)?(?P<version>3(?:\.\d{1,3}){0,2})")


def read_version_file(draft: Draft, path: str) -> None:
    """Read `.python-version` or `runtime.txt`, whose first line says a version.

    Raises:
        EnvironmentFailed: it says none that is known.
    """
    content = draft.reader.raw(path)
    if content is None:
        return
    from element_jupyter.adapters.definitions.reading import decode

    text = decode(content, path)
    draft.take(path, content)
    # uv would read the file in a scratch copy, and it is told the interpreter already
    del draft.contents[path]
    lines = [line.partition("#")[0].strip() for line in text.split("\n")]
    said = next(filter(None, lines), "")
    line = lines.index(said) + 1 if said else None
    match = _VERSION.fullmatch(said)
    if match:
        version = match["version"]
        exact = version.count(".") == 2
        draft.python.append((f"=={version}" if exact else f"=={version}.*", path))
    elif said and re.match(r"[<>=!~]", said) and specifiers(said) is not None:
        draft.python.append((said, path))
    elif re.match(r"(pypy|graalpy|r-|[a-z]+-?\d)", said):
        raise unsupported(
            f"{path} asks for '{shown(said)}', and only CPython is offered.",
            "Write a version of Python: 3.12.",
            file=path,
            line=line,
            spec=said,
        )
    else:
        raise unreadable(
            f"{path} says '{shown(said)}', which is no version of Python.",
            "Write 3.12 (in runtime.txt python-3.12).",
            file=path,
            line=line,
            spec=said,
        )


@lru_cache(maxsize=256)
def specifiers(text: str) -> str | None:
    """Return PEP 440 specifiers in one way of writing, None when they are none."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    if len(text) > 200:
        return None
    try:
        return ",".join(sorted(str(each) for each in SpecifierSet(text)))
    except (InvalidSpecifier, ValueError):
        return None


def combined(draft: Draft) -> tuple[str, str]:
    """Return the specifiers of all that was read, and the files that say so.

    Raises:
        EnvironmentFailed: one of them is no specifier.
    """
    parts: list[str] = []
    for text, file in draft.python:
        normal = specifiers(text)
        if normal is None:
            raise unreadable(
                f"'{shown(text)}' in {file} says no versions of Python.",
                'Write requires-python = ">=3.11".',
                file=file,
                spec=text,
            )
        parts += [each for each in normal.split(",") if each and each not in parts]
    return ",".join(parts), " and ".join(dict.fromkeys(file for _, file in draft.python))
