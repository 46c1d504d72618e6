"""What the Hub's servers take while the control plane is away, and limits that follow from roles."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from element_jupyter.adapters.hub.launcher import HttpLauncher
from element_jupyter.core.errors import Unavailable
from element_jupyter.core.ledger.counting import Reading
from element_jupyter.core.quotas.allocations import Ended, server_allocation
from element_jupyter.core.quotas.rules import Quotas
from element_jupyter.core.sizes import Size
from element_jupyter.platform.hub.reservations import HubReservations
from element_jupyter.platform.hub.untold import Untold
from tests.platform_fixture import wait_until
from tests.service.hub_plane import JOB, HubPlane, hub_plane

SMALL = Size(name="small", cpu=1, memory_bytes=1 << 30)


@pytest.fixture(scope="module")
def both(postgres, tmp_path_factory) -> Iterator[HubPlane]:
    url = postgres.url(postgres.new_database())
    with hub_plane(tmp_path_factory.mktemp("reservations"), url) as running:
        yield running


def in_force(both: HubPlane, *quotas: dict[str, Any]) -> Quotas:
    """Put quotas into force by the administrator's file."""
    said = {"contact": f"somebody who knows rule {len(quotas)}", "quotas": list(quotas)}
    (both.plane.data / "quotas.yaml").write_text(yaml.safe_dump(said))

    def is_read() -> bool:
        shown = both.ask("root-of-all", "GET", "/quotas").raise_for_status().json()
        return bool(shown["quotas"]["contact"] == said["contact"])

    wait_until(is_read)
    return Quotas.model_validate(said)


def editors_of(both: HubPlane, person: str) -> list[dict[str, Any]]:
    found = both.ask("root-of-all", "GET", "/allocations", params={"person": person})
    return list(found.raise_for_status().json()["items"])


async def told(untold: Path) -> None:
    """Wait until nothing is left to tell."""
    async with asyncio.timeout(60):
        while list(untold.glob("*.json")):
            await asyncio.sleep(0.1)


@asynccontextmanager
async def reserving(both: HubPlane, quotas: Quotas, untold: Path) -> AsyncIterator[HubReservations]:
    """A Hub's side of reserving; as with a Hub that is killed, what is untold stays."""
    launcher = HttpLauncher(both.plane.url, both.tokens["hub"])
    telling = Untold(launcher.tell, untold)
    yield HubReservations(launcher.tell, lambda: quotas, telling)
    await telling.close()
    await launcher.close()


def test_with_budgets_alone_a_server_starts_while_nobody_answers_and_is_counted_after(
    both: HubPlane, tmp_path: Path
):
    budget = {"who": "everyone", "budgets": [{"per": "30 days", "cpu_hours": 100}]}
    quotas = in_force(both, budget)
    began = datetime.now(UTC)
    editor = server_allocation("mia", "", "mia", SMALL, began)
    ended = server_allocation("max", "", "max", SMALL, began)

    async def while_it_is_away() -> None:
        both.plane.end(signal.SIGKILL)
        async with reserving(both, quotas, tmp_path) as hub:
            await hub.reserve(editor, None)
            await hub.reserve(ended, None)
            await hub.release(ended.id, Ended(ended_at=datetime.now(UTC), how="stopped"))
            await asyncio.to_thread(both.plane.start)
            await told(tmp_path)

    asyncio.run(while_it_is_away())

    (ran,) = editors_of(both, "max")
    assert (ran["id"], ran["ended_how"]) == (ended.id, "stopped")
    (kept,) = [each for each in editors_of(both, "mia") if each["id"] == editor.id]
    assert datetime.fromisoformat(kept["begun_at"]) == began


def test_with_a_limit_on_what_runs_at_once_nothing_starts_unasked(both: HubPlane, tmp_path: Path):
    quotas = in_force(
        both,
        {"who": "everyone", "at_once": {"servers": 3}},
        {"who": "team:sales", "at_once": {"cpu": 100}},
    )
    editor = server_allocation("vera", "", "vera", SMALL, datetime.now(UTC))

    async def while_it_is_away() -> None:
        both.plane.end(signal.SIGKILL)
        async with reserving(both, quotas, tmp_path) as hub:
            with pytest.raises(Unavailable, match="cannot be asked now"):
                await hub.reserve(editor, None)
            await asyncio.to_thread(both.plane.start)
            await told(tmp_path)

    asyncio.run(while_it_is_away())

    assert [each for each in editors_of(both, "vera") if each["ended_at"] is None] == []


def test_what_a_hub_that_was_killed_had_not_told_the_next_one_tells(both: HubPlane, tmp_path: Path):
    quotas = in_force(both)
    editor = server_allocation("sam", "", "sam", SMALL, datetime.now(UTC))

    async def first() -> None:
        both.plane.end(signal.SIGKILL)
        async with reserving(both, quotas, tmp_path) as hub:
            await hub.reserve(editor, None)

    async def next_one() -> None:
        async with reserving(both, quotas, tmp_path) as hub:
            await hub.release("s-" + "0" * 26, Ended(ended_at=datetime.now(UTC)))
            await told(tmp_path)

    asyncio.run(first())
    both.plane.start()
    asyncio.run(next_one())

    assert [each["id"] for each in editors_of(both, "sam")] == [editor.id]


def test_limits_of_a_role_hold_for_what_somebody_is_to_the_team(both: HubPlane):
    in_force(
        both,
        {"who": "role:member", "largest": {"memory_bytes": "1 MiB"}},
        {"who": "role:lead", "largest": {"memory_bytes": "unlimited"}},
        {"who": "everyone", "at_once": {"runs": 100}},
    )
    run = {"notebook": "sales.ipynb", "snapshot_id": JOB["snapshot_id"], "team": "sales"}

    refused = both.ask("mia", "POST", "/runs", json=run)
    assert refused.status_code == 403, refused.text
    assert "the limit of a member" in refused.json()["message"]
    both.uploaded("lena")
    both.ask("lena", "POST", "/runs", json=run).raise_for_status()
    # her own team of one is no team
    both.ask("mia", "POST", "/runs", json=run | {"team": "mia"}).raise_for_status()


def test_what_is_used_while_nobody_answers_waits_in_few_files_and_counts_once(
    both: HubPlane, tmp_path: Path
):
    began = datetime.now(UTC) - timedelta(minutes=2)
    editor = server_allocation("mia", "metered", "mia", SMALL, began)

    def readings(cpu_seconds: float) -> list[Reading]:
        at = began + timedelta(seconds=cpu_seconds)
        return [Reading(allocation_id=editor.id, at=at, cpu_seconds=cpu_seconds)]

    async def while_it_is_away() -> None:
        async with reserving(both, in_force(both), tmp_path) as hub:
            await hub.reserve(editor, None)
            both.plane.end(signal.SIGKILL)
            for cpu_seconds in (10, 20, 30, 40, 50):
                hub.count(readings(cpu_seconds))
            assert len(list(tmp_path.glob("*.json"))) <= 2  # that of these five minutes
            await asyncio.to_thread(both.plane.start)
            await told(tmp_path)
            hub.count(readings(50))
            hub.count(readings(20))
            await told(tmp_path)

    asyncio.run(while_it_is_away())

    asked = {"person": "mia", "since": f"{began:%Y-%m-%d}"}
    shown = both.ask("root-of-all", "GET", "/usage", params=asked).raise_for_status().json()
    assert shown["total"]["used_cpu_hours"] * 3600 == pytest.approx(50)
