"""What an administrator may have made of the kernel `python3`."""

from __future__ import annotations

import json
import sys
from pathlib import Path


def ordinary_kernel(directory: Path, *command: str) -> Path:
    """Install `python3` as that command; returns what `JUPYTER_PATH` must be."""
    file = directory / "kernels/python3/kernel.json"
    file.parent.mkdir(parents=True)
    argv = [*command, "-f", "{connection_file}"]
    spec = {"argv": argv, "display_name": "Python 3", "language": "python"}
    file.write_text(json.dumps(spec))
    return directory


def another_python(directory: Path) -> Path:
    """Make a Python that its programs know by the variable `ANOTHER_PYTHON`."""
    program = directory / "python3"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\nANOTHER_PYTHON=yes exec "{sys.executable}" "$@"\n')
    program.chmod(0o755)
    return program
