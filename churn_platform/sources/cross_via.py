"""Customers of a table that names only a row of another, such as usage that names its subscription."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from churn_platform.sources.contract import Contract
from churn_platform.sources.engine import quote

if TYPE_CHECKING:
    import duckdb

    from churn_platform.sources.readers import RawTable


def way_of(table: str) -> str:
    """Name of the DuckDB table ``(key, entity, known)`` that leads from a row of ``table`` to its customer."""
    return f"way_{table}"


def needed_tables(contract: Contract, tables: Iterable[str]) -> list[str]:
    """The tables, and those that name their customers."""
    chosen = list(tables)
    ways = [way.table for name in chosen if (way := contract.tables[name].via)]
    return list(dict.fromkeys([*chosen, *ways]))


def prepare_way(
    connection: duckdb.DuckDBPyConnection, contract: Contract, table: str, raws: Mapping[str, RawTable]
) -> None:
    """Make :func:`way_of` the table, where it has a ``via``.

    The customer is the one that was known first; a key that led to two at once leads to none. ``known`` is when that
    was: before it nobody could say whose the row was, and what other rows say later changes nothing.
    """
    from churn_platform.sources.staging import plan_way

    if contract.tables[table].via is None:
        return
    parsed = plan_way(contract, table, raws)
    connection.execute(
        f"CREATE OR REPLACE TABLE {quote(way_of(table))} AS SELECT key, any_value(entity) AS entity, "
        f"any_value(known) AS known FROM (SELECT *, min(known) OVER (PARTITION BY key) AS first FROM ({parsed}) "
        "WHERE key IS NOT NULL AND entity IS NOT NULL AND known IS NOT NULL) WHERE known = first "
        "GROUP BY key HAVING count(DISTINCT entity) = 1"
    )
