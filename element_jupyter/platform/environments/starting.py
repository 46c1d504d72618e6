"""Starting the process of a build, which outlives its starter."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from element_jupyter.platform.environments.builds import Build, Request

_MODULE = "element_jupyter.platform.environments.build_process"


def start(build: Build, request: Request, message: str) -> None:
    """Start a process for a build, unless one is at it; `message` is the first that it tells.

    Raises:
        OSError: the build's directory cannot be written.
    """
    # whoever finds the build begun, finds what it tells, and not what an earlier one has told
    with _alone(build.directory):
        claim = build.claim()
        if claim is None:
            return
        try:
            build.begin(request, message)
            process = _detached(build.directory, claim.descriptor)
            build.record(process.pid, request)
        finally:
            claim.release()  # the process has it
    # only who has started it can be told that it has ended, and must be, lest it stays a zombie
    threading.Thread(target=process.wait, name="build", daemon=True).start()


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _detached(directory: Path, claim: int) -> subprocess.Popen[bytes]:
    log = os.open(directory / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        return subprocess.Popen(
            # -P: a module in the working directory must not be taken for one of ours
            [sys.executable, "-P", "-m", _MODULE, str(directory)],
            stdin=claim,
            stdout=log,
            stderr=log,
            cwd=directory,
            # looking for plugins, of which there are none, takes a tenth of its start
            env=os.environ | {"PYDANTIC_DISABLE_PLUGINS": "__all__"},
            start_new_session=True,
        )
    finally:
        os.close(log)
