"""A hundred people sign in at once and start small servers: how many fail, how fast the Hub is.

Each has an account of the Hub and one of the machine, and does what a browser does: the page for
signing in, the password, the home page, a start, and a look every half second until the server is
ready; twenty do so at a time. Their servers only answer, so that what is measured is the Hub, its
spawner and the proxy. Meanwhile another process, which has nothing else to do, asks the Hub's REST
interface for the first twenty people and their servers, 50 ms after each answer: the times from
question to answer, through the proxy, are what p95 is of. Making the invitations is not counted.
"""

from __future__ import annotations

import multiprocessing
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import httpx

from element_jupyter.hub.authentication.accounts import Accounts
from tests.hub.signing_in import Visitor, xsrf_of
from tests.hub_platform import PASSWORD, HubPlatform, hub_platform

PEOPLE = [f"bench{number:03}" for number in range(100)]
AT_ONCE = 20
P95_BAR_SECONDS = 0.25
NO_TLS = ssl.create_default_context()
"""One for all, since it takes longer to make than to sign in."""
STUB = Path(__file__).with_name("light_server.py")
SIZES = "default: tiny\nsizes: [{name: tiny, cpu: 0.1, memory_bytes: 64 MiB}]\n"
CONFIG = f"""
from traitlets.config import get_config
from element_jupyter.platform.hub.configure import configure
c = get_config()
configure(c)
c.Spawner.cmd = [{sys.executable!r}, "-IS", {str(STUB)!r}]
"""


def measure() -> list[dict[str, Any]]:
    """Sign everybody in, start everybody's server, and ask the Hub all the while."""
    with tempfile.TemporaryDirectory(prefix="element-bench-") as temporary:
        data = Path(temporary) / "data"
        data.mkdir(mode=0o700)
        (data / "sizes.yaml").write_text(SIZES)
        (data / "jupyterhub_config.py").write_text(CONFIG)
        try:
            with hub_platform(Path(temporary)) as hub:
                return _measured(hub, hub.data)
        finally:
            for person in PEOPLE:
                subprocess.run(["pkill", "-KILL", "-u", person], check=False, capture_output=True)
                subprocess.run(["userdel", "-f", person], check=False, capture_output=True)


def _measured(hub: HubPlatform, data: Path) -> list[dict[str, Any]]:
    accounts = Accounts(data / "hub" / "people.sqlite")
    for person in PEOPLE:
        link = accounts.make_link("invitation", made_by="bench", person=person)
        accounts.use_link(link, person, PASSWORD)
    ours, its = multiprocessing.Pipe()
    with hub.hub() as client:
        asked = str(client.base_url), dict(client.headers)
    asking = multiprocessing.get_context("spawn").Process(target=_ask, args=(*asked, its))
    asking.start()
    ours.recv()
    began = time.monotonic()
    try:
        with ThreadPoolExecutor(AT_ONCE) as at_once:
            ready = list(at_once.map(lambda person: _sign_in_and_start(hub.url, person), PEOPLE))
    finally:
        took = time.monotonic() - began
        ours.send("over")
        seconds: list[float] = ours.recv()
        asking.join()
    failed = len(ready) - sum(ready)
    p95 = statistics.quantiles(seconds, n=20)[-1]
    print(
        f"{len(PEOPLE)} people in {took:.0f} s; {len(seconds)} requests, "
        f"median {statistics.median(seconds) * 1000:.0f} ms",
        file=sys.stderr,
    )
    return [
        _row("hub_failed_spawns", failed, "of 100", "0", failed == 0),
        _row("hub_api_p95", p95, "s", f"≤ {P95_BAR_SECONDS}", p95 <= P95_BAR_SECONDS),
    ]


def _sign_in_and_start(url: str, person: str) -> bool:
    with Visitor(url, verify=NO_TLS) as visitor:
        visitor.sign_in(person, PASSWORD).raise_for_status()
        xsrf = xsrf_of(visitor.get("/hub/home"))
        path = f"/hub/api/users/{person}"
        started = visitor.post(f"{path}/server", params={"_xsrf": xsrf})
        deadline = time.monotonic() + 120
        while started.is_success and time.monotonic() < deadline:
            server = visitor.get(path, params={"_xsrf": xsrf}).json()["servers"].get("", {})
            if server.get("ready"):
                return True
            time.sleep(0.5)
    return False


def _ask(url: str, headers: dict[str, str], told: Connection) -> None:
    """Ask until told to end; say that it begins, and at last how long each answer took."""
    seconds: list[float] = []
    with httpx.Client(base_url=url, headers=headers, timeout=30, trust_env=False) as client:
        told.send("begun")
        while not told.poll(0.05):
            began = time.monotonic()
            try:
                client.get("/users", params={"limit": 20}).raise_for_status()
            except httpx.HTTPError as error:
                print(f"the Hub did not answer: {error}", file=sys.stderr)
            seconds.append(time.monotonic() - began)
    told.send(seconds)


def _row(name: str, value: float, unit: str, bar: str, holds: bool) -> dict[str, Any]:
    return {
        "name": name,
        "ours": value,
        "peer": None,
        "unit": unit,
        "ratio": None,
        "bar": bar,
        "holds": holds,
    }
