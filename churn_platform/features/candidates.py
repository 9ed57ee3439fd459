"""Generated features: every window × aggregate × column that a contract's event tables allow, trends, ratios and
interactions with the contract. Grain: one customer at t. Which of them are worth it is chosen in
:mod:`churn_platform.training.selection`; nothing here looks at an outcome.

A candidate is known by its name alone, so that a model's features can be made again as long as the contract has the
columns. Its build uses only what DuckDB and Spark agree on (:mod:`.definitions.base`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from typing import Any, Literal

from churn_platform.features.available import Available
from churn_platform.features.definitions.base import BANDS, Banded, Definition, Expression, Family, Rows, ratio

FAMILY = Family("generated")
WINDOWS = (7, 30, 90)
LAST = dict(BANDS)
"""Days of a window → the last band inside it."""
SHARED_WINDOWS = ((7, 0), (30, 0), (90, 0), (60, 30))
"""(days, days before t) of the windows that candidates look through."""
TABLES = ("usage", "orders", "invoices", "tickets", "surveys", "marketing")
"""Event tables that candidates are generated from. Departures and what was done against them are none."""
PAIRED = 6
"""Columns of a table, in the contract's order, that are set in ratio to each other."""
WORDS = {
    "usage": "days of use",
    "orders": "order lines",
    "invoices": "invoices",
    "tickets": "tickets",
    "surveys": "surveys",
    "marketing": "marketing messages",
}
Template = Literal["rows", "aggregate", "trend", "ratio", "interaction"]
# What one row costs inside each aggregate, as multiples of a sum: for the order of magnitude, not for the clock.
WEIGHTS = {"count": 0.5, "sum": 1.0, "mean": 1.0, "max": 0.7, "std": 2.0, "days": 8.0, "recency": 0.7}
AGGREGATES = ("sum", "mean", "max", "std")
NAME_LIMIT = 63
"""Bytes of a candidate's name: PostgreSQL cuts longer ones. Of a column with so long a name none is made."""
COST_LIMIT = 4.0
"""A candidate may cost this many times a sum over the 90-day window of the largest table."""


@dataclass(frozen=True)
class Candidate:
    """A generated feature.

    Attributes:
        definition: how it is made.
        template: which kind of rule made it.
        table: the event table whose rows it reads.
        weight: cost of one row of the table, as a multiple of a sum.
        share: part of a 90-day window that it reads.
    """

    definition: Definition
    template: Template
    table: str
    weight: float
    share: float

    @property
    def name(self) -> str:
        return self.definition.name


def candidates(available: Available, made: Sequence[Definition]) -> tuple[Candidate, ...]:
    """All candidates of a contract, none of which has the name of a definition that is there (``made``).

    Args:
        made: the hand-made definitions: the names that are taken, and the inputs that interactions may use.
    """
    taken = {one.name for one in made}
    usable = taken | {"mrr", "seats"} & _population(available)
    found: dict[str, Candidate] = {}
    for table in TABLES:
        if table not in available.tables:
            continue
        for one in _of_table(available, table, usable):
            if one.name not in taken and len(one.name.encode()) <= NAME_LIMIT:
                found.setdefault(one.name, one)
    # a trend of a sum whose name was taken has no input of ours: its hand-made namesake serves
    names = usable | set(found)
    return tuple(one for one in found.values() if names.issuperset(one.definition.inputs))


def costs(found: Sequence[Candidate], rows: Mapping[str, int]) -> dict[str, float]:
    """Name → what a candidate costs, as a multiple of a sum over the 90-day window of the largest table. An estimate
    from counts of rows, not a time: the same data gives the same figure.

    Args:
        rows: table → rows that are read.
    """
    largest = max([rows.get(table, 0) for table in TABLES] + [1])
    return {one.name: one.weight * one.share * rows.get(one.table, 0) / largest for one in found}


def candidate_definitions(available: Available, made: Sequence[Definition]) -> list[Definition]:
    """The definitions of :func:`candidates`, hidden steps included."""
    return [one.definition for one in candidates(available, made)]


def _population(available: Available) -> frozenset[str]:
    from churn_platform.features.population import population_columns

    return population_columns(available)


def _of_table(available: Available, table: str, usable: set[str]) -> Iterator[Candidate]:
    columns = available.tables[table]
    numbers = [name for name, kind in columns.items() if kind in ("number", "integer")]
    flags = [name for name, kind in columns.items() if kind == "boolean"]
    yield from _rows(table)
    for column in numbers:
        yield from _numbers(table, column)
    for column in flags:
        yield from _flags(table, column)
    if "tenure_days" in usable:
        yield from _trends(table, "count", f"{WORDS[table]}", [])
        for column in numbers:
            yield from _trends(table, f"{column}_sum", f"{_say(column)} ({table})", [column])
    for one, other in combinations(numbers[:PAIRED], 2):
        yield _ratio(table, one, other)
    if "seats" in usable or "mrr" in usable:
        yield from _interactions(table, numbers, usable)


def _rows(table: str) -> Iterator[Candidate]:
    word = WORDS[table]
    for days in WINDOWS:
        count = _aggregate(table, [], "count", days, _step, f"{word} in the last {days} days", "rows", empty=0.0)
        yield replace(count, definition=replace(count.definition, banded=Banded("count", "", 0, LAST[days])))
        yield _aggregate(
            table,
            [],
            "days",
            days,
            partial(_days, days),
            f"different days with {word} in the last {days} days",
            "days",
            empty=0.0,
        )
    yield Candidate(
        FAMILY.define(
            _recency,
            name=f"{table}_recency",
            table=table,
            label=f"days since the newest of the {word}, at most 90 back",
            unit="days",
            null="null without any in 90 days",
            decimals=0,
            description=f"Days from the newest row of {table} in the 90 days up to t to t.",
        ),
        "rows",
        table,
        WEIGHTS["recency"],
        1.0,
    )


def _numbers(table: str, column: str) -> Iterator[Candidate]:
    words = {"sum": "total", "mean": "mean", "max": "highest", "std": "spread (standard deviation) of"}
    for days in WINDOWS:
        # sums and counts are made once, and what follows from them by customer
        steps: dict[Literal["known", "added", "squares", "over"], str] = {
            "known": f"{table}_{column}_known_{days}d",
            "added": f"{table}_{column}_added_{days}d",
            "squares": f"{table}_{column}_squares_{days}d",
            "over": f"{table}_{column}_over_{days}d",
        }
        for step_kind, name in steps.items():
            step = FAMILY.define(_step, name=name, table=table, columns=[column], hidden=True)
            yield Candidate(
                replace(step, banded=Banded(step_kind, column, 0, LAST[days])), "aggregate", table, 1.0, 1.0
            )
        known, added, squares, over = steps.values()
        row: dict[str, tuple[Any, list[str]]] = {
            "sum": (partial(_sum, known, added, f"{table}_count_{days}d"), [known, added, f"{table}_count_{days}d"]),
            "mean": (partial(_quotient, added, known), [added, known]),
            "std": (partial(_std, known, added, squares, over), [known, added, squares, over]),
        }
        for kind in AGGREGATES:
            made = _aggregate(
                table,
                [column],
                kind,
                days,
                row[kind][0] if kind in row else _step,
                f"{words[kind]} {_say(column)} ({table}) in the last {days} days",
                _say(column),
                inputs=row[kind][1] if kind in row else (),
            )
            if kind == "max":
                made = replace(made, definition=replace(made.definition, banded=Banded("max", column, 0, LAST[days])))
            yield made


def _flags(table: str, column: str) -> Iterator[Candidate]:
    for days in WINDOWS:
        label = f"{WORDS[table]} that were {_say(column)}, in the last {days} days"
        build = partial(_true, column, days)
        yield _aggregate(table, [column], "sum", days, build, label, "rows", empty=0.0)
        share = partial(_true_share, column, days)
        yield _aggregate(table, [column], "mean", days, share, f"share of {label}", "share")


def _aggregate(
    table: str,
    columns: list[str],
    kind: str,
    days: int,
    build: Any,
    label: str,
    unit: str,
    *,
    empty: float | None = None,
    inputs: Sequence[str] = (),
) -> Candidate:
    what = "_".join([table, *columns, kind])
    subject = f"{kind} of {columns[0]}" if columns else kind
    nulls = {
        "sum": "0 without rows; null where no value of them is known",
        "mean": "null without a known value",
        "max": "null without a known value",
        "std": "null with fewer than two known values, or with one beyond 1e10",
    }
    return Candidate(
        FAMILY.define(
            build,
            name=f"{what}_{days}d",
            table=None if inputs else table,
            columns=columns,
            inputs=inputs,
            label=label,
            unit=unit,
            null=nulls.get(kind, "0 without rows") if columns else "0 without rows",
            empty=empty,
            decimals=0 if kind in ("count", "days") else 2,
            description=f"Generated: {subject} over the rows of {table} in the {days} days up to t.",
        ),
        "aggregate" if columns else "rows",
        table,
        WEIGHTS[kind],
        days / 90,
    )


def _trends(table: str, what: str, words: str, columns: list[str]) -> Iterator[Candidate]:
    """The last 30 days against the 60 before, and the last 7 against the last 30: per day as a customer."""
    kind = "sum" if columns else "count"
    prior = FAMILY.define(_step, name=f"{table}_{what}_prior_60d", table=table, columns=columns, hidden=True)
    band = Banded("added", columns[0], 2, 2) if columns else Banded("count", "", 2, 2)
    yield Candidate(replace(prior, banded=band), "trend", table, WEIGHTS[kind], 2 / 3)
    for recent, earlier, least in ((30, "prior_60d", 37.0), (7, "30d", 14.0)):
        inputs = [f"{table}_{what}_{recent}d", f"{table}_{what}_{earlier}", "tenure_days"]
        against = "the 60 days before" if recent == 30 else "the last 30 days"
        yield Candidate(
            FAMILY.define(
                partial(_trend, inputs[0], inputs[1], recent),
                name=f"{table}_{what}_trend_{recent}d",
                inputs=inputs,
                label=f"{words}: a day in the last {recent} days, against {against}",
                unit="ratio",
                null=f"null without any in {against}, or with less than {least:g} days as a customer",
                decimals=2,
                description=f"Generated: {what.replace('_', ' ')} of {table} per day in the {recent} days up to t, "
                f"divided by that in {against}; of the days only those as a customer count.",
            ),
            "trend",
            table,
            2 * WEIGHTS[kind],
            1.0,
        )


def _ratio(table: str, one: str, other: str) -> Candidate:
    inputs = [f"{table}_{one}_sum_30d", f"{table}_{other}_sum_30d"]
    return Candidate(
        FAMILY.define(
            partial(_quotient, *inputs),
            name=f"{table}_{one}_per_{other}_30d",
            inputs=inputs,
            label=f"{_say(one)} for each of {_say(other)} ({table}), in the last 30 days",
            unit="ratio",
            null=f"null without {_say(other)}",
            decimals=2,
            description=f"Generated: sum of {one} divided by sum of {other}, over the rows of {table} in the 30 days "
            "up to t.",
        ),
        "ratio",
        table,
        2 * WEIGHTS["sum"],
        1 / 3,
    )


def _interactions(table: str, numbers: Sequence[str], usable: set[str]) -> Iterator[Candidate]:
    """Amounts for each seat and for each unit of revenue; trends while a renewal is near."""
    for base, word in (("seats", "seat"), ("mrr", "unit of monthly revenue")):
        if base not in usable:
            continue
        for what, words, columns in [
            ("count", WORDS[table], []),
            *((f"{name}_sum", _say(name), [name]) for name in numbers),
        ]:
            source = f"{table}_{what}_30d"
            yield Candidate(
                FAMILY.define(
                    partial(_quotient, source, base),
                    name=f"{table}_{what}_30d_per_{base}",
                    inputs=[source, base],
                    label=f"{words} ({table}) in the last 30 days, for each {word}",
                    unit=f"per {word}",
                    null=f"null without {base}",
                    decimals=3,
                    description=f"Generated: {what.replace('_', ' ')} of {table} in the 30 days up to t divided by "
                    f"{base} at t.",
                ),
                "interaction",
                table,
                WEIGHTS["sum" if columns else "count"],
                1 / 3,
            )
    if "renewal_within_60d" in usable and "tenure_days" in usable:
        for what in ["count", *(f"{name}_sum" for name in numbers)]:
            source = f"{table}_{what}_trend_30d"
            yield Candidate(
                FAMILY.define(
                    partial(_near_renewal, source),
                    name=f"{source}_near_renewal",
                    inputs=[source, "renewal_within_60d"],
                    label=f"trend of {what.replace('_sum', '').replace('_', ' ')} ({table}) while a renewal is near",
                    unit="ratio",
                    null="null where no renewal is due within 60 days, or where the trend is",
                    decimals=2,
                    description=f"Generated: {source} where the contract renews within 60 days of t.",
                ),
                "interaction",
                table,
                2 * WEIGHTS["sum"],
                1.0,
            )


def _say(column: str) -> str:
    return column.replace("_", " ")


def _step(rows: Rows) -> Expression:
    raise NotImplementedError("put together from bands: features.bands")


def _days(days: int, rows: Rows) -> Expression:
    return rows["event_time"].date().nunique(where=rows.within(days)).cast("float64")


def _recency(rows: Rows) -> Expression:
    """Days from the newest row of the last 90 days to t."""
    return rows.days_since(rows.within(90))


def _sum(known: str, added: str, count: str, row: Any) -> Expression:
    """0 without rows, null with rows of which no value is known."""
    return row[added].fill_null((row[count].fill_null(0.0) == 0.0).ifelse(0.0, row[added]))


def _std(known: str, added: str, squares: str, over: str, row: Any) -> Expression:
    """Sample standard deviation from exact sums, so that it does not depend on the order of rows; null where one of the
    values is too large to be squared."""
    import ibis

    n, first, second = row[known], row[added], row[squares]
    spread = (second - first * ratio(first, n)) / ibis.greatest(n - 1.0, ibis.literal(1.0))
    # the rest of a subtraction of like numbers is no spread: below what the sums can tell apart it is none
    some = spread > 1e-12 * ratio(second, n)
    enough = (n >= 2.0) & (row[over].fill_null(0.0) == 0.0)
    return enough.ifelse(some.ifelse(spread, 0.0).sqrt(), ibis.null("float64"))


def _true(column: str, days: int, rows: Rows) -> Expression:
    return rows.count(rows.within(days) & rows[column])


def _true_share(column: str, days: int, rows: Rows) -> Expression:
    recent = rows.within(days)
    return ratio(rows.count(recent & rows[column]), rows.count(recent & rows[column].notnull()))


def _quotient(numerator: str, denominator: str, row: Any) -> Expression:
    return ratio(row[numerator], row[denominator])


def _near_renewal(trend: str, row: Any) -> Expression:
    import ibis

    return (row["renewal_within_60d"] == 1.0).ifelse(row[trend], ibis.null("float64"))


def _trend(recent: str, earlier: str, days: int, row: Any) -> Expression:
    import ibis

    tenure = row["tenure_days"]
    before, span = (tenure - 30.0, 60.0) if days == 30 else (tenure, 30.0)
    now = ratio(row[recent], ibis.least(tenure, ibis.literal(float(days))))
    then = ratio(row[earlier], ibis.least(before, ibis.literal(span)))
    enough = before >= 7.0 if days == 30 else tenure >= 14.0
    return enough.ifelse(ratio(now, then), ibis.null("float64"))
