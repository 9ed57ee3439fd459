"""Ids that sort by time: UUID version 7 (RFC 9562, section 5.7)."""

from __future__ import annotations

import os
import threading
import uuid
from datetime import UTC, datetime, timedelta
from typing import Final

from churn_platform import clock

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_COUNTER_BITS: Final = 42
_COUNTER_LIMIT: Final = 1 << _COUNTER_BITS

_lock = threading.Lock()
_last_milliseconds = -1
_last_counter = 0


def uuid7() -> uuid.UUID:
    """A new id. Those of one process strictly increase, even when the clock is set back.

    Layout: 48 bits of Unix milliseconds (wall clock), 42 bits of a counter that starts at random each
    millisecond with its highest bit clear, 32 random bits (RFC 9562, section 6.2, method 1).
    """
    global _last_milliseconds, _last_counter
    random = int.from_bytes(os.urandom(10))
    tail = random & 0xFFFFFFFF
    start = random >> 32 & (_COUNTER_LIMIT // 2 - 1)
    milliseconds = (clock.wall() - _EPOCH) // _MILLISECOND
    with _lock:
        if milliseconds > _last_milliseconds:
            _last_milliseconds, _last_counter = milliseconds, start
        else:
            _last_counter += 1
            if _last_counter == _COUNTER_LIMIT:
                _last_milliseconds, _last_counter = _last_milliseconds + 1, start
        milliseconds, counter = _last_milliseconds, _last_counter
    value = milliseconds << 80 | 0x7 << 76 | (counter >> 30) << 64 | 0b10 << 62 | (counter & 0x3FFFFFFF) << 32 | tail
    return uuid.UUID(int=value)


def uuid7_time(value: uuid.UUID) -> datetime:
    """When an id was made (aware, UTC, to the millisecond).

    Raises:
        ValueError: for a UUID of another version.
    """
    if value.version != 7:
        raise ValueError(f"{value} is a UUID of version {value.version}, not 7")
    return _EPOCH + (value.int >> 80) * _MILLISECOND


def _forget() -> None:
    """A forked child goes on with a counter of its own, not with its parent's."""
    global _last_milliseconds, _last_counter, _lock
    _lock = threading.Lock()
    _last_milliseconds, _last_counter = -1, 0


os.register_at_fork(after_in_child=_forget)
