"""Whose snapshots are whose.

A snapshot is readable to whoever may read a job, a version or a run that names it, and to whoever
has uploaded all that is in it. A digest is therefore no key to what somebody else has: naming it in
a manifest of one's own opens nothing. What one person is told to upload depends on what that person
has uploaded, never on what others have, so nobody learns by asking whether somebody has a file.
Administrators, who may read everything, are told what is missing at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Protocol

from element_jupyter.core.access import Person
from element_jupyter.core.errors import Invalid, NotFound
from element_jupyter.core.snapshots import Blobs, Manifest, load


class Uploads(Protocol):
    """Who has uploaded what."""

    async def add(self, person: str, digest: str) -> None: ...
    async def held(self, person: str, digests: Collection[str]) -> set[str]: ...


class Naming(Protocol):
    """Tells whether jobs or runs of some teams name a snapshot."""

    async def __call__(self, snapshot_id: str, teams: Collection[str], /) -> bool: ...


class SnapshotRights:
    """Decides who may read and use which snapshot."""

    def __init__(self, blobs: Blobs, uploads: Uploads, named: Collection[Naming]) -> None:
        self._blobs = blobs
        self._uploads = uploads
        self._named = tuple(named)

    async def missing(self, who: Person, digests: Collection[str]) -> set[str]:
        """Return what `who` must upload of these; the rest is kept for another day at least."""
        gone = await asyncio.to_thread(self._blobs.missing, digests)
        if who.sees is None:
            return gone
        return gone | (set(digests) - await self._uploads.held(who.holder, digests))

    async def uploaded(self, who: Person, digest: str) -> None:
        """Note that `who` has sent a blob."""
        if who.sees is not None:
            await self._uploads.add(who.holder, digest)

    async def manifest(self, who: Person, snapshot_id: str) -> Manifest:
        """Return what a snapshot holds, to whom it may be told.

        Raises:
            NotFound: it is not stored, or not for `who` to read; that is the same to them.
        """
        if not await self._is_readable(who, snapshot_id):
            raise _unknown(snapshot_id)
        try:
            return await asyncio.to_thread(load, self._blobs, snapshot_id)
        except NotFound as error:
            raise _unknown(snapshot_id) from error

    async def check_use(self, who: Person, snapshot_id: str) -> None:
        """Return when `who` may have this snapshot executed.

        Raises:
            Invalid: it is not stored, or not theirs to use; that is the same to them.
        """
        if not await self._is_readable(who, snapshot_id):
            raise Invalid(
                f"snapshot_id: the snapshot {snapshot_id[:12]}… is not stored, or not whole.",
                "Upload it first: POST /snapshots/missing says what is needed.",
                field="snapshot_id",
            )

    async def _is_readable(self, who: Person, snapshot_id: str) -> bool:
        if who.sees is None:
            return True
        if await self._uploads.held(who.holder, [snapshot_id]) and await self._has_all(
            who, snapshot_id
        ):
            return True
        for named in self._named:
            if await named(snapshot_id, who.sees):
                return True
        return False

    async def _has_all(self, who: Person, snapshot_id: str) -> bool:
        try:
            manifest = await asyncio.to_thread(load, self._blobs, snapshot_id)
        except (NotFound, Invalid):
            return False
        return await self._uploads.held(who.holder, manifest.digests) == manifest.digests


def _unknown(snapshot_id: str) -> NotFound:
    return NotFound(
        f"There is no snapshot {snapshot_id[:12]}… that you may read.",
        "You may read those of your teams' jobs and runs, and those that you have uploaded.",
    )
