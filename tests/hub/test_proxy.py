"""The proxy in front of the Hub."""

from __future__ import annotations

import re
import time

import httpx

from element_jupyter.hub.proxy import ElementProxy
from tests.hub_fixture import running_hub
from tests.platform_fixture import wait_until

CONFIG = """
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.password = "secret"
c.Authenticator.allow_all = True
c.JupyterHub.spawner_class = "simple"
c.Spawner.args = ["--allow-root"]
"""


def test_a_server_is_reached_through_the_proxy_as_soon_as_it_is_ready(tmp_path):
    with running_hub(tmp_path / "hub", CONFIG) as hub:
        with hub.api() as api:
            api.post("/users/ada").raise_for_status()
            api.post("/users/ada/server").raise_for_status()
        wait_until(lambda: hub.server("ada").get("ready"), 60, hub.log)

        answer = httpx.get(
            f"{hub.url}/user/ada/api/status",
            headers={"Authorization": f"token {hub.token_of('ada')}"},
        )

        assert answer.is_success
        assert re.search(r"Adding user ada to proxy", hub.log())


async def test_a_route_is_there_a_moment_after_it_was_added(tmp_path):
    with running_hub(tmp_path / "hub", CONFIG) as hub:
        proxy = ElementProxy(
            should_start=False,
            enable_setup_dynamic_config=False,
            public_url=hub.url,
            traefik_api_url=_setting(hub, "traefik_api_url"),
            traefik_api_username="hub",
            traefik_api_password="tests-only",
            dynamic_config_file=str(hub.directory / "routes.yaml"),
        )
        await proxy.add_route("/first/", hub.url, {})  # it looks around first, once
        began = time.monotonic()
        await proxy.add_route("/second/", hub.url, {})

        # the proxy that ours is made of needs one to two seconds
        assert time.monotonic() - began < 0.5


def _setting(hub, name):
    return re.search(rf"{name} = '([^']+)'", (hub.directory / "jupyterhub_config.py").read_text())[
        1
    ]
