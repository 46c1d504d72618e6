"""The fork server's process: `python -m element_jupyter.platform.forkserver --socket PATH`."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Final

from element_jupyter.adapters.forkserver import preload, serve

_KEPT: Final = ("LANG", "LC_ALL", "LC_CTYPE", "PATH", "PYTHONPATH", "TZ")


def main(arguments: list[str] | None = None) -> None:
    """Import the modules, then fork children of this process until it is told to stop."""
    parser = argparse.ArgumentParser(prog="python -m element_jupyter.platform.forkserver")
    parser.add_argument("--socket", type=Path, required=True)
    parser.add_argument("--preload", nargs="*", default=[])
    parser.add_argument(
        "--for-people", action="store_true", help="every child becomes a person; for root alone"
    )
    options = parser.parse_args(arguments)
    if options.for_people:
        _forget_environment()
    preload(options.preload)
    serve(options.socket, for_people=options.for_people)


def _forget_environment() -> None:
    """Start anew with what a person's process may see of root's environment.

    A forked child is free to look at the memory that it was born with.
    """
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    if kept.keys() != os.environ.keys():
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], kept)  # noqa: S606


if __name__ == "__main__":
    main()
