"""Sizes that fit what somebody starts again and again, and what they would save a month.

Advice, which nothing follows. It stands on `core.resources.advice` and on prices; that something
would cost more is said only where it was killed for want of memory.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final, NamedTuple

from element_jupyter.core.jobs import Job
from element_jupyter.core.quotas.allocations import AllocationKind
from element_jupyter.core.resources.advice import LEAST, Advice, Evidence, advise
from element_jupyter.core.resources.words import memory_in_words
from element_jupyter.core.sizes import Size, Sizes
from element_jupyter.core.team_servers import team_of_account
from element_jupyter.core.values import Name, Value

MONTH: Final = timedelta(days=30)
GPU_UNUSED: Final = 0.05
"""Of the time, on average over the devices: a GPU that works less is not used."""
SHORT: Final = timedelta(hours=1)
"""What takes longer loses too much when its machine is taken away."""
_TWICE: Final = (
    "Each try begins from its own copy of the files; what it writes elsewhere, it must be able to"
    " write twice."
)
_SHARE: Final = 0.95
_LEAST_SAVED: Final = Decimal("0.01")


class Session(NamedTuple):
    """What one server or run used that has ended; a `core.resources.advice.Shown`."""

    at: datetime
    seconds: float
    peak_memory_bytes: int
    memory_limit_bytes: int | None
    cpu_cores: float | None
    gpu_share: float | None
    """Of the time of its GPUs; None without one, or where nothing has counted it."""
    out_of_memory: bool = False


class Started(NamedTuple):
    """What is started again and again, and what it used the last times."""

    kind: AllocationKind
    team: str
    person: str
    """Whose it is; empty for a job's runs."""
    job: str
    notebook: str
    size: str
    """Of the last time."""
    hours: float
    """At that size over the last `MONTH`."""
    sessions: Sequence[Session]


class AdviceSubject(Value):
    """What an advice is about."""

    kind: AllocationKind
    team: str
    person: str | None
    job: str | None
    notebook: str | None
    words: str
    """`ada's editor for the team 'ml'`."""


class Offer(Value):
    """A size and what an hour of it costs now."""

    size: Name
    cpu: float
    memory_bytes: int
    gpu: int
    price_per_hour: float | None


class SizeEvidence(Evidence):
    """What an advice on a size stands on."""

    hours_per_month: float
    """At the size of now, over the last 30 days."""
    cpu_cores_p95: float | None
    """Of the averages over whole sessions."""
    gpu_share_most: float | None


class SizeAdvice(Value):
    """A size that fits better; nothing is changed by it."""

    subject: AdviceSubject
    sentence: str
    now: Offer
    better: Offer
    saves_per_month: float | None
    """Less than nothing where it would cost more; None without prices."""
    evidence: SizeEvidence


class SpotAble(Value):
    """A job that could run where machines are cheap and may be taken away."""

    job: str
    team: Name
    sentence: str
    why: tuple[str, ...]
    retries: int
    duration_p95_seconds: float
    runs: int
    """That the duration is of."""
    hours_per_month: float
    cost_per_month: float | None


class Savings(Value):
    """What could be saved, the largest first."""

    currency: str
    items: tuple[SizeAdvice, ...]
    spot_able: tuple[SpotAble, ...]


Price = Callable[[Size, str], Decimal | None]
"""Returns what an hour of a size costs a team now; None where its size changes nothing of that."""


def savings(
    sizes: Sizes, price: Price, started: Iterable[Started], jobs: Iterable[Job], limit: int
) -> Savings:
    """Return the `limit` largest savings, and the jobs that may be interrupted.

    Of what was started, each is looked at once, and let go.
    """
    by_job: dict[str, dict[str, _Took]] = {}

    def fitting() -> Iterator[SizeAdvice]:
        for each in started:
            if (item := _fitting(sizes, price, each)) is not None:
                yield item
            if each.job and len(each.sessions) >= LEAST:
                took = _Took(
                    len(each.sessions),
                    _high([session.seconds for session in each.sessions]),
                    each.hours,
                    _cost(sizes, price, each),
                )
                by_job.setdefault(each.job, {})[each.notebook] = took

    # no more are held than are shown: to look through thousands for garbage stops every thread
    found = heapq.nsmallest(
        limit, fitting(), key=lambda item: (-(item.saves_per_month or 0.0), item.subject.words)
    )
    able = list(filter(None, (_spot_able(job, by_job.get(job.id, {})) for job in jobs)))
    able.sort(key=lambda item: (-(item.cost_per_month or 0.0), -item.hours_per_month, item.job))
    return Savings(currency=sizes.currency, items=tuple(found), spot_able=tuple(able[:limit]))


# ---------------------------------------------------------------------------------- sizes that fit


def _fitting(sizes: Sizes, price: Price, started: Started) -> SizeAdvice | None:
    now = next((size for size in sizes.sizes if size.name == started.size), None)
    advice = advise(started.sessions)
    if now is None or advice.memory_bytes is None or advice.evidence is None:
        return None
    gpu_shares = [each.gpu_share for each in started.sessions if each.gpu_share is not None]
    unused = (
        now.gpu > 0
        and len(gpu_shares) >= LEAST
        and len(gpu_shares) == len(started.sessions)
        and max(gpu_shares) < GPU_UNUSED
    )
    better = _cheapest(
        sizes,
        lambda size: price(size, started.team),
        advice,
        cores=advice.cpu_cores or now.cpu,
        gpu=0 if unused else now.gpu,
    )
    if better is None or better.name == now.name:
        return None
    killed = advice.evidence.oom_kills > 0
    if better.memory_bytes > now.memory_bytes and not killed:
        return None
    team = started.team
    saved = _saved(price(now, team), price(better, team), started.hours)
    smaller = (better.gpu, better.memory_bytes) < (now.gpu, now.memory_bytes)
    worth = smaller if saved is None else saved >= _LEAST_SAVED
    if not worth and not (killed and better.memory_bytes > now.memory_bytes):
        return None
    cores = [each.cpu_cores for each in started.sessions if each.cpu_cores is not None]
    evidence = SizeEvidence(
        **advice.evidence.model_dump(),
        hours_per_month=round(started.hours, 2),
        cpu_cores_p95=round(_high(cores), 2) if cores else None,
        gpu_share_most=round(max(gpu_shares), 4) if gpu_shares else None,
    )
    subject = _subject(started)
    return SizeAdvice(
        subject=subject,
        sentence=_sentence(subject, now, better, evidence, unused=unused),
        now=_offer(now, price(now, team)),
        better=_offer(better, price(better, team)),
        saves_per_month=None if saved is None else float(saved),
        evidence=evidence,
    )


def _cheapest(
    sizes: Sizes, price: Callable[[Size], Decimal | None], advice: Advice, *, cores: float, gpu: int
) -> Size | None:
    fitting = [
        size
        for size in sizes.sizes
        if size.memory_bytes >= (advice.memory_bytes or 0)
        and size.cpu >= cores
        # a size with a GPU is never advised in place of one without
        and size.gpu == gpu
    ]
    return min(
        fitting,
        key=lambda size: (price(size) or Decimal(0), size.memory_bytes, size.cpu),
        default=None,
    )


def _saved(now: Decimal | None, better: Decimal | None, hours: float) -> Decimal | None:
    if now is None or better is None:
        return None
    return ((now - better) * Decimal(str(hours))).quantize(Decimal("0.01"))


def _sentence(
    subject: AdviceSubject, now: Size, better: Size, evidence: SizeEvidence, *, unused: bool
) -> str:
    of = math.ceil(_SHARE * evidence.runs)
    last = f"its last {evidence.runs} sessions"
    if subject.kind is AllocationKind.RUN:
        last = f"the last {evidence.runs} runs"
    most = f"all of {last}" if of == evidence.runs else f"{of} of {last}"
    peak = memory_in_words(evidence.peak_p95_bytes)
    has, enough = memory_in_words(now.memory_bytes), memory_in_words(better.memory_bytes)
    if evidence.oom_kills and better.memory_bytes > now.memory_bytes:
        times = "once" if evidence.oom_kills == 1 else f"{evidence.oom_kills} times"
        return (
            f"{subject.words} was killed for want of memory {times} in {last}, with {has}"
            f" ({now.name}): {better.name} has {enough}."
        )
    memory = (
        f"{subject.words} needed {peak} of memory or less in {most} and has {has} ({now.name});"
        f" {better.name} has {enough}."
    )
    said = [memory]
    if unused:
        said.append(f"Its GPU worked less than {GPU_UNUSED:.0%} of the time in each of them.")
    if better.cpu < now.cpu and evidence.cpu_cores_p95 is not None:
        said.append(
            f"Of {now.cpu:g} cores it used {evidence.cpu_cores_p95:.1f} on average over a whole"
            f" session; with {better.cpu:g}, what uses more for a while takes longer."
        )
    return " ".join(said)


def _subject(started: Started) -> AdviceSubject:
    own = started.team == started.person
    for_team = "" if own else f" for the team '{started.team}'"
    if started.job:
        words = f"The notebook {started.notebook} of the job '{started.job}'"
    elif started.kind is AllocationKind.RUN:
        words = f"The notebook {started.notebook}, run by {started.person}{for_team},"
    elif (team := team_of_account(started.person)) is not None:
        words = f"The server of the team '{team}'"
    else:
        words = f"{started.person}'s editor{for_team}"
    return AdviceSubject(
        kind=started.kind,
        team=started.team,
        person=started.person or None,
        job=started.job or None,
        notebook=started.notebook or None,
        words=words,
    )


def _offer(size: Size, per_hour: Decimal | None) -> Offer:
    return Offer(
        size=size.name,
        cpu=size.cpu,
        memory_bytes=size.memory_bytes,
        gpu=size.gpu,
        price_per_hour=None if per_hour is None else float(per_hour),
    )


# ------------------------------------------------------------------------------ may be interrupted


class _Took(NamedTuple):
    """What the runs of one notebook of a job took."""

    runs: int
    seconds: float
    """That nearly all of them did not exceed."""
    hours: float
    cost: Decimal | None


def _spot_able(job: Job, took: Mapping[str, _Took]) -> SpotAble | None:
    retries = min(task.retries for task in job.tasks)
    notebooks = {task.notebook for task in job.tasks}
    if retries < 1 or not notebooks <= took.keys():
        return None
    used = [took[notebook] for notebook in sorted(notebooks)]
    p95 = max(each.seconds for each in used)
    if p95 > SHORT.total_seconds():
        return None
    runs = min(each.runs for each in used)
    costs = [each.cost for each in used]
    minutes = max(1, math.ceil(p95 / 60))
    at_most = "1 minute" if minutes == 1 else f"{minutes} minutes"
    times = "once" if retries == 1 else f"{retries} times"
    why = (
        f"What is interrupted is tried again, {times}.",
        f"{math.ceil(_SHARE * runs)} of its last {runs} runs took {at_most} or less.",
        _TWICE,
    )
    return SpotAble(
        job=job.id,
        team=job.team,
        sentence=f"The job '{job.id}' could run where machines may be taken away.",
        why=why,
        retries=retries,
        duration_p95_seconds=round(p95, 3),
        runs=runs,
        hours_per_month=round(sum(each.hours for each in used), 2),
        cost_per_month=None
        if any(cost is None for cost in costs)
        else float(sum((cost for cost in costs if cost is not None), Decimal(0))),
    )


def _cost(sizes: Sizes, price: Price, started: Started) -> Decimal | None:
    size = next((size for size in sizes.sizes if size.name == started.size), None)
    per_hour = price(size, started.team) if size is not None else None
    if per_hour is None:
        return None
    return (per_hour * Decimal(str(started.hours))).quantize(Decimal("0.01"))


def _high(values: Sequence[float]) -> float:
    return sorted(values)[math.ceil(_SHARE * len(values)) - 1]
