"""The control plane's REST interface, as the browser reaches it through the Jupyter server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path

import httpx
import pytest

from tests.server.conftest import Platform
from tests.server.running import JUPYTER_TOKEN, Lab, running_lab

API = "element/api/v1"
OUTAGE = {
    "code": "unavailable",
    "message": "The Element platform is not running.",
    "hint": "Start it with `element up`.",
    "field": None,
    "details": "",
}


async def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        await asyncio.sleep(0.01)


async def test_without_the_platform_the_answer_says_how_to_start_it(lab: Lab):
    async with lab.client() as browser:
        answer = await browser.get(f"{API}/runs")

    assert answer.status_code == 503
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json() == OUTAGE


async def test_an_address_where_nobody_listens_is_an_outage_too(lab: Lab):
    (lab.data / "token").write_text("t")
    (lab.data / "state.json").write_text('{"service_url": "http://127.0.0.1:1"}')

    async with lab.client() as browser:
        answer = await browser.get(f"{API}/runs")

    assert (answer.status_code, answer.json()) == (503, OUTAGE)


async def test_a_server_that_a_hub_has_started_asks_as_its_person_whatever_the_files_say(
    platform: Platform, tmp_path: Path
):
    state = json.loads((platform.lab.data / "state.json").read_text())
    told = {
        "ELEMENT_URL": state["service_url"],
        "JUPYTERHUB_API_TOKEN": platform.token,
        "JUPYTERHUB_USER": "mia",
        "ELEMENT_TEAM": "sales",
    }
    notebook = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": []}
    with running_lab(tmp_path / "of-mia", variables=told) as lab:
        (lab.data / "token").write_text("another person's")
        (lab.data / "state.json").write_text('{"service_url": "http://127.0.0.1:1"}')
        (lab.root / "a.ipynb").write_text(json.dumps(notebook))
        async with lab.client() as browser:
            answer = await browser.get(f"{API}/runs")
            started = await browser.post(f"{API}/platform")
            inspected = await browser.post(f"{API}/notebooks/inspect", json={"path": "a.ipynb"})

    assert answer.json() == {"run_id": "r-1"}
    assert started.status_code == 503
    assert (inspected.json()["team"], inspected.json()["owner"]) == ("sales", "mia")


@pytest.mark.parametrize("state", ["", "[]", "{}", '{"service_url": '])
async def test_a_damaged_state_file_is_an_outage(lab: Lab, state: str):
    (lab.data / "token").write_text("t")
    (lab.data / "state.json").write_text(state)

    async with lab.client() as browser:
        answer = await browser.get(f"{API}/runs")

    assert (answer.status_code, answer.json()) == (503, OUTAGE)


async def test_a_platform_that_starts_later_is_found_without_restarting_the_server(lab: Lab):
    async with lab.client() as browser:
        assert (await browser.get(f"{API}/runs")).status_code == 503
        server = Platform(lab).start("late")
        answer = await browser.get(f"{API}/runs")
        server.stop()
        await server.close_all_connections()

    assert answer.json() == {"run_id": "r-1"}


async def test_a_platform_that_moved_and_changed_its_token_is_found_again(
    lab: Lab, platform: Platform
):
    async with lab.client() as browser:
        await browser.get(f"{API}/runs")
        server = platform.start("another")
        answer = await browser.post(f"{API}/runs", json={"notebook": "a.ipynb"})
        server.stop()
        await server.close_all_connections()

    assert answer.status_code == 200
    assert [request.headers["Authorization"] for request in platform.asked] == [
        "Bearer the-token-of-element",
        "Bearer the-token-of-element",
        "Bearer another",
    ]


async def test_a_token_that_the_platform_refuses_is_told_as_an_outage_not_as_a_sign_in(
    lab: Lab, platform: Platform
):
    (lab.data / "token").write_text("wrong")

    async with lab.client() as browser:
        answer = await browser.get(f"{API}/runs")

    assert answer.status_code == 503
    assert "does not accept" in answer.json()["message"]


async def test_a_request_goes_on_as_it_came_but_under_the_platform_s_token(platform: Platform):
    async with platform.lab.client(
        Cookie="c=1", **{"If-Match": '"7"', "X-Other": "x", "Last-Event-ID": "12"}
    ) as browser:
        answer = await browser.put(
            f"{API}/jobs/ada%2Fdaily%20one?dry_run=true&token={JUPYTER_TOKEN}&empty=",
            json={"a": "ü"},
        )

    assert answer.json() == {"run_id": "r-1"}
    [asked] = platform.asked
    assert asked.method == "PUT"
    assert asked.uri == "/api/v1/jobs/ada%2Fdaily%20one?dry_run=true&empty="
    assert json.loads(asked.body) == {"a": "ü"}
    assert asked.headers["Authorization"] == "Bearer the-token-of-element"
    assert asked.headers["If-Match"] == '"7"'
    assert asked.headers["Last-Event-ID"] == "12"
    assert "Cookie" not in asked.headers
    assert "X-Other" not in asked.headers
    assert JUPYTER_TOKEN not in str(asked.headers) + asked.uri


async def test_the_answer_comes_back_with_its_etag_and_without_a_secret(platform: Platform):
    async with platform.lab.client() as browser:
        answer = await browser.get(f"{API}/runs")

    assert answer.headers["ETag"] == '"7"'
    assert "secret" not in answer.headers.get("Set-Cookie", "")
    assert platform.token not in str(answer.headers) + answer.text


@pytest.mark.parametrize("verb", ["GET", "POST", "PUT", "PATCH"])
async def test_every_verb_is_passed_on(platform: Platform, verb: str):
    async with platform.lab.client() as browser:
        answer = await browser.request(verb, f"{API}/runs", content=b"" if verb == "GET" else b"{}")

    assert answer.status_code == 200
    assert platform.asked[0].method == verb


async def test_an_answer_without_a_body_stays_one(platform: Platform):
    async with platform.lab.client() as browser:
        answer = await browser.delete(f"{API}/jobs/ada/daily")

    assert (answer.status_code, answer.content) == (204, b"")


async def test_a_problem_of_the_control_plane_reaches_the_browser_unchanged(platform: Platform):
    async with platform.lab.client() as browser:
        answer = await browser.post(f"{API}/quota", json={})

    assert answer.status_code == 429
    assert answer.headers["Retry-After"] == "60"
    assert answer.json() == {"code": "over_quota", "message": "No.", "hint": "Ask less."}


@pytest.mark.parametrize(
    "path", ["../metrics", "jobs/../../metrics", "%2e%2e/metrics", "a%2F..%2Fb", "./runs"]
)
async def test_a_path_cannot_leave_the_rest_interface(platform: Platform, path: str):
    url = httpx.URL(platform.lab.url)

    def ask() -> tuple[int, str]:
        # httpx would resolve the dots before it asks
        connection = HTTPConnection(url.host, url.port)
        with contextlib.closing(connection):
            connection.request(
                "GET",
                f"{url.raw_path.decode()}{API}/{path}",
                headers={"Authorization": f"token {JUPYTER_TOKEN}"},
            )
            answer = connection.getresponse()
            return answer.status, json.load(answer)["code"]

    assert await asyncio.to_thread(ask) == (404, "not_found")
    assert platform.asked == []


async def test_an_event_reaches_the_browser_while_the_stream_goes_on(platform: Platform):
    async with (
        platform.lab.client(Accept="text/event-stream") as browser,
        browser.stream("GET", f"{API}/runs/r-1/events") as answer,
    ):
        lines = answer.aiter_lines()
        assert answer.headers["Content-Type"] == "text/event-stream"
        assert await anext(lines) == "id: 1"
        platform.next_event.set()
        rest = [line async for line in lines]

    assert "id: 2" in rest


async def test_a_browser_that_leaves_ends_its_stream_at_the_platform(platform: Platform):
    async with (
        platform.lab.client(Accept="text/event-stream") as browser,
        browser.stream("GET", f"{API}/runs/r-1/events") as answer,
    ):
        await anext(answer.aiter_lines())
        assert platform.listeners == 1

    await until(lambda: platform.listeners == 0)


async def test_many_open_streams_do_not_hold_up_a_request(platform: Platform):
    async with platform.lab.client(Accept="text/event-stream") as browser:
        browser.timeout = httpx.Timeout(20, pool=None)
        streams = [browser.stream("GET", f"{API}/runs/r-{n}/events") for n in range(50)]
        for stream in streams:
            await stream.__aenter__()
        answer = await browser.get(f"{API}/runs", headers={"Accept": "application/json"})
        for stream in streams:
            await stream.__aexit__(None, None, None)

    assert answer.status_code == 200


async def test_nobody_gets_through_who_is_not_signed_in(platform: Platform):
    async with httpx.AsyncClient(base_url=platform.lab.url, trust_env=False) as stranger:
        for verb in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            answer = await stranger.request(verb, f"{API}/runs")
            assert answer.status_code == 403, verb

    assert platform.asked == []


async def test_another_site_cannot_use_the_cookie_of_a_person_who_is_signed_in(platform: Platform):
    async with httpx.AsyncClient(base_url=platform.lab.url, trust_env=False) as browser:
        await browser.get("login", params={"token": JUPYTER_TOKEN})
        await browser.get("any-page")  # which brings the cookie that a forger cannot read
        assert (await browser.get(f"{API}/runs")).status_code == 200

        forged = await browser.post(f"{API}/runs", json={})
        xsrf = next(cookie.value for cookie in browser.cookies.jar if cookie.name == "_xsrf")
        own = await browser.post(f"{API}/runs", json={}, headers={"X-XSRFToken": xsrf or ""})

    assert (forged.status_code, forged.json()["code"]) == (403, "forbidden")
    assert own.status_code == 200


async def test_the_server_s_authorizer_decides(tmp_path: Path):
    (tmp_path / "only_reading.py").write_text(
        "from jupyter_server.auth import Authorizer\n"
        "class OnlyReading(Authorizer):\n"
        "    def is_authorized(self, handler, user, action, resource):\n"
        "        return resource != 'element' or action == 'read'\n"
    )
    with running_lab(tmp_path, "--ServerApp.authorizer_class=only_reading.OnlyReading") as guarded:
        server = Platform(guarded).start("t")
        async with guarded.client() as browser:
            read = await browser.get(f"{API}/runs")
            written = await browser.post(f"{API}/runs", json={})
        server.stop()
        await server.close_all_connections()

    assert read.status_code == 200
    assert (written.status_code, written.json()["code"]) == (403, "forbidden")
