"""Which modules a built environment has, told from the names of its files: nothing is run."""

from __future__ import annotations

import os
from pathlib import Path


def modules_of(prefix: Path) -> frozenset[str] | None:
    """Return the top-level modules of an environment; None when files do not tell them all."""
    own = [*(prefix / "lib").glob("python3*")]
    standard = [*own]
    settings = _settings(prefix)
    if settings.get("include-system-site-packages", "false").lower() != "false":
        return None
    if home := settings.get("home"):
        standard += (Path(home).parent / "lib").glob("python3*")
    found: set[str] = set()
    for directory in (*standard, *(each / "site-packages" for each in own)):
        for name in _names(directory):
            if name.startswith("__editable__") or name.endswith((".egg-link", ".egg")):
                return None
            if name.endswith(".pth") and _leads_elsewhere(directory / name):
                return None
            found.add(name.partition(".")[0])
    # an environment without the kernel is not one that was understood
    return frozenset(found) if "ipykernel" in found else None


def _settings(prefix: Path) -> dict[str, str]:
    try:
        lines = (prefix / "pyvenv.cfg").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return {}
    pairs = (line.partition("=") for line in lines)
    return {key.strip().lower(): value.strip() for key, _, value in pairs}


def _names(directory: Path) -> list[str]:
    try:
        with os.scandir(directory) as entries:
            return [entry.name for entry in entries]
    except OSError:
        return []


def _leads_elsewhere(file: Path) -> bool:
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return True
    said = (line.strip() for line in lines)
    return any(line and not line.startswith(("#", "import ", "import\t")) for line in said)
