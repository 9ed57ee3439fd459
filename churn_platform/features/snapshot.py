"""The snapshot shape: one flat row per customer. Its columns are the features; there is no time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from churn_platform.errors import FeatureError
from churn_platform.features.catalogue import FIXED_COLUMNS, VALUE_COLUMN, Feature
from churn_platform.features.month import FeatureMonth, conform, finite, version_of, write_table
from churn_platform.features.observation import instant
from churn_platform.features.words import plain_words
from churn_platform.sources.contract import SNAPSHOT_TABLE
from churn_platform.sources.engine import engine, literal, quote
from churn_platform.sources.parsing import yes_no

if TYPE_CHECKING:
    from churn_platform.records.store import ContentStore
    from churn_platform.sources.contract import Column, Contract
    from churn_platform.sources.tables import TableVersion

FAMILY = "snapshot"
NUMBERS = ("number", "integer", "boolean")


def snapshot_catalogue(contract: Contract) -> tuple[Feature, ...]:
    """One feature per column that is a number, boolean or category; free text and times are none.

    Raises:
        FeatureError: where a column has the name of one that every feature table has.
    """
    made = []
    for name, column in contract.snapshot.passed.items():
        if column.type not in (*NUMBERS, "category"):
            continue
        if name in FIXED_COLUMNS or (name == VALUE_COLUMN and contract.value_column != name):
            raise FeatureError(
                f"The column {name} of the snapshot has the name of a column that every feature table has.",
                mend="Give it another canonical name in the contract, and the company's name as its source.",
                field=f"tables.{SNAPSHOT_TABLE}.columns.{name}",
            )
        made.append(_feature(name, column))
    return tuple(made)


def assemble_snapshot(
    contract: Contract,
    versions: Mapping[str, Mapping[str, TableVersion]],
    observations: Sequence[str],
    store: ContentStore,
    *,
    people_only: bool = False,
) -> Iterator[tuple[str, FeatureMonth]]:
    """The feature table of each given key (there is one, ``snapshot``). See :func:`assemble.assemble`."""
    features = snapshot_catalogue(contract)
    if people_only:
        features = tuple(feature for feature in features if feature.name == VALUE_COLUMN)
    value = finite(f"CAST({quote(contract.value_column)} AS DOUBLE)") if contract.value_column else "NULL::DOUBLE"
    columns = []
    if not any(feature.name == VALUE_COLUMN for feature in features):
        columns.append(f"{value} AS {quote(VALUE_COLUMN)}")
    for feature in features:
        if feature.kind == "category":
            columns.append(quote(feature.name))
        elif contract.snapshot.columns[feature.name].type == "boolean":
            # the door keeps a flat file's yes and no as the company writes them
            columns.append(f"{yes_no(f'CAST({quote(feature.name)} AS VARCHAR)')} AS {quote(feature.name)}")
        else:
            columns.append(f"{finite(f'CAST({quote(feature.name)} AS DOUBLE)')} AS {quote(feature.name)}")
    for observation in observations:
        version = version_of(versions, observation, SNAPSHOT_TABLE)
        moment = f"TIMESTAMP '{instant(observation):%Y-%m-%d %H:%M:%S}'"
        paths = ", ".join(literal(str(path)) for path in version.paths(store))
        with engine(store.root / "tmp") as duck:
            rows = duck.execute(
                f"SELECT customer_id, {moment} AS event_timestamp, {moment} AS created_timestamp, "
                f"{', '.join(columns)} FROM read_parquet([{paths}]) ORDER BY customer_id, row_id"
            ).to_arrow_table()
        yield (
            observation,
            FeatureMonth(
                observation=observation,
                digest=write_table(conform(rows, features), store),
                rows=rows.num_rows,
                versions_used={SNAPSHOT_TABLE: store.put_json(version.to_json())},
            ),
        )


def _feature(name: str, column: Column) -> Feature:
    number = column.type in NUMBERS
    return Feature(
        name=name,
        family=FAMILY,
        kind="number" if number else "category",
        label=plain_words(column.source or name),
        unit="yes = 1" if column.type == "boolean" else "",
        description=column.description or f"The column {column.source or name} as the company gives it.",
        null_policy="null where the company gives none",
        decimals=2 if column.type == "number" else 0,
    )
