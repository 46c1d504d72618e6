"""Budgets: who is told that one is nearly used up, and what is stopped once it is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from element_jupyter.core.care.budgets import drawn, stop_notice, stops, to_stop, to_tell
from element_jupyter.core.care.idleness import Seen
from element_jupyter.core.care.notices import NoticeKind
from element_jupyter.core.care.standing import Standing
from element_jupyter.core.quotas.allocations import Allocation, AllocationKind
from element_jupyter.core.quotas.policies import changes, plain
from element_jupyter.core.quotas.rules import Quotas
from element_jupyter.core.quotas.use import Use, beginnings
from element_jupyter.core.teams import Level

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
PEOPLE = {
    "ada": {"ada": Level.LEAD, "ml": Level.MEMBER},
    "lea": {"lea": Level.LEAD, "ml": Level.LEAD},
    "lou": {"lou": Level.LEAD, "ml": Level.LEAD},
}


def quotas(who: str, per: str = "calendar month", **budget) -> Quotas:
    said = {"per": per, "gpu_hours": 10, **budget}
    return Quotas.model_validate({"quotas": [{"who": who, "budgets": [said]}]})


def used(said: Quotas, gpu_hours: float, team: str = "ml", now: datetime = NOW) -> Use:
    return Use(
        now,
        [],
        {each: [("ada", team, (0.0, 0.0, gpu_hours, 0.0))] for each in beginnings([said], now)},
    )


def told(said: Quotas, gpu_hours: float, before=(), now: datetime = NOW):
    found = drawn(said, used(said, gpu_hours), PEOPLE, now)
    return to_tell(said, found, PEOPLE, before, now)


@pytest.mark.parametrize(
    ("who", "whom"),
    [
        ("everyone", {"ada"}),
        ("member:ml", {"ada"}),
        ("person:ada", {"ada"}),
        ("team:ml", {"lea", "lou"}),
        ("person:lea", set()),
    ],
)
@pytest.mark.parametrize(
    ("gpu_hours", "kind"),
    [
        (7.9, None),
        (8, NoticeKind.BUDGET_NEAR),
        (10, NoticeKind.BUDGET_SPENT),
        (12, NoticeKind.BUDGET_SPENT),
    ],
)
def test_a_person_is_told_of_their_own_budget_and_its_leads_of_a_team_s(who, whom, gpu_hours, kind):
    new, _ = told(quotas(who), gpu_hours)

    assert {(each.person, each.kind) for each in new} == {
        (person, kind) for person in whom if kind is not None
    }


@given(st.lists(st.floats(0, 15), max_size=20))
def test_in_a_calendar_s_window_each_is_told_once_however_use_grows(shares):
    said, before, ids = quotas("person:ada"), [], []
    for gpu_hours in sorted(shares):
        new, so = told(said, gpu_hours, before)
        ids += [each.id for each in new]
        before = [each for each in (*before, *new) if (each.person, each.about, each.kind) in so]

    assert len(ids) == len(set(ids)) <= 2


def test_it_is_over_when_the_window_moves_on_and_told_anew_in_the_next():
    said = quotas("person:ada")
    [first], _ = told(said, 9)
    later = datetime(2026, 12, 1, 0, 0, 1, tzinfo=UTC)

    # sums that were read before midnight say nothing of the new month
    stale = drawn(said, used(said, 9), PEOPLE, later)
    new, so = told(said, 9, [first], later)
    [again], _ = to_tell(
        said, drawn(said, used(said, 9, now=later), PEOPLE, later), PEOPLE, [], later
    )

    assert stale == []
    assert (new, so) == ([], set())
    assert again.id != first.id


def test_a_window_that_moves_along_is_told_of_once_while_it_sways():
    said = quotas("person:ada", per="7 days")
    [first], _ = told(said, 8.1)

    assert told(said, 7.9, [first]) == ([], {("ada", first.about, NoticeKind.BUDGET_NEAR)})
    assert told(said, 7.4, [first]) == ([], set())


def test_the_notice_says_how_much_is_used_and_what_follows():
    [near], _ = told(quotas("person:ada", then="stop", grace="30 min"), 9)
    spent, _ = told(quotas("team:ml"), 10)

    assert near.sentence == (
        "ada has used 9 of 10 GPU-hours in this calendar month (ada's own limit)."
    )
    assert near.hint == (
        "Once it is used up, nothing that draws on it is started. What runs on it is stopped"
        " 30 min after that. It begins anew at 2026-12-01 00:00 UTC. Ask an administrator of this"
        " Hub for more."
    )
    assert not any("stopped" in each.hint for each in spent)


def running(number: int, *, gpu: int = 1, price: str | None = "1", **more) -> Standing:
    """An editor of ada's for the team, which was last used some minutes ago."""
    allocation = Allocation(
        id=f"s-{number:026d}", kind=AllocationKind.EDITOR, person="ada", team="ml", size="s",
        cpu=1, memory_bytes=1, gpu=gpu, begun_at=NOW - timedelta(hours=9),
        price_per_hour=Decimal(price) if price else None,
    )  # fmt: skip
    minutes, working = more.pop("idle_minutes", 0), more.pop("working", False)
    seen = Seen(active_at=NOW - timedelta(minutes=minutes), working=working)
    return Standing(allocation.model_copy(update=more), seen)


def stopped(said: Quotas, *standings: Standing, gpu_hours: float = 10) -> list[Standing]:
    found = stops(drawn(said, used(said, gpu_hours), PEOPLE, NOW))
    return [each.standing for each in to_stop(said, found, standings, PEOPLE, NOW)]


STOPS = {"then": "stop", "grace": "2 h"}


def test_what_runs_on_a_budget_that_is_used_up_is_stopped_what_is_idle_first():
    busy, idle, longer = (
        running(1, working=True),
        running(2, idle_minutes=5),
        running(3, idle_minutes=50),
    )
    run = running(4, kind=AllocationKind.RUN, id="r-" + "0" * 26, person="lea")

    assert stopped(quotas("team:ml", **STOPS), busy, idle, run, longer) == [
        longer, idle, run, busy,
    ]  # fmt: skip


def test_nothing_else_is_stopped():
    mine = running(1)

    assert stopped(quotas("team:ml"), mine) == []  # it only refuses
    assert stopped(quotas("team:ml", **STOPS), mine, gpu_hours=9.9) == []
    assert stopped(quotas("team:ml", **STOPS), running(1, gpu=0)) == []  # draws nothing
    assert stopped(quotas("team:ml", **STOPS), running(1, team="ada")) == []
    assert stopped(quotas("person:ada", **STOPS), running(1, person="lea")) == []
    # in the team ada has a budget of her own kind, so that everyone's does not count there
    said = Quotas(
        quotas=(*quotas("everyone", **STOPS).quotas, *quotas("member:ml", gpu_hours=99).quotas)
    )
    assert stopped(said, mine, gpu_hours=50) == []
    free = quotas("person:ada", gpu_hours=None, money=0, **STOPS)
    assert stopped(free, running(1, price=None)) == []


def test_its_person_has_the_grace_from_when_they_are_told():
    said = quotas("team:ml", **STOPS)
    [stop] = to_stop(
        said, stops(drawn(said, used(said, 10), PEOPLE, NOW)), [running(1)], PEOPLE, NOW
    )

    notice = stop_notice(stop, NOW)

    assert notice.deadline == NOW + timedelta(hours=2)
    assert notice.may_be_kept_until(NOW) is None
    assert stop.why == (
        "a budget is used up: The team 'ml' has used 10 of 10 GPU-hours in this calendar month"
        " (the team's limit (ml))"
    )


# ------------------------------------------------------------------------------------- the policy


def test_what_follows_is_kept_as_it_was_written_and_its_change_is_a_change():
    before, after = quotas("team:ml"), quotas("team:ml", then="stop", grace="90 min")

    [said] = plain(after)["quotas"]
    assert said["budgets"] == [
        {"per": "calendar month", "gpu_hours": 10.0, "then": "stop", "grace": "90 min"}
    ]
    assert Quotas.model_validate(plain(after)) == after
    assert plain(before)["quotas"][0]["budgets"] == [{"per": "calendar month", "gpu_hours": 10.0}]
    assert changes(before, after) == (
        (
            "team:ml: 10 GPU-hours per calendar month, then stopped after 90 min,"
            " was 10 GPU-hours per calendar month."
        ),
    )


@pytest.mark.parametrize(
    "budget", [{"grace": "2 h"}, {"then": "stop", "grace": "soon"}, {"then": "stop", "grace": 0}]
)
def test_a_grace_is_a_length_of_time_and_for_what_stops(budget):
    with pytest.raises(ValidationError):
        quotas("team:ml", **budget)
