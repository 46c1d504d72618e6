"""A forked child: becomes what was asked for, does its work, and ends."""

from __future__ import annotations

import atexit
import importlib
import os
import random
import resource
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from element_jupyter.adapters.forkserver.protocol import Become, Spawn, die_with_parent


def finish(work: Callable[[], int]) -> NoReturn:
    """Do a child's work and end.

    The interpreter is not taken down: it would write to every page that is shared with the
    server, which takes seconds for a large one. What was registered with atexit is done.
    """
    try:
        code = work()
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except BaseException:  # noqa: BLE001 (the top of the process)
        traceback.print_exc()
        code = 1
    atexit._run_exitfuncs()  # noqa: SLF001
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code & 0xFF)


def run(request: Spawn, server: int) -> int:
    """Become the child that was asked for, and do its work."""
    if request.new_session:
        os.setsid()
    if request.become is not None:
        _become(request.become)
        os.environ.clear()
    if request.die_with_server:  # the kernel forgets this when a process changes its account
        die_with_parent()
        if os.getppid() != server:
            os._exit(1)
    _redirect(request.log)
    os.chdir(request.directory)
    for name, value in request.environment.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    random.seed()
    # core files of a process with secrets in memory would be a leak
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    if request.title:
        import setproctitle

        setproctitle.setproctitle(request.title)
    module, _, name = request.target.partition(":")
    function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    result = function(*request.arguments)
    return result if isinstance(result, int) else 0


def _become(person: Become) -> None:
    """Enter the control groups and give up all that is root's, for good.

    Raises:
        OSError: something of it is refused; the child then ends, still having run nothing.
    """
    for entrance in person.entrances:
        opened = os.open(entrance, os.O_WRONLY | os.O_CLOEXEC)
        os.write(opened, b"0")
        os.close(opened)
    os.closerange(3, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    if os.geteuid() == 0:
        os.setgroups(person.groups)
        os.setresgid(person.gid, person.gid, person.gid)
        os.setresuid(person.uid, person.uid, person.uid)
    if os.getresuid() != (person.uid,) * 3 or os.getresgid() != (person.gid,) * 3:
        os._exit(1)
    os.umask(person.umask)


def _redirect(log: str) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    Path(log).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    null = os.open(os.devnull, os.O_RDONLY)
    out = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(null, 0)
    os.dup2(out, 1)
    os.dup2(out, 2)
    os.close(null)
    os.close(out)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
