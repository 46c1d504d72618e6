"""Which server of the Hub executes a run."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("runs", sa.Column("process_server", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("runs", "process_server")
