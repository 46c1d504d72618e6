"""Limits by systemd, which owns the control groups of a machine that it has started.

Each server has a scope of its own (systemd.scope(5)). A placeholder is its first process, since a
scope is there as long as something is in it; the server's process then enters by the same file as
in any control group.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Final

from element_jupyter.adapters.limits.version2 import Room2
from element_jupyter.core.confinement import Allowance, Spent
from element_jupyter.core.errors import Unavailable

_STARTED: Final = Path("/run/systemd/system")
_TREE: Final = Path("/sys/fs/cgroup")
_WAIT_SECONDS: Final = 10.0


def check() -> None:
    """Return when nothing speaks against systemd; changes nothing.

    Raises:
        Unavailable: systemd has not started this machine, or we are not root.
    """
    if not _STARTED.is_dir() or not (_TREE / "cgroup.controllers").exists():
        raise Unavailable("This machine was not started by systemd on control groups 2.")
    if shutil.which("systemd-run") is None:
        raise Unavailable("systemd-run is not installed.")
    if os.geteuid() != 0:
        raise Unavailable("Scopes of systemd are for root.")


class Systemd:
    """A `Limiter` of scopes in a slice of ours. Root's alone."""

    method = "systemd scopes"

    def __init__(self, name: str) -> None:
        """Use a slice of that name.

        Raises:
            Unavailable: systemd has not started this machine, or answers that it cannot.
        """
        check()
        # a dash in the name of a slice would make it a part of another
        self._slice = f"element{hashlib.sha256(name.encode()).hexdigest()[:8]}"
        self._open("probe", Allowance(memory_bytes=64 << 20, cpu=1, processes=16)).end()

    def confine(self, name: str, allowance: Allowance) -> Scope:
        if (left := self.find(name)) is not None:
            left.end()
        return self._open(name, allowance)

    def find(self, name: str) -> Scope | None:
        scope = Scope(self._directory(name))
        return scope if scope.exists else None

    def granted(self) -> tuple[Allowance, ...]:
        found = (Scope(path).allowance() for path in self._top.glob("*.scope"))
        return tuple(each for each in found if each is not None)

    @property
    def _top(self) -> Path:
        return _TREE / f"{self._slice}.slice"

    def _unit(self, name: str) -> str:
        return f"{self._slice}-{hashlib.sha256(name.encode()).hexdigest()[:16]}.scope"

    def _directory(self, name: str) -> Path:
        return self._top / self._unit(name)

    def _open(self, name: str, allowance: Allowance) -> Scope:
        properties = {
            "MemoryMax": str(allowance.memory_bytes),
            "MemorySwapMax": "0",
            "CPUQuota": f"{max(1, round(allowance.cpu * 100))}%",
            "TasksMax": str(allowance.processes),
            "OOMPolicy": "continue",
        }
        command = [
            *("systemd-run", "--scope", "--quiet", "--collect", f"--slice={self._slice}.slice"),
            f"--unit={self._unit(name)}",
            *(f"--property={key}={value}" for key, value in properties.items()),
            *("--", "sleep", "infinity"),
        ]
        placeholder = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        scope = Scope(self._directory(name), placeholder)
        deadline = time.monotonic() + _WAIT_SECONDS
        while not scope.holds(placeholder.pid):
            if placeholder.poll() is not None or time.monotonic() > deadline:
                placeholder.kill()
                said = placeholder.communicate()[1].decode(errors="replace").strip()
                raise Unavailable(f"systemd gives no scope: {said or 'it does not answer'}.")
            time.sleep(0.01)
        return scope


class Scope(Room2):
    """The scope of one server."""

    def __init__(self, directory: Path, placeholder: subprocess.Popen[bytes] | None = None) -> None:
        super().__init__(directory)
        self._placeholder = placeholder

    def holds(self, pid: int) -> bool:
        try:
            return str(pid) in (self.directory / "cgroup.procs").read_text().split()
        except OSError:
            return False

    def entered(self, pid: int) -> None:
        self._dismiss()

    def end(self) -> Spent:
        last = self.spent()
        self._dismiss()
        return super().end() if self.exists else last

    def _dismiss(self) -> None:
        if self._placeholder is not None:
            self._placeholder.kill()
            self._placeholder.communicate()
            self._placeholder = None
