"""Versions of the quotas, which are only added to, and what people have asked for."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    time = sa.DateTime(timezone=True)
    op.create_table(
        "quota_versions",
        sa.Column("number", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("at", time, nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("changes", sa.JSON(), nullable=False),
        sa.CheckConstraint(
            "origin IN ('file', 'page', 'apply')", name="quota_versions_origin_check"
        ),
    )
    op.execute(
        "CREATE FUNCTION quota_versions_are_append_only() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'versions of the quotas are only added to'; END $$"
    )
    op.execute(
        "CREATE TRIGGER quota_versions_are_append_only"
        " BEFORE UPDATE OR DELETE OR TRUNCATE ON quota_versions"
        " FOR EACH STATEMENT EXECUTE FUNCTION quota_versions_are_append_only()"
    )
    op.create_table(
        "quota_requests",
        sa.Column("id", sa.BigInteger(), sa.Identity(), primary_key=True),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("team", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("resource", sa.Text(), nullable=False),
        sa.Column("amount", sa.Double(), nullable=False),
        sa.Column("per", sa.Text()),
        sa.Column("until", sa.Date(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at", time, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("decided_by", sa.Text()),
        sa.Column("decided_at", time),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("granted_to", sa.Text()),
        sa.Column("version", sa.Integer(), sa.ForeignKey("quota_versions.number")),
        sa.CheckConstraint(
            "state IN ('open', 'approved', 'declined')", name="quota_requests_state_check"
        ),
    )
    op.create_index(
        "quota_requests_open",
        "quota_requests",
        ["team"],
        postgresql_where=sa.text("state = 'open'"),
    )
    op.create_index("quota_requests_of_person", "quota_requests", ["person", "id"])


def downgrade() -> None:
    op.drop_table("quota_requests")
    op.drop_table("quota_versions")
    op.execute("DROP FUNCTION quota_versions_are_append_only()")
