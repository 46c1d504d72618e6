"""Element: JupyterLab notebooks become dependable Airflow jobs.

Importing this package costs nothing: the faces (server, hub, service, runner, provider) are
imported by the process that needs them. `tests/test_architecture.py` holds the rules.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from element_jupyter.recording import record

__all__ = ["record"]


def _jupyter_server_extension_points() -> list[dict[str, object]]:
    """Tell Jupyter Server what to load."""
    from element_jupyter.platform.lab import ElementExtension

    return [{"module": "element_jupyter.platform.lab", "app": ElementExtension}]


def _jupyter_labextension_paths() -> list[dict[str, str]]:
    """Tell `jupyter-builder develop` where the built front end is."""
    return [{"src": "labextension", "dest": "@element/labextension"}]


def __getattr__(name: str) -> Any:
    if name == "record":
        from element_jupyter.recording import record

        return record
    raise AttributeError(f"module 'element_jupyter' has no attribute {name!r}")
