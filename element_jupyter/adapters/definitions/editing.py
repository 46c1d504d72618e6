"""Adding a requirement to a definition, with everything else in it as it was."""

from __future__ import annotations

import codecs
import hashlib
import json
import os
import posixpath
import re
import stat
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from element_jupyter.adapters.definitions.failures import shown
from element_jupyter.adapters.definitions.inline import commented, find_block
from element_jupyter.adapters.definitions.reading import decode
from element_jupyter.adapters.definitions.requirement import Parsed, parse_named
from element_jupyter.adapters.definitions.toml_editing import added_to_project, added_to_script
from element_jupyter.adapters.definitions.yaml_editing import added_to_environment
from element_jupyter.core.environments.definitions import Definition, Files, Found, Kind
from element_jupyter.core.errors import Conflict, Invalid

DEFAULT = "default"
"""Name of the shared definition that notebooks without one of their own have."""

_MARKS = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True)
class Edit:
    """What a file will be once requirements are added to it. `apply` writes it."""

    path: str
    """The file, relative to the tree's top."""
    content: bytes
    """All of it, as it will be."""
    added: tuple[str, ...]
    """As written; what was there already is not among them. Empty when nothing changes."""
    before: str | None
    """sha256 of the file as it was; None when there was none."""
    cell: int | None = None
    """Of an inline definition: the cell's index, for whoever has the notebook open."""
    source: str | None = None
    """What that cell will be."""


def add(
    found: Found,
    files: Files,
    document: Mapping[str, Any] | None,
    requirements: Sequence[str],
    *,
    notebook: str = "",
) -> Edit:
    """Return the edit that adds requirements to a definition; one of the same name is replaced.

    `document` is the notebook's JSON, for an inline definition; without it the notebook is read.
    Where the default definition applies, a `requirements.txt` is made beside `notebook` that has
    what the default one names, too.

    Raises:
        Invalid: a requirement is none, or the definition cannot be added to; says what to do.
        EnvironmentFailed: the definition cannot be read.
    """
    wanted = {text: _parsed(text) for text in map(str.strip, requirements)}
    if not wanted:
        raise Invalid("There is nothing to add.", "Name a package.", field="requirements")
    definition = found.definition
    if definition.name == DEFAULT:
        return _new_file(found, files, wanted, posixpath.dirname(notebook))
    _refuse(definition)
    if definition.kind is Kind.INLINE:
        return _to_notebook(definition, files, document, wanted)
    content = files.read(definition.path)
    if content is None:
        raise Conflict(f"{definition.path} is gone.", "Try again.", field="path")
    text = decode(content, definition.path)
    fresh = _fresh(definition, wanted)
    if definition.kind is Kind.PYPROJECT:
        text = added_to_project(text, definition, fresh)
    elif definition.kind is Kind.CONDA:
        text = added_to_environment(text, definition, fresh)
    else:
        text = _to_lines(text, definition, fresh)
    return Edit(
        path=definition.path,
        content=_encoded(text, content) if fresh else content,
        added=tuple(fresh),
        before=hashlib.sha256(content).hexdigest(),
    )


def apply(edit: Edit, root: Path) -> None:
    """Write an edit below the top of its tree: all or nothing, with the file's mode kept.

    Raises:
        Conflict: the file has changed since it was read.
        Invalid: it cannot be written, or is outside of the tree.
    """
    top = os.path.realpath(root)
    real = os.path.realpath(f"{top}/{edit.path}")
    if not real.startswith(f"{top.rstrip('/')}/"):
        raise Invalid(f"'{edit.path}' is outside of the project.", field="path")
    partial = f"{os.path.dirname(real)}/.{os.path.basename(real)}.{uuid.uuid4().hex}"  # noqa: PTH119, PTH120
    try:
        mode, now = _state(real)
        if now != edit.before:
            raise Conflict(f"'{edit.path}' has changed meanwhile.", "Try again.", field="path")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with os.fdopen(os.open(partial, flags, 0o666 if mode is None else 0o600), "wb") as file:
            file.write(edit.content)
            file.flush()
            if mode is not None:
                os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        Path(partial).replace(real)
    except OSError as error:
        raise Invalid(
            f"'{edit.path}' cannot be written: {error.strerror}.",
            "Make its directory writable, or add the package by hand.",
            field="path",
        ) from error
    finally:
        with suppress(OSError):
            Path(partial).unlink()


def _state(path: str) -> tuple[int | None, str | None]:
    """Return a file's mode and digest, None when there is none."""
    try:
        with Path(path).open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            return mode, hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None, None


def _parsed(text: str) -> Parsed:
    parsed = parse_named(text)
    if isinstance(parsed, str):
        raise Invalid(
            f"'{shown(text)}' is not a requirement: {parsed.rstrip('.')}.",
            "Write a package's name and, if wanted, versions: pandas>=2,<3.",
            field="requirements",
        )
    return parsed


def _refuse(definition: Definition) -> None:
    if definition.name is not None:
        raise Invalid(
            f"'{definition.name}' is shared by many, and only the administrator changes it.",
            "Put a requirements.txt beside the notebook that names what it needs.",
            field="environment",
        )
    if definition.kind is Kind.PIXI:
        raise Invalid(
            f"Only pixi can lock {definition.path} anew.",
            "Run `pixi add` with the package.",
            field="environment",
        )
    if definition.kind is Kind.PYLOCK or definition.lock_path == definition.path:
        raise Invalid(
            f"{definition.path} is a lock: every file in it is named by its hash.",
            "Add the package to what it was written from, and write it anew.",
            field="environment",
        )


def _fresh(definition: Definition, wanted: Mapping[str, Parsed]) -> dict[str, Parsed]:
    """Return what is not there yet; a bare name is there when any version of it is asked for."""
    there = {each.name for each in definition.requirements}
    normal = set()
    for each in definition.requirements:
        # of conda it may have a channel in front
        parsed = parse_named(each.spec.rpartition("::")[2])
        if isinstance(parsed, Parsed):
            normal.add(parsed.normal)
    return {
        text: parsed
        for text, parsed in wanted.items()
        if parsed.normal not in normal
        and not (parsed.normal == parsed.name and parsed.name in there)
    }


def _new_file(found: Found, files: Files, wanted: Mapping[str, Parsed], directory: str) -> Edit:
    path = posixpath.join(directory, "requirements.txt")
    if "requirements.txt" in files.names(directory):
        raise Invalid(
            f"There is a {path}, and yet it does not count.",
            "Mend it: `element env show` says what is wrong with it.",
            field="path",
        )
    names = {each.name for each in wanted.values()}
    kept = [each.spec for each in found.definition.requirements if each.name not in names]
    lines = ["# What the notebooks in this directory need.", *kept, *wanted]
    return Edit(path, "".join(f"{line}\n" for line in lines).encode(), tuple(wanted), None)


def _to_lines(text: str, definition: Definition, fresh: Mapping[str, Parsed]) -> str:
    """Add to a requirements file: in place of a line of the same name, else at the end."""
    lines = text.split("\n")
    own = {
        each.name: each.line - 1
        for each in definition.requirements
        if each.file == definition.path and each.line
    }
    at_end = []
    for requirement, parsed in fresh.items():
        number = own.get(parsed.name)
        if number is None or lines[number].rstrip().endswith("\\"):
            at_end.append(requirement)
            continue
        comment = re.search(r"\s+#.*$", lines[number])
        lines[number] = requirement + (comment[0] if comment else "")
    text = "\n".join(lines)
    if at_end and text and not text.endswith("\n"):
        text += "\n"
    return text + "".join(f"{each}\n" for each in at_end)


def _to_notebook(
    definition: Definition,
    files: Files,
    document: Mapping[str, Any] | None,
    wanted: Mapping[str, Parsed],
) -> Edit:
    content = files.read(definition.path)
    if document is None:
        document = json.loads(content or b"{}")
    block = find_block(document, definition.path)
    if block is None:
        raise Conflict(f"{definition.path} has no definition any more.", "Try again.", field="path")
    fresh = _fresh(definition, wanted)
    toml = added_to_script(block.toml, fresh)
    body = "\n".join(["# /// script", *commented(toml.rstrip("\n")), "# ///"])
    source = block.source[: block.start] + body + block.source[block.end :]
    cells = list(document["cells"])
    as_lines = isinstance(cells[block.cell]["source"], list)
    written = source.splitlines(keepends=True) if as_lines else source
    cells[block.cell] = {**cells[block.cell], "source": written}
    changed = json.dumps({**document, "cells": cells}, indent=1, ensure_ascii=False) + "\n"
    return Edit(
        path=definition.path,
        content=changed.encode() if fresh else content or b"",
        added=tuple(fresh),
        before=hashlib.sha256(content).hexdigest() if content is not None else None,
        cell=block.cell,
        source=source,
    )


def _encoded(text: str, before: bytes) -> bytes:
    """Return text with the line ends, encoding and byte order mark that the file had."""
    mark = next((each for each in _MARKS if before.startswith(each)), b"")
    encoding = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}.get(
        mark, "utf-8"
    )
    old = before[len(mark) :].decode(encoding)
    if old.count("\r\n") * 2 > old.count("\n"):
        text = text.replace("\n", "\r\n")
    return mark + text.encode(encoding)
