"""The inline definition of a notebook: a PEP 723 block in one of its code cells."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from element_jupyter.adapters.definitions.failures import at, unreadable
from element_jupyter.adapters.definitions.reading import LARGEST_MANIFEST_BYTES, Draft
from element_jupyter.adapters.definitions.requirement import described, read_requirement
from element_jupyter.adapters.definitions.toml_text import Lines, read_toml
from element_jupyter.adapters.definitions.uv_settings import read_uv_settings

SCRIPT = "script.py"
"""What the block is called in a scratch copy."""

_BLOCK = re.compile(r"(?m)^# /// script[ \t]*$\n(?P<content>(^#(| .*)$\n)+?)^# ///[ \t]*$")
"""PEP 723, whose own expression takes the last closing line; of one cell that is the same."""


class Block(NamedTuple):
    """A block, and where it is."""

    cell: int
    """Index among the notebook's cells."""
    source: str
    """Of the whole cell."""
    start: int
    end: int
    toml: str
    first_line: int
    """Line in the cell of the first line of TOML."""

    @property
    def place(self) -> str:
        return f"cell {self.cell + 1}"


def document_of(content: bytes) -> Mapping[str, Any] | None:
    """Return a notebook's JSON if it may say something about its environment, else None.

    Most say nothing, and then nothing is parsed.
    """
    if b"/// script" not in content and b'"environment"' not in content:
        return None
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def find_block(document: Mapping[str, Any], notebook: str) -> Block | None:
    """Return the block in a notebook's code cells, None when there is none.

    Raises:
        EnvironmentFailed: there are two, or it is not closed.
    """
    found: Block | None = None
    cells = document.get("cells")
    for index, cell in enumerate(cells if isinstance(cells, list) else ()):
        if not isinstance(cell, dict) or cell.get("cell_type") != "code":
            continue
        source = cell.get("source")
        if isinstance(source, list):
            source = "".join(each for each in source if isinstance(each, str))
        if not isinstance(source, str) or "# /// script" not in source:
            continue
        where = f"{notebook}, cell {index + 1}"
        source = source.replace("\r\n", "\n")
        opened = len(re.findall(r"(?m)^# /// script[ \t]*$", source))
        if opened + (found is not None) > 1:
            raise unreadable(
                f"{notebook} has more than one block '# /// script'.", "Keep one.", file=where
            )
        match = _BLOCK.search(source) if opened else None
        if opened and match is None:
            raise unreadable(
                f"The block of {where} is not closed, or has a line that does not begin with '# '.",
                "Begin each line with '# ' and end the block with '# ///'.",
                file=where,
            )
        if match is not None:
            lines = match["content"].splitlines()
            toml = "\n".join(line[2:] if line.startswith("# ") else line[1:] for line in lines)
            first = source.count("\n", 0, match.start("content")) + 1
            found = Block(index, source, match.start(), match.end(), toml, first)
    return found


def read_block(draft: Draft, block: Block) -> None:
    """Read an inline definition into a draft.

    Raises:
        EnvironmentFailed: it cannot be used; the cell and the line in it are named.
    """
    where = f"{draft.path}, {block.place}"
    try:
        content = block.toml.encode()
    except UnicodeEncodeError:
        raise unreadable(
            f"The block of {where} is no text.", "Write it anew.", file=where
        ) from None
    if len(content) > LARGEST_MANIFEST_BYTES:
        raise unreadable(f"The block of {where} is too long.", "Use a file.", file=where)
    # as many empty lines before it as the cell has, so that a line's number is right
    padded = "\n" * (block.first_line - 1) + block.toml
    document, lines = read_toml(padded, where), Lines(padded, where)
    script = "\n".join(["# /// script", *commented(block.toml), "# ///", ""]).encode()
    draft.files[draft.path] = hashlib.sha256(content).hexdigest()
    draft.contents[SCRIPT] = script
    draft.entry = SCRIPT

    dependencies = document.get("dependencies", [])
    if not isinstance(dependencies, list) or not all(isinstance(e, str) for e in dependencies):
        raise unreadable(
            f"'dependencies' in {where} is no list of texts.",
            'Write dependencies = ["pandas>=2"].',
            file=where,
            line=lines.after(r"^[ \t]*+dependencies"),
        )
    normal: set[str] = set()
    names: dict[str, str] = {}
    for spec in dict.fromkeys(dependencies):
        line = lines.of(spec)
        parsed = read_requirement(draft, spec, where, line)
        normal.add(parsed.normal)
        names[parsed.name] = spec
        draft.require(described(parsed, spec, where, line))
    asked = document.get("requires-python")
    if asked is not None:
        if not isinstance(asked, str):
            raise unreadable(
                f"'requires-python' in {at(where, lines.after('^requires-python'))} is no text.",
                'Write requires-python = ">=3.11".',
                file=where,
            )
        draft.python.append((asked, where))
    tool = document.get("tool", {})
    uv = tool.get("uv", {}) if isinstance(tool, dict) else {}
    settings = read_uv_settings(draft, uv if isinstance(uv, dict) else {}, names, lines)
    draft.says = {"dependencies": sorted(normal), "uv": settings}


def commented(toml: str) -> list[str]:
    """Return TOML as the comment lines of a block."""
    return [f"# {line}" if line else "#" for line in toml.split("\n")]
