"""The kernels that are installed where runs start."""

from __future__ import annotations

import json
from pathlib import Path

from jupyter_core.paths import jupyter_path


def installed_kernels() -> frozenset[str]:
    """Return the names of all kernels, in lower case, as Jupyter looks them up.

    Only names are read: importing jupyter_client for it would cost this process 20 MB. The kernel
    of this very interpreter needs no file.
    """
    found = {"python3"}
    for directory in map(Path, jupyter_path("kernels")):
        found.update(file.parent.name.lower() for file in directory.glob("*/kernel.json"))
    return frozenset(found)


def program_of(kernel: str) -> list[str] | None:
    """Return the words that start an installed kernel; None when that cannot be read.

    Without a file, the kernel is that of this very interpreter.
    """
    for directory in map(Path, jupyter_path("kernels")):
        for file in directory.glob("*/kernel.json"):
            if file.parent.name.lower() == kernel.lower():
                try:
                    argv = json.loads(file.read_bytes())["argv"]
                except (OSError, ValueError, KeyError, TypeError):
                    return None
                words = isinstance(argv, list) and all(isinstance(word, str) for word in argv)
                return argv if words else None
    native = ["python", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    return native if kernel.lower() == "python3" else None
