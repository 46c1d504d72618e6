"""Who has uploaded which blob, and which runs are of a snapshot."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "uploads",
        sa.Column("person", sa.Text(), primary_key=True),
        sa.Column("digest", sa.LargeBinary(), primary_key=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("uploads_oldest", "uploads", ["at"])
    op.create_index("runs_of_snapshot", "runs", ["snapshot_id", "team"])


def downgrade() -> None:
    op.drop_index("runs_of_snapshot", "runs")
    op.drop_table("uploads")
