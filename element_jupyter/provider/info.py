"""What Airflow finds by the entry point `apache_airflow_provider`: this package described."""

from __future__ import annotations

from typing import Any


def provider_info() -> dict[str, Any]:
    """Describe the provider and its section of airflow.cfg."""
    return {
        "package-name": "element-jupyter",
        "name": "Element",
        "description": "Jupyter notebooks as dependable Airflow jobs.",
        "config": {
            "element": {
                "description": "Where Element's control plane is; `element up` writes it.",
                "options": {
                    "service_url": _option(
                        "URL of the control plane, without a path.", "http://127.0.0.1:8765"
                    ),
                    "token_file": _option(
                        "File (0600) with the token that Airflow acts with.",
                        "~/.local/share/element/token",
                    ),
                },
            }
        },
    }


def _option(description: str, example: str) -> dict[str, Any]:
    return {
        "description": description,
        "version_added": "0.1.0",
        "type": "string",
        "example": example,
        "default": None,
    }
