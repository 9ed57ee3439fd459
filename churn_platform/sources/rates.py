"""Amounts in other currencies, converted at the door by the rate of their own day.

The rate is the newest one dated on or before the day of the event, and on or before the day on which the row arrived:
a rate of later days was not known then. A rate that is published later never changes an amount.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from churn_platform.errors import DataFaultError, SourceMissingError
from churn_platform.sources.engine import literal, quote
from churn_platform.sources.parsing import as_text, layered, parse
from churn_platform.sources.rules import Rule

if TYPE_CHECKING:
    import duckdb

    from churn_platform.sources.contract import Column, Contract, Table

RATES = "door_rates"
MONEY = frozenset(("amount", "mrr", "unit_price", "cost", "discount_amount", "price", "total"))
"""Canonical names of amounts."""
_CODE = re.compile(r"[A-Z]{3}")


def converts(contract: Contract, table: Table) -> bool:
    """Whether a table's amounts are in another currency, or in several."""
    return contract.rates is not None and table.currency not in (None, contract.currency)


def currency_column(contract: Contract, table: Table) -> str | None:
    """The company's column that holds the currency of each row; None where the whole table has one."""
    return table.currency if converts(contract, table) and not _CODE.fullmatch(str(table.currency)) else None


def is_money(contract: Contract, table: Table, name: str, column: Column) -> bool:
    """Whether a column's values are to be converted."""
    if not converts(contract, table) or column.type != "number":
        return False
    return name in MONEY if column.money is None else column.money


def rate_rule(alias: str, name: str, column: Column) -> Rule:
    """The rule that an amount has a rate."""
    later = column.known_at is not None
    sentence = "must have an exchange rate: its currency has none on or before its day in the rates"
    return Rule(
        name,
        "rate",
        sentence,
        f"({alias}_given AND rate IS NULL)",
        "value" if later else "row",
        (alias,) if later else (),
    )


def converted(parsed: str, contract: Contract, table: Table, money: dict[str, str]) -> str:
    """The parsed rows with their amounts in the contract's currency.

    Args:
        parsed: SELECT with ``event``, ``known`` and the aliases of the amounts.
        money: canonical name → alias of the amounts; none: the SELECT as it is.
    """
    if not money:
        return parsed
    code = "upper(p.currency)" if currency_column(contract, table) else literal(str(table.currency))
    rate = f"CASE WHEN {code} = {literal(contract.currency)} THEN 1.0 ELSE r.rate END"
    amounts = ", ".join(f"{alias} * rate AS {alias}" for alias in money.values())
    given = ", ".join(f"{alias} IS NOT NULL AS {alias}_given" for alias in money.values())
    return (
        f"SELECT * REPLACE ({amounts}), {given} FROM (SELECT p.*, {rate} AS rate FROM ({parsed}) AS p "
        f"ASOF LEFT JOIN {RATES} AS r ON {code} = r.code AND least(p.event, p.known) >= r.day)"
    )


def rate_files(contract: Contract, source: Path) -> tuple[Path, ...]:
    """The files of the rate table, as for every other table: of the source, or of its copy on this machine.

    Args:
        source: the folder that the paths of the contract are relative to, or the file of a snapshot.

    Raises:
        SourceMissingError: nothing is there.
    """
    from churn_platform.sources.contract import Table
    from churn_platform.sources.readers import part_files

    spec = contract.rates
    if spec is None:
        return ()
    folder = source if source.is_dir() else source.parent
    files = part_files(Table(path=spec.path), folder, name="rates")
    if not files:
        raise SourceMissingError(
            f"rates.path: there is no rate table {spec.path} with content in {folder}.",
            mend="Deliver it with the tables, or mend the path.",
            field="rates.path",
        )
    return files


def load_rates(connection: duckdb.DuckDBPyConnection, contract: Contract, table: str, source: Path) -> None:
    """Read the rate table, where a table needs it and it is not there yet.

    Raises:
        SourceMissingError, ContractError: no such file or column.
        DataFaultError: a day or a rate that cannot be one, or two rates of a currency on one day.
    """
    from churn_platform.sources.contract import Column
    from churn_platform.sources.readers import read_files

    spec = contract.rates
    if spec is None or not converts(contract, contract.tables[table]) or _exists(connection):
        return
    files = rate_files(contract, source)
    raw = read_files(connection, files, name="rates", expected=[spec.date, spec.currency, spec.rate])
    inputs, steps = [], []
    for position, role in enumerate(("date", "currency", "rate")):
        found = raw.column(getattr(spec, role), role=f"rates.{role}")
        name, kind = f"r{position}", raw.columns[found]
        inputs.append(f"{quote(found)} AS {name}")
        if role == "currency":
            steps.append(("code", f"upper({as_text(name, kind)})"))
            continue
        column = Column(type="timestamp" if role == "date" else "number")
        alias = "day" if role == "date" else "rate"
        parsed = parse(name, kind, column, alias=alias, timezone="UTC", decimal=".", where=f"rates.{role}")
        steps += parsed.steps
    relation = layered(f"(SELECT {', '.join(inputs)} FROM {raw.relation})", steps)
    connection.execute(f"CREATE TABLE {RATES} AS SELECT DISTINCT code, day, rate FROM ({relation})")
    _check(connection, spec.path)


def _exists(connection: duckdb.DuckDBPyConnection) -> bool:
    row = connection.execute(f"SELECT count(*) FROM duckdb_tables() WHERE table_name = {literal(RATES)}").fetchone()
    return bool(row and row[0])


def _check(connection: duckdb.DuckDBPyConnection, path: str) -> None:
    bad = connection.execute(
        f"SELECT count(*), (SELECT count(*) FROM {RATES}) FROM {RATES} "
        "WHERE day IS NULL OR rate IS NULL OR rate <= 0 OR code IS NULL"
    ).fetchone() or (0, 0)
    double = connection.execute(
        f"SELECT code, day::DATE::VARCHAR FROM {RATES} GROUP BY code, day HAVING count(*) > 1 ORDER BY 1, 2 LIMIT 1"
    ).fetchone()
    if bad[0]:
        raise DataFaultError(
            f"The rate table {path} has {bad[0]:,} rows without a day, a currency or a rate above 0.",
            mend="Mend these rows, or take them out.",
            table="rates",
            rule="type",
            share=bad[0] / max(bad[1], 1),
            column="rate",
        )
    if double:
        raise DataFaultError(
            f"The rate table {path} has two different rates of {double[0]} on {double[1]}.",
            mend="Keep one rate for each currency and day.",
            table="rates",
            rule="unique",
            share=1 / max(bad[1], 1),
            column="rate",
        )
