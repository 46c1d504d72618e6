"""What the provider is handed: where the control plane is, and what reads cron and notebooks.

Airflow instantiates bundles, operators, triggers and timetables by class path, so nothing can be
passed to them. They ask here; `[element] composition` in airflow.cfg names the function that
answers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from airflow.configuration import conf

if TYPE_CHECKING:
    from collections.abc import Callable

    # with pydantic's models behind it, too heavy for what is imported at each DAG's parse
    from element_jupyter.core.orchestration import HubAddress
    from element_jupyter.core.schedules import WallClock

SECTION: Final = "element"
_COMPOSITION: Final = "element_jupyter.platform.airflow.compose"


@dataclass(frozen=True)
class Settings:
    """One installation, as Airflow's processes see it."""

    service_url: str
    """The control plane, e.g. `http://127.0.0.1:8765`, without a path."""
    token_file: Path
    """File (0600) with the token that Airflow acts with."""
    wall_clock: WallClock
    render_notebook: Callable[[str], str]
    """Makes a page that does nothing of a notebook's JSON."""
    hub: HubAddress | None = None
    """Where people sign in; None: Airflow has users of its own."""
    control_plane_digest: str = ""
    """The sha256, in hexadecimal, of the token with which the control plane comes."""


@cache
def settings() -> Settings:
    """Return the settings of this process; read once."""
    compose = conf.getimport(SECTION, "composition", fallback=_COMPOSITION)
    composed: Settings = compose(conf.getsection(SECTION) or {})
    return composed
