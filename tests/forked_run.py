"""What a fork server runs in tests of the spawner, in place of the runner."""

from __future__ import annotations

import os


def main() -> None:
    """Execute the program that the run was given."""
    exec(os.environ["PROGRAM"], {"__name__": "__main__"})
