"""Run the rules between tables: over staged rows in a check, over the cleaned tables after the door."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from churn_platform.errors import DataFaultError
from churn_platform.sources.contract import Column, Contract
from churn_platform.sources.cross_rules import CrossRule, Relation, columns_needed, cross_rules, select
from churn_platform.sources.engine import engine, literal, quote
from churn_platform.sources.faults import EXAMPLES, KEY_JOINT, Fault
from churn_platform.sources.parsing import as_text, layered, parse
from churn_platform.sources.rates import load_rates
from churn_platform.sources.readers import RawTable, open_table
from churn_platform.sources.staging import SALT, SEPARATOR, Plan, plan_table
from churn_platform.sources.tables import TableVersion, observation_time

if TYPE_CHECKING:
    import duckdb

    from churn_platform.records.home import Home
    from churn_platform.records.store import ContentStore
    from churn_platform.records.vault import IdentityVault

BIG = ("usage", "orders", "marketing")
"""Tables of many rows without later values: their revisions are counted as rows, which is quicker."""


@dataclass(frozen=True)
class CrossFault:
    """A broken rule between tables.

    Args:
        fault: its counts, as of every other rule.
        rows: up to a few broken rows, as :class:`~churn_platform.sources.cross_rules.Relation` names them.
        customers: their customers.
    """

    fault: Fault
    rows: tuple[str, ...]
    customers: tuple[str, ...]

    @property
    def note(self) -> str:
        """What the share means the other way round, where people ask for that."""
        return f" They agree for {100 * (1 - self.fault.share):.3g} %." if self.fault.rule == "flag_agrees" else ""


def judge(connection: duckdb.DuckDBPyConnection, contract: Contract, rules: Sequence[CrossRule]) -> list[CrossFault]:
    """Count what breaks each rule; those that nothing breaks are left out."""
    found = []
    for rule in rules:
        connection.execute(f"CREATE OR REPLACE TEMP TABLE crossed AS {rule.fails}")
        broken = _number(connection, "SELECT count(*) FROM crossed")
        if not broken:
            continue
        some = connection.execute(
            f"SELECT DISTINCT row::VARCHAR, customer_id FROM crossed ORDER BY 1 LIMIT {EXAMPLES}"
        ).fetchall()
        tolerance = contract.tables[rule.table].cross_tolerance
        total = _number(connection, rule.total)
        fault = Fault(rule.table, rule.column, rule.name, rule.sentence, "row", broken, total, tolerance)
        found.append(CrossFault(fault, tuple(row for row, _ in some), tuple(customer for _, customer in some)))
    connection.execute("DROP TABLE IF EXISTS crossed")
    return sorted(found, key=lambda one: -one.fault.share)


def keep(connection: duckdb.DuckDBPyConnection, contract: Contract, plan: Plan, staged: str) -> Relation:
    """Keep of a staged table what the rules look at, before it goes."""
    aliases = {column.name: column.alias for column in plan.columns}
    columns = {name: aliases[name] for name in columns_needed(contract, plan.name) if name in aliases}
    table = quote(f"cross_{plan.name}")
    connection.execute(f"CREATE OR REPLACE TABLE {table} AS {select('customer_id', 'rid', 'event', columns, staged)}")
    return Relation(plan.name, table, frozenset(columns))


def check_staged(
    connection: duckdb.DuckDBPyConnection,
    contract: Contract,
    relations: Mapping[str, Relation],
    plans: Mapping[str, Plan],
) -> list[tuple[CrossFault, tuple[str, ...]]]:
    """The rules over the rows of a check, each fault with example keys as the company writes them."""
    customers = flags = None
    if "accounts" in plans:
        # a customer whose row breaks another rule is known all the same
        customers = f"SELECT DISTINCT md5(entity) FROM ({plans['accounts'].parsed}) WHERE entity IS NOT NULL"
        if found := _flags(contract, plans["accounts"].raw):
            flags = f"SELECT entity AS row, md5(entity) AS customer_id, flag FROM ({found})"
    rules = cross_rules(contract, relations, customers=customers, flags=flags)
    return [(found, _keys(connection, plans, found)) for found in judge(connection, contract, rules)]


def _keys(connection: duckdb.DuckDBPyConnection, plans: Mapping[str, Plan], found: CrossFault) -> tuple[str, ...]:
    if found.fault.rule == "flag_agrees":
        return found.rows
    plan = plans[found.fault.table]
    hashed = f"md5_number_lower(getvariable('{SALT}') || {literal(plan.name)} || {SEPARATOR} || row_key)"
    key = f"replace(coalesce(row_key, entity, '(no key)'), {SEPARATOR}, '{KEY_JOINT}')"
    shown = connection.execute(
        f"SELECT DISTINCT {key} FROM ({plan.parsed}) WHERE {hashed} IN ({', '.join(found.rows)}) "
        f"ORDER BY 1 LIMIT {EXAMPLES}"
    ).fetchall()
    return tuple(str(row[0]) for row in shown)


def check_cleaned(
    contract: Contract,
    versions: Mapping[str, TableVersion],
    *,
    source: Path,
    store: ContentStore,
    vault: IdentityVault,
    home: Home,
) -> list[CrossFault]:
    """The rules over what has passed the door.

    The flag of accounts is overwritten in place and so never passes: it is read from the source anew.

    Args:
        versions: table → what was known of it at one date.
        source: where the company's own tables lie.
    """
    with engine(home.tmp) as connection:
        relations = {name: _cleaned(contract, version, store) for name, version in versions.items()}
        flags = None
        if contract.label.flag_column and "accounts" in versions:
            flags = _pseudonymous_flags(connection, contract, source, vault)
        as_of = max((observation_time(version.observation) for version in versions.values()), default=None)
        return judge(connection, contract, cross_rules(contract, relations, flags=flags, as_of=as_of))


def stop_where_they_contradict(found: Sequence[CrossFault], vault: IdentityVault) -> None:
    """Raise for the rule that the greatest share breaks, where that is more than the contract tolerates.

    The message holds no key of the company's; ``examples`` does, where the vault still knows the customers.

    Raises:
        DataFaultError
    """
    stopping = [one for one in found if one.fault.stops]
    if not stopping:
        return
    worst = stopping[0]
    others = f" {len(stopping) - 1} more rules between tables break as well." if len(stopping) > 1 else ""
    revealed = vault.reveal(list(dict.fromkeys(worst.customers)))
    raise DataFaultError(
        worst.fault.describe() + worst.note + others,
        mend=f"`churn contract check` lists such rows. {mend(worst.fault)}",
        table=worst.fault.table,
        rule=worst.fault.rule,
        share=worst.fault.share,
        column=worst.fault.column,
        examples=[customer for customer in revealed if customer is not None],
    )


def mend(fault: Fault) -> str:
    """What can be done about tables that contradict each other."""
    return (
        "Mend the data, or see that the contract names the right columns; where the company does work like that, "
        f"raise cross_tolerance of tables.{fault.table}."
    )


def other_form(connection: duckdb.DuckDBPyConnection, plans: Mapping[str, Plan], fault: Fault) -> str:
    """A sentence where unknown customers are known ones in another writing, such as 7 and 007; else nothing."""
    if fault.rule != "unknown_customer" or "accounts" not in plans:
        return ""
    bare = "lower(regexp_replace(ltrim(entity, '0'), '\\.0+$', ''))"
    parts = {name: plans[name].parsed for name in ("accounts", fault.table)}
    row = connection.execute(
        f"WITH a AS (SELECT DISTINCT entity, {bare} AS bare FROM ({parts['accounts']})), "
        f"t AS (SELECT DISTINCT entity, {bare} AS bare FROM ({parts[fault.table]})) "
        "SELECT count(*), min(t.entity), min(a.entity) FROM t JOIN a USING (bare) WHERE t.entity <> a.entity "
        "AND t.entity NOT IN (SELECT entity FROM a WHERE entity IS NOT NULL)"
    ).fetchone()
    if row is None or not row[0]:
        return ""
    return (
        f" The ids are written in two ways: {int(row[0]):,} of them, such as {row[1]!r} here, seem to be {row[2]!r} of "
        "accounts; deliver ids as text in one writing."
    )


def _cleaned(contract: Contract, version: TableVersion, store: ContentStore) -> Relation:
    names = columns_needed(contract, version.table)
    paths = ", ".join(literal(str(path)) for path in version.paths(store))
    columns = {name: quote(name) for name in names}
    chosen = select("customer_id", "row_id", "event_time", columns, f"read_parquet([{paths}])")
    if version.table not in BIG:
        chosen += " QUALIFY row_number() OVER (PARTITION BY row_id ORDER BY ingested_at DESC) = 1"
    return Relation(version.table, f"({chosen})", frozenset(names))


def _flags(contract: Contract, raw: RawTable) -> str | None:
    """SELECT of ``entity`` and ``flag`` over the company's accounts; a value that cannot be read is no flag."""
    flag = contract.label.flag_column
    table = contract.tables["accounts"]
    if flag is None or table.entity is None:
        return None
    column = raw.column(flag, role="label.flag_column")
    entity = raw.column(table.source_of(table.entity), role="entity")
    parsed = parse(
        "raw",
        raw.columns[column],
        Column(type="boolean"),
        alias="flag",
        timezone="UTC",
        decimal=".",
        where="label.flag_column",
    )
    text = as_text(quote(entity), raw.columns[entity])
    relation = f"(SELECT {text} AS entity, {quote(column)} AS raw FROM {raw.relation})"
    return f"SELECT entity, flag FROM ({layered(relation, parsed.steps)}) WHERE entity IS NOT NULL"


def _pseudonymous_flags(
    connection: duckdb.DuckDBPyConnection, contract: Contract, source: Path, vault: IdentityVault
) -> str | None:
    from churn_platform.sources import identities

    raw = open_table(connection, contract, "accounts", source)
    found = _flags(contract, raw)
    if found is None:
        return None
    identities.prepare(connection, vault)
    load_rates(connection, contract, "accounts", source)
    identities.learn(connection, vault, plan_table(contract, raw, None))
    joined = f"FROM ({found}) JOIN {identities.IDENTITIES} ON entity = raw"
    return f"SELECT pseudonym AS row, pseudonym AS customer_id, flag {joined}"


def _number(connection: duckdb.DuckDBPyConnection, sql: str) -> int:
    found = connection.execute(sql).fetchone()
    return int(found[0]) if found else 0
