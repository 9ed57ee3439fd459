"""What every packed store can do, and what a read of it gives."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol, TypeAlias

from churn_platform.errors import BusyError, FeatureError, NotReadyError
from churn_platform.features.packed.layout import Dictionary, Generation, Layout, Value, View, ViewSpec, micros

if TYPE_CHECKING:
    import pyarrow as pa


Row: TypeAlias = tuple[str, int, int, Sequence[Value]]
"""Customer, event time and creation time (µs), values in the layout's order."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One consistent read: every record is of one generation.

    Attributes:
        views: those that were asked for.
        records: view × customer; None where there is no row.
        departed: customer → last event time (µs) of those that the last materialization took off; looked up only
            for customers without any record.
        dictionaries: layout digest → texts of its categories.
    """

    generation: Generation
    views: tuple[View, ...]
    records: Sequence[Sequence[bytes | None]]
    departed: Mapping[str, int]
    dictionaries: Mapping[bytes, Dictionary]


@dataclass(frozen=True)
class Committed:
    """What a materialization brought.

    Attributes:
        generation: the number that is read now.
        customers: rows of the largest materialized view.
        carried: rows that stayed because they were newer than those of the table.
        departed: customers that were taken off.
    """

    generation: int
    customers: int
    carried: int
    departed: int


class Building(Protocol):
    """The next generation while it is written. Leaving it without a commit changes nothing for readers."""

    def load(self, view: str, table: pa.Table, *, key: str, event: str, created: str | None) -> int:
        """Put the newest row of each customer of the table into the view; the number of rows of the view.

        Raises:
            BusyError: another materialization has begun since; it goes on, this one must end.
            FeatureError: the table does not have the view's columns.
        """

    def commit(self) -> Committed:
        """Let all readers see this generation from now on, then remove the one before."""

    def abort(self) -> None:
        """Remove what was written."""


class PackedStore(Protocol):
    """One packed vector for each customer and view. Safe to use from several threads and processes."""

    def declare(self, views: Mapping[str, ViewSpec], gone: Collection[str] = ()) -> None:
        """Make views known, so that rows can be pushed; a changed layout waits for the next materialization."""

    def generation(self) -> Generation:
        """What is read now; NotReadyError before anything was declared."""

    def read(self, customers: Sequence[str], views: Sequence[str] | None = None) -> Reading:
        """The records of customers, all of one generation.

        Raises:
            NotReadyError: nothing was declared yet, or the store cannot be reached.
        """

    def push(self, view: str, layout: Layout, rows: Sequence[Row]) -> int:
        """Write rows, except where the store has a newer one (by event time, then creation time).

        Visible when this returns, also to a materialization that is under way. Returns how many were written.

        Raises:
            FeatureError: the view has another layout until the next materialization.
        """

    def remove(self, customers: Sequence[str]) -> int:
        """Take customers off all views, without a trace; returns how many rows there were."""

    def begin(self, views: Mapping[str, ViewSpec]) -> Building:
        """Begin the next generation with new rows for these views; the other views are carried over.

        What an earlier run left, that was killed or is still under way, is given up.
        """

    def customers(self, limit: int) -> list[str]:
        """Up to ``limit`` customers that are online, spread over the store."""

    def size_bytes(self) -> int:
        """Bytes that the store takes."""

    def clear(self) -> None:
        """Remove everything."""


_left_out: ContextVar[frozenset[str]] = ContextVar("left_out", default=frozenset())


@contextmanager
def leaving_out(customers: frozenset[str]) -> Iterator[None]:
    """Let materializations in the block leave these customers out of every view, as departed."""
    token = _left_out.set(customers)
    try:
        yield
    finally:
        _left_out.reset(token)


def split(table: pa.Table, key: str, event: str) -> tuple[pa.Table, dict[bytes, int]]:
    """The rows to load, and whom :func:`leaving_out` takes off, with the times (µs) of their rows."""
    customers = _left_out.get()
    if not customers:
        return table, {}
    import pyarrow as pa
    import pyarrow.compute as pc

    gone = pc.is_in(table[key], pa.array(sorted(customers), table[key].type))
    off = table.filter(gone)
    moments = [micros(moment) for moment in off[event].to_pylist()]
    departed = dict(zip([one.encode() for one in off[key].to_pylist()], moments, strict=True))
    return table.filter(pc.invert(gone)), departed


def empty() -> NotReadyError:
    return NotReadyError("No features are online in this home yet.", mend="Materialize online_features first.")


def superseded() -> BusyError:
    return BusyError(
        "Another materialization of the online store has begun since this one did.",
        mend="Let that one finish; this one has changed nothing.",
    )


def other_layout(view: View, layout: Layout) -> FeatureError:
    differing = sorted(set(view.layout.names) ^ set(layout.names)) or ["the order of its features"]
    return FeatureError(
        f"The view {view.name} is online with another layout ({', '.join(differing[:5])}).",
        mend="Materialize online_features: the next generation has the new layout.",
        field=view.name,
    )


def next_views(
    current: Generation, specs: Mapping[str, ViewSpec]
) -> tuple[tuple[View, ...], tuple[tuple[View, View], ...]]:
    """The views of the next generation, and which views (old, new) are carried over as they are."""
    made: list[View] = []
    carried: list[tuple[View, View]] = []
    names = [view.name for view in current.views] + [name for name in specs if name not in current.by_name]
    for index, name in enumerate(names, 1):
        old = current.by_name.get(name)
        if name in specs:
            spec = specs[name]
            made.append(View(name, index, spec.layout, spec.ttl or timedelta(0), None))
        else:
            assert old is not None  # noqa: S101 - it is in one of the two
            new = View(name, index, old.layout, old.ttl, old.observed)
            made.append(new)
            carried.append((old, new))
    return tuple(made), tuple(carried)


def select(generation: Generation, views: Sequence[str] | None) -> tuple[View, ...]:
    return generation.views if views is None else tuple(generation.view(name) for name in views)


def observe(generation: Generation, view: View, observed: int | None, before: int | None) -> Generation:
    """The generation after a view was loaded with rows up to ``observed``; never earlier than ``before``."""
    newest = max((one for one in (observed, before) if one is not None), default=None)
    views = tuple(replace(one, observed=newest) if one.name == view.name else one for one in generation.views)
    return Generation(generation.number, generation.revision, views, generation.slot, generation.epoch)
