"""`configure(c)`: everything of JupyterHub that Element needs, in one call.

What an administrator may want otherwise is set after the call; what people are given (sizes, teams)
is in YAML files, which are read again when they change.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

from element_jupyter import config
from element_jupyter.adapters.admin_files import AdminFile
from element_jupyter.adapters.hub.launcher import HttpLauncher
from element_jupyter.core.places import AIRFLOW_PREFIX, SERVICE_PREFIX
from element_jupyter.core.teams import TeamRules
from element_jupyter.platform.data import Data
from element_jupyter.platform.hub.components import ROUTES
from element_jupyter.platform.hub.inherited import inherited_environment
from element_jupyter.platform.hub.people import serves_one_because
from element_jupyter.platform.hub.reservations import HubReservations
from element_jupyter.platform.hub.setup import (
    HubSetup,
    Secret,
    read_setup,
)
from element_jupyter.platform.hub.untold import Untold
from element_jupyter.platform.published_quotas import PublishedQuotas

_CONTROL_PLANE: Final = "element"
_AIRFLOW: Final = "airflow"

OAUTH_CLIENT: Final = f"service-{_CONTROL_PLANE}"
"""As which client the control plane signs browsers in for its pages."""

_RECOGNISED_SECONDS: Final = 20
_ONE: Final = "This platform serves one person: nobody else can be invited."

_ASKS_IN_A_PERSONS_NAME: Final = (
    f"access:services!service={_CONTROL_PLANE}",
    f"access:services!service={_AIRFLOW}",
    "read:users!user",
)
"""What a person's server may do at the Hub besides its own business: say who they are."""


def configure(c: Any) -> None:
    """Configure the Hub that `element up` starts; `c` is what `get_config()` returned.

    Raises:
        Invalid: `element up` has not said where the Hub is to be, or a YAML file is wrong.
    """
    settings = config.load()
    data = Data(settings.data)
    setup = read_setup(data)
    launcher = HttpLauncher(setup.service_url, Secret.HUB.of(data))
    untold = Untold(launcher.tell, data.hub / "untold")
    _addresses(c, data, setup)
    _services(c, data, setup)
    _people(c, settings, setup)
    reservations = HubReservations(launcher.tell, PublishedQuotas(settings, data).in_force, untold)
    _servers(c, settings, setup, launcher, reservations)
    _audit(c, untold)


def _addresses(c: Any, data: Data, setup: HubSetup) -> None:
    from element_jupyter.hub.proxy import ElementProxy

    hub = c.JupyterHub
    hub.bind_url = setup.bind_url
    hub.public_url = setup.public_url
    hub.hub_bind_url = f"http://127.0.0.1:{setup.hub_port}"
    hub.db_url = setup.database_url
    hub.cookie_secret = Secret.COOKIES.of(data).encode()[:32]
    hub.ssl_cert, hub.ssl_key = setup.tls_cert, setup.tls_key
    # people's servers, and the proxy, go on when the Hub ends, and are taken over when it is back
    hub.cleanup_servers = False
    hub.cleanup_proxy = False
    # what passes through the proxy is no sign of a person: an open page must not keep a server
    hub.last_activity_interval = 0
    hub.allow_named_servers = True
    hub.oauth_require_pkce = True
    hub.proxy_class = ElementProxy
    proxy = c.ElementProxy
    proxy.should_start = False
    proxy.dynamic_config_file = str(data.proxy / ROUTES)
    proxy.traefik_api_url = f"http://127.0.0.1:{setup.proxy_port}"
    proxy.traefik_api_username = "hub"
    proxy.traefik_api_password = Secret.PROXY.of(data)
    # routed here, not as addresses of Hub services: the Hub would wait for them when it starts
    middlewares = {"security": {"headers": _headers(setup)}}
    proxy.extra_dynamic_config = {"http": {"middlewares": middlewares, **_routes(setup)}}
    cookies: dict[str, Any] = {"samesite": "Lax"}
    if setup.public_url.startswith("https:"):
        cookies["secure"] = True
    hub.tornado_settings = {"cookie_options": cookies}


def _routes(setup: HubSetup) -> dict[str, Any]:
    """Return traefik's routers and services for what is beside the Hub."""
    targets = {SERVICE_PREFIX: setup.service_url, AIRFLOW_PREFIX: setup.airflow_url}
    routers, services = {}, {}
    for prefix, url in targets.items():
        if url is not None:
            name = prefix.strip("/").replace("/", "-")
            routers[name] = {
                "rule": f"PathPrefix(`{prefix}`) || Path(`{prefix.rstrip('/')}`)",
                "entryPoints": [setup.bind_url.partition(":")[0]],
                "service": name,
            }
            services[name] = {"loadBalancer": {"servers": [{"url": url}], "passHostHeader": True}}
    return {"routers": routers, "services": services}


def _headers(setup: HubSetup) -> dict[str, Any]:
    """Headers of every answer; what may be in a page is each service's own to say."""
    found: dict[str, Any] = {
        "contentTypeNosniff": True,
        "referrerPolicy": "same-origin",
        "customFrameOptionsValue": "SAMEORIGIN",
    }
    if setup.public_url.startswith("https:"):
        found |= {"stsSeconds": 31_536_000, "forceSTSHeader": True}
    return found


def _services(c: Any, data: Data, setup: HubSetup) -> None:
    services: list[dict[str, Any]] = [
        {
            "name": _CONTROL_PLANE,
            "api_token": Secret.CONTROL_PLANE.of(data),
            "display": False,
            **_sign_in_of(_CONTROL_PLANE, f"{SERVICE_PREFIX}sign-in/callback"),
        }
    ]
    if setup.airflow_url is not None:
        services.append(
            {
                "name": _AIRFLOW,
                "api_token": Secret.AIRFLOW.of(data),
                **_sign_in_of(_AIRFLOW, f"{AIRFLOW_PREFIX}auth/callback"),
            }
        )
    c.JupyterHub.services = services
    c.JupyterHub.load_roles = [
        {
            "name": "user",
            "description": "Everyone who may sign in",
            "scopes": ["self", *_ASKS_IN_A_PERSONS_NAME],
        },
        {
            "name": "element-control-plane",
            "description": "Starts and stops runs as their owners, and sees who is in which team",
            "services": [_CONTROL_PLANE],
            "scopes": ["servers", "list:users", "read:users", "read:groups", "read:hub"],
        },
        {
            "name": "element-airflow",
            "description": "Sees who is in which team",
            "services": [_AIRFLOW] if setup.airflow_url is not None else [],
            "scopes": ["read:users:name", "read:users:groups", "read:users"],
        },
    ]
    c.Spawner.server_token_scopes = _scopes_of_server


def _sign_in_of(service: str, redirect_path: str) -> dict[str, Any]:
    """Return by what people sign in at a service: it learns who they are, and no more."""
    return {
        "oauth_client_id": f"service-{service}",
        "oauth_redirect_uri": redirect_path,
        "oauth_no_confirm": True,
        "oauth_client_allowed_scopes": [
            f"access:services!service={service}",
            "read:users:name!user",
            "read:users:groups!user",
        ],
    }


def _people(c: Any, settings: config.Element, setup: HubSetup) -> None:
    from element_jupyter.platform.hub.authentication import configure_authentication

    many = serves_one_because() is None
    rules = AdminFile(Path(settings.teams_file or settings.data / "teams.yaml"), TeamRules)
    configure_authentication(c, settings, rules, invitations=many)
    # the Hub knows from the start whom the platform's own token speaks for; a directory's person of
    # that name is somebody else, whom `teams.yaml` may name
    c.ElementLocalAuthenticator.admin_users = {settings.owner}
    variables: dict[str, Any] = {"announcement": "" if many else _ONE}
    links = [SimpleNamespace(name="Quotas and usage", href=SERVICE_PREFIX)]
    if setup.airflow_url is not None:
        links.append(SimpleNamespace(name="Airflow", href=AIRFLOW_PREFIX))
    variables["services"] = lambda person: links if person else []
    c.JupyterHub.template_vars = variables


def _audit(c: Any, untold: Untold) -> None:
    from element_jupyter.hub.audit import RightsWatch

    watch = RightsWatch(lambda act: untold.keep("audit", act.model_dump(mode="json")))
    watch.listen()

    # not the method itself: configuration is copied deeply, and a method with what it belongs to
    def answered(handler: Any) -> None:
        watch.answered(handler)

    c.JupyterHub.tornado_settings["log_function"] = answered


def _servers(
    c: Any,
    settings: config.Element,
    setup: HubSetup,
    launcher: HttpLauncher,
    reservations: HubReservations,
) -> None:
    from element_jupyter.platform.spawners import local_spawner

    c.JupyterHub.spawner_class = local_spawner(
        settings,
        Path(settings.sizes_file or settings.data / "sizes.yaml"),
        launcher=launcher,
        reservations=reservations,
        count=reservations.count,
        url=setup.service_url,
        fork_socket=Path(setup.runner_socket) if setup.runner_socket else None,
        many=serves_one_because() is None,
    )
    c.Spawner.default_url = "/lab"
    c.Spawner.http_timeout = 60
    c.Spawner.environment = inherited_environment(settings)
    # who was let in is asked for anew so often; the usual five minutes are long for who was removed
    arguments = [f"--HubAuth.cache_max_age={_RECOGNISED_SECONDS}"]
    if setup.public_url.startswith("https:"):
        kept = "{'secure': True, 'samesite': 'Lax'}"
        arguments.append(f"--ServerApp.cookie_options={kept}")
        arguments.append(f"--ServerApp.tornado_settings={{'xsrf_cookie_kwargs': {kept}}}")
        # the proxy says that it was asked over TLS, by which cookies are kept to it
        arguments.append("--ServerApp.trust_xheaders=True")
    if serves_one_because() is not None and os.geteuid() == 0:
        arguments.append("--allow-root")
    c.Spawner.args = arguments


def _scopes_of_server(spawner: Any) -> list[str]:
    """Return what a server may do at the Hub: less for a run's, which is nobody's editor."""
    own = ["users:activity!user", "access:servers!server"]
    options = spawner.user_options or {}
    return own if "run" in options else [*own, *_ASKS_IN_A_PERSONS_NAME]
