"""Care over REST: what people are told, and how they hold it off."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from element_jupyter.adapters.sql.database import connect
from element_jupyter.adapters.sql.notice_store import SqlNotices
from element_jupyter.core.care.notices import NoticeKind, Told, notice_id


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
