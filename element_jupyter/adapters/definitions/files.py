"""A tree of files on disk, from which nothing outside of it can be read."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from element_jupyter.core.environments.definitions import LARGEST_DEFINITION_BYTES
from element_jupyter.core.errors import Invalid, TooLarge


class DiskFiles:
    """The files below a directory; links count as long as they stay below it."""

    def __init__(self, root: Path) -> None:
        self._root = os.path.realpath(root)

    def read(self, path: str) -> bytes | None:
        """See `core.environments.definitions.Files`."""
        if not _is_inside(path):
            return None
        real = self._inside(path)
        if real is None:
            if not os.path.lexists(f"{self._root}/{path}"):
                return None
            raise Invalid(
                f"'{path}' is a link that leads out of the project, so no run could follow it.",
                "Put the file itself into the project.",
                field=path,
            )
        try:
            # a pipe would block, and a link that came meanwhile could lead elsewhere
            descriptor = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise Invalid(
                f"'{path}' cannot be read: {error.strerror}.", "Make it readable.", field=path
            ) from error
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return None
            with os.fdopen(descriptor, "rb", buffering=0, closefd=False) as file:
                content = file.read(LARGEST_DEFINITION_BYTES + 1) or b""
        except OSError as error:
            raise Invalid(f"'{path}' cannot be read: {error.strerror}.", field=path) from error
        finally:
            os.close(descriptor)
        if len(content) > LARGEST_DEFINITION_BYTES:
            raise TooLarge(
                f"'{path}' has more than {LARGEST_DEFINITION_BYTES / 1e6:.0f} MB.",
                "Check that it is the file you meant.",
                field=path,
            )
        return content

    def names(self, directory: str) -> frozenset[str]:
        """See `core.environments.definitions.Files`."""
        if directory and not _is_inside(directory):
            return frozenset()
        real = self._inside(directory)
        if real is None:
            return frozenset()
        try:
            # of ten thousand files, this is three times as fast as scandir or iterdir
            return frozenset(os.listdir(real))  # noqa: PTH208
        except (FileNotFoundError, NotADirectoryError):
            return frozenset()
        except OSError as error:
            raise Invalid(
                f"The directory '{directory or '.'}' cannot be listed: {error.strerror}.",
                "Make it readable.",
                field=directory or None,
            ) from error

    def _inside(self, path: str) -> str | None:
        """Return where a path really is, None when that is outside of the tree."""
        real = os.path.realpath(f"{self._root}/{path}")
        return real if f"{real}/".startswith(f"{self._root.rstrip('/')}/") else None


def _is_inside(path: str) -> bool:
    parts = path.split("/")
    return bool(path) and "\0" not in path and not any(each in {"", ".", ".."} for each in parts)
