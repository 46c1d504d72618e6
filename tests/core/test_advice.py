"""How large the next run should be, from what those before it needed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import ceil

from hypothesis import given
from hypothesis import strategies as st

from element_jupyter.core.resources.advice import Need, advise

AT = datetime(2026, 11, 1, tzinfo=UTC)
MB, GIB = 1_000_000, 2**30


def needs(*peaks: int, **fields) -> list[Need]:
    return [
        Need(at=AT + timedelta(days=day), peak_memory_bytes=peak, **fields)
        for day, peak in enumerate(peaks)
    ]


def test_two_runs_are_no_evidence_and_the_answer_says_so():
    for count, sentence in [
        (0, "No run like this has shown what it needs; advice takes 3 of them."),
        (1, "One run like this has shown what it needs; advice takes 3 of them."),
        (2, "2 runs like this have shown what it needs; advice takes 3 of them."),
    ]:
        advice = advise(needs(*[100 * MB] * count))
        assert (advice.memory_bytes, advice.evidence) == (None, None)
        assert advice.reason == sentence


def test_enough_is_what_nearly_all_needed_and_fifteen_percent():
    advice = advise(needs(1300 * MB, 900 * MB, 1100 * MB, cpu_cores=1.43))

    assert advice.memory_bytes == ceil(1.4 * GIB)
    assert advice.cpu_cores == 1.7
    assert advice.evidence is not None
    assert advice.evidence.peak_p95_bytes == 1300 * MB
    assert (advice.evidence.runs, advice.evidence.oom_kills) == (3, 0)
    assert (advice.evidence.since, advice.evidence.until) == (AT, AT + timedelta(days=2))


def test_one_of_twenty_may_be_an_outlier_and_older_ones_do_not_count():
    peaks = [9000 * MB] * 5 + [1000 * MB] * 12 + [5000 * MB] + [1000 * MB] * 7
    advice = advise(needs(*peaks))

    assert advice.evidence is not None
    assert advice.evidence.runs == 20
    assert advice.memory_bytes == ceil(1.1 * GIB)


def test_a_run_that_was_killed_for_want_of_memory_asks_for_the_next_size():
    usual = needs(*[1000 * MB] * 19)
    killed = Need(
        at=AT + timedelta(days=30),
        peak_memory_bytes=round(1.98 * GIB),
        memory_limit_bytes=2 * GIB,
        out_of_memory=True,
    )
    advice = advise([*usual, killed])

    assert advice.evidence is not None
    assert advice.evidence.oom_kills == 1
    assert advice.memory_bytes is not None
    assert advice.memory_bytes == ceil(3.5 * GIB)  # 2 × 1.5 × 1.15


def test_a_limit_that_others_have_used_up_is_not_what_the_run_needs():
    killed = needs(1000 * MB, 1000 * MB, 1000 * MB, out_of_memory=True, memory_limit_bytes=64 * GIB)

    assert advise(killed).memory_bytes == ceil(1.7 * GIB)


@given(st.lists(st.integers(1, 10**13), min_size=3, max_size=40))
def test_advice_covers_all_but_one_of_the_last_twenty(peaks):
    advice = advise(needs(*peaks))

    assert advice.memory_bytes is not None
    assert sum(peak > advice.memory_bytes for peak in peaks[-20:]) <= 1
