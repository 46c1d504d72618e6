"""Whom this platform can serve: many, each as an account of the machine, or one person."""

from __future__ import annotations

import os
import stat
import sys
from functools import cache
from pathlib import Path

from element_jupyter.adapters.service_accounts import closed_directory
from element_jupyter.core.errors import Invalid
from element_jupyter.core.teams import person_name
from element_jupyter.hub.authentication.names import is_nobodys


@cache
def serves_one_because() -> str | None:
    """Return why only one person can be served here; None where many can."""
    if os.geteuid() != 0:
        return "It was not started as root, and so starts everything as the one who started it."
    for path in (sys.executable, sys.base_prefix, str(Path(__file__).parents[2])):
        if (closed := _closed_to_others(Path(path).resolve())) is not None:
            return (
                f"The accounts of other people could not run {path}: {closed} is closed to them."
                " Install Element where everybody can read it."
            )
    return None


def refuse_impossible_owner(owner: str) -> None:
    """Refuse a platform whose own person could never sign in.

    Raises:
        Invalid: no person can have the name.
    """
    if person_name(owner) != owner or is_nobodys(owner):
        raise Invalid(
            f"Element.owner is {owner!r}, and no person can be called so here.",
            "Set it (ELEMENT_OWNER) to the user name of somebody who signs in: up to 30 small"
            " letters and digits, and none of the machine's own accounts.",
            field="owner",
        )


def _closed_to_others(path: Path) -> Path | None:
    if (closed := closed_directory(path)) is not None:
        return closed
    mode = path.stat().st_mode
    needed = stat.S_IXOTH if stat.S_ISREG(mode) else stat.S_IXOTH | stat.S_IROTH
    return None if mode & needed == needed else path
