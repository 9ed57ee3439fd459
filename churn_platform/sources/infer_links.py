"""Inference across tables: the customer whom another table names, and the flag of those who have left."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from churn_platform.sources.engine import quote
from churn_platform.sources.inference import Decision
from churn_platform.sources.parsing import as_text
from churn_platform.sources.profile import Profile
from churn_platform.sources.readers import RawTable
from churn_platform.sources.vocabulary import FLAG_NAMES

if TYPE_CHECKING:
    import duckdb

ENOUGH = 0.5
"""A link must lead from at least this share of the keys to a row of the other table."""


def find_way(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    raw: RawTable,
    tables: Mapping[str, Mapping[str, Any]],
    raws: Mapping[str, RawTable],
    decisions: list[Decision],
) -> dict[str, str] | None:
    """The ``via`` of a table without a customer's id: an id that another table has as well, beside its customer.

    Args:
        tables: table → its plain contract, of those that name their customers.
    """
    best: tuple[float, str, str, str] | None = None
    for other, table in tables.items():
        theirs = {column.casefold(): column for column in raws[other].columns}
        for column in raw.columns:
            shared = theirs.get(column.casefold())
            if shared is None or shared == table["entity"] or not column.casefold().endswith(("id", "uuid", "key")):
                continue
            found, one = _led(connection, raw, column, raws[other], shared, str(table["entity"]))
            if found >= ENOUGH and one and (best is None or found > best[0]):
                best = (found, other, column, shared)
    if best is None:
        return None
    share, other, column, shared = best
    doubt = None if share == 1 else "whose are the others? They are held back at the door"
    decisions.append(
        Decision(
            f"tables.{name}.via",
            column,
            f"it has no customer's id, and {share:.4g} of its {column} stand in {other} beside one".replace(
                "1 of its", "all of its"
            ),
            doubt,
        )
    )
    return {"table": other, "on": column}


def _led(
    connection: duckdb.DuckDBPyConnection, raw: RawTable, column: str, other: RawTable, shared: str, entity: str
) -> tuple[float, bool]:
    """Share of keys that the other table has, and whether each leads to one customer there."""
    mine = f"SELECT DISTINCT {as_text(quote(column), raw.columns[column])} AS key FROM {raw.relation}"
    theirs = (
        f"SELECT {as_text(quote(shared), other.columns[shared])} AS key, count(DISTINCT {quote(entity)}) AS customers "
        f"FROM {other.relation} GROUP BY 1"
    )
    row = connection.execute(
        f"SELECT count(*), count(customers), coalesce(max(customers), 0) FROM ({mine}) LEFT JOIN ({theirs}) USING "
        "(key) WHERE key IS NOT NULL"
    ).fetchone()
    total, found, customers = (int(value) for value in row or (0, 0, 0))
    return (found / total if total else 0.0), customers <= 1


def find_flag(profiles: Mapping[str, Profile], decisions: list[Decision]) -> str | None:
    """The column of accounts that says who has left by now: to compare with the departures, never to learn from."""
    for profile in profiles.values():
        two = profile.kind == "boolean" or {v.casefold() for v, _ in profile.values} <= _WORDS
        if FLAG_NAMES.fullmatch(profile.joined) and two and profile.distinct == 2:
            decisions.append(
                Decision(
                    "label.flag_column",
                    profile.name,
                    "its name says who has left by now; it is compared with churn_events and never learnt from",
                )
            )
            return profile.name
    return None


_WORDS = {"true", "false", "t", "f", "yes", "no", "y", "n", "1", "0"}
