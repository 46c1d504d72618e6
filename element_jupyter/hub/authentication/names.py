"""Names that no person may have, whoever vouches for them."""

from __future__ import annotations

import pwd
from collections.abc import Collection
from typing import Final

from element_jupyter.hub.authentication.standing import TEAM_ACCOUNT

RESERVED: Final = frozenset({"element", "airflow", "hub", "services", "nobody"})
_FIRST_PERSON_UID: Final = 1000
"""Accounts of the operating system below it belong to the machine."""


def is_nobodys(name: str, reserved: Collection[str] = RESERVED) -> bool:
    """Whether a name belongs to the platform, to a team's server or to the machine."""
    return (
        name in reserved
        or name.startswith((TEAM_ACCOUNT, "element-"))
        or _is_account_of_machine(name)
    )


def _is_account_of_machine(name: str) -> bool:
    try:
        return pwd.getpwnam(name).pw_uid < _FIRST_PERSON_UID
    except KeyError:
        return False
