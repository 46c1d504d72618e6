"""The local user's token: made once, by whoever needs it first."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from element_jupyter.core.errors import Unavailable


def local_token(path: Path) -> str:
    """Return the token in a file that only its owner may read, made when it is not there.

    Of several processes that make it at once, one succeeds, and all return the same.

    Raises:
        Unavailable: the file cannot be read or made, or others may read it.
    """
    try:
        if not path.exists():
            _make(path)
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)
        token = path.read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        raise Unavailable(
            f"The token in {path} cannot be used.",
            "It must be a file of yours; remove it to renew.",
        ) from error
    if len(token) < 32:
        raise Unavailable(
            f"The token in {path} is too short.", "Remove the file: a new one is made."
        )
    return token


def _make(path: Path) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            # a link, unlike a rename, does not replace what another process has made meanwhile
            os.link(temporary, path)
        except FileExistsError:
            return
    finally:
        temporary.unlink()
