"""What could be saved: sizes that fit, at their prices, and jobs that may be interrupted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from element_jupyter.core.jobs import Job
from element_jupyter.core.quotas.allocations import AllocationKind
from element_jupyter.core.resources.savings import Session, Started, savings
from element_jupyter.core.sizes import Size, Sizes

AT = datetime(2026, 11, 1, tzinfo=UTC)
GIB = 2**30
SIZES = Sizes.model_validate(
    {
        "default": "small",
        "sizes": [
            {"name": "small", "cpu": 1, "memory_bytes": "2 GiB", "price_per_hour": 0.04},
            {"name": "medium", "cpu": 2, "memory_bytes": "8 GiB", "price_per_hour": 0.12},
            {"name": "large", "cpu": 8, "memory_bytes": "32 GiB", "price_per_hour": 0.48},
        ],
    }
)


def sessions(*peaks: int, seconds: float = 600, cores: float | None = 0.3, **more):
    return [
        Session(AT + timedelta(days=day), seconds, peak, None, cores, None, **more)
        for day, peak in enumerate(peaks)
    ]


def started(*used: Session, size="large", hours=100.0, job="", notebook="", person="ada"):
    kind = AllocationKind.RUN if notebook else AllocationKind.EDITOR
    return Started(kind, "ml", "" if job else person, job, notebook, size, hours, used)


def saved(*found: Started, jobs=(), limit=10, sizes=SIZES):
    return savings(sizes, lambda size, _: size.price_per_hour, found, jobs, limit)


def test_a_job_that_was_killed_for_want_of_memory_is_advised_more_and_told_what_it_costs():
    killed = sessions(2 * GIB, out_of_memory=True)[0]._replace(memory_limit_bytes=2 * GIB)
    (item,) = saved(
        started(*sessions(GIB, GIB), killed, size="small", job="ml/nightly", notebook="n.ipynb")
    ).items

    assert item.better.size == "medium"
    assert item.saves_per_month == pytest.approx(-8.0)
    assert item.sentence == (
        "The notebook n.ipynb of the job 'ml/nightly' was killed for want of memory once in the"
        " last 3 runs, with 2.0 GiB (small): medium has 8.0 GiB."
    )


def test_who_uses_the_cores_keeps_them_and_so_does_one_of_whom_nobody_counted_them():
    assert saved(started(*sessions(GIB, GIB, GIB, cores=6.5))).items == ()
    assert saved(started(*sessions(GIB, GIB, GIB, cores=None))).items == ()
    (item,) = saved(started(*sessions(GIB, GIB, GIB, cores=1.2))).items
    assert item.better.size == "medium"
    assert "Of 8 cores it used 1.2 on average" in item.sentence


def test_without_prices_a_smaller_size_is_advised_all_the_same():
    free = Sizes(
        default="small",
        sizes=tuple(size.model_copy(update={"price_per_hour": None}) for size in SIZES.sizes),
    )
    (item,) = saved(started(*sessions(GIB, GIB, GIB)), sizes=free).items
    assert (item.better.size, item.saves_per_month) == ("small", None)


def job(retries: int, *notebooks: str) -> Job:
    return Job.model_validate(
        {
            "team": "ml",
            "name": "nightly",
            "owner": "ada",
            "snapshot_id": "0" * 64,
            "tasks": [
                {"name": f"t{n}", "notebook": notebook, "retries": retries}
                for n, notebook in enumerate(notebooks)
            ],
        }
    )


def test_a_job_is_spot_able_when_it_is_retried_short_and_known():
    used = sessions(GIB, GIB, GIB, seconds=700)
    found = started(*used, job="ml/nightly", notebook="n.ipynb", hours=50)
    long = started(*sessions(GIB, GIB, GIB, seconds=3700), job="ml/nightly", notebook="n.ipynb")

    (able,) = saved(found, jobs=[job(2, "n.ipynb")]).spot_able

    assert able.job == "ml/nightly"
    assert able.why[0] == "What is interrupted is tried again, 2 times."
    assert able.why[1] == "3 of its last 3 runs took 12 minutes or less."
    assert (able.duration_p95_seconds, able.cost_per_month) == (700, 24.0)
    assert saved(found, jobs=[job(0, "n.ipynb")]).spot_able == ()
    assert saved(found, jobs=[job(2, "n.ipynb", "unknown.ipynb")]).spot_able == ()
    assert saved(long, jobs=[job(2, "n.ipynb")]).spot_able == ()


offered = st.lists(
    st.builds(
        Size,
        name=st.sampled_from(["a", "b", "c", "d", "e"]),
        cpu=st.sampled_from([0.5, 1, 2, 8]),
        memory_bytes=st.integers(1, 64).map(lambda gib: gib * GIB),
        gpu=st.integers(0, 2),
        price_per_hour=st.none() | st.decimals(0, 10, places=3),
    ),
    min_size=1,
    max_size=5,
    unique_by=lambda size: size.name,
)
used = st.lists(
    st.builds(
        Session,
        st.integers(0, 1000).map(lambda hour: AT + timedelta(hours=hour)),
        st.floats(1, 1e5),
        st.integers(0, 80 * GIB),
        st.none() | st.integers(1, 80 * GIB),
        st.none() | st.floats(0, 10),
        st.none() | st.floats(0, 1),
        st.booleans(),
    ),
    max_size=20,
)


@given(offered, used, st.floats(0, 720), st.data())
def test_what_is_advised_holds_what_was_needed_and_its_saving_is_what_the_prices_say(
    sizes, shown, hours, data
):
    known = Sizes(default=sizes[0].name, sizes=tuple(sizes))
    now = data.draw(st.sampled_from(sizes))

    found = saved(started(*shown, size=now.name, hours=hours), sizes=known).items

    if len(shown) < 3:
        assert found == ()
    for item in found:
        better = known.get(item.better.size)
        peaks = sorted(each.peak_memory_bytes for each in shown)
        assert better.memory_bytes >= peaks[-(-95 * len(peaks) // 100) - 1]
        assert better.gpu <= now.gpu
        if better.memory_bytes > now.memory_bytes:
            assert any(each.out_of_memory for each in shown)
        elif item.saves_per_month is None:
            assert (better.gpu, better.memory_bytes) < (now.gpu, now.memory_bytes)
        else:
            assert item.saves_per_month > 0
        if better.price_per_hour is not None and now.price_per_hour is not None:
            expected = (now.price_per_hour - better.price_per_hour) * Decimal(str(hours))
            assert item.saves_per_month == pytest.approx(float(expected), abs=0.006)
        if better.gpu < now.gpu:
            assert all(each.gpu_share is not None and each.gpu_share < 0.05 for each in shown)


@given(st.lists(st.floats(0.1, 700), min_size=1, max_size=30), st.integers(1, 10))
def test_the_largest_savings_come_first_and_not_more_than_asked_for(hours, limit):
    found = saved(
        *(
            started(*sessions(GIB, GIB, GIB), hours=each, person=f"p{n}")
            for n, each in enumerate(hours)
        ),
        limit=limit,
    ).items

    amounts = [item.saves_per_month or 0 for item in found]
    assert len(found) == min(limit, len(hours))
    assert amounts == sorted(amounts, reverse=True)
    assert max(hours) == pytest.approx(found[0].evidence.hours_per_month, abs=0.05)
