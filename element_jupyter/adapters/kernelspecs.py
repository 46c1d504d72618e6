"""The kernels that are installed where runs start."""

from __future__ import annotations

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
