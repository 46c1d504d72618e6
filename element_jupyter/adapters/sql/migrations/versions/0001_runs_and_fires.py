"""Runs, their documents and keys, the ledger of fires, and when somebody watched it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "fires",
        sa.Column("job", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("run_ids", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.CheckConstraint(
            "state IN ('due', 'ran', 'skipped', 'missed')", name=op.f("fires_state_check")
        ),
        sa.PrimaryKeyConstraint("job", "at", name=op.f("fires_pkey")),
    )
    op.create_index("fires_due", "fires", ["at"], postgresql_where=sa.text("state = 'due'"))
    op.create_table(
        "runs",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("job", sa.Text(), nullable=True),
        sa.Column("job_version", sa.Integer(), nullable=True),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("team", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("notebook", sa.Text(), nullable=False),
        sa.Column("snapshot_id", sa.Text(), nullable=False),
        sa.Column("allow_extra_parameters", sa.Boolean(), nullable=False),
        sa.Column("kernel", sa.Text(), nullable=True),
        sa.Column("environment_id", sa.Text(), nullable=True),
        sa.Column("size", sa.Text(), nullable=True),
        sa.Column("time_limit_seconds", sa.Integer(), nullable=False),
        sa.Column("cell_time_limit_seconds", sa.Integer(), nullable=True),
        sa.Column("trigger", sa.Text(), nullable=False),
        sa.Column("logical_date", sa.DateTime(timezone=True), nullable=True),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("dag_run_id", sa.Text(), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("max_active", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("stop_requested_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("token_sha256", sa.Text(), nullable=True),
        sa.Column("process_pid", sa.Integer(), nullable=True),
        sa.Column("process_started_ticks", sa.BigInteger(), nullable=True),
        sa.Column("reported", sa.BigInteger(), nullable=False),
        sa.Column("cells_done", sa.Integer(), nullable=False),
        sa.Column("cells_total", sa.Integer(), nullable=True),
        sa.Column("output_path", sa.Text(), nullable=True),
        sa.Column("cpu_seconds", sa.Double(), nullable=True),
        sa.Column("peak_memory_bytes", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "state IN ('queued', 'starting', 'running', 'succeeded', 'failed', 'stopped', 'lost')",
            name=op.f("runs_state_check"),
        ),
        sa.PrimaryKeyConstraint("run_id", name=op.f("runs_pkey")),
    )
    op.create_index(
        "runs_alive",
        "runs",
        ["created_at", "run_id"],
        postgresql_where=sa.text("state IN ('queued', 'starting', 'running')"),
    )
    op.create_index("runs_in_state", "runs", ["state", "created_at", "run_id"])
    op.create_index("runs_newest", "runs", ["created_at", "run_id"])
    op.create_index("runs_of_dag_run", "runs", ["dag_run_id", "job", "task"])
    op.create_index("runs_of_date", "runs", ["logical_date", "created_at", "run_id"])
    op.create_index("runs_of_job", "runs", ["job", "created_at", "run_id"])
    op.create_index("runs_of_team", "runs", ["team", "created_at", "run_id"])
    op.create_index(
        "runs_one_alive",
        "runs",
        ["job", "dag_run_id", "task"],
        unique=True,
        postgresql_where=sa.text(
            "state IN ('queued', 'starting', 'running') AND stop_requested_at IS NULL"
        ),
    )
    op.create_table(
        "uptimes",
        sa.Column("instance", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("instance", name=op.f("uptimes_pkey")),
    )
    op.create_index("uptimes_seen", "uptimes", ["seen_at"])
    op.create_table(
        "run_documents",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("parameters", sa.JSON(), nullable=False),
        sa.Column("recorded", sa.JSON(), nullable=False),
        sa.Column("artifacts", sa.JSON(), nullable=False),
        sa.Column("failing_cell", sa.JSON(none_as_null=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.run_id"], name=op.f("run_documents_run_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", name=op.f("run_documents_pkey")),
    )
    op.create_table(
        "run_keys",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.run_id"], name=op.f("run_keys_run_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("key", name=op.f("run_keys_pkey")),
    )
    op.create_index("run_keys_of_run", "run_keys", ["run_id"])
