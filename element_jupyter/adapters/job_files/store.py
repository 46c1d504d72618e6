"""Jobs as files that people may read, edit and keep in git.

    <root>/<team>/<name>/job.yaml             what the job is
    <root>/<team>/<name>/versions/<n>.yaml    what it was; written before job.yaml says so
    <root>/.deleted/<team>--<name>--<n>       what was deleted
    <root>/.changes.jsonl                     the numbers of the changes

Every file appears whole, by renaming a finished one into place, so a kill at any moment leaves the
old state or the new one. The current state is kept in memory. What a person changes in the files is
taken in as the next version within a second; what they break is an error of that job alone, whose
last good version stays.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import re
import threading
from bisect import bisect_left, insort
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from element_jupyter.adapters.job_files import disk
from element_jupyter.adapters.job_files.feed import ChangeFeed
from element_jupyter.adapters.job_files.named import named
from element_jupyter.adapters.job_files.watch import follow
from element_jupyter.core.environments.keeping import Pin
from element_jupyter.core.errors import Conflict, Invalid, Unavailable
from element_jupyter.core.job_files import (
    FileInvalid,
    JobFile,
    JobFormat,
    Metadata,
    Saved,
    kept_pins,
    scheduled_since,
)
from element_jupyter.core.jobs import Job, JobChange, JobError, StoredJob
from element_jupyter.core.values import Name

log = logging.getLogger(__name__)

BY_HAND = "edited by hand"
"""Who has saved a version that somebody wrote into the file."""

_NAME: TypeAdapter[str] = TypeAdapter(Name)
_DELETED = ".deleted"


@dataclass
class _Entry:
    """What is known of one job; `stored` is its last good version."""

    stored: StoredJob | None = None
    error: JobError | None = None
    signature: disk.Signature | None = None


class FileJobs:
    """`JobStore` over a directory; call `load` first, and run `watch` to follow people's edits.

    `check` is asked about every job that comes from a file, and raises `Invalid` to refuse one.
    """

    def __init__(
        self,
        root: Path,
        form: JobFormat,
        check: Callable[[Job], None] = lambda _: None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._root = root
        self._form = form
        self._check = check
        self._now = now
        self._feed = ChangeFeed(root / ".changes.jsonl")
        self._entries: dict[str, _Entry] = {}
        self._ids: list[str] = []
        self._misnamed: tuple[JobError, ...] = ()
        self._lock = threading.Lock()
        # a job always has the same one; striped, so that deleted jobs leave none behind
        self._locks = tuple(threading.RLock() for _ in range(64))

    # ------------------------------------------------------------------------------------ reading

    def get(self, team: str, name: str, version: int | None = None) -> StoredJob | None:
        entry = self._entries.get(f"{team}/{name}")
        current = entry.stored if entry else None
        if version is None or (current is not None and current.version == version):
            return current
        return self._version(team, name, version) if entry else None

    def stored(self) -> Sequence[StoredJob]:
        with self._lock:
            found = [self._entries[job].stored for job in self._ids]
        return tuple(stored for stored in found if stored is not None)

    def text(self, job: Job) -> str:
        return self._form.write(job)

    def expect(self, team: str, name: str, version: int | None) -> None:
        stored = self.get(team, name)
        found = stored.version if stored else 0
        if version is None or version == found:
            return
        if not found:
            raise Conflict(f"There is no job '{team}/{name}' yet.", "Save it without a version.")
        raise Conflict(
            f"The job '{team}/{name}' is at version {found}, not {version}."
            if version
            else f"There is a job '{team}/{name}' already.",
            "Read it again, and make your change to what it is now.",
        )

    def ids(self) -> Sequence[str]:
        with self._lock:
            return tuple(self._ids)

    def errors(self) -> Sequence[JobError]:
        with self._lock:
            found = [entry.error for entry in self._entries.values() if entry.error]
        return sorted([*found, *self._misnamed], key=lambda error: (error.team, error.name))

    async def versions(self, team: str, name: str) -> Sequence[StoredJob]:
        return await asyncio.to_thread(self._versions, team, name)

    async def changes(
        self, after: int, *, wait_seconds: float = 0, limit: int = 500
    ) -> Sequence[JobChange]:
        return await self._feed.changes(after, wait_seconds, limit)

    def snapshots(self) -> set[str]:
        """Return every snapshot id that any file of a job names, broken ones included."""
        return named(self._root).snapshots

    def locks(self) -> set[str]:
        """Return every lock that any file of a job names, broken ones included."""
        return named(self._root).locks

    def _versions(self, team: str, name: str) -> list[StoredJob]:
        numbers = sorted(self._numbers(team, name), reverse=True)
        found = (self._version(team, name, number) for number in numbers)
        return [stored for stored in found if stored is not None]

    def _version(self, team: str, name: str, number: int) -> StoredJob | None:
        with suppress(FileInvalid):
            content, _ = disk.read(self._version_path(team, name, number))
            return self._form.read(content).stored
        return None

    def _numbers(self, team: str, name: str) -> list[int]:
        with suppress(FileNotFoundError, NotADirectoryError):
            found = (self._directory(team, name) / "versions").iterdir()
            return [int(path.stem) for path in found if re.fullmatch(r"\d{1,9}\.yaml", path.name)]
        return []

    # ------------------------------------------------------------------------------------ writing

    async def put(
        self,
        job: Job,
        *,
        saved_by: str,
        now: datetime,
        expected_version: int | None = None,
        pins: Mapping[str, Pin] | None = None,
        offered_by: str | None = None,
    ) -> Saved:
        said = functools.partial(self._put, job, now=now, saved_by=saved_by, offered_by=offered_by)
        return await asyncio.to_thread(said, expected_version=expected_version, pins=pins)

    async def delete(self, team: str, name: str, *, expected_version: int | None = None) -> bool:
        return await asyncio.to_thread(self._delete, team, name, expected_version)

    def _put(
        self,
        job: Job,
        *,
        saved_by: str,
        now: datetime,
        expected_version: int | None,
        pins: Mapping[str, Pin] | None,
        offered_by: str | None,
    ) -> Saved:
        with _translated(), self._locked(job.team, job.name):
            self._look(job.team, job.name)
            entry = self._entries.get(job.id) or _Entry()
            before = entry.stored
            self.expect(job.team, job.name, expected_version)
            kept = kept_pins(before, job) if pins is None else dict(pins)
            if (
                before is not None
                and (before.job, before.pins, before.offered_by) == (job, kept, offered_by)
                and entry.error is None
            ):
                return Saved(before, before)
            stored = StoredJob(
                job=job,
                version=self._next_version(job, before),
                saved_at=now,
                saved_by=saved_by,
                scheduled_since=scheduled_since(before, job, now),
                pins=kept,
                offered_by=offered_by,
            )
            content = self._form.write(job, Metadata.of(stored)).encode()
            self._write_version(stored, content)
            signature = disk.write(self._directory(job.team, job.name) / "job.yaml", content)
            self._keep(job.team, job.name, _Entry(stored, None, signature))
            return Saved(stored, before)

    def _delete(self, team: str, name: str, expected_version: int | None) -> bool:
        with _translated(), self._locked(team, name):
            self._look(team, name)
            entry = self._entries.get(f"{team}/{name}")
            if entry is None:
                return False
            self.expect(team, name, expected_version)
            version = self._feed.version(f"{team}/{name}")
            disk.make_directory(self._root / _DELETED)
            directory = self._directory(team, name)
            # a deleted job's versions go on with the next of that name, so this name is its own
            directory.rename(self._free(self._root / _DELETED / f"{team}--{name}--{version}"))
            disk.sync_directory(self._root / _DELETED)
            disk.sync_directory(directory.parent)
            self._drop(team, name)
            return True

    def _write_version(self, stored: StoredJob, content: bytes) -> None:
        path = self._version_path(stored.job.team, stored.job.name, stored.version)
        disk.make_directory(path.parent)
        disk.write(path, content)

    def _next_version(self, job: Job, before: StoredJob | None, said: int = 0) -> int:
        """Return the next number: never one that a run, a file or the feed has known.

        `said` is what a file claims to be; a job that comes from elsewhere keeps its number.
        """
        if before is not None:
            return max(before.version, self._feed.version(job.id)) + 1
        known = max([self._feed.version(job.id), *self._numbers(job.team, job.name)])
        return max(known + 1, said)

    @staticmethod
    def _free(path: Path) -> Path:
        number = 0
        free = path
        while free.exists():
            number += 1
            free = path.with_name(f"{path.name}-{number}")
        return free

    # --------------------------------------------------------------------------- files of people

    def load(self) -> None:
        """Read all jobs; once, before anything else."""
        disk.make_directory(self._root)
        for directory in ("", "*/*/", "*/*/versions/"):
            for left in self._root.glob(f"{directory}{disk.TEMPORARY}*"):
                left.unlink(missing_ok=True)
        self._feed.load()
        self.rescan()
        self._feed.settle(set(self._entries))

    def rescan(self) -> None:
        """Look at every file, and take in those that somebody has changed."""
        found: set[str] = set()
        misnamed: list[JobError] = []
        for team in disk.directories(self._root):
            for job in disk.directories(self._root / team.name):
                if not (_is_name(team.name) and _is_name(job.name)):
                    misnamed.append(_misnamed(team.name, job.name, job.path))
                    continue
                found.add(f"{team.name}/{job.name}")
                self._look_safely(team.name, job.name)
        with self._lock:
            gone = self._entries.keys() - found
        for deleted in gone:
            self._look_safely(*deleted.split("/"))
        self._misnamed = tuple(misnamed)

    async def watch(self) -> None:
        """Follow what people do to the files, until cancelled."""
        await follow(self._root, self._look_at)

    def _look_at(self, paths: Sequence[tuple[str, ...]]) -> None:
        """Look at the jobs that these paths are of, or at all without any."""
        if not paths or any(len(parts) < 2 for parts in paths):
            self.rescan()
            return
        for team, name in {parts[:2] for parts in paths if parts[2:3] != ("versions",)}:
            if _is_name(team) and _is_name(name):
                self._look_safely(team, name)

    def _look_safely(self, team: str, name: str) -> None:
        try:
            with self._locked(team, name):
                self._look(team, name)
        except OSError:
            log.exception("the files of the job %s/%s cannot be used", team, name)

    def _look(self, team: str, name: str) -> None:
        """Take in what somebody has changed; the caller holds the job's lock."""
        path = self._directory(team, name) / "job.yaml"
        # it may change while it is taken in: once more, then
        for _ in range(10):
            entry = self._entries.get(f"{team}/{name}")
            there = disk.signature(path)
            if there is None:
                if entry is not None:
                    self._drop(team, name)
                return
            if entry is not None and entry.signature == there:
                return
            if self._take_in(path, team, name, entry):
                return

    def _take_in(self, path: Path, team: str, name: str, entry: _Entry | None) -> bool:
        before = entry.stored if entry else None
        signature = disk.signature(path)
        try:
            content, signature = disk.read(path)
            file = self._read(content, team, name)
            if before is None:
                before = self._version_before(file, content)
            if before is None or before.job != file.job:
                self._check(file.job)
                return self._take_version(path, file, content, signature, before)
        except Invalid as error:
            wrong = JobError(
                team=team,
                name=name,
                path=str(path),
                line=getattr(error, "line", None),
                message=error.message,
                hint=error.hint,
            )
            last_good = before or self._last_good(team, name)
            self._keep(team, name, _Entry(last_good, wrong, signature))
            return True
        self._keep(team, name, _Entry(before, None, signature))
        return True

    def _read(self, content: bytes, team: str, name: str) -> JobFile:
        file = self._form.read(content)
        for key, said, place in (("team", file.job.team, team), ("name", file.job.name, name)):
            if said != place:
                raise FileInvalid(
                    f"{key}: the file says '{said}', and its directory '{place}'.",
                    f"Write '{place}', or move the directory.",
                    field=key,
                )
        return file

    def _version_before(self, file: JobFile, content: bytes) -> StoredJob | None:
        """Return the version that a file was when it was last looked at, by another process.

        That is the one it claims to be, unless a later one was told of: then it was put back.
        """
        team, name = file.job.team, file.job.name
        claimed = file.metadata.version if file.metadata else 0
        number = max(claimed, self._feed.version(file.job.id))
        with suppress(FileInvalid):
            known, _ = disk.read(self._version_path(team, name, number))
            if found := (file if known == content else self._form.read(known)).stored:
                return found
        return self._last_good(team, name)

    def _take_version(
        self,
        path: Path,
        file: JobFile,
        content: bytes,
        signature: disk.Signature,
        before: StoredJob | None,
    ) -> bool:
        """Make the next version of what somebody wrote; False when they have written again."""
        now = self._now()
        said = file.metadata.version if file.metadata else 0
        stored = StoredJob(
            job=file.job,
            version=self._next_version(file.job, before, said),
            saved_at=now,
            saved_by=BY_HAND,
            scheduled_since=scheduled_since(before, file.job, now),
            pins=kept_pins(before, file.job),
        )
        stamped = self._stamped(content, stored)
        self._write_version(stored, stamped)
        written = disk.write(path, stamped, expected=signature)
        if written is None:
            return False
        self._keep(file.job.team, file.job.name, _Entry(stored, None, written))
        log.info("job %s: version %d, %s", file.job.id, stored.version, BY_HAND)
        return True

    def _stamped(self, content: bytes, stored: StoredJob) -> bytes:
        """Return a person's file with our metadata, and all else as it was where that works."""
        stamped = self._form.stamp(content.decode("utf-8-sig"), Metadata.of(stored)).encode()
        with suppress(FileInvalid):
            if self._form.read(stamped).stored == stored:
                return stamped
        return self._form.write(stored.job, Metadata.of(stored)).encode()

    def _last_good(self, team: str, name: str) -> StoredJob | None:
        numbers = sorted(self._numbers(team, name), reverse=True)
        return next(filter(None, (self._version(team, name, number) for number in numbers)), None)

    # ------------------------------------------------------------------------------------- memory

    def _keep(self, team: str, name: str, entry: _Entry) -> None:
        job = f"{team}/{name}"
        with self._lock:
            self._entries[job] = entry
            self._list(job, there=entry.stored is not None and entry.error is None)
        if entry.error is not None:
            log.warning("%s: %s", entry.error.path, entry.error.message)
        version = entry.stored.version if entry.stored else 0
        self._feed.publish(
            team,
            name,
            version=max(version, self._feed.version(job)),
            stored=None if entry.error else entry.stored,
            error=entry.error,
        )

    def _drop(self, team: str, name: str) -> None:
        job = f"{team}/{name}"
        with self._lock:
            self._entries.pop(job, None)
            self._list(job, there=False)
        self._feed.publish(team, name, version=self._feed.version(job))

    def _list(self, job: str, *, there: bool) -> None:
        place = bisect_left(self._ids, job)
        listed = place < len(self._ids) and self._ids[place] == job
        if there and not listed:
            insort(self._ids, job)
        elif listed and not there:
            del self._ids[place]

    # -------------------------------------------------------------------------------------- paths

    def _locked(self, team: str, name: str) -> threading.RLock:
        return self._locks[hash((team, name)) % len(self._locks)]

    def _directory(self, team: str, name: str) -> Path:
        if not (_is_name(team) and _is_name(name)):
            raise Invalid("This is not the name of a job.", field="name")
        return self._root / team / name

    def _version_path(self, team: str, name: str, number: int) -> Path:
        return self._directory(team, name) / "versions" / f"{number:d}.yaml"


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unavailable(
            f"The job's files cannot be written: {error.strerror}.",
            "Look at the disk that holds the data directory, then try again.",
        ) from error


def _is_name(text: str) -> bool:
    try:
        _NAME.validate_python(text)
    except ValidationError:
        return False
    return True


def _misnamed(team: str, name: str, path: str) -> JobError:
    return JobError(
        team=ascii(team)[1:-1],
        name=ascii(name)[1:-1],
        path=ascii(path)[1:-1],
        message=f"The directory {f'{team}/{name}'!a} cannot be a job's.",
        hint="Use lower-case letters and digits, with single '.', '_' or '-' between them.",
    )
