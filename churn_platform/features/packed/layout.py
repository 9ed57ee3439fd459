"""What a packed record holds: a head of 24 bytes, then one float64 for each feature of the view.

Head: event time and creation time (int64, microseconds since 1970, UTC), then the first 8 bytes of the layout's
digest. NaN is null. A category is the code of its text in the layout's dictionary, which only ever grows.
All numbers are little endian.
"""

from __future__ import annotations

import hashlib
import json
import math
import secrets
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Final, Literal, TypeAlias

from churn_platform.errors import ArtifactCorruptError, FeatureError

SCHEMA: Final = "packed_layout/1"
GENERATION_SCHEMA: Final = "packed_generation/1"
HEAD: Final = struct.Struct("<qq8s")
TIMES: Final = struct.Struct("<qq")
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
# LMDB's keys have at most 511 bytes; two are the view's number.
MAX_KEY: Final = 500

Kind: TypeAlias = Literal["number", "category"]
Value: TypeAlias = float | str | None
Dictionary: TypeAlias = Mapping[str, Sequence[str]]
"""Category feature → its texts; the code of a text is its position."""


@dataclass(frozen=True)
class Column:
    """A feature in a record: ``number`` (float64) or ``category`` (text)."""

    name: str
    kind: Kind


@dataclass(frozen=True)
class Layout:
    """The features of one view, in the order in which a record holds them."""

    columns: tuple[Column, ...]

    @cached_property
    def digest(self) -> bytes:
        """8 bytes that name this layout in every record."""
        text = json.dumps({"schema": SCHEMA, "columns": self.to_json()}, separators=(",", ":"))
        return hashlib.sha256(text.encode()).digest()[:8]

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    @cached_property
    def categories(self) -> tuple[str, ...]:
        """The category features, in order."""
        return tuple(column.name for column in self.columns if column.kind == "category")

    @cached_property
    def record(self) -> struct.Struct:
        """event µs, creation µs, digest, then the values."""
        return struct.Struct(f"<qq8s{len(self.columns)}d")

    def to_json(self) -> list[list[str]]:
        return [[column.name, column.kind] for column in self.columns]

    @classmethod
    def from_json(cls, value: Iterable[Sequence[Any]]) -> Layout:
        return cls(tuple(Column(name, kind) for name, kind in value))


@dataclass(frozen=True)
class ViewSpec:
    """A view as it is declared.

    Attributes:
        layout: its features.
        ttl: after this long without a newer row a vector is stale; None or zero: never.
    """

    layout: Layout
    ttl: timedelta | None = None


@dataclass(frozen=True)
class View:
    """A view inside a generation.

    Attributes:
        index: its number in the keys of this generation, from 1.
        observed: newest event time (µs) that a materialization brought; None where there was none yet.
    """

    name: str
    index: int
    layout: Layout
    ttl: timedelta
    observed: int | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "index": self.index,
            "columns": self.layout.to_json(),
            "ttl_seconds": self.ttl.total_seconds(),
            "observed": self.observed,
        }


@dataclass(frozen=True)
class Generation:
    """Everything a reader must know of the rows that one pointer names.

    Attributes:
        number: counts materializations; ``revision`` counts changes of the views' declarations in between.
        slot: where an embedded store keeps the rows.
        epoch: made at random when a store is first written: readers notice when it was emptied and begun anew.
    """

    number: int
    revision: int
    views: tuple[View, ...]
    slot: int
    epoch: str
    pointer: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "pointer", f"{self.number}.{self.revision}.{self.epoch}")

    def view(self, name: str) -> View:
        """One view; FeatureError where it was never declared."""
        for view in self.views:
            if view.name == name:
                return view
        raise FeatureError(
            f"The online store has no view {name!r}.",
            mend="Apply the feature views first: materialize online_features.",
            field=name,
        )

    @cached_property
    def by_name(self) -> Mapping[str, View]:
        return {view.name: view for view in self.views}

    @cached_property
    def served(self) -> tuple[View, ...]:
        """The views that a whole vector consists of: one that was declared and not materialized yet is none of them,
        so that a new view disturbs no reader. Where none was ever materialized, all."""
        return tuple(self.views[place] for place in self.served_at)

    @cached_property
    def served_at(self) -> tuple[int, ...]:
        """Their places among all views."""
        found = tuple(place for place, view in enumerate(self.views) if view.observed is not None)
        return found or tuple(range(len(self.views)))

    @cached_property
    def layout(self) -> str:
        """One digest (16 hexadecimal digits) over the layouts of its views: what a whole vector consists of."""
        parts = [[view.name, view.layout.digest.hex()] for view in self.served]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]

    def to_bytes(self) -> bytes:
        document = {
            "schema": GENERATION_SCHEMA,
            "generation": self.number,
            "revision": self.revision,
            "slot": self.slot,
            "epoch": self.epoch,
            "views": [view.to_json() for view in self.views],
        }
        return json.dumps(document).encode()

    @classmethod
    def first(cls, number: int) -> Generation:
        """The empty generation of a new store."""
        return cls(number, 0, (), 0, secrets.token_hex(4))

    @classmethod
    def from_bytes(cls, text: bytes) -> Generation:
        """Read what :meth:`to_bytes` wrote; ArtifactCorruptError for another schema."""
        value = json.loads(text)
        if value.get("schema") != GENERATION_SCHEMA:
            raise ArtifactCorruptError(
                f"The online store has the schema {value.get('schema')!r}, not {GENERATION_SCHEMA!r}.",
                mend="Empty it and materialize online_features again.",
            )
        views = tuple(
            View(
                one["name"],
                one["index"],
                Layout.from_json(one["columns"]),
                timedelta(seconds=one["ttl_seconds"]),
                one["observed"],
            )
            for one in value["views"]
        )
        return cls(value["generation"], value["revision"], views, value["slot"], value["epoch"])

    def declared(self, specs: Mapping[str, ViewSpec], gone: Iterable[str] = ()) -> Generation:
        """This generation after views were declared anew: new ones are added, lifetimes follow, layouts stay."""
        left = set(gone)
        views = [
            replace(view, ttl=(specs[view.name].ttl or timedelta(0)) if view.name in specs else view.ttl)
            for view in self.views
            if view.name not in left
        ]
        known = {view.name for view in views}
        top = max((view.index for view in self.views), default=0)
        for name, spec in specs.items():
            if name not in known:
                top += 1
                views.append(View(name, top, spec.layout, spec.ttl or timedelta(0)))
        if tuple(views) == self.views:
            return self
        return Generation(self.number, self.revision + 1, tuple(views), self.slot, self.epoch)


def micros(moment: datetime) -> int:
    """Microseconds since 1970 (a naive time is UTC)."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - EPOCH) // _MICROSECOND


def from_micros(value: int) -> datetime:
    """The aware UTC time."""
    return EPOCH + timedelta(microseconds=value)


def key_of(customer: str) -> bytes:
    """The bytes under which a customer is kept; FeatureError for an empty or overlong id."""
    key = customer.encode()
    if not 0 < len(key) <= MAX_KEY:
        raise FeatureError(
            f"A customer's id of {len(key)} bytes cannot be a key of the online store.",
            mend=f"Ids have from 1 to {MAX_KEY} bytes.",
            field="customer_id",
        )
    return key


def pack(layout: Layout, event: int, created: int, values: Sequence[float | None]) -> bytes:
    """One record from numbers and codes in the layout's order; ``None`` is null."""
    floats = [math.nan if value is None else value for value in values]
    return layout.record.pack(event, created, layout.digest, *floats)


def unpack(layout: Layout, record: bytes, dictionary: Dictionary) -> tuple[int, int, list[Value]]:
    """Event time, creation time (µs) and values of a record.

    Raises:
        ArtifactCorruptError: for a record of another layout, or a code that the dictionary does not have.
    """
    check(layout, record)
    event, created, _, *floats = layout.record.unpack(record)
    values: list[Value] = [None if value != value else value for value in floats]
    if layout.categories:
        for i, column in enumerate(layout.columns):
            if column.kind == "category" and values[i] is not None:
                values[i] = text_of(dictionary, column.name, floats[i])
    return event, created, values


def check(layout: Layout, record: bytes) -> None:
    """ArtifactCorruptError where a record was not written with this layout."""
    if record[16:24] != layout.digest or len(record) != layout.record.size:
        raise ArtifactCorruptError(
            "A vector in the online store was written with another layout than its view has.",
            mend="Materialize online_features again.",
        )


def text_of(dictionary: Dictionary, feature: str, code: float) -> str:
    """The text of a category's code."""
    try:
        return dictionary[feature][int(code)]
    except (KeyError, IndexError) as error:
        raise ArtifactCorruptError(
            f"The online store's dictionary has no code {code:g} of {feature}.",
            mend="Materialize online_features again.",
            field=feature,
        ) from error
