"""The types that every value shares."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from element_jupyter.core.values import Name, UtcTime, Value, slug

NAME = TypeAdapter(Name)


class Thing(Value):
    at: UtcTime
    size: float = 0


def test_times_become_utc_and_naive_ones_are_refused():
    thing = Thing(at="2026-11-20T06:00:00+01:00")
    assert thing.at == datetime(2026, 11, 20, 5, tzinfo=UTC)
    assert thing.at.tzinfo is UTC
    with pytest.raises(ValidationError, match="timezone"):
        Thing(at="2026-11-20T06:00:00")


def test_a_value_is_frozen_and_knows_its_keys_and_has_no_infinity():
    thing = Thing(at="2026-11-20T06:00:00Z")
    with pytest.raises(ValidationError, match="frozen"):
        thing.size = 1  # type: ignore[misc]
    with pytest.raises(ValidationError, match="sice"):
        Thing(at="2026-11-20T06:00:00Z", sice=1)  # type: ignore[call-arg]
    with pytest.raises(ValidationError, match="finite"):
        Thing(at="2026-11-20T06:00:00Z", size=float("inf"))


@pytest.mark.parametrize(
    "name",
    ["", "A", "a b", "a/b", "..", "a--b", "a__b", "-a", "a-", "a" * 64, "é", "a\n", "a\0", "a%2f"],
)
def test_a_name_is_safe_as_path_url_and_airflow_id(name):
    with pytest.raises(ValidationError):
        NAME.validate_python(name)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Daily Sales (v2)", "daily-sales-v2"),
        ("Über_größe", "uber_groe"),
        ("a--b__c..d", "a-b-c-d"),
        ("../../etc/passwd", "etc-passwd"),
        ("日本", "notebook"),
        ("", "notebook"),
        ("x" * 62 + "-y", "x" * 62),
    ],
)
def test_a_slug_is_near_to_what_was_written(text, name):
    assert slug(text) == name


@given(st.text(max_size=200))
def test_every_slug_is_a_name(text):
    assert NAME.validate_python(slug(text)) == slug(text)
