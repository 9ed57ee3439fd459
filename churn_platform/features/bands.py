"""Aggregates over windows that contain each other, from disjoint bands of days: one pass over the rows without any
condition, then a few rows for each customer. Sums stay decimals until the end, so that no order of rows matters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from churn_platform.features.definitions.base import BANDS, Banded, Definition, Rows

LARGEST = 1e15
"""Beyond this an exact sum cannot hold a value: it counts as unknown."""
LARGEST_SQUARED = 1e10
"""Beyond this it cannot hold a value's square: who has such a value has no spread."""
DECIMAL = "decimal(28, 6)"


def banded_aggregates(rows: Any, definitions: Sequence[Definition]) -> Any:
    """Ibis table: customer_id and the aggregates, for customers with a row inside the bands. Counts are never null."""
    parts = {(one.banded.kind, one.banded.column) for one in definitions if one.banded is not None}
    bands = rows.mutate(band__=_band(rows)).filter(lambda row: row.band__.notnull())
    summed = bands.group_by("customer_id", "band__").agg(
        **{_name(*part): _of_band(bands, *part) for part in sorted(parts)}
    )
    made = {one.name: _together(summed, one.banded) for one in definitions if one.banded is not None}
    return summed.group_by("customer_id").agg(**made)


def _name(kind: str, column: str) -> str:
    return f"{kind}__{column}"


def _band(rows: Any) -> Any:
    """The number of the band of each row; null outside of all."""
    import ibis

    own, number = Rows(rows), ibis.null("int64")
    for days, band in reversed(BANDS):
        number = own.within(days).ifelse(ibis.literal(band, "int64"), number)
    return number


def _of_band(rows: Any, kind: str, column: str) -> Any:
    """An aggregate over the rows of one customer in one band."""
    import ibis

    if kind == "count":
        return rows.count()
    if kind == "max":
        return rows[column].max().cast("float64")
    value = rows[column].cast("float64")
    if kind == "over":
        return rows.count(where=(value.abs() > LARGEST_SQUARED).fill_null(False))
    largest = LARGEST_SQUARED if kind == "squares" else LARGEST
    value = (value.abs() <= largest).ifelse(value, ibis.null("float64"))
    if kind == "known":
        return value.count()
    # whole numbers need no decimals: their sums are exact, and cheaper
    whole = rows[column].type().is_integer() and kind == "added"
    exact = value.cast("int64") if whole else (value * value if kind == "squares" else value).cast(DECIMAL)
    return exact.sum()


def _together(summed: Any, banded: Banded) -> Any:
    part = summed[_name(banded.kind, banded.column)]
    inside = (summed.band__ >= banded.first) & (summed.band__ <= banded.last)
    if banded.kind == "max":
        return part.max(where=inside)
    made = part.sum(where=inside).cast("float64")
    return made.fill_null(0.0) if banded.kind in ("count", "known", "over") else made
