"""Cursors of long lists."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from element_jupyter.core.errors import Invalid
from element_jupyter.core.pages import key_of_moment, moment_of_key


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_moment_in_a_cursor_is_that_moment(at: datetime):
    assert moment_of_key(key_of_moment(at)) == at


@pytest.mark.parametrize("key", [10**18, -(10**18), 10**400])
def test_a_cursor_of_a_moment_that_there_is_not_is_refused_by_its_field(key: int):
    with pytest.raises(Invalid) as refused:
        moment_of_key(key)
    assert refused.value.field == "cursor"
