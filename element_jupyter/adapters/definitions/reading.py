"""Reading the files of a tree as text, and remembering which of them made a definition."""

from __future__ import annotations

import codecs
import hashlib
import posixpath
import re
from dataclasses import dataclass, field
from typing import Any

from element_jupyter.adapters.definitions.failures import at, unreadable, unsupported
from element_jupyter.adapters.definitions.sources import Address, has_credentials
from element_jupyter.core.environments.definitions import (
    Files,
    Ignored,
    Kind,
    Origin,
    OriginKind,
    Requirement,
)
from element_jupyter.core.errors import Invalid

LARGEST_MANIFEST_BYTES = 1_000_000
"""Limit of a file that is written by hand; locks may be as large as `Files` allows."""

MOST_REQUIREMENTS = 10_000
MOST_NOTICES = 50

_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x85\u2028\u2029]")
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


class Reader:
    """The tree, with every refusal told as a failed environment."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._names: dict[str, frozenset[str]] = {}

    def names(self, directory: str) -> frozenset[str]:
        if directory not in self._names:
            try:
                self._names[directory] = self._files.names(directory)
            except Invalid as error:
                raise unreadable(error.message, error.hint, file=directory or ".") from error
        return self._names[directory]

    def raw(self, path: str) -> bytes | None:
        """Return a file's bytes, None when there is no such regular file."""
        try:
            return self._files.read(path)
        except Invalid as error:
            hint = error.hint or "Mend or remove the file."
            raise unreadable(error.message, hint, file=path) from error

    def has(self, path: str) -> bool:
        directory, name = posixpath.split(path)
        return name in self.names(directory)


def decode(content: bytes, path: str, *, limit_bytes: int | None = LARGEST_MANIFEST_BYTES) -> str:
    """Return the text of a file: UTF-8, or what its byte order mark says; lines end as on Unix."""
    if limit_bytes is not None and len(content) > limit_bytes:
        raise unreadable(
            f"{path} has {len(content) / 1e6:.1f} MB; a definition has at most "
            f"{limit_bytes / 1e6:.0f} MB.",
            "Check that it is the file you meant.",
            file=path,
        )
    encoding = "utf-8"
    for mark, named in _BYTE_ORDER_MARKS:
        if content.startswith(mark):
            content, encoding = content[len(mark) :], named
            break
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1 if encoding == "utf-8" else None
        raise unreadable(
            f"{path} is not text in {encoding.upper()}: byte {error.start} does not belong there.",
            "Save the file as UTF-8.",
            file=path,
            line=line,
        ) from None
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if control := _CONTROL.search(text):
        saved = "It seems to be UTF-16 without a byte order mark: save it as UTF-8."
        raise unreadable(
            f"{path} has a control character (U+{ord(control[0]):04X}) in it.",
            saved if control[0] == "\0" else "Remove the character.",
            file=path,
            line=text.count("\n", 0, control.start()) + 1,
        )
    return text


@dataclass
class Draft:
    """A definition while it is read: what it says so far, and what it was read from."""

    reader: Reader
    kind: Kind
    path: str
    variant: str | None = None
    entry: str = ""
    lock_path: str | None = None
    files: dict[str, str] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)
    says: dict[str, Any] = field(default_factory=dict)
    """What it means, as JSON: equal for equal definitions."""
    python: list[tuple[str, str]] = field(default_factory=list)
    """Specifiers, and the file that says each."""
    requirements: list[Requirement] = field(default_factory=list)
    origins: list[Origin] = field(default_factory=list)
    extras: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    variants: tuple[str, ...] = ()
    notices: list[str] = field(default_factory=list)
    ignored: list[Ignored] = field(default_factory=list)
    _places: set[tuple[OriginKind, str]] = field(default_factory=set)

    @property
    def directory(self) -> str:
        return posixpath.dirname(self.path)

    def take(self, path: str, content: bytes, text: str | None = None) -> None:
        """Count a file in: its digest as it is, its content as tools shall read it."""
        self.files[path] = hashlib.sha256(content).hexdigest()
        self.contents[path] = content if text is None else text.encode()

    def read(self, path: str, *, limit_bytes: int | None = LARGEST_MANIFEST_BYTES) -> str | None:
        """Return the text of a file and count it in; None when there is none."""
        content = self.reader.raw(path)
        if content is None:
            return None
        text = decode(content, path, limit_bytes=limit_bytes)
        self.take(path, content, text)
        return text

    def require(self, requirement: Requirement) -> None:
        if len(self.requirements) >= MOST_REQUIREMENTS:
            raise unreadable(
                f"{self.path} names more than {MOST_REQUIREMENTS:,} requirements.",
                "A lock of that many packages belongs into pylock.toml or uv.lock.",
                file=requirement.file,
                line=requirement.line,
            )
        self.requirements.append(requirement)

    def comes_from(self, address: Address, file: str, line: int | None, written: str) -> None:
        """Note where packages come from; refuse what cannot be used.

        `written` is the address with everything in it.
        """
        if address.fault:
            raise unsupported(
                f"'{address.location}' in {at(file, line)} {address.fault}.",
                _WAY_OUT[address.kind],
                file=file,
                line=line,
                spec=written,
            )
        if has_credentials(written):
            self.notice(
                f"{at(file, line)} has credentials for {address.location} in it, and whoever can "
                "read the file has them: keep them in ~/.netrc or a keyring, and change them."
            )
        key = (address.kind, address.location)
        if key not in self._places:
            self._places.add(key)
            origin = Origin(kind=key[0], location=key[1], named_in=at(file, line))
            self.origins.append(origin)

    def notice(self, sentence: str) -> None:
        if sentence not in self.notices and len(self.notices) < MOST_NOTICES:
            self.notices.append(sentence)

    def ignore(self, path: str, reason: str) -> None:
        self.ignored.append(Ignored(path=path, reason=reason))


_WAY_OUT = {
    OriginKind.INDEX: "Give the address of an index that answers over https.",
    OriginKind.FIND_LINKS: "Put the wheels on a server or an index, and give its address.",
    OriginKind.CHANNEL: "Give the name or the https address of a channel.",
    OriginKind.VCS: "Write git+https://host/repository@revision.",
    OriginKind.URL: "Remove it, since a notebook can import the project's own code as it is; or "
    "publish it as a wheel on an index.",
    OriginKind.SDIST: "",
}
