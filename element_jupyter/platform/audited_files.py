"""Puts on record what administrators change in their files."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pydantic import JsonValue

from element_jupyter.config import Element
from element_jupyter.core.audit import Act
from element_jupyter.platform.data import Data, write_private
from element_jupyter.service.audit import Audit

log = logging.getLogger("element")

_LOOK_SECONDS: Final = 5.0
_SHOWN_BYTES: Final = 20_000


class AuditedFiles:
    """Files of administrators, and what they were when they were last looked at."""

    def __init__(self, paths: Iterable[Path], audit: Audit, known: Path) -> None:
        """Keep in the file `known` what the files have said, over restarts."""
        self._paths = tuple(paths)
        self._audit = audit
        self._known = known
        self._stamps: dict[Path, tuple[int, int, int]] = {}

    async def keep_looking(self) -> None:
        """Look now, and again and again."""
        while True:
            try:
                await self._look()
            except OSError as error:
                log.warning("whether files were changed is looked at later: %s", error)
            await asyncio.sleep(_LOOK_SECONDS)

    async def _look(self) -> None:
        for path in self._paths:
            stamp = _stamp(path)
            if stamp == self._stamps.get(path):
                continue
            await self._compare(path)
            self._stamps[path] = stamp

    async def _compare(self, path: Path) -> None:
        known = await asyncio.to_thread(self._read_known)
        before, after = known.get(path.name), await asyncio.to_thread(_text, path)
        if path.name in known and before == after:
            return
        # what there was when it was looked at first, nobody has changed
        if path.name in known:
            await self._audit.record(
                Act(
                    at=datetime.now(UTC),
                    actor=await asyncio.to_thread(_owner, path),
                    action="file.changed",
                    subject=path.name,
                    before=_shown(before),
                    after=_shown(after),
                    origin=str(path),
                )
            )
        await asyncio.to_thread(self._write_known, known | {path.name: after})

    def _read_known(self) -> dict[str, str | None]:
        try:
            found: dict[str, str | None] = json.loads(self._known.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return {}
        return found

    def _write_known(self, known: dict[str, str | None]) -> None:
        write_private(self._known, json.dumps(known))


def audited_files(settings: Element, data: Data, audit: Audit) -> AuditedFiles:
    """Return what looks at the files that the control plane goes by."""
    files = {
        "sizes.yaml": settings.sizes_file,
        "care.yaml": settings.care_file,
        "quotas.yaml": settings.quotas_file,
        "prices.yaml": settings.prices_file,
    }
    paths = [Path(elsewhere or settings.data / name) for name, elsewhere in files.items()]
    return AuditedFiles(paths, audit, data.control_plane / "files.json")


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except FileNotFoundError:
        return (0, 0, 0)
    return (found.st_ino, found.st_size, found.st_mtime_ns)


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None


def _owner(path: Path) -> str:
    try:
        return path.owner()
    except (FileNotFoundError, KeyError):
        return "unknown"


def _shown(text: str | None) -> JsonValue:
    if text is None or len(text) <= _SHOWN_BYTES:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()
    return {"characters": len(text), "sha256": digest, "beginning": text[:_SHOWN_BYTES]}
