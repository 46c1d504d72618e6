"""Build the front end while Python builds the project.

Called by hatch-jupyter-builder for every wheel, sdist and editable install (`uv sync`):

- from an sdist, which carries the built files, nothing is done and no Node is needed;
- in a checkout, the front end is built when its sources have changed since the last build;
- without Node, an editable install goes on without a front end and says so, since everything but
  the buttons in JupyterLab works; a wheel or an sdist is refused.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILT = ROOT / "element_jupyter" / "labextension"
STAMP = ROOT / "build" / "labextension.sha256"
SOURCES = (
    "package.json",
    "yarn.lock",
    ".yarnrc.yml",
    "labextension/rspack.config.cjs",
    "labextension/oneStyle.cjs",
    "labextension/shortJsx.cjs",
    "labextension/shortPrivate.cjs",
    "labextension/tsconfig.json",
    "labextension/src",
    "labextension/schema",
    "labextension/style",
)
OLDEST_NODE = (20, 19)
"""Rspack's own requirement (`engines` of @rspack/core 2.2)."""


def build(target_name: str, version: str) -> None:
    """Make sure that `element_jupyter/labextension` holds the built front end.

    `target_name` is wheel or sdist, `version` is standard or editable, as hatchling names them.

    Raises:
        RuntimeError: a wheel or an sdist is wanted, and the front end cannot be built.
    """
    if (ROOT / "PKG-INFO").is_file():
        return
    if is_current():
        return
    problem = _missing_node() or _run("install", "--immutable") or _run("run", "build:prod")
    if not problem:
        STAMP.parent.mkdir(exist_ok=True)
        STAMP.write_text(_digest())
        return
    if version != "editable":
        raise RuntimeError(f"The {target_name} cannot be built: {problem}")
    # hatchling wants the directory that it is to install to be there
    BUILT.mkdir(parents=True, exist_ok=True)
    print(
        f"element: no buttons in JupyterLab, because {problem} "
        "Everything else works; run `make setup` to mend it.",
        file=sys.stderr,
    )


def is_current() -> bool:
    """Whether the front end that is there was built from the sources that are there."""
    there = (BUILT / "package.json").is_file() and STAMP.is_file()
    return there and STAMP.read_text() == _digest()


def _digest() -> str:
    """One hash of the names and contents of everything that the front end is built from."""
    whole = hashlib.sha256()
    for source in SOURCES:
        path = ROOT / source
        files = sorted(file for file in path.rglob("*") if file.is_file()) or [path]
        for file in files:
            whole.update(f"{file.relative_to(ROOT)}\0".encode())
            whole.update(hashlib.sha256(file.read_bytes()).digest())
    return whole.hexdigest()


def _missing_node() -> str:
    node = shutil.which("node")
    oldest = ".".join(map(str, OLDEST_NODE))
    if node is None:
        return f"there is no Node.js here ({oldest} or newer is needed)."
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    try:
        found = tuple(int(part) for part in said.strip().lstrip("v").split(".")[:2])
    except ValueError:
        return f"{node} does not tell its version."
    return "" if found >= OLDEST_NODE else f"Node.js {said.strip()} is older than {oldest}."


def _run(*arguments: str) -> str:
    jlpm = shutil.which("jlpm")
    if jlpm is None:
        return "jlpm (of the PyPI package jupyter-builder) is not there."
    # standard output belongs to the build frontend that called us
    done = subprocess.run([jlpm, *arguments], cwd=ROOT, stdout=sys.stderr, check=False)
    return "" if done.returncode == 0 else f"`jlpm {' '.join(arguments)}` failed (see above)."
