"""How a raw value becomes a typed one, as DuckDB SQL. Every parser says when a value that is there cannot be
read."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from churn_platform.errors import ContractError
from churn_platform.sources.contract import Column
from churn_platform.sources.engine import literal

MISSING = ("na", "n/a", "nan", "null", "none", "nat")
"""Texts that mean "no value" in columns of numbers, times and booleans; in text they may be a level of their
own."""
_TRUE, _FALSE = ("true", "t", "yes", "y", "1"), ("false", "f", "no", "n", "0")
_QUOTED = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"")
"""Strings and quoted names in SQL: what is inside them is no alias."""
_OFFSET = r"\d(Z|[+-]\d\d(:?\d\d)?)$"


@dataclass(frozen=True)
class Parsed:
    """How one column is read, in steps of which each may name the aliases of those before it.

    Small steps, since one nested expression would repeat itself until DuckDB spends its time on planning.

    Args:
        steps: ``(alias, SQL)`` in order; the last but for ``unreadable`` is the typed value.
        value: alias of the typed value, NULL where missing or unreadable.
        unreadable: alias that is true where there is a value that is not of the type; None where that cannot
            be.
    """

    steps: tuple[tuple[str, str], ...]
    value: str
    unreadable: str | None


def layered(relation: str, steps: Iterable[tuple[str, str]]) -> str:
    """A SELECT that adds the steps' aliases to a relation, one subquery for each depth of dependence."""
    depth: dict[str, int] = {}
    layers: dict[int, list[str]] = {}
    for alias, expression in steps:
        names = set(re.findall(r"[a-z_][a-z0-9_]*", _QUOTED.sub("", expression)))
        level = 1 + max((depth[name] for name in names if name in depth), default=0)
        depth[alias] = level
        layers.setdefault(level, []).append(f"{expression} AS {alias}")
    sql = f"SELECT * FROM {relation}"
    for level in sorted(layers):
        sql = f"SELECT *, {', '.join(layers[level])} FROM ({sql})"
    return sql


def physical(duckdb_type: str) -> str:
    """The kind of a DuckDB type: text, integer, float, boolean, time, zoned, or other."""
    head = duckdb_type.upper().split("(")[0]
    if head in ("VARCHAR", "UUID") or head.startswith("ENUM"):
        return "text"
    if head in ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT") or head in (
        "UTINYINT",
        "USMALLINT",
        "UINTEGER",
        "UBIGINT",
        "UHUGEINT",
    ):
        return "integer"
    if head in ("FLOAT", "DOUBLE", "DECIMAL"):
        return "float"
    if head == "BOOLEAN":
        return "boolean"
    if head == "TIMESTAMP WITH TIME ZONE":
        return "zoned"
    return "time" if head.startswith("TIMESTAMP") or head == "DATE" else "other"


def as_text(raw: str, duckdb_type: str, missing: tuple[str, ...] = ()) -> str:
    """The value as trimmed text, NULL where blank. Whole numbers have no decimals, so that 7 and 7.0 are one
    id."""
    kind = physical(duckdb_type)
    if kind == "float":
        whole = f"isfinite({raw}::DOUBLE) AND {raw} = floor({raw}) AND abs({raw}) < 9e18"
        return (
            f"(CASE WHEN isnan({raw}::DOUBLE) THEN NULL WHEN {whole} THEN {raw}::BIGINT::VARCHAR ELSE "
            f"{raw}::VARCHAR END)"
        )
    text = f"nullif(trim({raw}::VARCHAR), '')"
    return f"(CASE WHEN {text} IN {_list(missing)} THEN NULL ELSE {text} END)" if missing else text


def yes_no(text: str) -> str:
    """SQL: a boolean that was kept as text, as 1.0 and 0.0; NULL where it is neither."""
    word = f"lower(trim({text}))"
    return f"CASE WHEN {word} IN {_list(_TRUE)} THEN 1.0::DOUBLE WHEN {word} IN {_list(_FALSE)} THEN 0.0::DOUBLE END"


def whole(text: str) -> str:
    """An id that the contract calls an integer, without the decimals that a spreadsheet gave it: 13995.0 becomes
    13995. Leading zeros stay, and so does what is no number."""
    return f"regexp_replace({text}, '^([0-9]+)\\.0+$', '\\1')"


def _list(values: tuple[str, ...]) -> str:
    return "(" + ", ".join(literal(value) for value in values) + ")"


def point_for_comma(text: str) -> str:
    """SQL: a number with a decimal comma, whose points group thousands, as one with a point.

    What is no such number gets a mark that no number has: 12.50 beside 12,50 is unreadable, never 1250.
    """
    rewritten = f"replace(replace({text}, '.', ''), ',', '.')"
    return f"CASE WHEN regexp_matches({text}, {literal(_WITH_COMMA)}) THEN {rewritten} ELSE '?' || {text} END"


_WITH_COMMA = r"^[+-]?((\d{1,3}(\.\d{3})+|\d+)(,\d*)?|,\d+)([eE][+-]?\d+)?$"


def parse(raw: str, duckdb_type: str, column: Column, *, alias: str, timezone: str, decimal: str, where: str) -> Parsed:
    """SQL that reads a column by its contract.

    Args:
        raw: SQL of the raw value.
        duckdb_type: its type in the file.
        alias: the name of the typed value; ``u_``, ``t_``, ``w_`` and ``n_`` before it name the steps to it.
        timezone: the zone of times without an offset.
        decimal: the decimal mark of numbers in text.
        where: the place in the contract, for errors.

    Raises:
        ContractError: a type that cannot become the contract's, such as a date that should be a number.
    """
    kind = physical(duckdb_type)
    if column.type in ("category", "text") and kind != "other":
        return Parsed(((alias, as_text(raw, duckdb_type, column.missing)),), alias, None)
    found: _Reading | None = None
    if column.type == "timestamp":
        found = _timestamp(raw, f"t_{alias}", f"n_{alias}", kind, column, timezone)
    elif kind in ("text", "integer", "float", "boolean"):
        readers = {"number": _number, "integer": _integer, "boolean": _boolean}
        found = readers[column.type](raw, f"t_{alias}", f"n_{alias}", kind)
    if found is None:
        raise ContractError(
            f"{where}: the file holds {duckdb_type}, which cannot be read as {column.type}.",
            mend="Give the column the type that it has, or take it out of the contract.",
            field=where,
        )
    text = _present(raw, column.missing)
    cast, value, present = found
    steps = [(f"t_{alias}", text)] if kind == "text" or column.type == "boolean" else []
    if kind == "text" and column.type in ("number", "integer") and decimal == ",":
        steps = [(f"w_{alias}", text), (f"t_{alias}", point_for_comma(f"w_{alias}"))]
    steps += [(f"n_{alias}", cast), (alias, value)]
    if present is None:
        return Parsed(tuple(steps), alias, None)
    steps.append((f"u_{alias}", f"({present} AND {alias} IS NULL)"))
    return Parsed(tuple(steps), alias, f"u_{alias}")


_Reading = tuple[str, str, str | None]
"""SQL of the cast, of the value by it, and of whether there is a raw value (None: whatever is there can be
read)."""


def _present(raw: str, missing: tuple[str, ...]) -> str:
    text = f"trim({raw}::VARCHAR)"
    absent = tuple(dict.fromkeys(("", *MISSING, *(m.strip().lower() for m in missing))))
    return f"(CASE WHEN lower({text}) IN {_list(absent)} THEN NULL ELSE {text} END)"


def _number(raw: str, text: str, cast: str, kind: str) -> _Reading:
    finite = f"CASE WHEN isfinite({cast}) THEN {cast} END"
    if kind == "text":
        return f"try_cast({text} AS DOUBLE)", finite, f"{text} IS NOT NULL"
    if kind == "float":
        return f"{raw}::DOUBLE", finite, f"{cast} IS NOT NULL AND NOT isnan({cast})"
    return f"{raw}::{'INTEGER::' if kind == 'boolean' else ''}DOUBLE", cast, None


def _integer(raw: str, text: str, cast: str, kind: str) -> _Reading:
    if kind in ("text", "float"):
        present = f"{text} IS NOT NULL" if kind == "text" else f"{cast} IS NOT NULL AND NOT isnan({cast})"
        source = text if kind == "text" else raw
        # a cast alone would round 2.5 to 2
        value = f"CASE WHEN {cast} = floor({cast}) AND isfinite({cast}) THEN try_cast({source} AS BIGINT) END"
        return f"try_cast({source} AS DOUBLE)", value, present
    return f"try_cast({raw} AS BIGINT)", cast, f"{raw} IS NOT NULL" if kind == "integer" else None


def _boolean(raw: str, text: str, cast: str, kind: str) -> _Reading:
    if kind == "boolean":
        return raw, cast, None
    word = f"lower({text})"
    if kind == "float":
        word = f"CASE WHEN {raw} = 1 THEN '1' WHEN {raw} = 0 THEN '0' ELSE lower({text}) END"
    value = f"CASE WHEN {cast} IN {_list(_TRUE)} THEN true WHEN {cast} IN {_list(_FALSE)} THEN false END"
    return word, value, f"{cast} IS NOT NULL"


def _timestamp(raw: str, text: str, cast: str, kind: str, column: Column, timezone: str) -> _Reading | None:
    finite = f"CASE WHEN isfinite({cast}) THEN {cast} END"
    if kind == "zoned":
        return f"timezone('UTC', {raw})", cast, None
    if kind == "time":
        return _to_utc(f"{raw}::TIMESTAMP", timezone), finite, f"{raw} IS NOT NULL"
    if kind != "text":
        return None
    if column.format is not None:
        value = _to_utc(f"try_strptime({text}, {literal(column.format)})::TIMESTAMP", timezone)
    else:
        naive = _to_utc(f"try_cast({text} AS TIMESTAMP)", timezone)
        zoned = f"timezone('UTC', try_cast({text} AS TIMESTAMPTZ))"
        has_offset = f"length({text}) > 11 AND regexp_matches({text}, {literal(_OFFSET)})"
        value = f"CASE WHEN {has_offset} THEN {zoned} ELSE {naive} END"
    return value, finite, f"{text} IS NOT NULL"


def _to_utc(value: str, timezone: str) -> str:
    return value if timezone == "UTC" else f"timezone('UTC', timezone({literal(timezone)}, {value}))"
