"""“Usage and cost”: what was given, used and left idle over a time, by whom and what it costs."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from importlib.util import find_spec
from typing import Any, Final

from element_jupyter.core.access import Person
from element_jupyter.core.admission import refuse_control_characters
from element_jupyter.core.errors import Invalid
from element_jupyter.core.ledger.reports import By, UsageReport, UsageRow, UsageSums
from element_jupyter.core.quotas.allocations import AllocationKind
from element_jupyter.core.quotas.rules import Kind, Resource
from element_jupyter.core.quotas.standing import ShownLimit
from element_jupyter.core.resources.savings import Savings
from element_jupyter.service.http import Download
from element_jupyter.service.ledger import Asked
from element_jupyter.service.ledger_export import ReportFormat
from element_jupyter.service.pages.charts import Column, columns, legend, share_bar
from element_jupyter.service.pages.listing import Given, address
from element_jupyter.service.pages.view import View, leads, teams_led
from element_jupyter.service.services import Services

_ON_PAGE: Final = 50
_MOST_COLUMNS: Final = 62
WAYS: Final = {
    By.TEAM: "Team",
    By.PERSON: "Person",
    By.JOB: "Job",
    By.SIZE: "Size",
    By.DAY: "Day",
}
_FORMS: Final = tuple(
    form for form in ReportFormat if form is ReportFormat.CSV or find_spec("pyarrow")
)
_INTO: Final = {By.TEAM: By.PERSON, By.PERSON: By.JOB, By.JOB: By.DAY}
"""What a row is divided by when it is opened."""
PERIODS: Final = {"": "This month", "last": "Last month"}


async def load(
    services: Services,
    who: Person,
    *,
    period: Given = "",
    since: Given = "",
    until: Given = "",
    by: Given = "",
    team: Given = "",
    person: Given = "",
    job: Given = "",
    search: Given = "",
    page: Given = "",
) -> dict[str, object]:
    """Show the report that was asked for, its chart, and what could be saved."""
    refuse_control_characters({"search": search})
    asked = _asked(who, period, since, until, team, person, job)
    way = _way(by, asked["team"], asked["person"], asked["job"])
    report = await _report(services, asked, way)
    daily = report if way is By.DAY else await _report(services, asked, By.DAY)
    asked |= {"by": by, "search": search}
    money = daily.total.cost > 0
    budget = await _budget(services, who, asked["team"], daily)
    matching = [row for row in report.rows if search.lower() in _name(row, way).lower()]
    matching.sort(key=lambda row: _order(row, way, money=money))
    begin = _number(page) * _ON_PAGE
    shown = matching[begin : begin + _ON_PAGE]
    most = max((_amount(row, money=money) for row in matching), default=0.0)
    return {
        "asked": asked,
        "way": way,
        "ways": WAYS,
        "periods": PERIODS,
        "teams": teams_led(who),
        "report": daily,
        "total": daily.total,
        "money": money,
        "last": daily.until - timedelta(days=1),
        "rows": [
            {
                "row": row,
                "name": _name(row, way),
                "into": _into(asked, way, row),
                "bar": share_bar(_amount(row, money=money), _idle(row, money=money), most),
            }
            for row in shown
        ],
        "count": len(matching),
        "chart": _chart(daily, money=money),
        "legend": legend("given", "given and idle"),
        "measured": daily.total.idle_share is not None,
        "budget": budget,
        "budget_limit": Decimal(str(budget.limit)) if budget else Decimal(0),
        "savings": await _savings(services, who, asked["team"]),
        "following": address("usage", asked, page=str(_number(page) + 1))
        if begin + _ON_PAGE < len(matching)
        else "",
        "first": address("usage", asked) if begin else "",
        "of": lambda **changed: address("usage", asked, **changed),
        "files": {
            form: address("usage/export", asked, by=way.value, search="", form=form)
            for form in _FORMS
        },
    }


async def download(
    services: Services,
    who: Person,
    *,
    form: ReportFormat = ReportFormat.CSV,
    period: Given = "",
    since: Given = "",
    until: Given = "",
    by: Given = "",
    team: Given = "",
    person: Given = "",
    job: Given = "",
) -> Download:
    """Hand out the rows of a report as a file."""
    asked = _asked(who, period, since, until, team, person, job)
    way = _way(by, asked["team"], asked["person"], asked["job"])
    question = _question(services, asked, way)
    chunks = services.ledger.export(question, form)
    name = f"usage-{question.since}-{question.until}.{form}"
    return Download(name, chunks, form.media_type)


def _asked(  # noqa: PLR0917 - what a report is asked for
    who: Person, period: str, since: str, until: str, team: str, person: str, job: str
) -> dict[str, str]:
    refuse_control_characters({"team": team, "person": person, "job": job})
    led = teams_led(who)
    if not who.admin and team not in led:
        # a lead without a team among those asked for: the first that they lead
        team = led[0] if led and not team else team
        person = person if team in led else who.name
    days = period == "days"
    return {
        "period": period,
        "since": since if days else "",
        "until": until if days else "",
        "team": team,
        "person": person,
        "job": job,
    }


def _question(services: Services, asked: dict[str, str], way: By) -> Asked:
    first, after = _days(asked, *services.ledger.month())
    whose = (asked["team"] or None, asked["person"] or None, asked["job"] or None)
    return Asked((way,), first, after, *whose)


async def _report(services: Services, asked: dict[str, str], way: By) -> UsageReport:
    return await services.ledger.report(_question(services, asked, way))


def _way(by: str, team: str, person: str, job: str) -> By:
    if by:
        known = {each.value: each for each in WAYS}
        if by not in known:
            raise Invalid("by: there is no such division.", f"There are: {', '.join(known)}.")
        return known[by]
    if job:
        return By.DAY
    if person:
        return By.JOB
    return By.PERSON if team else By.TEAM


def _days(asked: dict[str, str], this: date, following: date) -> tuple[date, date]:
    match asked["period"]:
        case "":
            return this, following
        case "last":
            return (this - timedelta(days=1)).replace(day=1), this
        case "days":
            since = _day("since", asked["since"]) or this
            last = _day("until", asked["until"])
            return since, last + timedelta(days=1) if last is not None else following
    raise Invalid("period: give last, days, or nothing for this month.", field="period")


def _day(name: str, text: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise Invalid(f"{name}: give a day, such as 2026-11-22.", field=name) from None


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 7 else 0


def _name(row: UsageRow, way: By) -> str:
    value = getattr(row, way.value)
    return str(value) if value else {By.JOB: "no job"}.get(way, "–")


def _amount(row: UsageSums, *, money: bool) -> float:
    return float(row.cost) if money else row.allocated_cpu_hours


def _idle(row: UsageSums, *, money: bool) -> float:
    """Return the idle part; never more than the whole, which may be billed by what was used."""
    whole = _amount(row, money=money)
    if money:
        return min(whole, float(row.idle_cost))
    return max(0.0, whole - row.used_cpu_hours) if row.idle_share is not None else 0.0


def _order(row: UsageRow, way: By, *, money: bool) -> tuple[Any, ...]:
    name = _name(row, way)
    return (name,) if way is By.DAY else (-_amount(row, money=money), name)


def _into(asked: dict[str, str], way: By, row: UsageRow) -> str:
    """Return where a row is opened; a day leads to who used something on it."""
    value = getattr(row, way.value)
    if not value:
        return ""
    if way is By.DAY:
        day = {"period": "days", "since": str(value), "until": str(value)}
        return address("usage", asked, by="job" if asked["person"] else "person", search="", **day)
    if way not in _INTO:
        return ""
    return address("usage", asked, **{way.value: str(value), "by": _INTO[way].value, "search": ""})


def _chart(daily: UsageReport, *, money: bool) -> Any:
    by_day = {row.day: row for row in daily.rows}
    days = [
        daily.since + timedelta(days=number) for number in range((daily.until - daily.since).days)
    ]
    if len(days) > _MOST_COLUMNS:
        days = [day for day in days if day in by_day][-_MOST_COLUMNS:]
    unit = daily.currency if money else "CPU-hours"
    found = []
    for day in days:
        row = by_day.get(day)
        whole = _amount(row, money=money) if row else 0.0
        idle = _idle(row, money=money) if row else 0.0
        words = f"{day}: {whole:,.2f} {unit}, of which {idle:,.2f} idle"
        found.append(Column(f"{day:%b} {day.day}", whole, idle, words))
    return columns(found, title=f"{unit} of each day", described_by="by-day")


async def _budget(
    services: Services, who: Person, team: str, report: UsageReport
) -> ShownLimit | None:
    """Return the money that a team, or the one who asks, has for the month that is shown."""
    if report.forecast is None:
        return None
    quota = await services.quotas.show(who, team or who.name, None, AllocationKind.RUN)
    for each in quota.limits:
        money = each.kind is Kind.BUDGET and each.resource is Resource.MONEY
        of_team = each.subject.startswith("team:")
        if money and each.window == "calendar month" and of_team == bool(team):
            return each
    return None


async def _savings(services: Services, who: Person, team: str) -> Savings | None:
    if not (who.admin or team in teams_led(who)):
        return None
    return await services.advice.savings(person=None, team=team or None, limit=10)


PAGES = (
    View("usage", "Usage and cost", load, "usage.html", leads),
    View("usage/export", "Usage and cost", download, may=leads, in_navigation=False),
)
