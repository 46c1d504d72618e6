"""The fork server's process: `python -m element_jupyter.platform.forkserver --socket PATH`."""

from __future__ import annotations

import argparse
from pathlib import Path

from element_jupyter.adapters.forkserver import preload, serve


def main(arguments: list[str] | None = None) -> None:
    """Import the modules, then fork children of this process until it is told to stop."""
    parser = argparse.ArgumentParser(prog="python -m element_jupyter.platform.forkserver")
    parser.add_argument("--socket", type=Path, required=True)
    parser.add_argument("--preload", nargs="*", default=[])
    options = parser.parse_args(arguments)
    preload(options.preload)
    serve(options.socket)


if __name__ == "__main__":
    main()
