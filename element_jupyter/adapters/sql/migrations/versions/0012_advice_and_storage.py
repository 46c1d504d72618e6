"""What is started again and again, by an index; what people and teams keep."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "allocations_of_subject",
        "allocations",
        [
            "team",
            "kind",
            sa.text("coalesce(job, person)"),
            sa.text("coalesce(notebook, '')"),
            "ended_at",
        ],
        postgresql_where=sa.text("ended_at IS NOT NULL"),
    )
    op.create_table(
        "storage",
        sa.Column("place", sa.Text(), primary_key=True),
        sa.Column("person", sa.Text(), primary_key=True),
        sa.Column("team", sa.Text(), primary_key=True),
        sa.Column("used_bytes", sa.BigInteger(), nullable=False),
        sa.Column("files", sa.BigInteger(), nullable=False),
        sa.Column("measured_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "place IN ('home', 'team', 'runs', 'shared')", name="storage_place_check"
        ),
    )
    op.create_index("storage_of_person", "storage", ["person"])
    op.create_index("storage_of_team", "storage", ["team"])


def downgrade() -> None:
    op.drop_table("storage")
    op.drop_index("allocations_of_subject", "allocations")
