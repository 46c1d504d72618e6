"""Sizes: what `sizes.yaml` may say, and which one fits."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from element_jupyter.core.errors import NotFound
from element_jupyter.core.sizes import Sizes, parse_bytes


def _size(name, memory, cpu=1, **more):
    return {"name": name, "memory_bytes": memory, "cpu": cpu, **more}


SIZES = Sizes.model_validate(
    {
        "default": "s",
        "sizes": [
            _size("l", "32 GiB", 8, price_per_hour="0.5"),
            _size("s", "2 GiB", price_per_hour="0.1"),
            _size("gpu", "16 GiB", 4, gpu=1, price_per_hour="0.2"),
        ],
    }
)


def test_amounts_of_memory_are_read_as_people_write_them():
    assert [parse_bytes(text) for text in ("4 GiB", "4G", "1.5kB", "17", 5)] == [
        4 << 30,
        4 << 30,
        1500,
        17,
        5,
    ]
    for wrong in ("4 GBs", "GiB", "-1G", "4 4"):
        with pytest.raises(ValueError, match="amount of memory"):
            parse_bytes(wrong)


def test_the_size_of_one_that_names_none_is_the_default():
    assert SIZES.get(None).name == "s"
    with pytest.raises(NotFound, match="no size 'xl'") as refusal:
        SIZES.get("xl")
    assert "l, s, gpu" in refusal.value.hint


def test_the_cheapest_that_fits_is_advised_and_a_gpu_only_when_asked_for():
    assert SIZES.smallest_for(1 << 30).name == "s"
    assert SIZES.smallest_for(3 << 30).name == "l"
    assert SIZES.smallest_for(3 << 30, gpu=1).name == "gpu"
    assert SIZES.smallest_for(64 << 30) is None


@pytest.mark.parametrize(
    "change",
    [{"default": "xl"}, {"sizes": []}, {"sizes": [_size("s", "2G"), _size("s", "3G")]}],
)
def test_sizes_that_contradict_themselves_are_refused(change):
    with pytest.raises(ValidationError):
        Sizes.model_validate({"default": "s", "sizes": [_size("s", "2 GiB")], **change})
