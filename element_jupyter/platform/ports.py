"""The ports of the platform: chosen once and kept, so that its URLs stay the same."""

from __future__ import annotations

import json
import secrets
import socket
from typing import Final

from element_jupyter.config import Element
from element_jupyter.core.errors import Conflict, Invalid
from element_jupyter.platform.data import Data, write_private

LOOPBACK: Final = "127.0.0.1"
_PREFERRED: Final = {
    "service": 8650,
    "airflow": 8651,
    "public": 8600,
    "hub": 8652,
    "proxy": 8653,
}


def choose_ports(data: Data, config: Element, *, hub: bool = False) -> dict[str, int]:
    """Return the ports: the configured, else those of the last start, else free ones, then kept.

    Those of proxy and Hub are among them where there is a `hub`.

    Raises:
        Conflict: one of them is taken by another program.
        Invalid: the same port is given twice.
    """
    kept = kept_ports(data)
    given = dict.fromkeys(_PREFERRED, 0) | {
        "service": config.port,
        "airflow": config.airflow_port,
        "public": config.public_port,
    }
    if given["service"] and given["service"] == given["airflow"]:
        raise Invalid(
            f"Port {config.port} is given for the control plane and for Airflow.",
            "Give two different ports.",
            field="airflow_port",
        )
    hosts = {"service": config.host, "public": config.public_host}
    chosen: dict[str, int] = {}
    wanted = _PREFERRED if hub else {name: _PREFERRED[name] for name in ("service", "airflow")}
    for name, preferred in wanted.items():
        host = hosts.get(name, LOOPBACK)
        taken = {*chosen.values(), *given.values()} - {given[name]}
        port = given[name] or kept.get(name, 0)
        if not port or port in taken:
            usable = preferred not in taken and is_free(host, preferred)
            port = preferred if usable else free_port(host)
        elif not is_free(host, port):
            raise Conflict(
                f"Port {port} of {host} is taken by another program.",
                f"End that program, or choose another port with {_OPTION[name]}.",
            )
        chosen[name] = port
    if chosen != kept:
        write_private(data.ports_file, json.dumps(kept | chosen) + "\n")
    return chosen


_OPTION: Final = {
    "service": "--port",
    "airflow": "ELEMENT_AIRFLOW_PORT",
    "public": "ELEMENT_PUBLIC_PORT",
    "hub": "`ports.json` in the data directory",
    "proxy": "`ports.json` in the data directory",
}


def kept_ports(data: Data) -> dict[str, int]:
    """Return the ports of the last start; empty before the first."""
    try:
        kept = json.loads(data.ports_file.read_text())
        return {name: int(kept[name]) for name in _PREFERRED if name in kept}
    except (FileNotFoundError, ValueError, TypeError):
        return {}


def is_free(host: str, port: int) -> bool:
    """Tell whether a server could listen there now."""
    with socket.socket(_family(host)) as probe:
        # as servers do: connections of one that has just ended do not count
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def free_port(host: str = LOOPBACK) -> int:
    """Return a port that is free now, outside the range that outgoing connections get theirs from.

    Inside it (from 32768 on, in Linux) a connection may hold the port while nothing listens there;
    so may a client that tries until it is answered: by itself, in the end.
    """
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        if is_free(host, port):
            return port


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
