"""Inside the sandbox: a port of the loopback that leads to the gateway's socket, then the command.

    python relay.py SOCKET PORT -- COMMAND…

There is no network in the sandbox but the loopback, and tools know proxies by host and port only.
Nothing but the standard library, and no module of Element: the sandbox does not see them.
"""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import subprocess
import sys
import threading

FILE_BYTES = 8 << 30


def main() -> int:
    """Relay for as long as the command runs; return its exit code."""
    path, port, _, *command = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES, FILE_BYTES))
    listener = socket.create_server(("127.0.0.1", int(port)), backlog=128)
    threading.Thread(target=_accept, args=(listener, path), daemon=True).start()
    try:
        code = subprocess.run(command, check=False).returncode
    except OSError as error:
        sys.stderr.write(f"{command[0]} cannot be started: {error}\n")
        return 127
    return code if code >= 0 else 128 - code


def _accept(listener: socket.socket, path: str) -> None:
    while True:
        near, _ = listener.accept()
        far = socket.socket(socket.AF_UNIX)
        try:
            far.connect(path)
        except OSError:
            near.close()
            continue
        for source, target in ((near, far), (far, near)):
            threading.Thread(target=_pipe, args=(source, target), daemon=True).start()


def _pipe(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


if __name__ == "__main__":
    # nothing that the command has left running may hold the sandbox open
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
