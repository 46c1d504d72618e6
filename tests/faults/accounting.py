"""Whether the books of what was given close: no room is held by nobody, and nothing ended twice."""

from __future__ import annotations

import contextlib
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.hub_platform import OWNER, HubPlatform
from tests.platform_client import ENDED
from tests.platform_fixture import wait_until

BUDGET: dict[str, Any] = {
    "who": "everyone",
    "at_once": {"servers": 50, "runs": 50},
    "budgets": [{"per": "366 days", "cpu_hours": 1_000_000}],
}


def limit_generously(hub: HubPlatform) -> None:
    """Give everyone so much that nothing is refused, but all of it is counted."""
    file = hub.data / "quotas.yaml"
    file.write_text(json.dumps({"quotas": [BUDGET]}))


def allocations(hub: HubPlatform, **query: object) -> list[dict[str, Any]]:
    """Return what was given, newest first."""
    with hub.platform.service() as service:
        asked: dict[str, Any] = {"limit": 1000, **query}
        answer = service.get("/allocations", params=asked).raise_for_status()
    return list(answer.json()["items"])


def check_accounting_closes(hub: HubPlatform, seconds: float = 90) -> None:
    """Wait until just what lives is open; then compare all that was given with its sums.

    Needs `limit_generously`, before anything was started.
    """

    def only_what_lives_is_open() -> bool:
        with contextlib.suppress(httpx.HTTPError):
            still_open = allocations(hub, still_open=True)
            servers = {each["server"] for each in still_open if each["run_id"] is None}
            runs = {each["run_id"] for each in still_open} - {None}
            with hub.platform.service() as service:
                found = service.get("/runs", params={"limit": 200}).raise_for_status().json()
            executing = {
                each["run_id"]
                for each in found["items"]
                if each["state"] in {"starting", "running"}
            }
            living = {name for name in hub.servers() if not name.startswith("r-")}
            return (
                len(still_open) == len(servers | runs) and servers == living and runs == executing
            )
        return False

    def told() -> str:
        return f"{allocations(hub, still_open=True)}\n{hub.servers()}\n{hub.log_of('service')}"

    wait_until(only_what_lives_is_open, seconds, told)
    found = allocations(hub)
    assert len({each["id"] for each in found}) == len(found)
    with hub.platform.service() as service:
        runs = service.get("/runs", params={"limit": 200}).raise_for_status().json()["items"]
    started = {each["run_id"] for each in runs if each["started_at"] and each["state"] in ENDED}
    closed = {each["run_id"]: each for each in found if each["ended_at"] is not None}
    assert started <= set(closed)
    _sums_match(hub)
    _ledger_matches(hub)


def _sums_match(hub: HubPlatform) -> None:
    with hub.platform.service() as service:
        quota = service.get("/quota", params={"team": OWNER}).raise_for_status().json()
    told = next(each["used"] for each in quota["limits"] if each["resource"] == "cpu_hours")
    found, now = allocations(hub), time.time()
    own = sum(_hours(each, now) * each["cpu"] for each in found if each["person"] == OWNER)
    assert told == pytest.approx(own, rel=0.001, abs=0.01)


def used(hub: HubPlatform, **asked: str) -> dict[str, Any]:
    """Return a report of the ledger, of these days."""
    today = datetime.now(UTC).date()
    days = {"since": str(today - timedelta(days=3)), "until": str(today + timedelta(days=2))}
    with hub.platform.service() as service:
        answer = service.get("/usage", params=days | asked).raise_for_status()
    return dict(answer.json())


def _ledger_matches(hub: HubPlatform) -> None:
    """Wait until the ledger has given just what the allocations say, up to its own moment."""
    told: list[tuple[float, float]] = []

    def matches() -> bool:
        with contextlib.suppress(httpx.HTTPError):
            report = used(hub)
            until = datetime.fromisoformat(report["counted_until"]).timestamp()
            given = report["total"]["allocated_cpu_hours"]
            held = sum(_hours(each, until) * each["cpu"] for each in allocations(hub))
            told.append((given, held))
            return bool(given == pytest.approx(held, rel=0.001, abs=0.0001))
        return False

    wait_until(matches, 60, lambda: f"{told[-3:]}\n{hub.log_of('service')}")


def _hours(allocation: dict[str, Any], now: float) -> float:
    begun = datetime.fromisoformat(allocation["begun_at"])
    ended = allocation["ended_at"]
    until = datetime.fromtimestamp(now, UTC)
    if ended:
        assert datetime.fromisoformat(ended) >= begun
        until = min(until, datetime.fromisoformat(ended))
    return max(0.0, (until - begun).total_seconds() / 3600)
