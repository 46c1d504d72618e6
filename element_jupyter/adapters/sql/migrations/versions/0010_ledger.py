"""The ledger: what was given and used in each hour, how far that is counted, and its days."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

THINGS = ("time_us", "cpu_us", "memory_kib_s", "gpu_us")
COUNTED = ("given_us", "cpu_us", "memory_kib_s", "gpu_us")
MEASURES = tuple(
    f"{measure}_{thing}" for measure in ("allocated", "used", "largest", "idle") for thing in THINGS
)
SUMS = ("begun", "metered_us", *MEASURES)
KEYS = ("day", "person", "team", "kind", "size", "job", "notebook", "price_per_hour")
TEAM_KEYS = ("day", "team", "kind", "size", "price_per_hour")

# of each hour: what is largest and what is idle is known only there
AMOUNTS = """
SELECT (h.hour AT TIME ZONE z.zone)::date AS day, a.person, a.team, a.kind, a.size,
    coalesce(a.job, '') AS job, coalesce(a.notebook, '') AS notebook,
    coalesce(a.price_per_hour, -1) AS price_per_hour,
    (h.hour = date_trunc('hour', a.begun_at, 'UTC'))::int::bigint AS begun,
    CASE WHEN num_nonnulls(h.cpu_us, h.memory_kib_s, h.gpu_us) > 0 THEN t.us ELSE 0 END
        AS metered_us,
    t.us AS allocated_time_us, g.cpu AS allocated_cpu_us,
    g.memory AS allocated_memory_kib_s, g.gpu AS allocated_gpu_us,
    coalesce(s.us, 0) AS used_time_us, coalesce(u.cpu, 0) AS used_cpu_us,
    coalesce(u.memory, 0) AS used_memory_kib_s, coalesce(u.gpu, 0) AS used_gpu_us,
    greatest(t.us, s.us) AS largest_time_us, greatest(g.cpu, u.cpu) AS largest_cpu_us,
    greatest(g.memory, u.memory) AS largest_memory_kib_s, greatest(g.gpu, u.gpu) AS largest_gpu_us,
    coalesce(CASE WHEN t.us > s.us THEN t.us - s.us END, 0) AS idle_time_us,
    coalesce(CASE WHEN g.cpu > u.cpu THEN g.cpu - u.cpu END, 0) AS idle_cpu_us,
    coalesce(CASE WHEN g.memory > u.memory THEN g.memory - u.memory END, 0) AS idle_memory_kib_s,
    coalesce(CASE WHEN g.gpu > u.gpu THEN g.gpu - u.gpu END, 0) AS idle_gpu_us
FROM {hours} h JOIN allocations a ON a.id = h.allocation_id CROSS JOIN ledger_zone z
CROSS JOIN LATERAL (SELECT h.given_us + h.corrected_given_us AS us) t
CROSS JOIN LATERAL (SELECT round(a.cpu * t.us)::bigint AS cpu,
    round(a.memory_bytes / 1024.0 * t.us / 1000000)::bigint AS memory,
    a.gpu * t.us AS gpu) g
CROSS JOIN LATERAL (SELECT greatest(0, h.cpu_us + h.corrected_cpu_us) AS cpu,
    greatest(0, h.memory_kib_s + h.corrected_memory_kib_s) AS memory,
    greatest(0, h.gpu_us + h.corrected_gpu_us) AS gpu) m
CROSS JOIN LATERAL (SELECT CASE WHEN h.cpu_us IS NOT NULL THEN m.cpu END AS cpu,
    CASE WHEN h.memory_kib_s IS NOT NULL THEN m.memory END AS memory,
    CASE WHEN h.gpu_us IS NOT NULL THEN m.gpu END AS gpu) u
CROSS JOIN LATERAL (SELECT round(t.us * greatest(u.cpu::numeric / nullif(g.cpu, 0),
    u.memory::numeric / nullif(g.memory, 0), u.gpu::numeric / nullif(g.gpu, 0)))::bigint AS us) s
"""


def _roll_up(changes: str) -> str:
    """Return the statement that adds changed hours to the days of persons and of teams."""
    return (
        f"WITH changes AS MATERIALIZED ({changes}), days AS ({_added('ledger_days', KEYS)})"
        f" {_added('ledger_team_days', TEAM_KEYS)}"
    )


def _added(table: str, keys: tuple[str, ...]) -> str:
    columns, by = ", ".join((*keys, *SUMS)), ", ".join(keys)
    sums = ", ".join(f"sum({name})" for name in SUMS)
    added = ", ".join(f"{name} = d.{name} + excluded.{name}" for name in SUMS)
    return (
        f"INSERT INTO {table} AS d ({columns}) SELECT {by}, {sums} FROM changes"  # noqa: S608 - ours
        f" GROUP BY {by} ORDER BY {by} ON CONFLICT ({by}) DO UPDATE SET {added}"
    )


def _minus(amounts: str) -> str:
    columns = ", ".join((*KEYS, *(f"-{name} AS {name}" for name in SUMS)))
    return f"SELECT {columns} FROM ({amounts}) AS before"  # noqa: S608 - names of ours


def upgrade() -> None:
    time = sa.DateTime(timezone=True)
    number = sa.BigInteger()
    op.create_table(
        "ledger_marks",
        sa.Column("allocation_id", sa.Text(), primary_key=True),
        sa.Column("given_until", time, nullable=False),
        sa.Column("read_at", time),
        sa.Column("meter", sa.Text(), nullable=False, server_default=""),
        sa.Column("cpu_us", number),
        sa.Column("memory_bytes", number),
        sa.Column("gpu_us", number),
        sa.Column("settled", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
    op.create_index(
        "ledger_marks_open",
        "ledger_marks",
        ["allocation_id"],
        postgresql_where=sa.text("NOT settled"),
    )
    op.create_table(
        "ledger_hours",
        sa.Column("allocation_id", sa.Text(), primary_key=True),
        sa.Column("hour", time, primary_key=True),
        sa.Column("given_us", number, nullable=False),
        sa.Column("cpu_us", number),
        sa.Column("memory_kib_s", number),
        sa.Column("gpu_us", number),
        *(
            sa.Column(f"corrected_{name}", number, nullable=False, server_default="0")
            for name in COUNTED
        ),
    )
    op.create_table(
        "ledger_corrections",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("allocation_id", sa.Text(), nullable=False),
        sa.Column("hour", time, nullable=False),
        *(sa.Column(name, number, nullable=False) for name in COUNTED),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("at", time, nullable=False),
    )
    op.create_index("ledger_corrections_of", "ledger_corrections", ["allocation_id", "hour"])
    op.create_table(
        "ledger_days",
        sa.Column("day", sa.Date(), nullable=False),
        *(
            sa.Column(name, sa.Text(), nullable=False)
            for name in ("person", "team", "kind", "size", "job", "notebook")
        ),
        sa.Column("price_per_hour", sa.Numeric(12, 6), nullable=False),
        *(sa.Column(name, number, nullable=False) for name in SUMS),
        sa.PrimaryKeyConstraint(*KEYS),
    )
    op.create_index("ledger_days_of_person", "ledger_days", ["person", "day"])
    op.create_table(
        "ledger_team_days",
        sa.Column("day", sa.Date(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("team", "kind", "size")),
        sa.Column("price_per_hour", sa.Numeric(12, 6), nullable=False),
        *(sa.Column(name, number, nullable=False) for name in SUMS),
        sa.PrimaryKeyConstraint(*TEAM_KEYS),
    )
    op.create_table("ledger_zone", sa.Column("zone", sa.Text(), primary_key=True))
    op.execute("INSERT INTO ledger_zone VALUES ('UTC')")
    op.execute(f"CREATE VIEW ledger_amounts AS {AMOUNTS.format(hours='ledger_hours')}")
    _keep_what_was_written()
    _follow()
    op.execute(
        "INSERT INTO ledger_marks (allocation_id, given_until) SELECT id, begun_at FROM allocations"
    )


def _keep_what_was_written() -> None:
    """Refuse what would take away from the ledger."""
    op.execute(
        "CREATE FUNCTION ledger_is_added_to() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'the ledger is only added to'; END $$"
    )
    for table, acts in (
        ("ledger_hours", "DELETE OR TRUNCATE"),
        ("ledger_corrections", "UPDATE OR DELETE OR TRUNCATE"),
    ):
        op.execute(
            f"CREATE TRIGGER ledger_is_added_to BEFORE {acts} ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION ledger_is_added_to()"
        )
    rises = " OR ".join(f"coalesce(NEW.{name}, -1) < coalesce(OLD.{name}, -1)" for name in COUNTED)
    op.execute(
        "CREATE TRIGGER ledger_hours_rise BEFORE UPDATE ON ledger_hours FOR EACH ROW"
        f" WHEN ({rises} OR NEW.hour <> OLD.hour OR NEW.allocation_id <> OLD.allocation_id)"
        " EXECUTE FUNCTION ledger_is_added_to()"
    )


def _follow() -> None:
    """Have marks follow what is given, and days what is counted, within the same transaction."""
    op.execute(
        "CREATE FUNCTION ledger_begins() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " INSERT INTO ledger_marks (allocation_id, given_until)"
        " SELECT id, begun_at FROM begun ON CONFLICT DO NOTHING; RETURN NULL; END $$"
    )
    op.execute(
        "CREATE TRIGGER ledger_begins AFTER INSERT ON allocations REFERENCING NEW TABLE AS begun"
        " FOR EACH STATEMENT EXECUTE FUNCTION ledger_begins()"
    )
    after, before = AMOUNTS.format(hours="after"), AMOUNTS.format(hours="before")
    columns = ", ".join((*KEYS, *SUMS))
    for act, tables, changes in (
        ("insert", "NEW TABLE AS after", after),
        (
            "update",
            "NEW TABLE AS after OLD TABLE AS before",
            f"SELECT {columns} FROM ({after}) AS now UNION ALL {_minus(before)}",  # noqa: S608
        ),
    ):
        op.execute(
            f"CREATE FUNCTION ledger_days_{act}() RETURNS trigger LANGUAGE plpgsql AS"
            f" $$ BEGIN {_roll_up(changes)}; RETURN NULL; END $$"
        )
        op.execute(
            f"CREATE TRIGGER ledger_days_{act} AFTER {act.upper()} ON ledger_hours"
            f" REFERENCING {tables} FOR EACH STATEMENT EXECUTE FUNCTION ledger_days_{act}()"
        )


def downgrade() -> None:
    op.execute("DROP TRIGGER ledger_begins ON allocations")
    op.execute("DROP VIEW ledger_amounts")
    for table in ("days", "team_days", "corrections", "hours", "marks", "zone"):
        op.drop_table(f"ledger_{table}")
    for function in ("begins", "days_insert", "days_update", "is_added_to"):
        op.execute(f"DROP FUNCTION ledger_{function}()")
