"""REST of snapshots: upload what is missing, read what is stored."""

from __future__ import annotations

import asyncio
from typing import Annotated

from pydantic import Field

from element_jupyter.core.access import Action, Person
from element_jupyter.core.errors import Invalid, NotFound
from element_jupyter.core.jobs import NotebookPath
from element_jupyter.core.notebooks import (
    MAX_NOTEBOOK_BYTES,
    cells_of,
    parse_notebook,
    source_of,
)
from element_jupyter.core.snapshots import MANIFEST_BYTES, MANIFEST_ENTRIES, Manifest
from element_jupyter.core.values import Digest, Value
from element_jupyter.service.http import Answer, Route, Upload, allow
from element_jupyter.service.services import Services


class Digests(Value):
    """Blobs that somebody has."""

    digests: Annotated[tuple[Digest, ...], Field(max_length=MANIFEST_ENTRIES)]


class Missing(Value):
    """Blobs that are not stored."""

    missing: tuple[Digest, ...]


class NotebookCell(Value):
    """A cell without its outputs."""

    kind: str
    source: str


class NotebookCells(Value):
    """What a notebook says, without what it has put out."""

    cells: tuple[NotebookCell, ...]


async def list_missing_blobs(services: Services, who: Person, body: Digests) -> Missing:
    """Say which blobs you must upload; the others are kept for another day at least.

    Those are all that you have not sent yourself, whether somebody else has or not.
    """
    missing = await services.snapshots.missing(who, body.digests)
    return Missing(missing=tuple(sorted(missing)))


async def put_blob(services: Services, who: Person, digest: Digest, body: Upload) -> None:
    """Store a blob: a file of a snapshot, or, as the last, its manifest."""
    if body.sha256 != digest:
        raise Invalid(
            f"The data is not of the digest {digest}.",
            "Hash what you send with sha256.",
            field="digest",
        )
    await asyncio.to_thread(services.blobs.put, digest, body.path)
    await services.snapshots.uploaded(who, digest)


async def get_snapshot(services: Services, who: Person, snapshot_id: Digest) -> Answer[Manifest]:
    """Get the manifest of a snapshot: its files with their sizes and digests.

    That of a job or run that you may read, or one that you have uploaded.
    """
    return Answer(await services.snapshots.manifest(who, snapshot_id), etag=snapshot_id)


async def get_snapshot_notebook(
    services: Services, who: Person, snapshot_id: Digest, path: NotebookPath
) -> NotebookCells:
    """Get the cells of a notebook of a snapshot that you may read."""
    manifest = await services.snapshots.manifest(who, snapshot_id)
    return await asyncio.to_thread(_cells, services, manifest, path)


def _cells(services: Services, manifest: Manifest, path: str) -> NotebookCells:
    path = manifest.link_targets().get(path, path)
    digests = {entry.path: entry.digest for entry in manifest.entries if entry.link is None}
    if path not in digests:
        raise NotFound(
            f"The snapshot holds no '{path}'.", "Its manifest names what it holds.", field="path"
        )
    with services.blobs.open(digests[path]) as file:
        document = parse_notebook(file.read(MAX_NOTEBOOK_BYTES + 1))
    return NotebookCells(
        cells=tuple(
            NotebookCell(kind=cell["cell_type"], source=source_of(cell))
            for cell in cells_of(document)
        )
    )


def _blob_bytes(services: Services) -> int:
    # a manifest is a blob too
    return max(services.limits.refuse_bytes, MANIFEST_BYTES)


ROUTES = (
    Route("POST", "/snapshots/missing", list_missing_blobs, access=allow(Action.EDIT)),
    Route(
        "PUT",
        "/blobs/{digest}",
        put_blob,
        access=allow(Action.EDIT),
        status=204,
        body_limit_bytes=_blob_bytes,
    ),
    Route("GET", "/snapshots/{snapshot_id}", get_snapshot, access=allow(Action.READ)),
    Route(
        "GET",
        "/snapshots/{snapshot_id}/notebooks/{path:path}",
        get_snapshot_notebook,
        access=allow(Action.READ),
    ),
)
