"""The runner: executes one notebook, tells what happens, and writes the result."""

from __future__ import annotations

from typing import Final

PRELOAD: Final = ("element_jupyter.platform.runner",)
"""What a fork server imports so that a forked runner starts at once; it brings in all the rest."""
