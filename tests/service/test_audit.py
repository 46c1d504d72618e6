"""The audit of the control plane: who changed what, and where an administrator's power was used."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from element_jupyter.core.audit import NOTHING_BEFORE, Act, AuditEntry, chained
from element_jupyter.service.app import ROUTES
from element_jupyter.service.audit_export import ExportFormat, exported
from tests.platform_fixture import wait_until
from tests.service.hub_plane import JOB, HubPlane, hub_plane

NIGHTLY = "/jobs/sales/nightly"

NOT_ON_RECORD = {
    "POST /jobs/{team}/{name}/trigger": "a run says itself who started it",
    "POST /runs": "a run says itself who started it",
    "POST /runs/{run_id}/stop": "a run says itself who stopped it",
    "POST /schedules/preview": "it changes nothing",
    "POST /snapshots/missing": "it changes nothing",
    "PUT /blobs/{digest}": "a blob is nothing until a job or run names it",
    "POST /runs/{run_id}/events": "a run's own report",
    "POST /runs/{run_id}/heartbeat": "a run's own report",
    "POST /storage/measure": "it changes nothing",
    "POST /storage/measured": "what was measured is no act of anybody's",
    "PUT /runs/{run_id}/notebook": "a run's own report",
    "PUT /runs/{run_id}/artifacts/{path}": "a run's own report",
    "POST /runs/{run_id}/launch": "the Hub's part of starting a run",
    "POST /runs/{run_id}/ended": "the Hub's part of ending a run",
    "POST /audit": "it is itself the putting on record",
    "POST /usage/readings": "what the Hub's meters say, and in the ledger",
    "POST /activity": "a server's own report",
    "POST /allocations": "the Hub's part of starting a server, and in the ledger",
    "POST /allocations/{allocation_id}/release": "the Hub's part of ending one",
}


@pytest.fixture(scope="module")
def database_url(postgres) -> str:
    return str(postgres.url(postgres.new_database()))


@pytest.fixture(scope="module")
def hub(database_url: str, tmp_path_factory) -> Iterator[HubPlane]:
    with hub_plane(tmp_path_factory.mktemp("audit"), database_url) as both:
        yield both


@pytest.fixture
def both(hub: HubPlane) -> HubPlane:
    hub.saved()
    return hub


def last(both: HubPlane, **filters: Any) -> list[dict[str, Any]]:
    found = (
        both.ask("root-of-all", "GET", "/audit", params=filters).raise_for_status().json()["items"]
    )
    return [item for item in found if item["subject"] != "/audit"]


def test_every_route_that_changes_something_is_on_record_or_says_why_not():
    changing = {
        f"{route.method} {route.path}".replace(":path", ""): route.audited
        for route in ROUTES
        if route.method != "GET"
    }
    assert {name for name, word in changing.items() if word is None} == set(NOT_ON_RECORD)


def test_who_changed_a_job_is_on_record_with_what_it_was_and_is(both: HubPlane):
    stored = both.ask("mia", "GET", NIGHTLY).json()
    both.ask("mia", "POST", f"{NIGHTLY}/pause").raise_for_status()
    both.ask("mia", "POST", f"{NIGHTLY}/pause").raise_for_status()  # which changes nothing
    both.ask("mia", "PUT", f"{NIGHTLY}?dry_run=true", json=JOB | {"title": "x"}).raise_for_status()
    both.ask("max", "DELETE", NIGHTLY)  # which is refused
    both.ask("lena", "POST", f"{NIGHTLY}/owner", json={"owner": "max"}).raise_for_status()
    both.ask("lena", "DELETE", NIGHTLY).raise_for_status()

    deleted, given, paused = last(both, subject="sales/nightly")[:3]
    version = stored["version"]
    was = {"version": version, "owner": "mia", "paused": False}
    assert (paused["actor"], paused["action"]) == ("mia", "job.paused")
    assert paused["before"] == was
    assert paused["after"] == was | {"version": version + 1, "paused": True}
    assert paused["origin"] == "127.0.0.1"
    assert not paused["as_admin"]
    assert (given["actor"], given["action"]) == ("lena", "job.handed-over")
    assert given["after"]["owner"] == "max"
    assert (deleted["actor"], deleted["action"], deleted["after"]) == ("lena", "job.deleted", None)


def test_what_only_an_administrator_may_do_is_on_record_even_looking(both: HubPlane):
    for _ in range(3):
        both.ask("root-of-all", "GET", NIGHTLY).raise_for_status()
    both.ask("root-of-all", "POST", f"{NIGHTLY}/pause").raise_for_status()
    both.ask("root-of-all", "PUT", "/jobs/root-of-all/own", json=_own()).raise_for_status()

    mine = last(both, actor="root-of-all")
    looked = [one for one in mine if one["action"] == "admin.read"]
    assert [one["subject"] for one in looked].count("sales/nightly") == 1
    assert all(one["as_admin"] for one in looked)
    assert mine[0]["subject"] == "root-of-all/own"
    assert not mine[0]["as_admin"]
    assert (mine[1]["action"], mine[1]["as_admin"]) == ("job.paused", True)


def test_the_record_is_a_file_for_spreadsheets_that_holds_no_formula(both: HubPlane):
    both.ask("mia", "POST", f"{NIGHTLY}/pause").raise_for_status()
    asked = {"actor": "mia", "action": "job.pau", "as_admin": "false"}
    table = both.ask("root-of-all", "GET", "/audit/export", params=asked)
    lines = both.ask("root-of-all", "GET", "/audit/export", params=asked | {"form": "jsonl"})

    rows = list(csv.DictReader(io.StringIO(table.raise_for_status().text)))
    entries = [json.loads(line) for line in lines.raise_for_status().text.splitlines()]
    assert table.headers["content-disposition"].startswith("attachment;")
    assert {row["action"] for row in rows} == {"job.paused"}
    assert [row["digest"] for row in rows] == [entry["digest"] for entry in entries]
    assert json.loads(rows[0]["after"])["paused"] is True

    hostile = '=HYPERLINK("http://evil.example")'
    both.ask("root-of-all", "GET", "/audit", params={"subject": hostile}).raise_for_status()
    said = Act(at=datetime.now(UTC), actor="x", action=hostile, subject="@SUM(1)")

    async def one() -> AsyncIterator[AuditEntry]:
        yield chained(said, 1, NOTHING_BEFORE)

    async def written() -> str:
        return b"".join([each async for each in exported(one(), ExportFormat.CSV)]).decode()

    row = next(csv.DictReader(io.StringIO(asyncio.run(written()))))
    assert (row["action"], row["subject"]) == (f"'{hostile}", "'@SUM(1)")


def test_the_last_look_at_the_record_is_remembered_and_gone_on_from(both: HubPlane):
    whole = both.ask("root-of-all", "GET", "/audit/verification").json()
    both.ask("mia", "POST", f"{NIGHTLY}/pause").raise_for_status()
    state = both.ask("root-of-all", "GET", "/audit/state").raise_for_status().json()

    assert state["last"]["report"] == whole
    assert state["newest"] == state["followed"] > whole["entries"]
    assert state["broken"] is None


def _own() -> dict[str, Any]:
    return JOB | {"team": "root-of-all", "name": "own", "owner": "root-of-all"}


def test_the_record_can_be_verified_and_shows_what_the_database_was_made_to_say(
    both: HubPlane, database_url: str
):
    both.ask("mia", "POST", f"{NIGHTLY}/pause").raise_for_status()
    whole = both.ask("root-of-all", "GET", "/audit/verification").json()
    entries = both.ask("root-of-all", "GET", "/audit/chain", params={"limit": 1000}).json()["items"]

    assert whole["broken"] is None
    assert whole["entries"] in {len(entries), len(entries) - 1}  # looking is on record, too
    assert whole["head"] in {entry["digest"] for entry in entries[-2:]}

    def write(said: str) -> None:
        with engine.begin() as connection:
            connection.execute(text("ALTER TABLE audit DISABLE TRIGGER USER"))
            connection.execute(text(said))
            connection.execute(text("ALTER TABLE audit ENABLE TRIGGER USER"))

    engine = create_engine(database_url)
    write("UPDATE audit SET actor = actor || 'x' WHERE sequence = 2")
    broken = both.ask("root-of-all", "GET", "/audit/verification").json()["broken"]
    state = both.ask("root-of-all", "GET", "/audit/state").json()
    write("UPDATE audit SET actor = rtrim(actor, 'x') WHERE sequence = 2")
    mended = both.ask("root-of-all", "GET", "/audit/verification").json()["broken"]
    engine.dispose()
    assert broken["sequence"] == 2
    assert state["last"]["report"]["broken"] == broken
    assert mended is None


def test_a_changed_file_of_administrators_is_on_record_with_what_it_said(both: HubPlane):
    quotas = both.plane.data / "quotas.yaml"
    known = both.plane.data / "control-plane" / "files.json"
    wait_until(lambda: known.exists() and "quotas.yaml" in known.read_text())
    before = quotas.read_text() if quotas.exists() else None

    quotas.write_text("contact: help@example.org\n")

    wait_until(lambda: last(both, subject="quotas.yaml"))
    (changed,) = last(both, subject="quotas.yaml")
    assert (changed["action"], changed["actor"]) == ("file.changed", quotas.owner())
    assert changed["before"] == before
    assert changed["after"] == "contact: help@example.org\n"
    assert changed["origin"] == str(quotas)
