"""Reading the online store: every answer is a whole vector of one generation, or says why there is none.

Needs neither Feast nor pandas: it reads the packed records themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from churn_platform import clock
from churn_platform.errors import NotReadyError
from churn_platform.features.packed.layout import TIMES, View, from_micros, micros, unpack
from churn_platform.features.packed.opening import open_store
from churn_platform.features.packed.store import PackedStore, Reading, empty

if TYPE_CHECKING:
    from churn_platform.records.home import Home

# One command to Redis must not keep it busy for long.
_CHUNK = 10_000
_ATTEMPTS = 5

Reason = Literal["not_found", "not_current", "expired", "mixed"]


@dataclass(frozen=True, slots=True)
class Missing:
    """Why a customer has no vector.

    Attributes:
        reason: ``not_found``: never online; ``not_current``: online from an earlier observation date, no
            customer at the newest; ``expired``: older than the time to live; ``mixed``: some of its views are
            missing, or were not materialized for the newest date yet.
        event_timestamp: of the newest view, where there is one.
    """

    reason: Reason
    event_timestamp: datetime | None = None


class Vector(dict[str, Any]):
    """Feature → number, text or None, and ``event_timestamp``: the newest time of its views (aware UTC).

    Attributes:
        generation: number of the materialization that it was read under.
        layout: 16 hexadecimal digits that name its features and their order.
        view_times: view → the time of its row.
    """

    __slots__ = ("generation", "layout", "view_times")

    generation: int
    layout: str
    view_times: dict[str, datetime]


class OnlineReader:
    """The newest vectors of a home. Safe to use from several threads.

    Args:
        home: the home; its catalogue must have been applied.
        store: by default the one that the settings choose.

    Raises:
        NotReadyError: where nothing was applied yet.
    """

    def __init__(self, home: Home, *, store: PackedStore | None = None) -> None:
        self._store = store or open_store(home)
        if not self._store.generation().views:
            raise empty()

    @property
    def features(self) -> tuple[str, ...]:
        """The names in a vector, beside ``event_timestamp``."""
        return tuple(name for view in self._store.generation().served for name in view.layout.names)

    def get(self, pseudonyms: Sequence[str], *, at: datetime | None = None) -> dict[str, Vector | Missing]:
        """The vectors of customers, all of one generation.

        Args:
            pseudonyms: whom to look up.
            at: the present against which the time to live counts (aware); ``clock.now()`` by default.

        Returns:
            pseudonym → :class:`Vector` or :class:`Missing`.
        """
        now = micros(at or clock.now())
        asked = list(dict.fromkeys(pseudonyms))
        for _ in range(_ATTEMPTS):
            answers: dict[str, Vector | Missing] = {}
            numbers = set()
            for chunk in _chunks(asked, _CHUNK):
                reading = self._store.read(chunk)
                numbers.add(reading.generation.number)
                answers.update(zip(chunk, _answers(reading, chunk, now), strict=True))
            if len(numbers) < 2:
                return answers
        raise NotReadyError("The online store is being replaced again and again.", mend="Try again in a moment.")


def _answers(reading: Reading, customers: Sequence[str], now: int) -> Iterator[Vector | Missing]:
    generation = reading.generation
    views, columns = generation.served, [reading.records[place] for place in generation.served_at]
    newest = max((view.observed for view in views if view.observed is not None), default=None)
    for i, customer in enumerate(customers):
        records = [column[i] for column in columns]
        times = [None if record is None else TIMES.unpack_from(record)[0] for record in records]
        missing = judge(views, times, now=now, newest=newest, departed=reading.departed.get(customer))
        yield missing or _vector(reading, views, records, times)


def judge(
    views: Sequence[View], times: Sequence[int | None], *, now: int, newest: int | None, departed: int | None
) -> Missing | None:
    """Whether rows of these event times (µs) make a vector, and if not, why.

    Args:
        newest: the newest event time that a materialization has brought to any of the views.
        departed: when the customer was last online, where the last materialization took it off.
    """
    known = [moment for moment in times if moment is not None]
    if not known:
        return Missing("not_found") if departed is None else Missing("not_current", from_micros(departed))
    last = max(known)
    if len(known) < len(times) or any(view.observed != newest for view in views if view.observed is not None):
        return Missing("mixed", from_micros(last))
    if newest is not None and min(known) < newest:
        return Missing("not_current", from_micros(last))
    for view, moment in zip(views, known, strict=True):
        if view.ttl and moment + view.ttl // timedelta(microseconds=1) < now:
            return Missing("expired", from_micros(last))
    return None


def _vector(
    reading: Reading, views: Sequence[View], records: Sequence[bytes | None], times: Sequence[int | None]
) -> Vector:
    vector = Vector()
    view_times = {}
    for view, record in zip(views, records, strict=True):
        assert record is not None  # noqa: S101 - judged before
        event, _, values = unpack(view.layout, record, reading.dictionaries.get(view.layout.digest, {}))
        vector.update(zip(view.layout.names, values, strict=True))
        view_times[view.name] = from_micros(event)
    vector["event_timestamp"] = max(view_times.values())
    vector.generation, vector.layout = reading.generation.number, reading.generation.layout
    vector.view_times = view_times
    return vector


def _chunks(items: list[str], size: int) -> Iterator[list[str]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
