"""What was read of a project's files last time, so that an unchanged file is not read again.

A **stamp** is what the file system says of a file; a **reading** is the stamp and the digest of
what was read under it. The stored form is a checksum line, then records that each end in NUL.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from typing import NamedTuple

RACY_SECONDS = 2.0
"""A file changed this recently may change again without its time changing (FAT counts in 2 s)."""


class Stamp(NamedTuple):
    size_bytes: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    device: int

    @classmethod
    def of(cls, status: os.stat_result) -> Stamp:
        return cls(
            status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev
        )

    def is_racy(self, now: float) -> bool:
        """Say whether a change could hide behind this stamp; `now` in seconds since the epoch."""
        return max(self.mtime_ns, self.ctime_ns) / 1e9 > now - RACY_SECONDS


class Reading(NamedTuple):
    stamp: Stamp
    digest: str


def encode(readings: Mapping[str, Reading], now: float) -> bytes:
    """Return the stored form of those, by path, that a later scan may trust."""
    body = b"".join(
        b"%s %d %d %d %d %d %s\0" % (digest.encode(), *stamp, os.fsencode(path))
        for path, (stamp, digest) in readings.items()
        if not stamp.is_racy(now)
    )
    return hashlib.sha256(body).hexdigest().encode() + b"\n" + body


def decode(data: bytes) -> dict[str, Reading]:
    """Return the readings by path; none if the data is damaged in any way."""
    checksum, _, body = data.partition(b"\n")
    if hashlib.sha256(body).hexdigest().encode() != checksum:
        return {}
    readings = {}
    for record in body.split(b"\0")[:-1]:
        digest, *numbers, path = record.split(b" ", 6)
        readings[os.fsdecode(path)] = Reading(Stamp(*map(int, numbers)), digest.decode())
    return readings
