"""What servers and runs were given, and used."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    time = sa.DateTime(timezone=True)
    op.create_table(
        "allocations",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("server", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text()),
        sa.Column("job", sa.Text()),
        sa.Column("notebook", sa.Text()),
        sa.Column("team", sa.Text(), nullable=False),
        sa.Column("size", sa.Text(), nullable=False),
        sa.Column("cpu", sa.Double(), nullable=False),
        sa.Column("memory_bytes", sa.BigInteger(), nullable=False),
        sa.Column("gpu", sa.Integer(), nullable=False),
        sa.Column("price_per_hour", sa.Numeric(12, 6)),
        sa.Column("begun_at", time, nullable=False),
        sa.Column("ended_at", time),
        sa.Column("ended_how", sa.Text(), nullable=False),
        sa.Column("cpu_seconds", sa.Double()),
        sa.Column("peak_memory_bytes", sa.BigInteger()),
        sa.Column("gpu_seconds", sa.Double()),
        sa.CheckConstraint(
            "kind IN ('editor', 'team-server', 'run')", name="allocations_kind_check"
        ),
        sa.CheckConstraint("ended_at >= begun_at", name="allocations_time_check"),
    )
    open_ = sa.text("ended_at IS NULL")
    op.create_index("allocations_open", "allocations", ["person", "server"], postgresql_where=open_)
    op.create_index("allocations_open_of_team", "allocations", ["team"], postgresql_where=open_)
    op.create_index("allocations_of_person", "allocations", ["person", "ended_at"])
    op.create_index("allocations_of_team", "allocations", ["team", "ended_at"])
    op.create_index("allocations_newest", "allocations", ["begun_at", "id"])


def downgrade() -> None:
    op.drop_table("allocations")
