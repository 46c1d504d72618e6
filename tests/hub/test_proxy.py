"""The proxy in front of the Hub."""

from __future__ import annotations

import re
import time

import httpx
import psutil
import pytest

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


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    with running_hub(tmp_path_factory.mktemp("proxy") / "hub", CONFIG) as hub:
        yield hub


def test_a_server_is_reached_through_the_proxy_as_soon_as_it_is_ready(hub):
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


async def test_a_route_is_there_a_moment_after_it_was_added_and_costs_the_proxy_little(hub):
    traefik = next(
        child
        for child in psutil.Process(hub.process.pid).children(recursive=True)
        if child.name() == "traefik"
    )
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
    before = _cpu_seconds(traefik)
    began = time.monotonic()
    for number in range(20):
        await proxy.add_route(f"/route-{number}/", hub.url, {})
    took = time.monotonic() - began

    # the proxy that ours is made of needs one to two seconds for each
    assert took < 20 * 0.5
    # an RSA key for each change would be 0.1 s, on average
    assert _cpu_seconds(traefik) - before < 20 * 0.05


def _cpu_seconds(process):
    times = process.cpu_times()
    return times.user + times.system


def _setting(hub, name):
    return re.search(rf"{name} = '([^']+)'", (hub.directory / "jupyterhub_config.py").read_text())[
        1
    ]
