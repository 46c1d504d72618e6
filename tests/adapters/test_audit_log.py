"""The audit in PostgreSQL: one chain, whoever writes to it, and nothing in it can be changed."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from element_jupyter.adapters.sql.audit_log import SqlAuditLog
from element_jupyter.adapters.sql.database import connect
from element_jupyter.core.audit import Act, AuditFilter, first_break
from element_jupyter.service.audit import Audit

AT = datetime(2026, 11, 20, 6, 0, 0, 123456, tzinfo=UTC)


@pytest.fixture
async def engines(any_database_url):
    made = [connect(any_database_url) for _ in range(3)]
    yield made
    for engine in made:
        await engine.dispose()


@pytest.fixture
def log(engines):
    return SqlAuditLog(engines[0])


def act(number: int = 0, **said) -> Act:
    given = {"at": AT, "actor": "ada", "action": "job.saved", "subject": f"sales/{number}"}
    return Act(**given | said)


async def test_what_many_write_at_once_is_one_chain(engines):
    logs = [SqlAuditLog(engine) for engine in engines]
    await asyncio.gather(*(logs[n % 3].append(act(n, after={"é": n})) for n in range(60)))

    entries = await logs[0].after(0, 100)
    assert len(entries) == 60
    assert first_break(entries) is None
    assert {entry.subject for entry in entries} == {f"sales/{n}" for n in range(60)}
    assert (entries[0].at, entries[0].after) == (AT, {"é": int(entries[0].subject[6:])})


async def test_an_act_that_is_put_on_record_again_is_there_once(log):
    once = act(1)
    first, again = await log.append(once), await log.append(once)

    assert first == again
    assert [entry.act_id for entry in await log.after(0, 10)] == [once.act_id]


async def test_it_is_listed_by_who_and_by_what(log):
    for number, actor in enumerate(("ada", "bob", "ada")):
        await log.append(act(number, actor=actor))

    async def listed(before=None, actor=None, subject=None):
        found = await log.before(before, 10, AuditFilter(actor=actor, subject=subject))
        return [entry.sequence for entry in found]

    assert await listed() == [3, 2, 1]
    assert await listed(before=3) == [2, 1]
    assert await listed(actor="ada") == [3, 1]
    assert await listed(subject="sales/1") == [2]


async def test_it_is_listed_by_what_was_done_when_and_with_which_power(log):
    hour = timedelta(hours=1)
    for number, action in enumerate(("job.saved", "job%paused", "quota.changed")):
        said = {"action": action, "as_admin": number == 1, "at": AT + number * hour}
        await log.append(act(number).model_copy(update=said))

    async def listed(**wanted):
        return [entry.sequence for entry in await log.before(None, 10, AuditFilter(**wanted))]

    assert await listed(action="job") == [2, 1]
    assert await listed(action="job%") == [2]
    assert await listed(since=AT + hour) == [3, 2]
    assert await listed(since=AT, until=AT + hour) == [1]
    assert await listed(as_admin=True) == [2]
    assert await listed(as_admin=False) == [3, 1]
    assert await log.newest() == 3


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET actor = 'mallory'",
        "DELETE FROM audit WHERE sequence = 1",
        "TRUNCATE audit",
    ],
)
async def test_the_database_refuses_to_change_or_remove_what_is_on_record(engines, log, statement):
    await log.append(act())
    with pytest.raises(DBAPIError, match="only added to"):
        async with engines[1].begin() as connection:
            await connection.execute(text(statement))

    assert len(await log.after(0, 10)) == 1


async def test_what_is_done_during_an_outage_is_on_record_afterwards_and_once(engines, tmp_path):
    pending, log = tmp_path / "pending.jsonl", SqlAuditLog(engines[0])
    nowhere = connect("postgresql+psycopg://element@127.0.0.1:1/nothing")
    during = Audit(SqlAuditLog(nowhere), pending, lambda: AT)
    first, second = act(1), act(2)
    await during.record(first)
    await during.record(second)
    await nowhere.dispose()
    kept = pending.read_text()
    assert await log.after(0, 10) == []

    pending.write_text(kept + '{"actor": "cut o')
    await Audit(log, pending, lambda: AT).record(act(3))
    pending.write_text(kept)  # as a crash leaves it that comes before it is removed
    await Audit(log, pending, lambda: AT).catch_up()

    entries = await log.after(0, 10)
    assert [entry.subject for entry in entries] == ["sales/1", "sales/2", "sales/3"]
    assert entries[0].act_id == first.act_id
    assert first_break(entries) is None
    assert not pending.exists()
