"""The files of a snapshot, as the search for a definition wants them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from element_jupyter.core.environments.definitions import LARGEST_DEFINITION_BYTES
from element_jupyter.core.errors import Invalid
from element_jupyter.core.snapshots import LINK_HOPS, Blobs, Manifest, damaged


class SnapshotFiles:
    """`Files` of a snapshot, without restoring it; links are followed, as on disk."""

    def __init__(self, manifest: Manifest, blobs: Blobs) -> None:
        self._blobs = blobs
        self._files = {each.path: each for each in manifest.entries if each.link is None}
        # every link ends inside, which the manifest has checked
        self._links: Mapping[str, str] = manifest.link_targets()
        self._names: dict[str, set[str]] = {}
        for entry in manifest.entries:
            path = entry.path
            while path:
                directory, _, name = path.rpartition("/")
                names = self._names.setdefault(directory, set())
                if name in names:
                    break
                names.add(name)
                path = directory

    def read(self, path: str) -> bytes | None:
        entry = self._files.get(self._followed(path))
        if entry is None:
            return None
        if entry.size_bytes > LARGEST_DEFINITION_BYTES:
            raise Invalid(
                f"'{path}' has {entry.size_bytes / 1e6:.0f} MB; a definition has at most"
                f" {LARGEST_DEFINITION_BYTES / 1e6:.0f} MB.",
                field="environment",
            )
        with self._blobs.open(entry.digest) as file:
            content = file.read()
        if hashlib.sha256(content).hexdigest() != entry.digest:
            raise damaged(entry.digest)
        return content

    def names(self, directory: str) -> frozenset[str]:
        return frozenset(self._names.get(self._followed(directory), ()))

    def _followed(self, path: str) -> str:
        """Return where a path ends when the links on its way are followed."""
        for _ in range(LINK_HOPS):
            parts = path.split("/")
            ways = ("/".join(parts[:count]) for count in range(1, len(parts) + 1))
            link = next((way for way in ways if way in self._links), None)
            if link is None:
                break
            path = "/".join(filter(None, (self._links[link], path[len(link) + 1 :])))
        return path
