"""Quotas: which limits count for whom, over which window, and when something fits again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from element_jupyter.core.quotas.checking import (
    Amounts,
    Used,
    budget_frees_at,
    in_words,
    refused_ever,
    refused_now,
)
from element_jupyter.core.quotas.rules import (
    Bound,
    Claimant,
    Kind,
    Limit,
    Quotas,
    Resource,
    Scope,
    Subject,
    bounds,
)
from element_jupyter.core.quotas.windows import window
from element_jupyter.core.teams import Level
from element_jupyter.core.validation import explain

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
ADA = Claimant("ada", "ml", Level.MEMBER)


def quotas(*said, **more) -> Quotas:
    return Quotas.model_validate({"quotas": said, **more})


def gpus(who: str, gpu, **more):
    return {"who": who, "at_once": {"gpu": gpu}, **more}


def amounts(found) -> dict[str, float]:
    return {str(bound.limit.subject): bound.limit.amount for bound in found}


# ------------------------------------------------------------------------------------- the rule


def test_a_persons_own_limit_counts_before_that_of_groups_and_everyones():
    said = quotas(
        gpus("everyone", 1), gpus("role:member", 2), gpus("member:ml", 3), gpus("person:ada", 7)
    )

    assert amounts(bounds(said, ADA, NOW)) == {"person:ada": 7}
    assert amounts(bounds(said, ADA._replace(person="bob"), NOW)) == {"role:member": 2}
    assert amounts(bounds(said, Claimant("bob", "bob", Level.LEAD), NOW)) == {"everyone": 1}


def test_a_teams_own_limit_holds_besides_and_counts_what_all_of_it_use():
    said = quotas(gpus("everyone", 1), gpus("team:*", 9), gpus("team:ml", 4))

    found = bounds(said, ADA, NOW)

    assert amounts(found) == {"team:ml": 4, "everyone": 1}
    assert {bound.scope for bound in found} == {Scope(team="ml"), Scope(person="ada")}
    assert amounts(bounds(said, Claimant("ada", "ops"), NOW)) == {"team:*": 9, "everyone": 1}
    assert amounts(bounds(said, Claimant(None, "ml"), NOW)) == {"team:ml": 4}
    assert amounts(bounds(said, Claimant("ada", "ada", Level.LEAD), NOW)) == {"everyone": 1}


def test_an_exception_replaces_its_subjects_limit_until_the_end_of_its_last_day():
    said = quotas(
        gpus("person:ada", 2),
        gpus("person:ada", 8, until="2026-11-22", reason="a deadline"),
        timezone="America/New_York",
    )
    still, over = datetime(2026, 11, 23, 4, 59, tzinfo=UTC), datetime(2026, 11, 23, 5, tzinfo=UTC)

    assert amounts(bounds(said, ADA, still)) == {"person:ada": 8}
    assert amounts(bounds(said, ADA, over)) == {"person:ada": 2}


def test_unlimited_takes_away_what_a_wider_limit_says():
    said = quotas(gpus("everyone", 1), gpus("person:ada", "unlimited"))

    assert bounds(said, ADA, NOW) == ()


def test_budgets_over_different_windows_count_each():
    def budget(who, hours, per):
        return {"who": who, "budgets": [{"per": per, "gpu_hours": hours}]}

    said = quotas(
        budget("member:ml", 50, "7 days"),
        budget("role:member", 20, "7 days"),
        budget("role:member", 100, "calendar month") | {"reason": "another"},
        budget("everyone", 1, "1 day"),
    )
    found = {(bound.limit.per, bound.limit.amount) for bound in bounds(said, ADA, NOW)}

    assert found == {("7 days", 20), ("calendar month", 100)}


def test_what_one_member_alone_has_in_a_team_counts_there_and_nowhere_else():
    said = quotas(
        gpus("everyone", 1), gpus("role:member", 2), gpus("member:ml", 3), gpus("member:ml/ada", 7)
    )
    found = bounds(said, ADA, NOW)

    assert amounts(found) == {"member:ml/ada": 7}
    assert found[0].scope == Scope("ada", "ml")
    assert found[0].limit.subject.words == "ada's own limit in the team 'ml'"
    assert amounts(bounds(said, ADA._replace(person="bob"), NOW)) == {"role:member": 2}
    assert amounts(bounds(said, ADA._replace(team="ops"), NOW)) == {"role:member": 2}
    assert amounts(bounds(quotas(gpus("member:ada/ada", 7)), Claimant("ada", "ada"), NOW)) == {}


OF_PERSONS = ["everyone", "role:member", "member:ml", "member:*", "person:ada", "member:ml/ada"]
SUBJECTS = st.sampled_from([*OF_PERSONS, "team:ml", "team:*", "member:ml/bob", "member:ops/ada"])


@given(st.dictionaries(SUBJECTS, st.one_of(st.integers(0, 9), st.just("unlimited"))))
def test_the_rule_holds_for_any_limits(said):
    found = amounts(bounds(quotas(*(gpus(who, gpu) for who, gpu in said.items())), ADA, NOW))

    pool = said.get("team:ml", said.get("team:*", "unlimited"))
    membership = said.get("member:ml", said.get("member:*"))
    groups = [each for each in (said.get("role:member"), membership) if each is not None]
    numbers = [each for each in groups if each != "unlimited"]
    group = min(numbers) if numbers else ("unlimited" if groups else None)
    alone = said.get("member:ml/ada", group)
    person = said.get("person:ada", alone if alone is not None else said.get("everyone"))
    expected = [each for each in (pool, person) if each not in {"unlimited", None}]
    assert sorted(found.values()) == sorted(expected)


@given(st.dictionaries(SUBJECTS, st.integers(0, 9)), SUBJECTS, st.integers(0, 9))
def test_a_smaller_number_for_whom_a_limit_is_said_never_gives_more(said, who, gpu):
    assume(gpu <= said.get(who, -1))

    def most(each) -> float:
        found = amounts(bounds(quotas(*(gpus(*item) for item in each.items())), ADA, NOW))
        return min(found.values(), default=float("inf"))

    assert most(said | {who: gpu}) <= most(said)


@given(
    st.dictionaries(SUBJECTS, st.integers(0, 9)),
    st.integers(0, 9),
    st.sampled_from(["bob", "ada"]),
    st.sampled_from(["ml", "ops"]),
)
def test_what_a_lead_grants_touches_neither_others_nor_other_teams_nor_the_teams_own_limit(
    said, gpu, person, team
):
    given_more = said | {"member:ml/ada": gpu}
    who = Claimant(person, team, Level.MEMBER)

    def found(each):
        return bounds(quotas(*(gpus(*item) for item in each.items())), who, NOW)

    if (person, team) == ("ada", "ml"):
        pools = [bound for bound in found(said) if bound.scope.person is None]
        assert [bound for bound in found(given_more) if bound.scope.person is None] == pools
    else:
        assert found(given_more) == found(said)


# ------------------------------------------------------------------------------------ the file


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({"quotas": [{"who": "everyone", "at_once": {"servrs": 1}}]}, "'servrs'"),
        ({"quotas": [{"who": "evryone"}]}, "quotas.0.who: it must be everyone"),
        ({"quotas": [{"who": "everyone", "largest": {"memory_bytes": "4 GBs"}}]}, "memory"),
        ({"quotas": [{"who": "team:a", "budgets": [{"per": "2 weeks", "money": 3}]}]}, "'30 days'"),
        ({"timezone": "Europe/Nowhere"}, "there is no time zone"),
        ({"quotas": [gpus("everyone", 1), gpus("everyone", 2)]}, "two limits of gpu"),
    ],
)
def test_what_is_wrong_in_the_file_is_named(said, sentence):
    with pytest.raises(ValidationError) as caught:
        Quotas.model_validate(said)

    assert sentence in explain(caught.value, said, Quotas.model_json_schema()).message


# -------------------------------------------------------------------------------------- windows

ZONES = st.sampled_from(
    [
        "UTC",
        "Europe/Zurich",
        "America/New_York",
        "Australia/Lord_Howe",
        "Asia/Kathmandu",
        "America/Havana",
        "Asia/Beirut",
        "Pacific/Apia",
        "Africa/Cairo",
    ]
)
MOMENTS = st.integers(1_262_304_000, 2_114_380_800).map(lambda at: datetime.fromtimestamp(at, UTC))


@given(st.sampled_from(["day", "week", "month"]), ZONES, MOMENTS)
def test_a_calendars_windows_hold_every_moment_once_over_any_change_of_clocks(unit, zone, now):
    per = f"calendar {unit}"
    since, until = window(per, zone, now)

    assert since <= now
    assert until is not None
    assert now < until
    assert window(per, zone, since) == (since, until)
    last = until - timedelta(microseconds=1)
    assert window(per, zone, last) == (since, until)
    assert window(per, zone, until).since == until
    begins = since.astimezone(ZoneInfo(zone))
    if unit == "month":
        assert begins.day == 1
        assert (until.astimezone(ZoneInfo(zone)).month - begins.month) % 12 == 1
    if unit == "week":
        assert begins.weekday() == 0


@given(st.integers(1, 366), ZONES, MOMENTS)
def test_the_last_n_days_are_so_many_times_24_hours(days, zone, now):
    assert window(f"{days} days", zone, now) == (now - timedelta(days=days), None)


def test_a_day_of_25_hours_is_one_day():
    since, until = window("calendar day", "Europe/Zurich", datetime(2026, 10, 25, 12, tzinfo=UTC))

    assert until is not None
    assert until - since == timedelta(hours=25)


# ------------------------------------------------------------------------------------- checking

SMALL = Amounts(cpu=1, memory_bytes=2 << 30, gpu=1, servers=1)


def test_a_refusal_says_which_limit_how_much_is_used_and_whom_to_ask():
    said = quotas(gpus("team:ml", 4), contact="help@example.org")
    refusal = refused_now(bounds(said, ADA, NOW), SMALL, lambda _: Amounts(gpu=4), lambda _: 0)

    assert refusal is not None
    assert refusal.sentence == (
        "The team 'ml' has 4 of 4 GPUs in use (the team's limit (ml)). This needs 1 GPU more."
    )
    assert refusal.hint(said) == (
        "It frees when something of that ends. Ask a lead of the team 'ml', or help@example.org."
    )


def test_what_never_fits_is_told_from_what_does_not_fit_now():
    said = quotas({"who": "everyone", "largest": {"cpu": 4}, "at_once": {"gpu": 2}})
    found = bounds(said, ADA, NOW)

    assert refused_ever(found, SMALL) is None
    assert "this needs 8 cores" in refused_ever(found, SMALL._replace(cpu=8)).sentence
    assert refused_ever(found, SMALL._replace(gpu=3)).never
    assert refused_now(found, SMALL._replace(gpu=0), lambda _: Amounts(gpu=2), lambda _: 0) is None


def test_a_budget_lets_start_until_it_is_used_up():
    said = quotas({"who": "everyone", "budgets": [{"per": "7 days", "gpu_hours": 20}]})
    found = bounds(said, ADA, NOW)

    def refused(used, wanted=SMALL):
        return refused_now(found, wanted, lambda _: Amounts(), lambda _: used)

    assert refused(19.999) is None
    assert "has used 20 of 20 GPU-hours per 7 days" in refused(20).sentence
    assert refused(20, SMALL._replace(gpu=0)) is None
    assert in_words(Resource.GPU_HOURS, 19.999) == "19.99 GPU-hours"


PIECES = st.lists(
    st.tuples(st.integers(0, 30 * 24), st.integers(1, 100), st.integers(1, 8)), max_size=15
)


@given(PIECES, st.integers(1, 500), st.integers(1, 20))
def test_a_budget_of_the_last_days_has_room_again_just_when_it_says(pieces, amount, days):
    used = [
        Used(NOW - timedelta(hours=ago), NOW - timedelta(hours=max(0, ago - hours)), rate)
        for ago, hours, rate in pieces
    ]
    limit = Limit(Subject("everyone"), Kind.BUDGET, Resource.CPU_HOURS, amount, f"{days} days")

    def total(at: datetime) -> float:
        since = at - timedelta(days=days)
        lengths = (min(each.ended_at, NOW) - max(each.begun_at, since) for each in used)
        return sum(
            max(0.0, length.total_seconds()) / 3600 * each.per_hour
            for length, each in zip(lengths, used, strict=True)
        )

    assume(total(NOW) >= amount)
    frees_at = budget_frees_at(Bound(limit, Scope("ada")), used, NOW)

    assert frees_at is not None
    assert total(frees_at) < amount
    assert total(frees_at - timedelta(seconds=2)) >= amount - 1e-6
