"""Peers of the benchmarks, each in an environment of its own under `build/bench/peers`."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

PEERS = Path("build/bench/peers").absolute()


def environment(name: str, *requirements: str) -> Path:
    """Return the `bin` directory of an environment with exactly these; made once, then kept."""
    directory = PEERS / name
    wanted = "\n".join(requirements)
    stamp = directory / "requirements.txt"
    if not (stamp.is_file() and stamp.read_text() == wanted):
        shutil.rmtree(directory, ignore_errors=True)
        uv = shutil.which("uv") or str(Path(".tools/bin/uv").absolute())
        subprocess.run([uv, "venv", "-q", "-p", sys.executable, directory], check=True)
        python = directory / "bin" / "python"
        subprocess.run(
            [uv, "pip", "install", "-q", "--compile-bytecode", "-p", python, *requirements],
            check=True,
        )
        stamp.write_text(wanted)
    return directory / "bin"
