"""The outbox: where things are sent, what there is to tell, and how far telling it has come.

Times are microseconds since 1970 in UTC on every database.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "outlet",
        sa.Column("outlet_id", sa.String(36), primary_key=True),
        sa.Column("name", sa.String(60), nullable=False, unique=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("events", sa.Text, nullable=False),
        sa.Column("options", sa.Text, nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("stopped", sa.Text),
    )
    op.create_table(
        "announcement",
        sa.Column("announcement_id", sa.String(40), primary_key=True),
        sa.Column("key", sa.String(300), nullable=False, unique=True),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("payload", sa.Text, nullable=False),
        sa.Column("announced_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "delivery",
        sa.Column("delivery_id", sa.String(36), primary_key=True),
        sa.Column("announcement_id", sa.String(40), sa.ForeignKey("announcement.announcement_id"), nullable=False),
        sa.Column("outlet_id", sa.String(36), sa.ForeignKey("outlet.outlet_id", ondelete="CASCADE"), nullable=False),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("due_at", sa.BigInteger, nullable=False),
        sa.Column("claimed_until", sa.BigInteger),
        sa.Column("settled_at", sa.BigInteger),
        sa.Column("said", sa.Text),
        sa.UniqueConstraint("announcement_id", "outlet_id"),
    )
    op.create_index("delivery_due", "delivery", ["state", "due_at"])
