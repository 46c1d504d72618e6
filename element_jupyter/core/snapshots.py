"""What a snapshot is: the files of a project at one moment, named by their contents.

Vocabulary: a **blob** is a run of bytes stored under its sha256; an **entry** is one path of the
project; a **manifest** lists the entries; the **snapshot id** is the sha256 of the manifest's
canonical JSON, and the manifest is itself a blob of that digest.

A manifest may come from anybody, so every rule about paths and links is here and is checked again
by whoever restores one: what passes cannot name anything outside of its own directory.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cached_property
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, BinaryIO, Protocol, Self

from pydantic import AfterValidator, Field, ValidationError, model_validator

from element_jupyter.core.errors import ElementError, Invalid, NotFound, TooLarge
from element_jupyter.core.values import Digest, Value

PATH_BYTES = 1024
SEGMENT_BYTES = 255
PATH_DEPTH = 64
LINK_HOPS = 40
"""How many links the kernel follows in one path (`MAXSYMLINKS`, path_resolution(7))."""

LINK_STEPS = 1_000_000
MANIFEST_BYTES = 64_000_000
MANIFEST_ENTRIES = 200_000

IGNORE_FILE = ".elementignore"
SMALLER_HINT = f"Name what the job does not need in {IGNORE_FILE}, or read it from shared storage."
NEVER_TAKEN = (".git", ".ipynb_checkpoints", "__pycache__", ".venv", "node_modules")
"""Left out wherever they are not tracked by git: tools make them again."""


def fault_of_path(path: str) -> str | None:
    """Say what is wrong with a path, if anything: it must stay below its root on every system."""
    if fault := _fault_of_text(path):
        return fault
    if path.startswith("/"):
        return "a path must be relative"
    segments = path.split("/")
    if any(segment in ("", ".", "..") for segment in segments):
        return "a path has no empty, '.' or '..' part"
    if any(segment.lower() == ".git" for segment in segments):
        return "a path has no '.git' part: what git finds there it may run"
    if any(len(segment.encode()) > SEGMENT_BYTES for segment in segments):
        return f"a file name has at most {SEGMENT_BYTES} bytes"
    if len(segments) > PATH_DEPTH:
        return f"a path has at most {PATH_DEPTH} parts"
    return None


def _path(text: str) -> str:
    if fault := fault_of_path(text):
        raise ValueError(fault)
    return text


def _link(text: str) -> str:
    if fault := _fault_of_text(text):
        raise ValueError(fault)
    if text.startswith("/"):
        raise ValueError("a link must be relative")
    return text


def _fault_of_text(text: str) -> str | None:
    try:
        encoded = text.encode()
    except UnicodeEncodeError:
        return "a path must be valid UTF-8"
    if not encoded:
        return "a path must not be empty"
    if len(encoded) > PATH_BYTES:
        return f"a path has at most {PATH_BYTES} bytes"
    if "\0" in text:
        return "a path must not contain NUL"
    if "\\" in text:
        return "a path must not contain a backslash"
    return None


SnapshotPath = Annotated[str, AfterValidator(_path)]
"""A relative POSIX path that cannot leave its root and means the same on every system."""


class Entry(Value):
    """One file or link of a snapshot; a link's digest is that of its target text, its size 0."""

    path: SnapshotPath
    digest: Digest
    size_bytes: Annotated[int, Field(ge=0, lt=2**53)]
    executable: bool = False
    link: Annotated[str, AfterValidator(_link)] | None = None

    @model_validator(mode="after")
    def _links_carry_their_target_only(self) -> Self:
        if self.link is not None and (
            self.executable
            or self.size_bytes
            or self.digest != hashlib.sha256(self.link.encode()).hexdigest()
        ):
            raise ValueError("a link has size 0, is not executable, and its digest is its target's")
        return self

    @classmethod
    def of_link(cls, path: str, target: str) -> Self:
        """Make the entry of a link."""
        digest = hashlib.sha256(target.encode("utf-8", "surrogateescape")).hexdigest()
        return cls(path=path, digest=digest, size_bytes=0, link=target)


class Manifest(Value):
    """The entries of a snapshot: sorted by path, unique, nothing both a file and a directory."""

    entries: tuple[Entry, ...] = Field(max_length=MANIFEST_ENTRIES)

    @model_validator(mode="before")
    @classmethod
    def _sorted_by_path(cls, data: Any) -> Any:
        if isinstance(data, dict) and isinstance(data.get("entries"), list | tuple):
            entries = data["entries"]
            if all(isinstance(entry, Entry) for entry in entries):
                return {**data, "entries": tuple(sorted(entries, key=lambda entry: entry.path))}
        return data

    @model_validator(mode="after")
    def _paths_agree(self) -> Self:
        # NUL sorts before everything a name may hold, so a directory is followed by its contents
        paths = sorted(entry.path.replace("/", "\0") for entry in self.entries)
        for before, path in pairwise(paths):
            shown = before.replace("\0", "/")
            if before == path:
                raise ValueError(f"'{shown}' is there twice")
            if path.startswith(before + "\0"):
                raise ValueError(f"'{shown}' is both a file and a directory")
        if any(a.path >= b.path for a, b in pairwise(self.entries)):
            raise ValueError("the entries are not sorted by path")
        self.link_targets()
        return self

    @property
    def size_bytes(self) -> int:
        return sum(entry.size_bytes for entry in self.entries)

    @cached_property
    def snapshot_id(self) -> str:
        return hashlib.sha256(self.to_json()).hexdigest()

    @cached_property
    def digests(self) -> frozenset[str]:
        """The blobs that a restore reads; a link needs none."""
        return frozenset(entry.digest for entry in self.entries if entry.link is None)

    def link_targets(self) -> dict[str, str]:
        """Map each link's path to the path that it ends at, every link on the way followed.

        Raises:
            ValueError: one leaves the root, or does not end (`LINK_HOPS`).
        """
        links = {entry.path: entry.link for entry in self.entries if entry.link is not None}
        steps = [LINK_STEPS]
        return {path: _resolve(path, links, steps) for path in links}

    def remarks(self) -> list[str]:
        """Return what a person should know: links that end nowhere, files that look secret."""
        there = {entry.path for entry in self.entries}
        parents = {str(parent) for path in there for parent in PurePosixPath(path).parents}
        return [
            f"The link '{path}' leads to '{target}', which is not in the snapshot."
            for path, target in self.link_targets().items()
            if target and target not in there and target not in parents
        ] + [
            f"'{path}' may hold a password or key and becomes part of the snapshot; "
            f"name it in {IGNORE_FILE} if the job does not need it."
            for path in sorted(there)
            if _looks_secret(path)
        ]

    def to_json(self) -> bytes:
        """Return the canonical form: sorted keys, no spaces, UTF-8."""
        # entry by entry, so that no single call holds the interpreter for long
        rows = (
            json.dumps(
                {
                    "digest": entry.digest,
                    "executable": entry.executable,
                    "link": entry.link,
                    "path": entry.path,
                    "size_bytes": entry.size_bytes,
                },
                ensure_ascii=False,
                separators=(",", ":"),
            )
            for entry in self.entries
        )
        return ('{"entries":[' + ",".join(rows) + "]}").encode()

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Read a canonical manifest from a stranger.

        Raises:
            Invalid: it is not one; `field` is the culprit inside it.
        """
        if len(data) > MANIFEST_BYTES:
            raise TooLarge(f"A snapshot's manifest has at most {MANIFEST_BYTES} bytes.")
        try:
            manifest = cls.model_validate_json(data)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            field = ".".join(str(part) for part in first["loc"])
            reason = first["msg"].removeprefix("Value error, ")
            raise Invalid(f"The snapshot's manifest is refused: {reason}.", field=field) from None
        if manifest.to_json() != data:
            raise Invalid(
                "The snapshot's manifest is refused: it is not in canonical form.",
                "Write it with Manifest.to_json.",
            )
        return manifest


def _resolve(path: str, links: Mapping[str, str], steps: list[int]) -> str:
    """Follow a link as the kernel would, inside the manifest only; what is not there is a name."""
    stack = path.split("/")[:-1]
    todo = links[path].split("/")[::-1]
    hops = 1
    while todo:
        steps[0] -= 1
        segment = todo.pop()
        if segment in ("", "."):
            continue
        if segment == "..":
            if not stack:
                raise ValueError(f"the link '{path}' leads out of the project")
            stack.pop()
            continue
        stack.append(segment)
        target = links.get("/".join(stack))
        if target is not None:
            hops += 1
            stack.pop()
            todo.extend(target.split("/")[::-1])
        if hops > LINK_HOPS or steps[0] < 0:
            raise ValueError(f"the link '{path}' does not end")
    return "/".join(stack)


class SnapshotLimits(Value):
    """From which size a snapshot warns and is refused; defaults suit code, not data."""

    warn_bytes: Annotated[int, Field(ge=0)] = 20_000_000
    refuse_bytes: Annotated[int, Field(ge=0)] = 200_000_000
    warn_files: Annotated[int, Field(ge=0)] = 2_000
    refuse_files: Annotated[int, Field(ge=0, le=MANIFEST_ENTRIES)] = 20_000

    def check(self, manifest: Manifest) -> list[str]:
        """Return the warnings.

        Raises:
            TooLarge: over a limit; names the largest files.
        """
        return self.check_sizes({entry.path: entry.size_bytes for entry in manifest.entries})

    def check_sizes(self, sizes: Mapping[str, int]) -> list[str]:
        """Do what `check` does before anything is read: from paths and bytes alone."""
        size_bytes, count = sum(sizes.values()), len(sizes)
        hint = SMALLER_HINT
        if size_bytes > self.refuse_bytes:
            raise TooLarge(
                f"The project is {size_in_words(size_bytes)}, over the limit of "
                f"{size_in_words(self.refuse_bytes)}; the largest files are {_largest(sizes)}.",
                hint,
            )
        if count > self.refuse_files:
            raise TooLarge(
                f"The project has {count} files, over the limit of {self.refuse_files}; "
                f"most are in {_fullest(sizes)}.",
                hint,
            )
        warnings = []
        if size_bytes > self.warn_bytes:
            size, largest = size_in_words(size_bytes), _largest(sizes)
            warnings.append(f"The project is {size}; the largest files are {largest}. {hint}")
        if count > self.warn_files:
            warnings.append(f"The project has {count} files; most are in {_fullest(sizes)}. {hint}")
        return warnings


def size_in_words(size_bytes: int) -> str:
    """Return a size as people say it: `1.2 GB`."""
    for unit, scale in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size_bytes >= scale:
            return f"{size_bytes / scale:.1f} {unit}"
    return f"{size_bytes} B"


def _largest(sizes: Mapping[str, int]) -> str:
    ranked = sorted(sizes.items(), key=lambda item: (-item[1], item[0]))[:5]
    return ", ".join(f"{path} ({size_in_words(size)})" for path, size in ranked)


def _fullest(sizes: Mapping[str, int]) -> str:
    counts: dict[str, int] = {}
    for path in sizes:
        top = path.split("/", 1)[0] + "/" if "/" in path else "."
        counts[top] = counts.get(top, 0) + 1
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:3]
    return ", ".join(f"{directory} ({count})" for directory, count in ranked)


_SECRET_NAMES = {".env", ".netrc", ".pgpass", ".pypirc", ".git-credentials", "id_rsa", "id_ed25519"}


def _looks_secret(path: str) -> bool:
    name = path.rsplit("/", 1)[-1]
    return name in _SECRET_NAMES or name.endswith((".pem", ".p12", ".pfx"))


class BlobReader(Protocol):
    """Bytes under their sha256."""

    def open(self, digest: str) -> BinaryIO:
        """Raises: NotFound."""


class Blobs(BlobReader, Protocol):
    """Bytes under their sha256, with the time since somebody last relied on each."""

    def missing(self, digests: Iterable[str]) -> set[str]:
        """Return those not stored, and make the rest as good as new for `delete`."""

    def put(self, digest: str, data: bytes | BinaryIO | Path) -> None:
        """Store the bytes whole or not at all; again is no harm.

        Raises:
            Conflict: they are not of that digest.
        """

    def size(self, digest: str) -> int:
        """Bytes. Raises: NotFound."""

    def digests(self) -> dict[str, float]:
        """Return every digest with its age: seconds since `put` or `missing` last named it."""

    def delete(self, digest: str, *, unused_seconds: float = 0) -> int | None:
        """Delete it if nobody relied on it for that long; return its bytes, None if it stays."""

    def discard_abandoned(self, older_than_seconds: float) -> int:
        """Delete what killed uploads left half-written; return the bytes freed."""


class Collected(Value):
    """What a garbage collection freed."""

    count: int = 0
    size_bytes: int = 0


def collectable(
    ages: Mapping[str, float],
    in_use: Mapping[str, Manifest],
    grace_seconds: float,
    locks: Collection[str] = (),
) -> set[str]:
    """Return the digests that may go: of nothing in use, and untouched for the grace period."""
    needed = set(in_use).union(locks, *(manifest.digests for manifest in in_use.values()))
    return {digest for digest, age in ages.items() if age >= grace_seconds and digest not in needed}


def keep(blobs: Blobs, snapshot_id: str) -> Manifest:
    """Check that a snapshot is whole and renew it, before something that refers to it is saved.

    Raises:
        NotFound: it, or one of its files, is not stored: it must be uploaded.
    """
    manifest = load(blobs, snapshot_id)
    if missing := blobs.missing({snapshot_id, *manifest.digests}):
        raise NotFound(
            f"The snapshot {snapshot_id} lacks {len(missing)} of its files.", "Upload it again."
        )
    return manifest


def load(blobs: BlobReader, snapshot_id: str) -> Manifest:
    """Read a manifest and check all that it says.

    Raises:
        NotFound: it is not stored.
        Invalid: it is not a manifest, or names what it must not.
    """
    if not re.fullmatch(r"[0-9a-f]{64}", snapshot_id):
        raise Invalid("A snapshot id is a sha256 in lower-case hexadecimal.", field="snapshot_id")
    with blobs.open(snapshot_id) as file:
        data = bytearray()
        while chunk := file.read(1 << 20):
            data += chunk
            if len(data) > MANIFEST_BYTES:
                raise Invalid(f"'{snapshot_id}' is no snapshot: it is too large for a manifest.")
    if hashlib.sha256(data).hexdigest() != snapshot_id:
        raise damaged(snapshot_id)
    return Manifest.from_json(bytes(data))


def collect(
    blobs: Blobs,
    in_use: Callable[[], set[str]],
    grace_seconds: float,
    locks: Callable[[], set[str]] = set,
) -> Collected:
    """Delete what no snapshot in use needs and nobody has relied on for the grace period.

    `in_use` returns the ids of all snapshots that a job, a version or a run names, and `locks` the
    locks of environments that they name; they are read after the store was listed, so whoever saves
    one has the whole grace period to name it. Nothing is deleted unless every manifest in use can
    be read.
    """
    ages = blobs.digests()
    used = {snapshot_id: load(blobs, snapshot_id) for snapshot_id in in_use()}
    count = size_bytes = 0
    for digest in sorted(collectable(ages, used, grace_seconds, locks())):
        freed = blobs.delete(digest, unused_seconds=grace_seconds)
        if freed is not None:
            count, size_bytes = count + 1, size_bytes + freed
    blobs.discard_abandoned(grace_seconds)
    return Collected(count=count, size_bytes=size_bytes)


def damaged(digest: str) -> ElementError:
    """Make the error of a blob that is not what its name or its snapshot says."""
    return ElementError(
        f"The blob {digest} is damaged or not of the size that its snapshot says.",
        "Delete it from the blob store and save the job again from its project.",
    )
