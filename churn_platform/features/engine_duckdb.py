"""The default engine: DuckDB inside this process, within the memory that the settings allow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from churn_platform.features.engine import MonthInput, TableInput
from churn_platform.features.month import finite
from churn_platform.sources.engine import engine, literal, quote

if TYPE_CHECKING:
    from churn_platform.features.expression import Query
    from churn_platform.records.store import ContentStore

DUCKDB_TYPES = {
    "float64": "DOUBLE",
    "int64": "BIGINT",
    "boolean": "BOOLEAN",
    "string": "VARCHAR",
    "timestamp(6)": "TIMESTAMP",
}


class DuckEngine:
    """See :class:`~churn_platform.features.engine.FeatureEngine`."""

    def run(self, query: Query, months: Sequence[MonthInput], store: ContentStore) -> Iterator[tuple[str, Any]]:
        """One query for each month over the same connection."""
        from churn_platform.features.expression import duckdb_sql

        sql = duckdb_sql(query)
        with engine(store.root / "tmp") as duck:
            for month in months:
                for one in month.tables:
                    duck.execute(view(one, month.moment))
                yield month.observation, duck.execute(sql).to_arrow_table()


def view(one: TableInput, moment: datetime) -> str:
    """SQL that binds a table's name to its parts; every row gets the instant ``t``, what is not finite becomes null."""

    def column(name: str, kind: str) -> str:
        duck = DUCKDB_TYPES[kind]
        if not one.paths or name in one.absent:
            return f"NULL::{duck} AS {quote(name)}"
        value = f"CAST({quote(name)} AS {duck})"
        return f"{finite(value) if duck == 'DOUBLE' else value} AS {quote(name)}"

    columns = ", ".join(column(name, kind) for name, kind in one.columns)
    source = f"FROM read_parquet([{', '.join(literal(path) for path in one.paths)}])" if one.paths else "WHERE false"
    if one.paths and one.snapshot:
        kept = ", ".join(["row_id", *(quote(name) for name in one.seen)])
        source += f" LEFT JOIN (SELECT {kept} FROM read_parquet({literal(one.snapshot)})) USING (row_id)"
    return (
        f"CREATE OR REPLACE TEMP VIEW {quote(one.table)} AS "
        f"SELECT {columns}, TIMESTAMP '{moment:%Y-%m-%d %H:%M:%S}' AS t {source}"
    )
