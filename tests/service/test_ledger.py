"""The ledger over REST: what was given and used, by whom or what, and what it costs."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import create_engine, text

from element_jupyter.adapters.sql.database import connect
from element_jupyter.adapters.sql.ledger_store import SqlLedger

SIZES = """
default: small
currency: CHF
sizes:
  - {name: small, cpu: 1, memory_bytes: 1 GiB, price_per_hour: 0.5}
  - {name: large, cpu: 8, memory_bytes: 16 GiB}
"""
GIVEN = text(
    "INSERT INTO allocations (id, kind, person, server, job, notebook, team, size, cpu,"
    " memory_bytes, gpu, price_per_hour, begun_at, ended_at, ended_how, cpu_seconds,"
    " peak_memory_bytes) VALUES (:id, :kind, :person, '', :job, :notebook, :team, :size, :cpu,"
    " :memory_bytes, 0, :price, :begun_at, :ended_at, '', :cpu_seconds, :peak)"
)
MANY = text(
    "INSERT INTO allocations (id, kind, person, server, team, size, cpu, memory_bytes, gpu,"
    " price_per_hour, begun_at, ended_at, ended_how) SELECT 's-' || lpad(n::text, 26, '0'),"
    " 'editor', 'p' || n, '', 'ml', 'small', 1, 1073741824, 0, 0.5, '2026-05-05T08:00Z',"
    " '2026-05-05T09:00Z', '' FROM generate_series(1, :count) AS n"
)


@pytest.fixture
def books(plane, database_url):
    (plane.data / "sizes.yaml").write_text(SIZES)
    return Books(plane, database_url)


class Books:
    """The control plane, and what was given before the test."""

    def __init__(self, plane, database_url) -> None:
        self.client = plane.client
        self.data = plane.data
        self._database_url = database_url
        self._count = 0

    async def given(self, begun_at: str, hours: float | None, **more) -> None:
        self._count += 1
        begun = datetime.fromisoformat(begun_at).replace(tzinfo=UTC)
        values = {
            "id": f"s-{self._count:026d}",
            "kind": "editor",
            "person": "ada",
            "job": None,
            "notebook": None,
            "team": "ml",
            "size": "small",
            "cpu": 1,
            "memory_bytes": 1 << 30,
            "price": Decimal("0.5"),
            "begun_at": begun,
            "ended_at": None if hours is None else begun + timedelta(hours=hours),
            "cpu_seconds": None,
            "peak": None,
        }
        engine = create_engine(self._database_url)
        with engine.begin() as connection:
            connection.execute(GIVEN, values | more)
        engine.dispose()
        await self._settled()

    async def many(self, count: int) -> None:
        """Give an hour to so many people."""
        engine = create_engine(self._database_url)
        with engine.begin() as connection:
            connection.execute(MANY, {"count": count})
        engine.dispose()
        await self._settled()

    async def _settled(self) -> None:
        store = connect(self._database_url)
        await SqlLedger(store, runs_report=True).settle(datetime.now(UTC))
        await store.dispose()

    async def days_of(self, zone: str) -> None:
        store = connect(self._database_url)
        await SqlLedger(store).keep_days_of(zone)
        await store.dispose()

    async def usage(self, **asked):
        answer = await self.client.get("/usage", params=asked)
        assert answer.status_code == 200, answer.text
        return answer.json()


async def test_what_was_given_is_added_up_by_whom_and_by_day(books):
    await books.given("2026-05-04T22:00", 4, person="ada", team="ml")
    await books.given("2026-05-05T08:00", 1, person="bob", team="ml")
    await books.given("2026-05-05T08:00", 2, person="bob", team="ops")

    told = await books.usage(by="team,day", since="2026-05-01", until="2026-06-01")

    assert [(row["team"], row["day"], row["allocated_cpu_hours"]) for row in told["rows"]] == [
        ("ml", "2026-05-04", 2),
        ("ml", "2026-05-05", 3),
        ("ops", "2026-05-05", 2),
    ]
    assert [row["cost"] for row in told["rows"]] == ["1.000000", "1.500000", "1.000000"]
    assert told["total"]["cost"] == "3.500000"
    assert told["total"]["count"] == 3
    assert told["currency"] == "CHF"
    assert told["forecast"] is None
    assert told["rows"][0]["person"] is None


async def test_prices_of_the_table_hold_from_their_days_on_in_its_time_zone(books):
    (books.data / "prices.yaml").write_text(
        """
        currency: EUR
        timezone: Europe/Zurich
        prices:
          - {from: 2026-05-05, cpu_hour: 1, gib_hour: 0.5}
          - {from: 2026-05-06, sizes: {small: 7}}
        """
    )
    for day in ("04", "05", "06"):
        await books.given(f"2026-05-{day}T21:00", 2)

    await books.days_of("Europe/Zurich")

    told = await books.usage(by="day", since="2026-05-01", until="2026-06-01")

    assert told["currency"] == "EUR"
    assert {row["day"]: Decimal(row["cost"]) for row in told["rows"]} == {
        "2026-05-04": Decimal("0.5"),  # an hour before midnight, as recorded
        "2026-05-05": Decimal(3),
        "2026-05-06": Decimal(14),
        "2026-05-07": Decimal(7),
    }


@pytest.mark.parametrize(
    ("billing", "cost"),
    [("requested", "2"), ("used", "1"), ("largest", "2")],
)
async def test_a_team_pays_what_was_given_or_used_as_its_billing_says(books, billing, cost):
    (books.data / "prices.yaml").write_text(
        f"""
        billing: used
        teams: {{ml: {{billing: {billing}}}}}
        prices: [{{from: 2026-01-01, cpu_hour: 1}}]
        """
    )
    await books.given("2026-05-05T08:00", 2, cpu_seconds=3600, peak=1 << 29)

    told = await books.usage(team="ml", since="2026-05-01", until="2026-06-01")

    assert told["billing"] == billing
    assert Decimal(told["total"]["cost"]) == Decimal(cost)
    assert told["total"]["used_cpu_hours"] == pytest.approx(1)
    assert Decimal(told["total"]["idle_cost"]) == 1
    assert told["total"]["idle_share"] == pytest.approx(0.5)


async def test_the_month_that_it_is_has_a_forecast(books):
    now = datetime.now(UTC)
    begun = now.replace(tzinfo=None) - timedelta(days=14)
    await books.given(begun.isoformat(), 14 * 24, person="ada")

    told = await books.usage(by="person")

    cost = Decimal(told["total"]["cost"])
    assert Decimal(told["forecast"]) > cost or now.day > 27
    assert told["since"] == f"{now:%Y-%m}-01"


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"by": "planet"}, "by"),
        ({"by": "day,day"}, "by"),
        ({"since": "2026-06-01", "until": "2026-06-01"}, "until"),
        ({"since": "1990-06-01"}, "since"),
    ],
)
async def test_what_cannot_be_asked_is_refused_with_the_field(books, asked, field):
    answer = await books.client.get("/usage", params=asked)

    assert answer.status_code == 400
    assert answer.json()["field"] == field


async def test_an_export_has_the_rows_of_the_report_and_no_formula(books):
    await books.given("2026-05-05T08:00", 1, notebook="=HYPERLINK(0)")
    await books.given("2026-05-05T08:00", 2, notebook="plain.ipynb")
    asked = {"by": "notebook,day", "since": "2026-05-01", "until": "2026-06-01"}

    answer = await books.client.get("/usage/export", params=asked)

    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert "usage.csv" in answer.headers["Content-Disposition"]
    heading, *found = csv.reader(io.StringIO(answer.text))
    assert heading[:3] == ["notebook", "day", "count"]
    assert [row[0] for row in found] == ["'=HYPERLINK(0)", "plain.ipynb"]
    told = (await books.usage(**asked))["rows"]
    assert [row[heading.index("cost")] for row in found] == [row["cost"] for row in told]


async def test_parquet_has_the_same_with_money_as_decimals(books):
    parquet = pytest.importorskip("pyarrow.parquet")
    await books.many(3000)
    asked = {"by": "person,day", "since": "2026-05-01", "until": "2026-06-01"}

    answer = await books.client.get("/usage/export", params=asked | {"format": "parquet"})

    found = parquet.read_table(io.BytesIO(answer.content)).to_pylist()
    told = (await books.usage(**asked))["rows"]
    assert len(found) == len(told) == 3000
    assert [(row["person"], str(row["day"]), row["cost"]) for row in found] == [
        (row["person"], row["day"], Decimal(row["cost"])) for row in told
    ]


async def test_an_administrator_corrects_what_was_counted_and_it_is_on_record(books):
    await books.given("2026-05-05T08:00", 1, cpu_seconds=3600, peak=1 << 20)
    correction = {
        "id": "ticket 7",
        "allocation_id": f"s-{1:026d}",
        "hour": "2026-05-05T08:30:00Z",
        "cpu_seconds": -1800,
        "reason": "a runaway of ours",
    }

    for _ in range(2):
        answer = await books.client.post("/usage/corrections", json=correction)
        assert answer.status_code == 204, answer.text

    told = await books.usage(since="2026-05-01", until="2026-06-01")
    assert told["total"]["used_cpu_hours"] == pytest.approx(0.5)
    [listed] = (await books.client.get("/usage/corrections")).json()
    assert listed["reason"] == "a runaway of ours"
    assert listed["person"] == "ada"
    acts = (await books.client.get("/audit")).json()["items"]
    assert "usage.correct" in [act["action"] for act in acts]
