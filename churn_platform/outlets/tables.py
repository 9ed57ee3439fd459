"""The outbox's tables as SQLAlchemy sees them; made by the migrations of the chain ``outlets``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

import sqlalchemy as sa

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_META: Final = sa.MetaData()

OUTLET: Final = sa.Table(
    "outlet",
    _META,
    sa.Column("outlet_id", sa.String(36), primary_key=True),
    sa.Column("name", sa.String(60)),
    sa.Column("kind", sa.String(16)),
    sa.Column("target", sa.Text),
    sa.Column("events", sa.Text),
    sa.Column("options", sa.Text),
    sa.Column("sealed", sa.LargeBinary),
    sa.Column("created_at", sa.BigInteger),
    sa.Column("stopped", sa.Text),
)
ANNOUNCEMENT: Final = sa.Table(
    "announcement",
    _META,
    sa.Column("announcement_id", sa.String(40), primary_key=True),
    sa.Column("key", sa.String(300)),
    sa.Column("kind", sa.String(40)),
    sa.Column("payload", sa.Text),
    sa.Column("announced_at", sa.BigInteger),
)
DELIVERY: Final = sa.Table(
    "delivery",
    _META,
    sa.Column("delivery_id", sa.String(36), primary_key=True),
    sa.Column("announcement_id", sa.String(40)),
    sa.Column("outlet_id", sa.String(36)),
    sa.Column("state", sa.String(8)),
    sa.Column("attempts", sa.Integer),
    sa.Column("due_at", sa.BigInteger),
    sa.Column("claimed_until", sa.BigInteger),
    sa.Column("settled_at", sa.BigInteger),
    sa.Column("said", sa.Text),
)


def stored(moment: datetime) -> int:
    """Microseconds since 1970."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def moment(value: int) -> datetime:
    """Aware, UTC."""
    return _EPOCH + timedelta(microseconds=value)
