"""Care over REST: what people are told, and how they hold it off."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import nbformat
import pytest

from element_jupyter.adapters.run_trash import RunTrash
from element_jupyter.adapters.sql.activity_store import SqlActivity
from element_jupyter.adapters.sql.audit_log import SqlAuditLog
from element_jupyter.adapters.sql.database import connect
from element_jupyter.adapters.sql.notice_store import SqlNotices
from element_jupyter.adapters.sql.put_away_store import SqlPutAway
from element_jupyter.core.audit import Act
from element_jupyter.core.care.notices import NoticeKind, Told, notice_id
from element_jupyter.core.care.policy import CarePolicy
from element_jupyter.service.care import PLATFORM
from element_jupyter.service.retention import Retention


@pytest.fixture
async def store(plane, database_url):
    engine = connect(database_url)
    yield SqlNotices(engine)
    await engine.dispose()


def idle(person: str, about: str = "s-1") -> Told:
    now = datetime.now(UTC)
    return Told(
        id=notice_id(person, NoticeKind.IDLE, about),
        person=person,
        kind=NoticeKind.IDLE,
        about=about,
        sentence="Your server has been idle for 2 h.",
        at=now,
        deadline=now + timedelta(minutes=10),
        keep_seconds=3600,
    )


async def test_one_is_told_one_s_own_notices_and_holds_one_off(plane, store):
    assert await store.tell(idle("ada"))
    assert not await store.tell(idle("ada"))  # by another control plane
    await store.tell(idle("bob"))

    items = (await plane.client.get("/notices")).json()["items"]

    assert [each["sentence"] for each in items] == ["Your server has been idle for 2 h."]
    assert items[0]["keep_until_allowed"] > items[0]["deadline"]
    kept = await plane.client.post(f"/notices/{items[0]['id']}/keep")
    assert kept.status_code == 200
    assert kept.json()["kept_until"] >= items[0]["keep_until_allowed"]
    assert (await plane.client.get("/notices")).json()["items"] == []
    again = await plane.client.post(f"/notices/{items[0]['id']}/keep")
    assert again.json()["kept_until"] == kept.json()["kept_until"]


async def test_what_is_over_is_not_held_off_and_what_is_another_s_is_not_there(plane, store):
    await store.tell(idle("ada"))
    await store.tell(idle("bob"))
    await store.end("s-1", datetime.now(UTC))

    over = await plane.client.post(f"/notices/{idle('ada').id}/keep")
    others = await plane.client.post(f"/notices/{idle('bob').id}/keep")

    assert over.status_code == 409
    assert over.json()["message"] == "That is over: there is nothing to hold off."
    assert others.status_code == 404


async def test_news_are_one_s_notices_and_one_s_runs_that_have_ended_since(plane, store):
    await store.tell(idle("ada"))

    first = (await plane.client.get("/news")).json()

    assert [each["kind"] for each in first["notices"]] == ["idle"]
    assert first["ended"] == []
    assert datetime.fromisoformat(first["at"]) <= datetime.now(UTC)
    again = await plane.client.get("/news", params={"since": first["at"]})
    assert again.json()["ended"] == []


# ------------------------------------------------------------------------------------- retention


@pytest.fixture
async def tidy(plane, database_url):
    """Tidy up by a policy; returns what is on record of it."""
    engine = connect(database_url)
    log = SqlAuditLog(engine)

    async def done(**runs: object) -> list[str]:
        policy = CarePolicy.model_validate({"runs": runs})

        async def record(act: Act) -> None:
            await log.append(act)

        await Retention(
            SqlPutAway(engine),
            RunTrash(plane.data / "runs"),
            lambda: policy,
            record=record,
            now=lambda: datetime.now(UTC),
            alone=SqlActivity(engine).alone,
        ).tidy()
        return [each.action for each in await log.after(0, 100) if each.actor == PLATFORM]

    yield done
    await engine.dispose()


async def ran(plane, code: str) -> str:
    """Run a notebook of one cell to its end."""
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(code)],
        metadata={
            "kernelspec": {"name": "python3", "display_name": "Python", "language": "python"}
        },
    )
    snapshot_id = await plane.snapshot({"work.ipynb": nbformat.writes(notebook).encode()})
    body = {"notebook": "work.ipynb", "snapshot_id": snapshot_id}
    run_id = str((await plane.client.post("/runs", json=body)).json()["run_id"])
    async with asyncio.timeout(60):
        while (await plane.client.get(f"/runs/{run_id}")).json()["finished_at"] is None:
            await asyncio.sleep(0.05)
    return run_id


async def test_outputs_of_old_runs_are_put_away_restored_and_removed_and_runs_stay_known(
    plane, tidy
):
    failed, old, new = [await ran(plane, code) for code in ("1 / 0", "print('old')", "'new'")]

    on_record = await tidy(keep=0.001, keep_failed="never", keep_successes=1, trash="1 h")

    assert on_record == ["run.outputs-put-away"]
    status = {
        run_id: (await plane.client.get(f"/runs/{run_id}/notebook")).status_code
        for run_id in (failed, old, new)
    }
    assert status == {failed: 200, old: 404, new: 200}
    said = (await plane.client.get(f"/runs/{old}/notebook")).json()
    assert "are in the trash" in said["message"]
    assert f"element runs restore {old}" in said["hint"]
    assert (await plane.client.get(f"/runs/{old}")).json()["state"] == "succeeded"

    answer = await plane.client.post(f"/runs/{old}/restore")
    assert answer.status_code == 200, answer.text
    assert "old" in (await plane.client.get(f"/runs/{old}/notebook")).text
    # what somebody brought back is as old as that
    assert len(await tidy(keep="1 h", keep_successes=1)) == 1
    assert (await plane.client.post(f"/runs/{new}/restore")).status_code == 404

    on_record = await tidy(keep=0.001, keep_successes=1, trash=0.001)
    assert on_record == ["run.outputs-put-away"] * 2
    on_record = await tidy(keep=0.001, keep_successes=1, trash=0.001)
    assert on_record == ["run.outputs-put-away"] * 2 + ["run.outputs-removed"]
    assert not list((plane.data / "runs" / ".trash").iterdir())
    gone = await plane.client.post(f"/runs/{old}/restore")
    assert gone.status_code == 404
    assert "were removed at" in gone.json()["message"]


async def test_what_would_be_tidied_up_is_shown_before(plane):
    (plane.data / "care.yaml").write_text("runs: {keep: 0.001, keep_successes: 0}")
    run_id = await ran(plane, "print('old')")

    shown = (await plane.client.get("/care")).json()
    preview = (await plane.client.get("/care/preview")).json()

    assert shown["policy"]["editors"]["idle"] == 7200
    assert shown["servers"] == []
    [item] = preview["items"]
    assert (item["what"], item["subject"]) == ("outputs", run_id)
    assert preview["disk_bytes"] == item["frees_bytes"] > 0
    assert (await plane.client.get(f"/runs/{run_id}/notebook")).status_code == 200
