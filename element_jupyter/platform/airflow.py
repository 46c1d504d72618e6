"""Composition for Airflow's processes: what the provider is handed, and which settings it needs.

Airflow's own processes call `compose`; `element up` puts `AIRFLOW_SETTINGS` and `ELEMENT_BUNDLE`
into airflow.cfg. Importing this imports nothing of Airflow.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from element_jupyter.core.orchestration import HubAddress
    from element_jupyter.provider.settings import Settings

ELEMENT_BUNDLE: Final[dict[str, object]] = {
    "name": "element",
    "classpath": "element_jupyter.provider.bundle.ElementDagBundle",
    "kwargs": {"refresh_interval": 1},
}

AIRFLOW_SETTINGS: Final[dict[str, dict[str, object]]] = {
    "core": {
        "min_serialized_dag_update_interval": 0,  # 30 would drop a second edit without a word
        "dags_are_paused_at_creation": False,  # a saved job is meant to run
        "dagbag_import_error_traceback_depth": 1,  # a job's error is its sentence
        "dag_discovery_safe_mode": False,  # else each change would read every file
    },
    "dag_processor": {
        # the default is shared by all Airflows of the machine; Airflow itself puts its home in
        "dag_bundle_storage_path": "$AIRFLOW_HOME/bundles",
        "min_file_process_interval": 86_400,  # what changes is told by the job feed, or by mtime
        "bundle_refresh_check_interval": 1,
        "file_parsing_sort_mode": "modified_time",  # the only one that sees changed files
        "print_stats_interval": 0,  # 30 would print a table of all files
        "stale_bundle_cleanup_interval": 600,
        "stale_bundle_cleanup_age_threshold": 21_600,
        "stale_bundle_cleanup_min_versions": 10,
    },
    "triggerer": {"on_kill_timeout": 30},
}
"""Sections of airflow.cfg that the provider depends on, with the reason where it is not plain."""


HUB_AUTH_MANAGER: Final = "element_jupyter.provider.auth.manager.HubAuthManager"


def element_section(service_url: str, token_file: Path) -> dict[str, object]:
    """Return the section `[element]` of airflow.cfg."""
    return {"service_url": service_url, "token_file": token_file}


def hub_section(hub: HubAddress, control_plane_digest: str) -> dict[str, object]:
    """Return what `[element]` has besides where people sign in at a Hub."""
    return {
        "hub_api_url": hub.api_url,
        "hub_public_url": hub.public_url,
        "hub_token_file": hub.token_file,
        "hub_service": hub.service,
        "control_plane_digest": control_plane_digest,
    }


def compose(section: Mapping[str, Any]) -> Settings:
    """Return the provider's settings from the section `[element]`."""
    from element_jupyter.adapters.cron import CroniterWallClock
    from element_jupyter.provider.settings import Settings

    return Settings(
        service_url=str(section["service_url"]),
        token_file=Path(str(section["token_file"])).expanduser(),
        wall_clock=CroniterWallClock(),
        render_notebook=_render,
        hub=_hub(section),
        control_plane_digest=str(section.get("control_plane_digest", "")),
    )


def _hub(section: Mapping[str, Any]) -> HubAddress | None:
    if "hub_api_url" not in section:
        return None
    # pydantic, which DAG files need not wait for where there is no Hub
    from element_jupyter.core.orchestration import HubAddress

    return HubAddress(
        api_url=str(section["hub_api_url"]),
        public_url=str(section["hub_public_url"]),
        token_file=Path(str(section["hub_token_file"])),
        service=str(section["hub_service"]),
    )


def _render(notebook: str) -> str:
    # only the web server renders, and its imports are many
    from element_jupyter.adapters.notebook_html import render

    return render(notebook)
