"""Bodies too large for memory, on their way into temporary files."""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

from element_jupyter.service.http import Upload

_CHUNK_BYTES: Final = 1 << 20


class Spool:
    """A body on its way into a temporary file, written and hashed in threads."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path = path
        self._file = file
        self._hash = hashlib.sha256()
        self._pending = bytearray()
        self._size_bytes = 0

    @classmethod
    def make(cls, directory: Path) -> Spool:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = directory / f"upload-{secrets.token_hex(16)}"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        return cls(path, os.fdopen(descriptor, "wb", buffering=0))

    async def add(self, chunk: bytes) -> None:
        self._pending += chunk
        self._size_bytes += len(chunk)
        if len(self._pending) >= _CHUNK_BYTES:
            await self._write()

    async def complete(self) -> Upload:
        await self._write()
        return Upload(self._path, self._size_bytes, self._hash.hexdigest())

    async def _write(self) -> None:
        pending, self._pending = self._pending, bytearray()

        def write() -> None:
            self._hash.update(pending)
            view = memoryview(pending)
            while view:
                view = view[self._file.write(view) :]

        await asyncio.to_thread(write)

    def remove(self) -> None:
        self._file.close()
        with suppress(FileNotFoundError):
            self._path.unlink()
