"""`requirements.txt` and what it includes, as uv reads it.

A comment ends with its line even when that ends with a backslash, which is how uv reads it and not
how pip does: what we say that a file means must be what the locker does with it.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from element_jupyter.adapters.definitions.failures import at, shown, unreadable, unsupported
from element_jupyter.adapters.definitions.reading import Draft
from element_jupyter.adapters.definitions.requirement import (
    Parsed,
    described,
    read_requirement,
)
from element_jupyter.adapters.definitions.sources import index_address
from element_jupyter.core.environments.definitions import OriginKind

MOST_INCLUDES = 100
DEEPEST_INCLUDE = 20

_COMMENT = re.compile(r"(^|\s)#.*$")
_OPTION = re.compile(
    r"(?P<name>-[A-Za-z]|--[A-Za-z][A-Za-z-]*)(?:\s*=\s*|\s*)(?P<value>.*)$", re.DOTALL
)
_HASH = re.compile(r"--hash(?:\s*=\s*|\s+)(?P<hash>[a-z0-9]+:[0-9a-fA-F]+)$")
_LONG_NAMES = {
    "-r": "--requirement",
    "-c": "--constraint",
    "-e": "--editable",
    "-i": "--index-url",
    "-f": "--find-links",
    "--pypi-url": "--index-url",
}
_NOT_FOLLOWED = {
    "--trusted-host": "certificates are always checked",
    "--pre": "write a pre-release into the version that is wanted, as in pandas>=3.0rc1",
    "--prefer-binary": "only wheels are installed anyway",
    "--require-hashes": "every file of a lock is checked by its hash anyway",
    "--use-feature": "it is about pip",
    "--use-pep517": "it is about pip",
    "--extra-index-strategy": "the first index that has a package wins",
}


@dataclass
class Requirements:
    """Everything that a requirements file and what it includes says, gathered."""

    draft: Draft
    wanted: dict[tuple[str, tuple[str, ...]], Parsed] = field(default_factory=dict)
    """By normal form and hashes."""
    constraints: set[str] = field(default_factory=set)
    index_url: str | None = None
    extra_index_urls: list[str] = field(default_factory=list)
    find_links: list[str] = field(default_factory=list)
    switches: set[str] = field(default_factory=set)
    _included: int = 0
    _read: set[tuple[str, bool]] = field(default_factory=set)

    @property
    def says(self) -> dict[str, Any]:
        """What is meant, the same for all ways of writing it; the order of indexes matters."""
        return {
            "wanted": sorted([normal, *hashes] for normal, hashes in self.wanted),
            "constraints": sorted(self.constraints),
            "index": [self.index_url, *self.extra_index_urls],
            "links": self.find_links,
            "switches": sorted(self.switches),
        }

    def read_file(self, path: str, text: str) -> None:
        self._read_lines(text, path, constraint=False, within=(path,))

    def read_line(self, text: str, file: str, line: int | None) -> None:
        """Read one line, as a list in another file has it; includes are relative to that file."""
        if "\n" in text.strip():
            raise unreadable(
                f"A requirement in {at(file, line)} has more than one line.",
                "Make each an item of its own.",
                file=file,
                line=line,
                spec=text,
            )
        if text := _COMMENT.sub("", text).strip():
            self._read_statement(text, file, line, constraint=False, within=(file,))

    def is_lock(self) -> bool:
        """Say whether every file is named: each requirement pinned, with hashes.

        Raises:
            EnvironmentFailed: some requirements have hashes, others none.
        """
        hashed = [parsed for (_, hashes), parsed in self.wanted.items() if hashes]
        if not hashed:
            return False
        for (_, hashes), parsed in self.wanted.items():
            if hashes and parsed.pinned:
                continue
            lacking = next(each for each in self.draft.requirements if each.name == parsed.name)
            fault = "is not pinned with ==" if hashes else "has no hash"
            raise unreadable(
                f"'{shown(lacking.spec)}' in {at(lacking.file, lacking.line)} {fault}, while other "
                "requirements have hashes.",
                "Give every requirement its version and hashes (uv pip compile --generate-hashes "
                "does), or none, and Element locks them.",
                file=lacking.file,
                line=lacking.line,
                spec=lacking.spec,
                name=lacking.name,
            )
        return True

    def _read_lines(
        self, text: str, path: str, *, constraint: bool, within: tuple[str, ...]
    ) -> None:
        for line, statement in _statements(text):
            self._read_statement(statement, path, line, constraint=constraint, within=within)

    def _read_statement(
        self, text: str, file: str, line: int | None, *, constraint: bool, within: tuple[str, ...]
    ) -> None:
        if text.startswith("-"):
            self._read_option(text, file, line, constraint=constraint, within=within)
            return
        text, *options = (each.strip() for each in re.split(r"(?<=\s)(?=--)", text))
        hashes = []
        for option in options:
            if (found := _HASH.match(option)) is None:
                raise unsupported(
                    f"'{shown(option)}' in {at(file, line)} is for building from source.",
                    "Remove it.",
                    file=file,
                    line=line,
                    spec=f"{text} {option}",
                )
            hashes.append(found["hash"].lower())
        parsed = read_requirement(self.draft, text, file, line)
        if constraint:
            self.constraints.add(parsed.normal)
            return
        self.wanted[parsed.normal, tuple(sorted(hashes))] = parsed
        self.draft.require(described(parsed, text, file, line))

    def _read_option(
        self, text: str, file: str, line: int | None, *, constraint: bool, within: tuple[str, ...]
    ) -> None:
        match = _OPTION.match(text)
        name, value = (match["name"], match["value"].strip()) if match else (text, "")
        name = _LONG_NAMES.get(name, name)
        if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        if name in _NOT_FOLLOWED:
            self.draft.notice(f"{name} in {at(file, line)} is not followed: {_NOT_FOLLOWED[name]}.")
        elif name == "--no-index":
            self.switches.add(name)
        elif not value or re.search(r"\s", value):
            raise unreadable(
                f"'{shown(text)}' in {at(file, line)} is not one option with one value.",
                "Write each option on a line of its own.",
                file=file,
                line=line,
                spec=text,
            )
        elif name in {"--requirement", "--constraint"}:
            constraint = constraint or name == "--constraint"
            self._include(text, value, file, line, constraint=constraint, within=within)
        elif name in {"--index-url", "--extra-index-url", "--find-links"}:
            self._read_place(name, value, file, line)
        elif name in {"--no-binary", "--only-binary"}:
            self.switches.add(f"{name} {','.join(sorted(value.lower().split(',')))}")
        elif name == "--editable":
            raise unsupported(
                f"'{shown(text)}' in {at(file, line)} is an editable install, and an environment "
                "never changes once it is built.",
                "Remove the line, since a notebook can import the project's own code as it is; "
                "name what that code needs instead.",
                file=file,
                line=line,
                spec=text,
            )
        else:
            raise unreadable(
                f"'{shown(text)}' in {at(file, line)} has an option that is not known: {name}.",
                "Remove the line, or write -r, -c, --index-url, --extra-index-url or --find-links.",
                file=file,
                line=line,
                spec=text,
            )

    def _read_place(self, name: str, value: str, file: str, line: int | None) -> None:
        links = name == "--find-links"
        address = index_address(value, OriginKind.FIND_LINKS if links else OriginKind.INDEX)
        self.draft.comes_from(address, file, line, value)
        if name == "--index-url":
            self.index_url = address.location
            return
        known = self.find_links if links else self.extra_index_urls
        if address.location not in known:
            known.append(address.location)

    def _include(
        self,
        text: str,
        value: str,
        file: str,
        line: int | None,
        *,
        constraint: bool,
        within: tuple[str, ...],
    ) -> None:
        def refuse(fault: str, hint: str) -> Exception:
            return unreadable(
                f"'{shown(text)}' in {at(file, line)} {fault}.",
                hint,
                file=file,
                line=line,
                spec=text,
            )

        if "://" in value or "${" in value:
            raise refuse(
                "includes what is not a file of the project",
                "Copy that file beside this one and include the copy: what a job has must not "
                "change with a server.",
            )
        path = posixpath.normpath(posixpath.join(posixpath.dirname(file), value))
        if posixpath.isabs(value) or path.startswith(".."):
            raise refuse(
                "leads out of the project, so no run could follow it",
                "Copy that file into the project.",
            )
        if path in within:
            loop = " → ".join([*within[within.index(path) :], path])
            raise refuse(f"goes in a circle: {loop}", "Remove one of these includes.")
        self._included += 1
        if len(within) >= DEEPEST_INCLUDE or self._included > MOST_INCLUDES:
            raise refuse(
                f"is one include too many: {MOST_INCLUDES} in all and {DEEPEST_INCLUDE} inside "
                "one another are allowed",
                "Write the requirements into fewer files.",
            )
        if (path, constraint) in self._read:
            return
        self._read.add((path, constraint))
        content = self.draft.read(path)
        if content is None:
            raise refuse(
                f"includes a file that is not there: {path}",
                f"Create {path}, or correct the name.",
            )
        self._read_lines(content, path, constraint=constraint, within=(*within, path))


def read_requirements_file(draft: Draft, path: str) -> None:
    """Read a requirements file into a draft; fully pinned and hashed, it is its own lock."""
    text = draft.read(path)
    if text is None:
        raise unreadable(f"{path} is not a file.", "Create it, or remove the name.", file=path)
    gathered = Requirements(draft)
    gathered.read_file(path, text)
    draft.entry = path
    draft.says = gathered.says
    if gathered.is_lock():
        draft.lock_path = path
    if not gathered.wanted:
        draft.notice(f"{path} names no package, so the environment has only the kernel.")


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Yield each statement with its first line's number: comments gone, continuations joined."""
    first, pending = 0, ""
    for number, physical in enumerate(text.split("\n"), start=1):
        line = _COMMENT.sub("", physical) if "#" in physical else physical
        first = first or number
        if line.endswith("\\"):
            pending += line[:-1] + " "
            continue
        statement = (pending + line).strip()
        if statement:
            yield first, statement
        first, pending = 0, ""
    if statement := pending.strip():
        yield first, statement
