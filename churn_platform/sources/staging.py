"""From a raw relation to typed, pseudonymised rows with a mask of the rules that each breaks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from churn_platform.sources import effective, rates
from churn_platform.sources.contract import SNAPSHOT_TABLE, Column, Contract, Table
from churn_platform.sources.cross_via import way_of
from churn_platform.sources.engine import literal, quote
from churn_platform.sources.parsing import as_text, layered, parse, physical, whole
from churn_platform.sources.readers import RawTable
from churn_platform.sources.readers_csv import FILE
from churn_platform.sources.rules import Rule, column_rules, helper_rules, mask_columns, time_rules
from churn_platform.sources.tables import LABEL_COLUMN, SNAPSHOT_AS_OF

if TYPE_CHECKING:
    import duckdb

SEPARATOR = "chr(31)"
SALT = "door_salt"
"""The DuckDB variable that holds the vault's salt, so that no SQL text (and no error message) does."""
LINKS = ("parent_account_id", "merged_into")
"""Columns of the accounts that name another account."""
_TYPES = {
    "number": "DOUBLE",
    "integer": "BIGINT",
    "boolean": "BOOLEAN",
    "category": "VARCHAR",
    "text": "VARCHAR",
    "timestamp": "TIMESTAMP",
}


@dataclass(frozen=True)
class Staged:
    """A column of the staged table.

    Args:
        name: its canonical name.
        alias: its name while staged.
        type: DuckDB type of the cleaned value.
        helper: position of the time at which it became known; None where it came with its row.
        hashed: an id of the company's; only its keyed hash is passed.
        span: position of the times from when and until when it is true; None where it always is.
        linked: the id of another account; its pseudonym is passed.
    """

    name: str
    alias: str
    type: str
    helper: int | None
    hashed: bool
    span: int | None = None
    linked: bool = False


@dataclass(frozen=True)
class Plan:
    """How one table is staged.

    Args:
        parsed: SELECT over the raw relation: ``entity``, ``row_key``, ``event``, ``known``, ``h0…``,
            ``c0…``, ``u0…``.
        columns: what is passed on, in the contract's order.
        helpers: the company's known_at columns; the staged times are ``h0…``.
        rules: the row rules, in the order of their bits.
        keyed: whether the contract gives a key; without one a row's content and occurrence number identify
            it.
        mutable: columns that are overwritten in place: for snapshots only, never passed on.
        spans: the company's (from, until) columns of values with ``effective``; the staged times are ``a0…`` and
            ``z0…``.
        limit: revisions after this time (naive UTC) are not made; None: all are.
        filed: whether the staged rows say which of several files they stand in (column ``file``: its place).
    """

    name: str
    table: Table
    raw: RawTable
    parsed: str
    columns: tuple[Staged, ...]
    helpers: tuple[str, ...]
    rules: list[Rule]
    keyed: bool
    mutable: tuple[Staged, ...] = ()
    spans: tuple[tuple[str, str], ...] = ()
    limit: datetime | None = None
    filed: bool = False

    @property
    def masks(self) -> int:
        """Number of mask columns ``f0…`` of the staged table."""
        return len(mask_columns(self.rules))

    @property
    def own(self) -> list[Staged]:
        """Columns that came with their row."""
        return [column for column in self.columns if column.helper is None]


def plan_table(contract: Contract, raw: RawTable, as_of: datetime | None) -> Plan:
    """Resolve the contract of one table against its columns and generate SQL and rules.

    Args:
        as_of: the calendar's newest time (naive UTC); None where there is none (snapshot).

    Raises:
        ContractError: a column is not there, or cannot be of the stated type.
    """
    table = contract.tables[raw.name]
    builder = _Builder(contract, table, raw)
    rules = builder.identity()
    builder.place()
    rules += builder.times(as_of)
    rules += builder.helper_times(as_of)
    rules += builder.values()
    keyed = builder.row_key()
    if keyed and table.key and set(table.key) - {table.entity, table.event_time}:
        absent = "row_key IS NULL AND entity IS NOT NULL AND event IS NOT NULL"
        rules.append(Rule(" + ".join(table.key), "required", "must not be missing (the key)", absent))
    mutable = builder.mutable()
    sql = rates.converted(builder.sql(), contract, table, builder.money)
    limit = None if as_of is None else as_of + timedelta(days=1)
    columns = tuple(builder.columns)
    helpers, spans, filed = table.helpers, table.spans, builder.filed
    return Plan(raw.name, table, raw, sql, columns, helpers, rules, keyed, mutable, spans, limit, filed)


def plan_way(contract: Contract, table: str, raws: Mapping[str, RawTable]) -> str:
    """SELECT of ``key``, ``entity`` and ``known`` over the table by which another (``table``) names its customers.

    Raises:
        ContractError: a column is not there.
    """
    way = contract.tables[table].via
    if way is None:
        raise ValueError(f"{table} has no via")
    builder = _Builder(contract, contract.tables[way.table], raws[way.table])
    builder.identity()
    builder.times(None)
    builder.select["key"] = builder._text(way.on, "via")
    return f"SELECT key, entity, known FROM ({builder.sql()})"


class _Builder:
    def __init__(self, contract: Contract, table: Table, raw: RawTable) -> None:
        self.contract, self.table, self.raw = contract, table, raw
        self.snapshot = raw.name == SNAPSHOT_TABLE
        self.select: dict[str, str] = {}
        self.columns: list[Staged] = []
        self.relation = raw.relation
        self.filed = raw.marked is not None and not self.snapshot
        if self.filed:
            places = ", ".join(f"({literal(path)}, {place})" for place, path in enumerate(raw.paths, start=1))
            self.relation = (
                f"(SELECT r.*, p.place AS __place FROM {raw.marked} AS r LEFT JOIN (VALUES {places}) AS "
                f"p(path, place) ON r.{FILE} = p.path)"
            )
        self.inputs: dict[str, str] = {}
        self.money: dict[str, str] = {}

    def sql(self) -> str:
        # The company's columns get names of our own first: one of theirs may be called like a step of ours
        inputs = ", ".join(f"{column} AS {alias}" for column, alias in self.inputs.items())
        relation = f"(SELECT {inputs} FROM {self.relation})"
        return f"SELECT {', '.join(self.select)} FROM ({layered(relation, self.select.items())})"

    def place(self) -> None:
        """Say which file a row stands in, where there are several: a later one may correct it."""
        if self.filed:
            self.select["file"] = f"{self._input('__place')}::INTEGER"

    def _input(self, column: str) -> str:
        return self.inputs.setdefault(column, f"r{len(self.inputs)}")

    def _raw(self, name: str, role: str) -> tuple[str, str]:
        """SQL and DuckDB type of a canonical or company column."""
        found = self.raw.column(self.table.source_of(name), role=role)
        return self._input(quote(found)), self.raw.columns[found]

    def _text(self, name: str, role: str) -> str:
        raw, kind = self._raw(name, role)
        spec = self.table.columns.get(name)
        text = as_text(raw, kind, spec.missing if spec else ())
        return whole(text) if spec and spec.type == "integer" and physical(kind) == "text" else text

    def _add(self, alias: str, name: str, spec: Column, role: str) -> str | None:
        """Parse a column into ``alias``; returns the alias of its "unreadable" flag."""
        raw, kind = self._raw(name, role)
        where = f"tables.{self.raw.name}.{role}"
        zone, decimal = self.table.timezone, self.table.decimal
        parsed = parse(raw, kind, spec, alias=alias, timezone=zone, decimal=decimal, where=where)
        self.select.update(parsed.steps)
        return parsed.unreadable

    def identity(self) -> list[Rule]:
        rules = []
        if self.table.via is not None:
            return self._identity_by_way(self.table.via.table, self.table.via.on)
        if self.table.entity is None:
            self.relation = self._with_row_keys()
            self.select["entity"] = self._input("__row_key")
        else:
            self.select["entity"] = self._text(self.table.entity, "entity")
            rules.append(Rule(self.table.entity, "required", "must not be missing", "entity IS NULL"))
        if self.snapshot:
            label = self.contract.label.column or ""
            found = self.raw.column(label, role="label.column")
            self.select["label"] = as_text(self._input(quote(found)), self.raw.columns[found])
            rules.append(Rule(label, "required", "must not be missing (the label)", "label IS NULL"))
            self.columns.append(Staged(LABEL_COLUMN, "label", "VARCHAR", None, False))
        return rules

    def _identity_by_way(self, other: str, on: str) -> list[Rule]:
        found = self.raw.column(self.table.source_of(on), role="via.on")
        spec = self.table.columns.get(on)
        text = as_text(f"r.{quote(found)}", self.raw.columns[found], spec.missing if spec else ())
        self.relation = (
            f"(SELECT r.*, w.entity AS __way_entity, w.known AS __way_known FROM {self.relation} AS r "
            f"LEFT JOIN {quote(way_of(self.raw.name))} AS w ON {text} = w.key)"
        )
        self.select["entity"] = self._input("__way_entity")
        self.select["way_key"] = self._text(on, "via.on")
        self.select["way_known"] = self._input("__way_known")
        lost = "entity IS NULL AND way_key IS NOT NULL"
        return [
            Rule(on, "required", "must not be missing", "way_key IS NULL"),
            Rule(on, "via", f"must lead to one customer in {other}", lost),
        ]

    def _with_row_keys(self) -> str:
        """Number rows of equal content, so that each has a key that does not depend on the order of the
        file."""
        content = _join([self._content(name) for name in self.table.passed])
        label = self.contract.label.column or ""
        order = quote(self.raw.column(label, role="label.column"))
        numbered = (
            f"SELECT *, md5({content}) AS __content, row_number() OVER (PARTITION BY md5({content}) ORDER "
            f"BY {order}) "
            f"AS __occurrence FROM {self.raw.relation}"
        )
        key = "'row-' || left(__content, 16) || CASE WHEN __occurrence > 1 THEN '-' || __occurrence ELSE '' END"
        return f"(SELECT *, {key} AS __row_key FROM ({numbered}))"

    def _content(self, name: str) -> str:
        found = self.raw.column(self.table.source_of(name), role=f"columns.{name}")
        return as_text(quote(found), self.raw.columns[found], self.table.columns[name].missing)

    def times(self, as_of: datetime | None) -> list[Rule]:
        if self.snapshot:
            moment = f"TIMESTAMP '{SNAPSHOT_AS_OF:%Y-%m-%d}'"
            self.select["event"], self.select["known"] = moment, moment
            return []
        event_name = self.table.event_time or ""
        event_flag = self._add("event", event_name, self._time(event_name), "event_time")
        known_flag = None
        if self.table.ingested_at is None:
            self.select["known"] = "event"
        elif self.table.via is not None:
            known_name = self.table.ingested_at
            known_flag = self._add("arrived", known_name, self._time(known_name), "ingested_at")
            self.select["known"] = "arrived"
        else:
            known_name = self.table.ingested_at
            known_flag = self._add("known", known_name, self._time(known_name), "ingested_at")
        arrival = "known"
        if self.table.via is not None:
            # before the row that names the customer was there, nobody could say whose this one was
            arrival = self.select["known"]
            self.select["known"] = f"CASE WHEN {arrival} IS NULL THEN NULL ELSE greatest({arrival}, way_known) END"
        return time_rules(
            event="event",
            known=None if self.table.ingested_at is None else arrival,
            event_unreadable=event_flag,
            known_unreadable=known_flag,
            event_name=event_name,
            known_name=self.table.ingested_at or "",
            lead_days=self.contract.lead_days(self.raw.name),
            as_of=as_of,
        )

    def _time(self, name: str) -> Column:
        return self.table.columns.get(name) or Column(type="timestamp")

    def helper_times(self, as_of: datetime | None) -> list[Rule]:
        rules = []
        for position, name in enumerate(self.table.helpers):
            flag = self._add(f"h{position}", name, self._time(name), f"known_at {name}")
            rules += helper_rules(f"h{position}", flag, name, as_of)
        return rules

    def values(self) -> list[Rule]:
        rules = effective.span_rules(self.table, self._add_span)
        if (currency := rates.currency_column(self.contract, self.table)) is not None:
            self.select["currency"] = self._text(currency, "currency")
        for name, spec in self.table.passed.items():
            alias = f"c{len(self.columns)}"
            # A flat file's yes and no stay as the company writes them; they are checked all the same
            as_written = self.snapshot and spec.type == "boolean"
            flag = self._add(f"b_{alias}" if as_written else alias, name, spec, f"columns.{name}")
            if as_written:
                self.select[alias] = self._text(name, f"columns.{name}")
            duckdb_type = _TYPES[spec.type]
            if self.snapshot and spec.type in ("integer", "boolean"):
                duckdb_type = "DOUBLE" if spec.type == "integer" else "VARCHAR"
            helper = self.table.helpers.index(spec.known_at) if spec.known_at else None
            linked = self.raw.name == "accounts" and name in LINKS
            hashed = not linked and name.endswith("_id") and spec.type in ("text", "category", "integer")
            span = self.table.spans.index(spec.effective) if spec.effective else None
            staged = "VARCHAR" if hashed or linked else duckdb_type
            self.columns.append(Staged(name, alias, staged, helper, hashed, span, linked))
            known = None if helper is None else f"h{helper}"
            rules += column_rules(alias, flag, name, spec, helper=known)
            if rates.is_money(self.contract, self.table, name, spec):
                self.money[name] = alias
                rules.append(rates.rate_rule(alias, name, spec))
        return rules

    def _add_span(self, alias: str, name: str) -> str | None:
        return self._add(alias, name, self._time(name), f"effective {name}")

    def mutable(self) -> tuple[Staged, ...]:
        """Stage the columns that are overwritten in place; what cannot be read is no value."""
        found: list[Staged] = []
        for name, spec in self.table.columns.items():
            if spec.temporality == "current_only" and name not in (self.table.entity, *self.table.key):
                alias = f"m{len(found)}"
                self._add(alias, name, spec, f"columns.{name}")
                linked = self.raw.name == "accounts" and name in LINKS
                hashed = not linked and name.endswith("_id") and spec.type in ("text", "category", "integer")
                staged = "VARCHAR" if hashed or linked else _TYPES[spec.type]
                found.append(Staged(name, alias, staged, None, hashed, None, linked))
        return tuple(found)

    def row_key(self) -> bool:
        key = self.table.key
        if not key and (self.snapshot or self.raw.name == "accounts"):
            key = (self.table.entity,) if self.table.entity else ()
        if self.table.entity is None and self.table.via is None:
            self.select["row_key"] = "entity"
            return True
        if not key:
            own = [f"{c.alias}::VARCHAR" for c in self.columns if c.helper is None]
            parts = ["entity", "event::VARCHAR", "known::VARCHAR"]
            self.select["row_key"] = _join([*parts, *own])
            return False
        parts = []
        for name in key:
            if name == self.table.entity:
                parts.append("entity")
            elif name == self.table.event_time:
                parts.append("epoch_us(event)::VARCHAR")
            else:
                parts.append(self._text(name, "key"))
        absent = " OR ".join(f"{part} IS NULL" for part in parts)
        self.select["row_key"] = f"(CASE WHEN {absent} THEN NULL ELSE {_join(parts)} END)"
        return True


def _join(parts: list[str]) -> str:
    if len(parts) == 1:
        return f"coalesce({parts[0]}, '')"
    return f" || {SEPARATOR} || ".join(f"coalesce({part}, '')" for part in parts)


def stage(connection: duckdb.DuckDBPyConnection, plan: Plan, target: str, identities: str | None) -> None:
    """Read the raw relation once into the table ``target``.

    Its columns: ``customer_id``, ``rid`` (64-bit keyed hash of the row's key), ``event``, ``known``, ``h0…``
    (never before the row itself), the passed columns under their aliases, and the masks ``f0…``.

    Args:
        identities: the table ``(raw, pseudonym)``; None stages hashes in the place of customers (a check).
    """
    blanked: dict[str, list[str]] = {}
    for rule in plan.rules:
        for alias in rule.blanks:
            blanked.setdefault(alias, []).append(rule.fails)

    def value(alias: str) -> str:
        fails = blanked.get(alias)
        return (
            f"CASE WHEN {' OR '.join(f'({f})' for f in fails)} THEN NULL ELSE p.{alias} END" if fails else f"p.{alias}"
        )

    salted = f"getvariable('{SALT}') || {literal(plan.name)} || {SEPARATOR}"
    fields = ["i.pseudonym AS customer_id" if identities else "md5(p.entity) AS customer_id"]
    fields.append(f"md5_number_lower({salted} || p.row_key) AS rid")
    fields += ["p.event AS event", "p.known AS known", *(["p.file AS file"] if plan.filed else [])]
    for j in range(len(plan.helpers)):
        moment = value(f"h{j}")
        # greatest() passes over NULL, which would make an unknown time the row's own
        fields.append(f"CASE WHEN ({moment}) IS NULL THEN NULL ELSE greatest({moment}, p.known) END AS h{j}")
    fields += effective.span_times(plan, value)
    links: list[str] = []
    for column in (*plan.columns, *plan.mutable):
        typed = f"({value(column.alias)})::{column.type}"
        if column.linked:
            links.append(f"LEFT JOIN {identities} AS l{len(links)} ON p.{column.alias}::VARCHAR = l{len(links)}.raw")
            typed = f"l{len(links) - 1}.pseudonym" if identities else f"md5({typed})"
        if column.hashed:
            # not salted with the table's name: the same id must match between tables
            text = f"getvariable('{SALT}') || {literal(column.name)} || {SEPARATOR} || ({value(column.alias)})::VARCHAR"
            typed = f"left(md5({text}), 16)"
        fields.append(f"{typed} AS {column.alias}")
    fields += [f"{mask} AS f{i}" for i, mask in enumerate(mask_columns(plan.rules))]
    join = f"LEFT JOIN {identities} AS i ON p.entity = i.raw" if identities else ""
    connection.execute(
        f"CREATE OR REPLACE TABLE {target} AS SELECT {', '.join(fields)} FROM ({plan.parsed}) AS p {join} "
        f"{' '.join(links) if identities else ''}"
    )
