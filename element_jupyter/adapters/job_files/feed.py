"""The feed of changes: the last change of every job, numbered upwards for ever.

Only the numbers are kept in a file, one JSON line per change. What a job is now is read from the
jobs themselves, and a number is given out again only for what it was given out for.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from element_jupyter.adapters.job_files import disk
from element_jupyter.core.jobs import JobChange, JobError, StoredJob


@dataclass(frozen=True)
class _Line:
    """One line of the file; `state` is `stored`, `deleted`, or the digest of an error."""

    sequence: int
    job: str
    version: int
    state: str


class ChangeFeed:
    """What happened last to each job; safe to use from threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._lines: dict[str, _Line] = {}
        self._latest: dict[str, JobChange] = {}
        self._sequence = 0
        self._waiting: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()

    def load(self) -> None:
        """Read the file, and write it anew when most of it is past; before anything else."""
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            content = b""
        count = 0
        for text in content.splitlines():
            try:
                line = _Line(**json.loads(text))
            except (ValueError, TypeError, RecursionError):
                continue  # half a line, from a kill: its change is found again in the files
            self._lines[line.job] = line
            self._sequence = max(self._sequence, line.sequence)
            count += 1
        if count > 1000 + 4 * len(self._lines) or not content.endswith(b"\n"):
            kept = sorted(self._lines.values(), key=lambda line: line.sequence)
            disk.write(self._path, b"".join(map(_encoded, kept)))

    def version(self, job: str) -> int:
        """Return the highest version that the feed has told of; 0 when none."""
        with self._lock:
            line = self._lines.get(job)
            return line.version if line else 0

    def settle(self, jobs: set[str]) -> None:
        """Take all jobs that are not among these for deleted, and put the feed in order."""
        for job in sorted(self._lines.keys() - jobs):
            team, _, name = job.partition("/")
            self.publish(team, name, version=self._lines[job].version)
        with self._lock:
            ordered = sorted(self._latest.items(), key=lambda item: item[1].sequence)
            self._latest = dict(ordered)

    def publish(
        self,
        team: str,
        name: str,
        *,
        version: int,
        stored: StoredJob | None = None,
        error: JobError | None = None,
    ) -> None:
        """Tell what a job has become; the number is a new one unless this was told last."""
        job = f"{team}/{name}"
        state = _digest(error) if error else "stored" if stored else "deleted"
        with self._lock:
            line = self._lines.get(job)
            if line is None or (line.version, line.state) != (version, state):
                line = _Line(self._sequence + 1, job, version, state)
                self._append(line)
            elif job in self._latest:
                return
            self._sequence = max(self._sequence, line.sequence)
            self._lines[job] = line
            self._latest.pop(job, None)
            self._latest[job] = JobChange(
                sequence=line.sequence, team=team, name=name, stored=stored, error=error
            )
            waiting = list(self._waiting)
        for loop, event in waiting:
            if not loop.is_closed():
                loop.call_soon_threadsafe(event.set)

    def since(self, after: int, limit: int) -> list[JobChange]:
        """Return what changed after a number, oldest first.

        A number that was never given out is a reader's of another, lost feed: all is told anew.
        """
        found: list[JobChange] = []
        with self._lock:
            if after > self._sequence:
                after = 0
            for change in reversed(self._latest.values()):
                if change.sequence <= after:
                    break
                found.append(change)
        return found[::-1][:limit]

    async def changes(self, after: int, wait_seconds: float, limit: int) -> Sequence[JobChange]:
        """Return what changed after a number, waiting for it if need be."""
        event = asyncio.Event()
        waiter = (asyncio.get_running_loop(), event)
        with self._lock:
            self._waiting.add(waiter)
        try:
            found = self.since(after, limit)
            if not found and wait_seconds > 0:
                async with asyncio.timeout(wait_seconds):
                    await event.wait()
                found = self.since(after, limit)
        except TimeoutError:
            return []
        finally:
            with self._lock:
                self._waiting.discard(waiter)
        return found

    def _append(self, line: _Line) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        descriptor = os.open(self._path, flags, 0o600)
        try:
            os.write(descriptor, _encoded(line))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _encoded(line: _Line) -> bytes:
    return json.dumps(asdict(line), separators=(",", ":")).encode() + b"\n"


def _digest(error: JobError) -> str:
    return hashlib.sha256(error.model_dump_json().encode()).hexdigest()[:16]
