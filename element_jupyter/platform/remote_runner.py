"""`python -m element_jupyter.runner --remote`: a run that is given nothing but a URL and a token.

`ELEMENT_RUN_URL` is the run's address at the control plane (`…/api/v1/runs/<id>`), and its token is
in `ELEMENT_RUN_TOKEN` or, better, in the file of mode 0600 that `ELEMENT_RUN_TOKEN_FILE` names:
that is removed as soon as it has been read. Neither reaches the kernel.

This module imports little: the Hub hears that the process is there before the rest is loaded.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import stat
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

PATIENCE_SECONDS: Final = 600.0
"""How long a control plane that is away is waited for, at the start and at the end."""

_PR_SET_DUMPABLE: Final = 4
_WRONG_USE: Final = 2
_SECRETS: Final = ("ELEMENT_RUN_TOKEN", "JUPYTERHUB_API_TOKEN", "JPY_API_TOKEN")
_SENTENCE: Final = b"A notebook is executed here.\n"
_ANSWER: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n"
    b"Connection: close\r\n\r\n%s" % (len(_SENTENCE), _SENTENCE)
)
_REQUEST_SECONDS: Final = 5.0
_REQUEST_BYTES: Final = 16_384


def run_remote(patience_seconds: float = PATIENCE_SECONDS) -> int:
    """Execute the run that the environment names; returns the exit code of the process."""
    _conceal_memory()
    try:
        url, token = _told()
        close = answer_hub(os.environ.get("JUPYTERHUB_SERVICE_URL", ""))
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return _WRONG_USE
    try:
        from element_jupyter.platform.remote_run import execute

        return execute(url, token, patience_seconds)
    finally:
        close()


def _conceal_memory() -> None:
    """Keep other processes of the same account, the notebook among them, out of this one's memory.

    What was in its variables when it started is there, too. Its `/proc` files belong to root from
    now on, and nobody but root traces it (prctl(2), PR_SET_DUMPABLE). What it starts is as open as
    ever.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def _told() -> tuple[str, str]:
    """Take URL and token out of the environment, with all that the run has no use for."""
    environment = os.environ
    url = environment.pop("ELEMENT_RUN_URL", "")
    file = environment.pop("ELEMENT_RUN_TOKEN_FILE", "")
    token, *_ = [environment.pop(name, "") for name in _SECRETS]
    if file:
        token = _read_once(Path(file))
    if not url or not token:
        raise ValueError("A run is named by ELEMENT_RUN_URL and ELEMENT_RUN_TOKEN (or …_FILE).")
    return url, token.strip()


def _read_once(path: Path) -> str:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor) as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_mode & 0o077:
            raise ValueError(f"{path} holds a secret: it must be a file of mode 0600.")
        token = file.read(1000)
    path.unlink()
    return token


def answer_hub(service_url: str) -> Callable[[], None]:
    """Answer every request to the address that the Hub asks; returns what ends that.

    It tells one sentence, so it asks nobody who they are. Without an address: nothing.
    """
    address = urlsplit(service_url)
    if address.scheme != "http" or address.port is None:
        return lambda: None
    host = address.hostname or ""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, address.port), family=family, backlog=64)
    threading.Thread(target=_answer_all, args=(listener,), name="hub", daemon=True).start()

    def close() -> None:
        # closing alone would not wake the thread that accepts
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()

    return close


def _answer_all(listener: socket.socket) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_answer, args=(connection,), daemon=True).start()


def _answer(connection: socket.socket) -> None:
    with connection, contextlib.suppress(OSError):
        connection.settimeout(_REQUEST_SECONDS)
        asked = b""
        while b"\r\n\r\n" not in asked and len(asked) < _REQUEST_BYTES:
            if not (more := connection.recv(4096)):
                return
            asked += more
        connection.sendall(_ANSWER)
        connection.shutdown(socket.SHUT_WR)


if __name__ == "__main__":
    sys.exit(run_remote())
