"""The Hub and its proxy as components of the platform.

The proxy is a component of its own, not the Hub's child: people's servers stay reachable while the
Hub is started again. The Hub writes routes into a file that the proxy watches.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpx

from element_jupyter.adapters.service_accounts import ServiceAccount
from element_jupyter.config import Element
from element_jupyter.core.errors import Unavailable
from element_jupyter.platform.admin_files import packaged
from element_jupyter.platform.data import Data, write_private
from element_jupyter.platform.hub.setup import HubSetup, write_setup
from element_jupyter.platform.processes import answers, execute_program
from element_jupyter.platform.separation import Separation, share
from element_jupyter.platform.supervisor import Component, Process

ROUTES: Final = "routes.yaml"
_LOW_PORTS_END: Final = 1024
_UPLOAD_SECONDS: Final = 3600
"""How long a request's body may take; traefik's own 60 s would cut off large snapshots."""


def hub_components(  # noqa: PLR0917 - what they are made of
    settings: Element,
    data: Data,
    http: httpx.AsyncClient,
    setup: HubSetup,
    needs: tuple[str, ...],
    accounts: Separation,
) -> list[Component]:
    """Write what they are told, and return the proxy and the Hub."""
    for directory in (data.proxy, data.hub):
        directory.mkdir(mode=0o700, exist_ok=True)
    share(data.proxy, accounts.proxy)
    for name, elsewhere in (
        ("care.yaml", settings.care_file),
        ("quotas.yaml", settings.quotas_file),
        ("prices.yaml", settings.prices_file),
        ("sizes.yaml", settings.sizes_file),
        ("teams.yaml", settings.teams_file),
    ):
        if not elsewhere and not (data.root / name).exists():
            write_private(data.root / name, packaged(name).read_text(encoding="utf-8"))
        if not elsewhere and name != "teams.yaml":  # which the Hub alone goes by
            share(data.root / name, accounts.control_plane)
    if settings.tls_cert:
        setup = _with_certificate(settings, data, setup)
    write_setup(data, setup)
    if not (data.proxy / ROUTES).exists():  # traefik watches only what is there
        write_private(data.proxy / ROUTES, "{}\n")
    write_private(data.proxy / "traefik.json", json.dumps(_static(setup, data), indent=1) + "\n")
    for path in data.proxy.glob("*.*"):
        share(path, accounts.proxy)
    return [_proxy(data, http, setup, accounts.proxy), _hub(data, http, setup, needs)]


def _proxy(
    data: Data, http: httpx.AsyncClient, setup: HubSetup, account: ServiceAccount | None
) -> Component:
    program = shutil.which("traefik") or str(Path(sys.executable).with_name("traefik"))

    if not Path(program).exists():
        raise Unavailable("traefik is not installed.", "Install element-jupyter[hub].")
    command = [program, f"--configfile={data.proxy / 'traefik.json'}"]
    low = (urlsplit(setup.bind_url).port or 0) < _LOW_PORTS_END
    environment = {"PATH": os.environ["PATH"], "HOME": str(data.proxy)}

    async def launch() -> Process:
        return execute_program(
            data, "proxy", command, environment, data.proxy, account=account, ports=low
        )

    asked = answers(http, f"http://127.0.0.1:{setup.proxy_port}/ping")
    return Component("proxy", "Proxy", launch, asked, asked, log=data.log_name("proxy"))


def _hub(
    data: Data,
    http: httpx.AsyncClient,
    setup: HubSetup,
    needs: tuple[str, ...],
) -> Component:
    command = [sys.executable, "-m", "jupyterhub", "--config", str(_config_file(data))]

    async def launch() -> Process:
        return execute_program(data, "hub", command, _environment(data), data.hub)

    asked = answers(http, f"{setup.api_url.removesuffix('/api')}/health")
    return Component(
        "hub",
        "JupyterHub",
        launch,
        asked,
        asked,
        needs=(*needs, "proxy"),
        stop_signal=signal.SIGTERM,
        stop_seconds=15,
        ready_seconds=120,
        log=data.log_name("hub"),
    )


def _config_file(data: Data) -> Path:
    """Return the administrator's own configuration of the Hub, or the one that is shipped."""
    own = data.root / "jupyterhub_config.py"
    return own if own.is_file() else packaged("jupyterhub_config.py")


def _environment(data: Data) -> dict[str, str]:
    hidden = ("AIRFLOW", "JUPYTER", "ELEMENT_UP_", "ELEMENT_DATABASE")
    kept = {name: text for name, text in os.environ.items() if not name.startswith(hidden)}
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', os.defpath)}"
    return kept | {"ELEMENT_DATA_DIR": str(data.root), "PATH": path}


def _static(setup: HubSetup, data: Data) -> dict[str, object]:
    scheme, _, rest = setup.bind_url.partition("://")
    http: dict[str, object] = {
        "middlewares": ["security@file"],
        # X_Forwarded_For and the like would be taken for what the proxy itself says
        "aliasHeadersStrategy": "delete",
    }
    if scheme == "https":
        http["tls"] = {"options": "default"}
    return {
        "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
        "log": {"level": "WARN"},
        "api": {},
        "ping": {"entryPoint": "auth_api"},
        "providers": {
            "providersThrottleDuration": "0s",
            "file": {"filename": str(data.proxy / ROUTES), "watch": True},
        },
        "entryPoints": {
            scheme: {
                "address": rest.rstrip("/"),
                "http": http,
                "transport": {"respondingTimeouts": {"readTimeout": f"{_UPLOAD_SECONDS}s"}},
            },
            "auth_api": {"address": f"127.0.0.1:{setup.proxy_port}"},
        },
    }


def _with_certificate(settings: Element, data: Data, setup: HubSetup) -> HubSetup:
    """Copy certificate and key to where the proxy reads them."""
    copies = {}
    for name, given in (("tls_cert", settings.tls_cert), ("tls_key", settings.tls_key)):
        target = data.proxy / f"{name}.pem"
        try:
            write_private(target, Path(given).read_text())
        except OSError as error:
            raise Unavailable(
                f"{given or '--tls-key'} cannot be read: {error.strerror}.",
                "Give both --tls-cert and --tls-key.",
            ) from error
        copies[name] = str(target)
    return setup.model_copy(update=copies)
