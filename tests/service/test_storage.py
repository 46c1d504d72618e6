"""What is kept, over REST: shown to whose it is, and runs that wait until it is less."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
import yaml

from element_jupyter.adapters.sql.database import connect
from element_jupyter.adapters.sql.notice_store import SqlNotices
from element_jupyter.adapters.sql.storage_store import SqlStorage
from element_jupyter.core.quotas.rules import Quotas, Scope
from element_jupyter.core.storage import Measured, ToMeasure
from element_jupyter.service.storage import StorageKeeper
from tests.service.test_quota import ENDED, run_in, start

GIB = 2**30
QUOTAS = """
contact: help@example.org
quotas:
  - {who: everyone, storage_bytes: 10 GiB}
  - {who: 'team:*', storage_bytes: 100 GiB}
"""
AT = datetime(2026, 11, 22, 6, tzinfo=UTC)


@pytest.fixture
async def store(plane, settings):
    (plane.data / "quotas.yaml").write_text(QUOTAS)
    engine = connect(settings.database_url)
    yield SqlStorage(engine)
    await engine.dispose()


def kept(place: str, gib: float, **whose: str) -> dict[str, Any]:
    return {"place": place, "used_bytes": int(gib * GIB), "files": 1, **whose}


def found(*each: dict[str, Any], hour: int = 0, **more: Any) -> Measured:
    said = {
        "began_at": AT + timedelta(hours=hour),
        "whole": True,
        "done": 1,
        "of": 1,
        "kept": each,
        "ended": True,
    }
    return Measured.model_validate(said | more)


HOME = {"person": "ada", "team": "ada"}


async def test_what_one_keeps_is_shown_by_place_with_the_limit_and_what_to_do(plane, store):
    await store.put(
        found(
            kept("home", 8.5, **HOME),
            kept("home", 1, person="bob", team="bob"),
            kept("team", 20, team="ml"),
            kept("shared", 3),
        )
    )

    mine = (await plane.client.get("/storage")).json()
    everybody = (await plane.client.get("/storage", params={"scope": "all"})).json()

    (item,) = mine["items"]
    assert item["sentence"] == (
        "ada keeps 8.5 GiB of 10.0 GiB (everyone's limit): 8.5 GiB in the home directory."
    )
    assert item["hint"].startswith("Delete files that nobody needs")
    assert (item["share"], mine["shared_bytes"]) == (0.85, None)
    assert mine["measured_at"] == "2026-11-22T06:00:00Z"
    shares = {each["person"] or each["team"]: each["share"] for each in everybody["items"]}
    assert shares == {"ada": 0.85, "ml": 0.2, "bob": 0.1}
    assert everybody["shared_bytes"] == 3 * GIB


async def test_a_run_waits_while_more_is_kept_than_may_be_and_says_where_it_is(plane, store):
    await store.put(found(kept("home", 12, **HOME)))
    run_id = (await start(plane)).json()["run_id"]
    async with asyncio.timeout(30):
        while "keeps" not in (await plane.client.get(f"/runs/{run_id}")).json()["reason"]:
            await asyncio.sleep(0.05)
    run = (await plane.client.get(f"/runs/{run_id}")).json()
    server = (await plane.client.get("/quota", params={"size": "small", "kind": "editor"})).json()
    next_run = (await plane.client.get("/quota", params={"size": "small"})).json()

    assert run["reason"].startswith(
        "ada keeps 12.0 GiB of 10.0 GiB (everyone's limit). It is: 12.0 GiB in the home directory."
        " Delete files that nobody needs"
    )
    assert "help@example.org" in run["reason"]
    assert (server["fits"], next_run["fits"]) == (True, False)
    await store.put(found(kept("home", 2, **HOME), hour=1))
    assert (await run_in(plane, run_id, *ENDED))["state"] == "succeeded"


async def test_who_keeps_nearly_as_much_as_may_be_is_told_until_it_is_less(plane, store, settings):
    engine = connect(settings.database_url)
    now = datetime.now(UTC)
    keeper = StorageKeeper(
        store, lambda: Quotas.model_validate(yaml.safe_load(QUOTAS)), lambda: now, None,
        SqlNotices(engine),
    )  # fmt: skip

    async def told() -> list[str]:
        items = (await plane.client.get("/notices")).json()["items"]
        return [each["sentence"] for each in items if each["kind"] == "storage"]

    await keeper.measured(found(kept("home", 7.9, **HOME)))
    assert await told() == []
    for hour in (1, 2):
        now += timedelta(seconds=1)
        await keeper.measured(found(kept("home", 8.1, **HOME), hour=hour))
        (sentence,) = await told()
        assert sentence.startswith("ada keeps 8.1 GiB of 10.0 GiB")
    await keeper.measured(found(kept("home", 1, **HOME), hour=3, whole=False, persons=["ada"]))
    assert await told() == []
    await engine.dispose()


async def test_parts_of_one_measurement_add_up_and_what_is_gone_is_forgotten(plane, store):
    run_id = (await start(plane)).json()["run_id"]
    await run_in(plane, run_id, *ENDED)
    by_run = [{"run_id": run_id, "used_bytes": 1000, "files": 2}]
    await store.put(found(kept("home", 1, **HOME), kept("shared", 0), ended=False))
    await store.put(found(runs=by_run, ended=False))
    await store.put(found(runs=by_run))

    (ada,) = await store.of_persons(person="ada")
    assert dict(ada.places) == {"home": GIB, "runs": 2000}

    await store.put(found(kept("shared", 0), runs=by_run, hour=1))
    (ada,) = await store.of_persons(person="ada")
    assert dict(ada.places) == {"runs": 1000}
    assert await store.measured_at() == AT + timedelta(hours=1)

    await store.put(found(whole=False, persons=["ada"], hour=2))
    assert await store.of_persons() == []
    assert await store.measured_at() == AT + timedelta(hours=1)


async def test_everybody_s_is_measured_once_a_night_and_one_s_own_when_asked_for(store):
    now = AT

    def keeper() -> StorageKeeper:
        return StorageKeeper(store, Quotas, lambda: now, time(2, 30))

    first = keeper()
    assert (await first.to_measure()).everybody
    await first.measured(found(kept("shared", 0), ended=False, began_at=now))
    assert not (await first.to_measure()).everybody  # it goes on
    assert (await first.of_all(10)).measuring is not None
    await first.measured(found(kept("shared", 0), began_at=now))
    assert await first.to_measure() == ToMeasure(everybody=False)

    first.ask(Scope("ada", "ml"))
    first.ask(Scope("ada"))
    assert await first.to_measure() == ToMeasure(everybody=False, persons=("ada",))
    await first.measured(found(whole=False, persons=["ada"], began_at=now))
    first.ask(Scope("ada"))  # just measured
    assert await first.to_measure() == ToMeasure(everybody=False)
    now += timedelta(minutes=6)
    first.ask(Scope("ada"))
    assert (await first.to_measure()).persons == ("ada",)
    now += timedelta(days=1)
    assert (await keeper().to_measure()).everybody
