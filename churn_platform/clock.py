"""The one source of "now". Simulated and historical data have a present of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime

from churn_platform.settings import settings

_as_of: ContextVar[datetime | None] = ContextVar("as_of", default=None)


def now() -> datetime:
    """The present as an aware UTC datetime: :func:`as_of` where it is in force, else ``CHURN_AS_OF``, else the wall
    clock."""
    moment = _as_of.get() or settings().as_of
    return moment.astimezone(UTC) if moment is not None else datetime.now(UTC)


def wall() -> datetime:
    """The wall clock (aware, UTC), for the audit trail and for expiry of keys, never for features."""
    return datetime.now(UTC)


@contextmanager
def as_of(moment: datetime | None) -> Iterator[None]:
    """Let :func:`now` answer ``moment`` (aware) inside the block; ``None`` is the wall clock.

    Raises:
        ValueError: for a naive datetime, whose meaning would be a guess.
    """
    if moment is not None and moment.tzinfo is None:
        raise ValueError("as_of needs an aware datetime: give it a timezone, such as UTC")
    token = _as_of.set(moment.astimezone(UTC) if moment else None)
    try:
        yield
    finally:
        _as_of.reset(token)
