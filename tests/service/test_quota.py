"""Quotas over REST, and runs that wait for room within their limits."""

from __future__ import annotations

import asyncio

import nbformat
import pytest

SIZES = """
default: small
sizes:
  - {name: small, cpu: 1, memory_bytes: 1 GiB, price_per_hour: 0.5}
  - {name: large, cpu: 8, memory_bytes: 16 GiB}
"""
QUOTAS = """
contact: help@example.org
quotas:
  - who: everyone
    largest: {cpu: 4}
    at_once: {runs: 1, servers: 2}
    budgets: [{per: 7 days, cpu_hours: 100}]
"""


@pytest.fixture
def limited(plane):
    (plane.data / "sizes.yaml").write_text(SIZES)
    (plane.data / "quotas.yaml").write_text(QUOTAS)
    return plane


NOTEBOOK = nbformat.v4.new_notebook(
    cells=[nbformat.v4.new_code_cell("print('to the end')")],
    metadata={"kernelspec": {"name": "python3", "display_name": "Python", "language": "python"}},
)


async def start(plane, **more):
    snapshot_id = await plane.snapshot({"work.ipynb": nbformat.writes(NOTEBOOK).encode()})
    body = {"notebook": "work.ipynb", "snapshot_id": snapshot_id, **more}
    return await plane.client.post("/runs", json=body)


async def run_in(plane, run_id: str, *states: str) -> dict:
    async with asyncio.timeout(60):
        while True:
            run = (await plane.client.get(f"/runs/{run_id}")).json()
            if run["state"] in states:
                return run
            await asyncio.sleep(0.05)


ENDED = ("succeeded", "failed", "stopped", "lost")


async def test_who_asks_is_told_the_rule_the_limits_and_what_fits(limited):
    small = (await limited.client.get("/quota", params={"size": "small"})).json()
    large = (await limited.client.get("/quota", params={"size": "large"})).json()
    plain = (await limited.client.get("/quota")).json()

    assert small["fits"] is True
    assert small["team"] == "ada"
    assert "smallest" in small["rule"]
    limits = {(each["kind"], each["resource"]): each for each in small["limits"]}
    assert set(limits) == {
        ("largest", "cpu"),
        ("at_once", "runs"),
        ("at_once", "servers"),
        ("budget", "cpu_hours"),
    }
    budget = limits["budget", "cpu_hours"]
    assert (budget["limit"], budget["used"], budget["window"]) == (100, 0, "7 days")
    assert budget["sentence"] == ("ada has used 0 of 100 CPU-hours per 7 days (everyone's limit).")
    assert (large["fits"], large["never"]) == (False, True)
    assert large["sentence"] == (
        "At most 4 cores can be had here (everyone's limit); this needs 8 cores."
    )
    assert "help@example.org" in large["hint"]
    assert plain["fits"] is None


async def test_a_run_that_never_fits_is_refused_at_once(limited):
    answer = await start(limited, size="large")

    assert answer.status_code == 403
    assert "At most 4 cores" in answer.json()["message"]
    assert "help@example.org" in answer.json()["hint"]


async def test_a_run_waits_for_its_limit_says_so_and_starts_when_another_ends(limited):
    first = (await start(limited)).json()["run_id"]
    second = (await start(limited)).json()["run_id"]

    assert (await run_in(limited, first, *ENDED))["state"] == "succeeded"
    assert (await run_in(limited, second, *ENDED))["state"] == "succeeded"
    accept = {"Accept": "application/json"}
    events = await limited.client.get(f"/runs/{second}/events", headers=accept)
    told = events.json()["items"]
    reasons = [each.get("reason", "") for each in told]
    assert any(reason.startswith("ada has 1 of 1 run in use") for reason in reasons), reasons
    listed = (await limited.client.get("/allocations")).json()["items"]
    assert {each["run_id"] for each in listed} == {first, second}
    assert all(each["ended_at"] and each["ended_how"] == "succeeded" for each in listed)
    assert {each["price_per_hour"] for each in listed} == {"0.500000"}
    begun = {each["run_id"]: each["begun_at"] for each in listed}
    ended = {each["run_id"]: each["ended_at"] for each in listed}
    assert begun[second] >= ended[first]


async def test_a_run_that_waits_is_shown_its_place_and_why_and_starts_when_the_limit_is_raised(
    limited,
):
    (limited.data / "quotas.yaml").write_text(
        "quotas: [{who: everyone, budgets: [{per: calendar month, cpu_hours: 0.000001}]}]"
    )
    first = (await start(limited)).json()["run_id"]
    await run_in(limited, first, *ENDED)
    second = (await start(limited)).json()["run_id"]
    async with asyncio.timeout(30):
        while "frees" not in (await limited.client.get(f"/runs/{second}")).json()["reason"]:
            await asyncio.sleep(0.05)
    run = (await limited.client.get(f"/runs/{second}")).json()

    assert run["state"] == "queued"
    assert run["queue_position"] == 1
    assert "in this calendar month (everyone's limit). It frees at " in run["reason"]
    (limited.data / "quotas.yaml").write_text("quotas: []")
    assert (await run_in(limited, second, *ENDED))["state"] == "succeeded"


@pytest.fixture
def wrong_file(settings):
    settings.data.mkdir()
    (settings.data / "quotas.yaml").write_text("quotas: [{who: everyone, at_ones: {runs: 1}}]")


async def test_a_wrong_file_lets_nothing_start_and_says_what_is_wrong(wrong_file, plane):
    answer = await start(plane)

    assert answer.status_code == 400
    assert "at_ones" in answer.json()["message"]
