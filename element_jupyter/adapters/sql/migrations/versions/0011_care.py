"""What servers do, what people are told of it, and what was put away."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    time = sa.DateTime(timezone=True)
    op.create_table(
        "notices",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("about", sa.Text(), nullable=False),
        sa.Column("sentence", sa.Text(), nullable=False),
        sa.Column("hint", sa.Text(), nullable=False),
        sa.Column("at", time, nullable=False),
        sa.Column("deadline", time),
        sa.Column("keep_seconds", sa.Integer()),
        sa.Column("keep_limit", time),
        sa.Column("kept_until", time),
        sa.Column("over_at", time),
    )
    op.create_index(
        "notices_of_person", "notices", ["person"], postgresql_where=sa.text("over_at IS NULL")
    )
    op.create_index("notices_about", "notices", ["about"])
    op.create_table(
        "activity",
        sa.Column("allocation_id", sa.Text(), primary_key=True),
        sa.Column("reported_at", time),
        sa.Column("active_at", time, nullable=False),
        sa.Column("working", sa.Boolean(), nullable=False),
        sa.Column("busy", sa.Boolean(), nullable=False),
        sa.Column("connections", sa.Integer(), nullable=False),
        sa.Column("gpu_active_at", time),
        sa.Column("kept_until", time),
        sa.Column("warned_at", time),
        sa.Column("deadline", time),
        sa.Column("ending", sa.Text(), nullable=False),
    )
    op.create_table(
        "put_away",
        sa.Column("run_id", sa.Text(), primary_key=True),
        sa.Column("at", time, nullable=False),
        sa.Column("until", time, nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("restored_at", time),
        sa.Column("removed_at", time),
    )
    op.create_index(
        "put_away_until", "put_away", ["until"], postgresql_where=sa.text("removed_at IS NULL")
    )


def downgrade() -> None:
    op.drop_table("put_away")
    op.drop_table("activity")
    op.drop_table("notices")
