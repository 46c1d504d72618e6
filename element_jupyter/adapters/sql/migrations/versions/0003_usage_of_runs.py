"""What a run used of GPUs, what memory it was allowed, and whether that was too little."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("runs", sa.Column("gpu_seconds", sa.Double(), nullable=True))
    op.add_column("runs", sa.Column("peak_gpu_memory_bytes", sa.BigInteger(), nullable=True))
    op.add_column("runs", sa.Column("memory_limit_bytes", sa.BigInteger(), nullable=True))
    op.add_column(
        "runs",
        sa.Column("out_of_memory", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
    op.create_index(
        "runs_of_notebook",
        "runs",
        ["notebook", "owner", "created_at"],
        postgresql_where=sa.text("job IS NULL"),
    )


def downgrade() -> None:
    op.drop_index("runs_of_notebook", "runs")
    for name in (
        "out_of_memory",
        "memory_limit_bytes",
        "peak_gpu_memory_bytes",
        "gpu_seconds",
    ):
        op.drop_column("runs", name)
