"""What of somebody's has ended lately."""

from alembic import op

revision = "0014"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("runs_of_owner", "runs", ["owner", "finished_at"])


def downgrade() -> None:
    op.drop_index("runs_of_owner", "runs")
