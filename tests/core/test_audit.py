"""The chain of the audit: whatever is done to it afterwards shows."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as some

from element_jupyter.core.audit import (
    NOTHING_BEFORE,
    Act,
    AuditEntry,
    chained,
    first_break,
)

AT = datetime(2026, 11, 20, 6, tzinfo=UTC)

documents = some.recursive(
    some.none() | some.booleans() | some.integers(-(2**53), 2**53) | some.text(max_size=5),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(), inner, max_size=3),
    max_leaves=5,
)
acts = some.builds(
    Act,
    at=some.datetimes(timezones=some.just(UTC)),
    actor=some.sampled_from(["ada", "root"]),
    action=some.sampled_from(["job.saved", "admin.read"]),
    subject=some.text(max_size=20),
    before=documents,
    after=documents,
    origin=some.just("127.0.0.1"),
    as_admin=some.booleans(),
)


def chain(*made: Act) -> list[AuditEntry]:
    entries: list[AuditEntry] = []
    for act in made:
        previous = entries[-1].digest if entries else NOTHING_BEFORE
        entries.append(chained(act, len(entries) + 1, previous))
    return entries


@given(some.lists(acts, max_size=6))
def test_a_chain_holds_and_still_does_after_it_was_written_and_read(made):
    entries = chain(*made)

    assert first_break(entries) is None
    assert first_break(AuditEntry.model_validate_json(e.model_dump_json()) for e in entries) is None
    if entries:
        rest, first = entries[1:], entries[0]
        assert first_break(rest, sequence=1, previous=first.digest) is None


@given(some.lists(acts, min_size=2, max_size=6), some.data())
def test_it_shows_where_something_was_changed_removed_or_put_in_between(made, data):
    entries = chain(*made)
    place = data.draw(some.integers(0, len(entries) - 2))
    told = entries[place]
    another = data.draw(acts)
    stolen = chained(another, told.sequence, told.previous)

    changed = [
        *entries[:place],
        told.model_copy(update={"actor": "mallory"}),
        *entries[place + 1 :],
    ]
    assert first_break(changed).sequence == place + 1
    removed = [*entries[:place], *entries[place + 1 :]]
    assert first_break(removed).sequence == place + 1
    put_in = [*entries[:place], stolen, *entries[place + 1 :]]
    assert first_break(put_in).sequence == place + 2


def test_a_break_is_told_in_words():
    first, second, third = chain(*[Act(at=AT, actor="ada", action="a", subject="s")] * 3)

    assert "entry 2 is missing" in first_break([first, third]).reason
    assert "its digest differs" in first_break([first.model_copy(update={"subject": "x"})]).reason
    assert "another entry before it" in first_break([first, second], previous="1" * 64).reason
