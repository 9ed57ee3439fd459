"""How a feature is declared: a small function over the rows known at t, or over the customer's row.

Adding a feature is one function in the module of its family: its name is the feature's name, its docstring
the description, the decorator the rest. Only constructs on which DuckDB and Spark agree are used: no as-of
joins, no first/last, no approximate aggregates, no difference of timestamps other than of whole epoch
seconds, and every division through :func:`ratio`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from inspect import cleandoc
from typing import Any, Literal, TypeAlias

from churn_platform.features.available import Available
from churn_platform.features.catalogue import Feature

Expression: TypeAlias = Any  # an Ibis value; Ibis has no types that strict checking could use

DAY = 86_400


BANDS = ((7, 0), (30, 1), (90, 2))
"""(days, number) of the bands (t − 7, t], (t − 30, t − 7], (t − 90, t − 30] that every shared window is made of."""


@dataclass(frozen=True)
class Banded:
    """An aggregate that is put together from those of bands, so that one pass without conditions serves all windows.

    Attributes:
        kind: ``count`` of rows, ``known`` values, their sum (``added``), that of their ``squares``, how many are too
            large to be squared (``over``), their ``max``.
        column: of the values; empty for ``count``.
        first, last: the bands, both included.
    """

    kind: Literal["count", "known", "added", "squares", "over", "max"]
    column: str
    first: int
    last: int


@dataclass(frozen=True)
class Definition:
    """A feature with the way to compute it.

    Attributes:
        feature: what it is.
        table: the table whose rows are aggregated by customer; None for a function of the customer's row.
        columns: columns of that table it needs.
        inputs: columns of the customer's row it needs (features, hidden steps, columns of the population).
        build: Rows → aggregate, or the customer's row → value.
        newest: columns whose newest known value is asked for (:meth:`Rows.newest`).
        empty: the value for a customer without any row, None for null.
        hidden: a step for other features, not a feature.
        banded: how it is put together from bands; ``build`` is not called then.
    """

    feature: Feature
    table: str | None
    columns: tuple[str, ...]
    inputs: tuple[str, ...]
    build: Callable[[Any], Expression]
    newest: tuple[str, ...] = ()
    empty: float | None = None
    hidden: bool = False
    banded: Banded | None = None

    @property
    def name(self) -> str:
        return self.feature.name


@dataclass
class Family:
    """Features of one theme: one Feast feature view, one chapter of the catalogue page."""

    name: str
    declared: list[Callable[[Available], Sequence[Definition]]] = field(default_factory=list)

    def define(
        self,
        build: Callable[[Any], Expression],
        *,
        name: str = "",
        table: str | None = None,
        columns: Sequence[str] = (),
        inputs: Sequence[str] = (),
        newest: Sequence[str] = (),
        label: str = "",
        unit: str = "",
        null: str = "",
        empty: float | None = None,
        decimals: int = 0,
        kind: Literal["number", "category"] = "number",
        description: str = "",
        hidden: bool = False,
    ) -> Definition:
        """A definition of this family; name and description default to those of the function."""
        name = name or build.__name__
        if not null:
            null = "never null" if empty is None else f"{empty:g} where there was none"
        feature = Feature(
            name=name,
            family=self.name,
            kind=kind,
            label=label or name.replace("_", " "),
            unit=unit,
            description=description or " ".join(cleandoc(build.__doc__ or label).split()),
            null_policy=null,
            decimals=decimals,
        )
        return Definition(
            feature=feature,
            table=table,
            columns=tuple(columns),
            inputs=tuple(inputs),
            build=build,
            newest=tuple(newest),
            empty=empty,
            hidden=hidden,
        )

    def feature(self, **about: Any) -> Callable[[Callable[[Any], Expression]], Callable[[Any], Expression]]:
        """Decorator: declare the function as a feature of this family. Takes what :meth:`define` takes."""

        def register(build: Callable[[Any], Expression]) -> Callable[[Any], Expression]:
            made = [self.define(build, **about)]
            self.declared.append(lambda _: made)
            return build

        return register

    def generator(
        self, make: Callable[[Available], Sequence[Definition]]
    ) -> Callable[[Available], Sequence[Definition]]:
        """Decorator: definitions that depend on which columns the contract has."""
        self.declared.append(make)
        return make

    def definitions(self, available: Available) -> list[Definition]:
        """Those whose table and columns are there; inputs are resolved later, over all families."""
        made = [one for make in self.declared for one in make(available)]
        return [one for one in made if one.table is None or available.has(one.table, *one.columns)]


@dataclass(frozen=True)
class Rows:
    """The rows of one table known at t, inside an aggregation by customer.

    ``rows["column"]`` is a column; windows are half open: an event exactly at t counts, one exactly ``days``
    before t does not.
    """

    table: Any

    def __getitem__(self, column: str) -> Expression:
        return self.table[column]

    def within(self, days: int, *, before: int = 0) -> Expression:
        """Whether the event lies in (t − before − days, t − before]."""
        import ibis

        ready = window_column(days, before)
        if ready in self.table.columns:
            return self.table[ready]
        recent = self.table.event_time > self.table.t - ibis.interval(days=days + before)
        if before:
            return recent & (self.table.event_time <= self.table.t - ibis.interval(days=before))
        return recent

    def count(self, where: Expression) -> Expression:
        """Number of rows where the condition holds; 0 where none."""
        # a condition that is unknown for every row would count to null on Spark, and to 0 on DuckDB
        return self.table.count(where=where.fill_null(False)).cast("float64")

    def days(self, where: Expression) -> Expression:
        """Number of different UTC days with an event where the condition holds; 0 where none."""
        return self.table.event_time.truncate("D").nunique(where=where).cast("float64")

    def total(self, column: str, where: Expression) -> Expression:
        """Sum of the known values where the condition holds: 0 without rows, null with rows but no value."""
        return (self.count(where) == 0.0).ifelse(0.0, exact_sum(self.table[column], where))

    def mean(self, column: str, where: Expression) -> Expression:
        """Mean of the known values where the condition holds; null without one."""
        known = where & self.table[column].notnull()
        return ratio(exact_sum(self.table[column], known), self.count(known))

    def newest(self, column: str) -> Expression:
        """The value of ``column`` at its newest event; the mean, where several events share that instant."""
        latest = self.table[f"{column}__newest"]
        return self.mean(column, self.table.event_time == latest)

    def days_since(self, where: Expression) -> Expression:
        """Days (fraction kept) from the newest event where the condition holds to t; null without one."""
        return days_between(self.table.event_time.max(where=where), self.table.t.max())


def window_column(days: int, before: int = 0) -> str:
    """The column that holds :meth:`Rows.within` where it is computed once for all aggregates."""
    return f"within_{days}_{before}__"


def exact_sum(column: Expression, where: Expression) -> Expression:
    """A sum that does not depend on the order of rows, as float64: decimals of 1e-6 for floating columns.

    Threads add in an arbitrary order, and float addition is not associative: without this the last bits, and
        with
    them the digest of the feature table, would change from run to run.
    """
    if column.type().is_floating():
        column = column.cast("decimal(28, 6)")
    return column.sum(where=where).cast("float64")


def ratio(numerator: Expression, denominator: Expression) -> Expression:
    """numerator / denominator as float64; null where the denominator is 0 or either is null."""
    import ibis

    bottom = denominator.cast("float64")
    return (bottom == 0.0).ifelse(ibis.null("float64"), numerator.cast("float64") / bottom)


def days_between(start: Expression, end: Expression) -> Expression:
    """Days from start to end as float64, from whole epoch seconds: DuckDB would keep fractions, Spark not."""
    seconds = end.truncate("s").epoch_seconds().cast("float64") - start.truncate("s").epoch_seconds().cast("float64")
    return seconds / float(DAY)


def flag(condition: Expression) -> Expression:
    """1.0 where the condition holds, 0.0 where it does not, null where it is unknown."""
    return condition.cast("int64").cast("float64")
