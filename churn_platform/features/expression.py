"""The one expression that makes a feature table: for every active customer at t, all features, as known at t.

It is compiled once per contract; t is a column of the raw tables, so that the same SQL serves every month.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from churn_platform.features.available import Available
from churn_platform.features.bands import banded_aggregates
from churn_platform.features.candidates import FAMILY as GENERATED_FAMILY
from churn_platform.features.candidates import SHARED_WINDOWS
from churn_platform.features.catalogue import VALUE_COLUMN
from churn_platform.features.definitions import definitions_for, narrowed
from churn_platform.features.definitions.base import Definition, Rows, window_column
from churn_platform.features.known import known_rows
from churn_platform.features.merged import OWN, fold, merges
from churn_platform.features.population import population, population_columns
from churn_platform.features.purchase import with_purchases

# Tables that decide who is a customer; they are read even where no feature asks for them.
POPULATION_TABLES = ("subscriptions", "accounts", "churn_events")
# Columns that features derive from each row of a table before they aggregate it.
PREPARED: dict[str, Callable[[Any, Available], Any]] = {"orders": with_purchases}


@dataclass(frozen=True)
class Query:
    """What is asked of an engine: the features of a contract, with the generated ones by name.

    Attributes:
        available: what the contract offers.
        generated: names of :mod:`~churn_platform.features.candidates` to make beside the hand-made features.
        only: the features to make, with what they need and nothing else; None: all.
    """

    available: Available
    generated: tuple[str, ...] = ()
    only: tuple[str, ...] | None = None

    @property
    def definitions(self) -> tuple[Definition, ...]:
        """What must be computed, hidden steps included, in the order of the columns."""
        made = definitions_for(self.available, self.generated)
        return made if self.only is None else narrowed(made, self.only)


def tables_needed(query: Query) -> tuple[str, ...]:
    """The tables that a query reads, in a fixed order."""
    asked = {one.table for one in query.definitions if one.table is not None}
    people = {*POPULATION_TABLES, query.available.activity}
    return tuple(name for name in query.available.tables if name in asked or name in people)


@lru_cache(maxsize=8)
def duckdb_sql(query: Query) -> str:
    """The expression as DuckDB's SQL. Building it takes half a second, so it is kept."""
    import ibis

    return str(ibis.to_sql(feature_expression(query), dialect="duckdb"))


@lru_cache(maxsize=8)
def spark_sql(query: Query) -> str:
    """The expression as Spark's SQL; needs no pyspark."""
    import ibis
    import ibis.config
    from ibis.backends.sql.compilers import PySparkCompiler

    if ibis.options.pyspark is None:  # set where Ibis' Spark backend is loaded, which wants pyspark

        class SparkOptions(ibis.config.Config):  # type: ignore[misc]
            treat_nan_as_null: bool = False

        ibis.options.pyspark = SparkOptions()
    compiler = PySparkCompiler()
    return str(compiler.to_sqlglot(feature_expression(query)).sql(dialect=compiler.dialect))


def feature_expression(query: Query) -> Any:
    """Ibis expression over unbound tables named like the contract's; columns as ``table_columns`` says."""
    import ibis

    available, definitions = query.available, query.definitions
    known = {}
    pairs = merges(available)
    for name in tables_needed(query):
        raw = ibis.table(available.schema(name), name=name)
        rows = known_rows(raw, reach=available.reach(name), revised=name in available.revised)
        if pairs is not None and name not in OWN:
            rows = fold(rows, pairs, mark=name == "subscriptions")
        known[name] = PREPARED[name](rows, available) if name in PREPARED else rows
    people = population(known, available)
    own = sorted(population_columns(available))
    people = people.rename({f"population__{column}": column for column in own})
    for table, rows in known.items():
        aggregates = [one for one in definitions if one.table == table]
        if aggregates:
            people = _join(people, rows, aggregates)

    row = people.mutate(**{column: people[f"population__{column}"] for column in own})
    row = _derive(row, [one for one in definitions if one.table is None], set(row.columns))
    features = [one.name for one in definitions if not one.hidden]
    value = {} if VALUE_COLUMN in features else {VALUE_COLUMN: ibis.null("float64")}
    return row.select(
        customer_id=row.customer_id,
        event_timestamp=row.population__t,
        created_timestamp=row.population__t,
        **value,
        **{name: row[name] for name in features},
    ).order_by("customer_id")


def _join(people: Any, rows: Any, aggregates: Sequence[Definition]) -> Any:
    """The customers with the aggregates of one table; who has no row gets the empty value of each."""
    import ibis

    for column in sorted({name for one in aggregates for name in one.newest}):
        time = rows[column].notnull().ifelse(rows.event_time, ibis.null("timestamp(6)"))
        rows = rows.mutate(**{f"{column}__newest": time.max().over(group_by="customer_id")})
    plain = [one for one in aggregates if one.banded is None]
    banded = [one for one in aggregates if one.banded is not None]
    if any(one.feature.family == GENERATED_FAMILY.name for one in plain):
        # many aggregates share these windows: each is looked at once for every row
        own = Rows(rows)
        rows = rows.mutate(**{window_column(*w): own.within(w[0], before=w[1]) for w in SHARED_WINDOWS})
    grouped = Rows(rows)
    summary = rows.group_by("customer_id").agg(here__=rows.count(), **{one.name: one.build(grouped) for one in plain})
    if banded:
        summary = summary.left_join(banded_aggregates(rows, banded), "customer_id").drop("customer_id_right")
    joined = people.left_join(summary, "customer_id").drop("customer_id_right")
    filled = {
        one.name: joined.here__.isnull().ifelse(one.empty, joined[one.name]) for one in plain if one.empty is not None
    }
    # who has rows, but none inside the bands, has none of their aggregates
    filled |= {one.name: joined[one.name].fill_null(one.empty) for one in banded if one.empty is not None}
    return joined.mutate(**filled).drop("here__")


def _derive(row: Any, definitions: Sequence[Definition], have: set[str]) -> Any:
    """Add the functions of the customer's row, each after those it needs."""
    waiting = list(definitions)
    made: set[str] = set()
    pending = {one.name for one in waiting}
    while waiting:
        ready = [
            one
            for one in waiting
            if all(name in made or name not in pending or name == one.name for name in one.inputs)
        ]
        row = row.mutate(**{one.name: one.build(row) for one in ready})
        made |= {one.name for one in ready}
        waiting = [one for one in waiting if one not in ready]
    return row
