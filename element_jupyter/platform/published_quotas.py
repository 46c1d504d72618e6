"""The copy of the quotas that count, for the Hub, which goes by it while nobody can be asked.

The control plane writes `control-plane/quotas.json` of the data directory once the database counts
and not the file. The directory is of the control plane's account, and the Hub is root: it opens no
link in there, and says of what it cannot read only that it is so.
"""

from __future__ import annotations

import json
import logging
import os
import stat
from typing import Annotated, Final

from pydantic import Field, ValidationError

from element_jupyter.config import Element
from element_jupyter.core.quotas.policies import QuotasVersion, changes, plain
from element_jupyter.core.quotas.rules import Quotas
from element_jupyter.core.values import Value
from element_jupyter.platform.admin_files import quotas
from element_jupyter.platform.data import Data, write_private

log = logging.getLogger(__name__)

_LARGEST_BYTES: Final = 50_000_000


class Published(Value):
    """What counts, for whoever cannot ask."""

    version: Annotated[int, Field(ge=1)]
    quotas: Quotas


class PublishedQuotas:
    """One data directory's copy."""

    def __init__(self, settings: Element, data: Data) -> None:
        self._file = quotas(settings)
        self._path = data.control_plane / "quotas.json"
        self._known: tuple[tuple[int, int, int], Quotas | None] | None = None

    def write(self, version: QuotasVersion | None) -> None:
        """Say which version counts; None: the file does."""
        if version is None:
            self._path.unlink(missing_ok=True)
        else:
            said = {"version": version.number, "quotas": plain(version.document)}
            write_private(self._path, json.dumps(said, indent=1) + "\n")

    def read(self) -> Published | None:
        """Return what is published; None where there is nothing, or not what it should be."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            descriptor = os.open(self._path, flags)
        except OSError:
            return None
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size > _LARGEST_BYTES:
            os.close(descriptor)
            return None
        with os.fdopen(descriptor, "rb") as file:
            try:
                return Published.model_validate_json(file.read(_LARGEST_BYTES))
            except (ValidationError, OSError):
                return None

    def in_force(self) -> Quotas:
        """Return what counts; costs one `lstat` when it has not changed.

        Raises:
            Invalid: it is the file that counts, and it has never been right.
        """
        try:
            status = self._path.lstat()
        except OSError:
            return self._file()
        stamp = status.st_mtime_ns, status.st_size, status.st_ino
        if self._known is None or self._known[0] != stamp:
            published = self.read()
            if published is None:
                log.error("%s is not what the control plane writes; it does not count.", self._path)
            self._known = (stamp, published.quotas if published else None)
        return self._known[1] or self._file()

    def file_differs(self) -> bool | None:
        """Whether `quotas.yaml` says something else than counts; None while it counts itself.

        Raises:
            Invalid: the file is wrong.
        """
        published = self.read()
        return None if published is None else bool(changes(published.quotas, self._file()))
