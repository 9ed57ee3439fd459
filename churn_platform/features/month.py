"""One feature table: its record, what it may read, how it is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from churn_platform.errors import FeatureError
from churn_platform.features.catalogue import FIXED_COLUMNS, VALUE_COLUMN, Feature, table_columns

if TYPE_CHECKING:
    from churn_platform.records.store import ContentStore
    from churn_platform.sources.tables import TableVersion


@dataclass(frozen=True)
class FeatureMonth:
    """The feature table of one observation date.

    Attributes:
        observation: its key.
        digest: of the Parquet file in the store.
        rows: number of customers.
        versions_used: table → digest of the version that was read.
        blocked: feature → why it is null for customers with such rows: a column that it needs is unusable in them.
    """

    observation: str
    digest: str
    rows: int
    versions_used: Mapping[str, str]
    blocked: Mapping[str, str] = field(default_factory=dict)


def lacking(feature: str) -> FeatureError:
    """The champion reads what the months do not have any more: nothing is scored as if it were only unknown."""
    return FeatureError(
        f"The champion reads {feature}, which the feature tables do not have any more.",
        mend="Bring the columns that it was made from back into the contract, or learn a champion that does without: "
        "churn materialize champion.",
        field=feature,
    )


def version_of(versions: Mapping[str, Mapping[str, TableVersion]], observation: str, table: str) -> TableVersion:
    """What was known of a table by an observation date.

    Raises:
        FeatureError: where there is none, or where it reaches past the date.
    """
    try:
        version = versions[observation][table]
    except KeyError:
        raise FeatureError(
            f"There is no version of the table {table} for {observation}.",
            mend=f"Materialize the source {table} for {observation} first.",
            field=table,
        ) from None
    if version.observation != observation or any(part.known_by > observation for part in version.parts):
        raise FeatureError(
            f"The version of {table} given for {observation} holds what was known only later.",
            mend="Give each observation date its own table versions.",
            field=table,
        )
    return version


def conform(table: Any, features: Sequence[Feature]) -> Any:
    """The Arrow table with exactly the columns and types of the catalogue: float64, text, naive microseconds.

    Raises:
        FeatureError: where the columns are others.
    """
    import pyarrow as pa

    kinds = {feature.name: pa.float64() if feature.kind == "number" else pa.string() for feature in features}
    fixed = {
        FIXED_COLUMNS[0]: pa.string(),
        **dict.fromkeys(FIXED_COLUMNS[1:], pa.timestamp("us")),
        VALUE_COLUMN: pa.float64(),
    }
    names = table_columns(features)
    if tuple(table.column_names) != names:
        differing = sorted(set(table.column_names) ^ set(names)) or ["their order"]
        raise FeatureError(f"The feature table and its catalogue differ: {', '.join(differing)}.")
    return table.cast(pa.schema([(name, {**fixed, **kinds}[name]) for name in names]))


def write_table(table: Any, store: ContentStore) -> str:
    """Write an Arrow table as Parquet and return its digest; the same rows give the same bytes."""
    import pyarrow.parquet as pq

    with store.temporary() as path:
        pq.write_table(table, path, compression="zstd", row_group_size=65_536, store_schema=False)
        return store.put_file(path, move=True)


def finite(expression: str) -> str:
    """SQL: the float64 expression, or null where it is NaN or infinite."""
    return f"CASE WHEN isfinite({expression}) THEN {expression} END"
