"""What is known of definitions: which lock and which environment they became."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from element_jupyter.adapters.environment_store.layout import Layout, room, safe, write_atomically
from element_jupyter.core.environments.identity import EnvironmentId, lock_id
from element_jupyter.core.values import Digest, Value


class Indexed(Value):
    """What a definition became when it was locked and built last."""

    environment_id: EnvironmentId
    lock_id: Digest


@dataclass(frozen=True)
class Memory:
    """`index/` and `locks/`: files that are replaced whole, so that anybody may read any time."""

    layout: Layout

    def indexed(self, key: str) -> Indexed | None:
        """Return what is remembered of a definition key; an unreadable note is none."""
        return _read(self.layout.index / safe(key))

    def remember(self, key: str, environment_id: str, lock: str) -> None:
        """Note what a definition has become; the last one counts."""
        indexed = Indexed(environment_id=environment_id, lock_id=lock)
        self.layout.prepare()
        with room(self.layout.root):
            write_atomically(self.layout.index / safe(key), indexed.model_dump_json().encode())

    def lock_content(self, lock: str) -> bytes | None:
        """Return a lock's bytes, None when they are not there or not what their name says."""
        try:
            content = (self.layout.locks / safe(lock)).read_bytes()
        except FileNotFoundError:
            return None
        return content if lock_id(content) == lock else None

    def keep_lock(self, content: bytes) -> str:
        """Keep a lock and return its id; keeping it again costs nothing."""
        name = lock_id(content)
        with contextlib.suppress(OSError):
            os.utime(self.layout.locks / name)
        if self.lock_content(name) is None:
            self.layout.prepare()
            with room(self.layout.root):
                write_atomically(self.layout.locks / name, content)
        return name

    def forget_locks(self, needed: Collection[str], minimum_age_seconds: float) -> None:
        """Remove locks that are old, in no note, and not needed."""
        named = {*needed, *(each.lock_id for _, each in self._notes() if each is not None)}
        limit = time.time() - minimum_age_seconds
        for path in self.layout.locks.iterdir():
            if path.name not in named:
                with contextlib.suppress(FileNotFoundError):
                    if path.stat().st_mtime < limit:
                        path.unlink()

    def _notes(self) -> Iterator[tuple[Path, Indexed | None]]:
        for path in self.layout.index.iterdir():
            if not path.name.startswith("."):
                yield path, _read(path)


def _read(path: Path) -> Indexed | None:
    try:
        return Indexed.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
