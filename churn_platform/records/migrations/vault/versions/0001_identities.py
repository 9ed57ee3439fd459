"""Who is behind a pseudonym, readable with the vault's key only; and the vault's own facts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "identity",
        sa.Column("lookup", sa.LargeBinary(32), primary_key=True),
        sa.Column("pseudonym", sa.String(12), nullable=False, unique=True),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        # Rows are found by lookup or pseudonym only: one tree less to write on SQLite.
        sqlite_with_rowid=False,
    )
    op.create_table(
        "fact",
        sa.Column("name", sa.String(32), primary_key=True),
        sa.Column("value", sa.LargeBinary, nullable=False),
    )
