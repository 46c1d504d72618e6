"""Snapshots for the Jupyter server, each in a child process.

Hashing thousands of small files keeps the interpreter's lock busy, and the event loop of a person's
server also carries their kernels' messages: it must not feel a snapshot at all. The child is given
the token and the notebook's path on its standard input and answers with one JSON document.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

from element_jupyter.core.errors import ElementError, Invalid, Problem
from element_jupyter.core.values import Value
from element_jupyter.platform.children import start_child
from element_jupyter.platform.client import Local, connect, find_root
from element_jupyter.server.snapshots import TakenSnapshot

NICE: Final = 5
"""The child gives way to the server's loop and to people's kernels on the same cores."""


class _Answer(Value):
    taken: TakenSnapshot | None = None
    problem: Problem | None = None


async def take(notebook: Path, token: str | None = None) -> TakenSnapshot:
    """Snapshot the project of a notebook and upload what the control plane does not have.

    With a `token`, as its holder; else as whose server this is. Cancelling kills the child.

    Raises:
        Invalid, TooLarge: the project cannot be a snapshot; names the file.
        Conflict: files kept changing between being read and being sent.
        Unavailable: the control plane does not answer, or its blob store takes no data.
    """
    # -P: a module in the directory that the server was started in is not ours to import
    child = await start_child(sys.executable, "-P", "-m", __name__)
    try:
        said, _ = await child.communicate(f"{token or ''}\n".encode() + os.fsencode(notebook))
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    if child.returncode != 0:
        raise ElementError(
            f"The process that takes the snapshot ended with {child.returncode}.",
            "The log of the Jupyter server says why.",
        )
    answer = _Answer.model_validate_json(said)
    if answer.taken is None:
        raise ElementError.from_problem(answer.problem or Problem(code="failed", message="?"))
    return answer.taken


def place_of(notebook: Path) -> tuple[Path, str]:
    """Return the root of a notebook's project, and where the notebook is in it.

    Raises:
        Invalid: its directory is gone.
    """
    root = find_root(notebook)
    # links above the notebook are followed, the notebook itself is named as it is
    inside = (notebook.absolute().parent.resolve() / notebook.name).relative_to(root).as_posix()
    return root, inside


def is_left_out(notebook: str, root: Path) -> Invalid:
    """Return what to say of a notebook that is not in the snapshot of its project."""
    return Invalid(
        f"'{notebook}' is left out of the snapshot: .gitignore or .elementignore names it.",
        f"Write !{notebook} into .elementignore of {root} to take it along.",
        field="path",
    )


def _take(local: Local, notebook: Path) -> TakenSnapshot:
    root, inside = place_of(notebook)
    scan = local.upload(root, lambda _step: lambda _done, _total: None)
    entries = scan.manifest.entries
    if all(entry.path != inside for entry in entries):
        raise is_left_out(inside, root)
    return TakenSnapshot(
        snapshot_id=scan.manifest.snapshot_id,
        root=root,
        notebook=inside,
        size_bytes=scan.manifest.size_bytes,
        file_count=len(entries),
        warnings=scan.warnings,
    )


def main() -> None:
    """Be the child: a path in, one answer out."""
    # what a library prints must not end up in the answer
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    os.nice(NICE)
    token, _, path = sys.stdin.buffer.read().partition(b"\n")
    notebook = Path(os.fsdecode(path))
    try:
        answer = _Answer(taken=_take(connect(None, token=token.decode() or None), notebook))
    except ElementError as error:
        answer = _Answer(problem=error.problem)
    with out:
        out.write(answer.model_dump_json(exclude_none=True).encode())


if __name__ == "__main__":
    main()
