"""Bytes written for a run, by the size of its result: 100 cells with an output of 500 kB each."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat

CELLS = 100
OUTPUT_BYTES = 500_000

_RUN = """
import sys
from element_jupyter.platform.runner import run_file
from tests.bench.written_bytes import written_by_this_process
code = run_file(sys.argv[1])
print(written_by_this_process())
sys.exit(code)
"""

_KERNEL_WRITES = "print(dict(line.split(': ') for line in open('/proc/self/io'))['write_bytes'])"


def measure() -> list[dict[str, Any]]:
    """Count what the runner and its kernel write, as the kernel accounts it, and what is left."""
    # not in /tmp, which may be memory, and what is written to memory is not accounted
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as temporary:
        directory = Path(temporary)
        written, result = _run(directory)
    ratio = written / result
    return [
        {
            "name": "written_bytes",
            "ours": written / 1e6,
            "peer": result / 1e6,
            "unit": "MB (peer: the result)",
            "ratio": ratio,
            "bar": "≤ 1.2",
            "holds": ratio <= 1.2,
        }
    ]


def _run(directory: Path) -> tuple[int, int]:
    project, output = directory / "project", directory / "out"
    project.mkdir()
    source = f"print('x' * {OUTPUT_BYTES})"
    cells = [nbformat.v4.new_code_cell(source) for _ in range(CELLS)]
    cells.append(nbformat.v4.new_code_cell(_KERNEL_WRITES))
    spec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": spec})
    nbformat.write(notebook, project / "notebook.ipynb")
    run = {
        "run_id": "bench",
        "notebook": "notebook.ipynb",
        "project_directory": str(project),
        "output_directory": str(output),
    }
    (directory / "run.json").write_text(json.dumps(run))
    command = [sys.executable, "-c", _RUN, str(directory / "run.json")]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    executed = nbformat.read(output / "output.ipynb", as_version=4)
    by_kernel = int(executed.cells[-1].outputs[0].text)
    left = sum(path.stat().st_size for path in output.rglob("*") if path.is_file())
    written = max(int(done.stdout.split()[-1]), left) + by_kernel
    return written, (output / "output.ipynb").stat().st_size


def written_by_this_process() -> int:
    """Return the bytes that this process has sent to storage (proc(5), /proc/pid/io)."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(dict(line.split(": ") for line in lines)["write_bytes"])


if __name__ == "__main__":
    print(measure())
