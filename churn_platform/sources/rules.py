"""The row rules of a table, generated from its contract as DuckDB SQL over the parsed rows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from churn_platform.sources.contract import Column
from churn_platform.sources.engine import literal

Effect = Literal["row", "value", "note"]
BITS = 60
"""Rules that share one 64-bit integer of a staged row."""


@dataclass(frozen=True)
class Rule:
    """One rule.

    Args:
        column: the canonical column or role that it is about.
        name: its short name, such as ``min``.
        sentence: what must hold, for people, such as "must not be below 0".
        fails: SQL that is true for a row that breaks it.
        effect: ``row``: the row goes to quarantine. ``value``: the value is blanked, since it became known
            only later than its row and must not change what was known before. ``note``: counted, never
            against the tolerance.
        blanks: aliases that a broken value rule blanks.
    """

    column: str
    name: str
    sentence: str
    fails: str
    effect: Effect = "row"
    blanks: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """``column: name``, the key under which failures are counted."""
        return f"{self.column}: {self.name}"


def time_rules(
    *,
    event: str,
    known: str | None,
    event_unreadable: str | None,
    known_unreadable: str | None,
    event_name: str,
    known_name: str,
    lead_days: int,
    as_of: datetime | None,
) -> list[Rule]:
    """Rules of the two times of a row.

    Args:
        event, known: SQL aliases of both; ``known`` is None where a row is known at its event time.
        lead_days: how far the event may lie after its arrival.
        as_of: the newest time that is not in the future (naive UTC); one day of grace is given.
    """
    rules = []
    if event_unreadable:
        rules.append(Rule(event_name, "type", "must be a time", event_unreadable))
    absent = f"{event} IS NULL" + (f" AND NOT {event_unreadable}" if event_unreadable else "")
    rules.append(Rule(event_name, "required", "must not be missing", absent))
    if known is not None:
        if known_unreadable:
            rules.append(Rule(known_name, "type", "must be a time", known_unreadable))
        absent = f"{known} IS NULL" + (f" AND NOT {known_unreadable}" if known_unreadable else "")
        rules.append(Rule(known_name, "required", "must not be missing", absent))
        late = f"coalesce({event} > {known} + INTERVAL {lead_days} DAY, false)"
        rules.append(Rule(event_name, "order", f"must not lie more than {lead_days} d after {known_name}", late))
    if as_of is not None:
        name = known_name if known is not None else event_name
        rules.append(Rule(name, "future", _future_sentence(as_of), _future(known or event, as_of)))
    return rules


def helper_rules(alias: str, unreadable: str | None, name: str, as_of: datetime | None) -> list[Rule]:
    """Rules of a column that says when others became known. A broken one blanks what depends on it."""
    rules = []
    if unreadable:
        rules.append(Rule(name, "type", "must be a time", unreadable, "value", (alias,)))
    if as_of is not None:
        rules.append(Rule(name, "future", _future_sentence(as_of), _future(alias, as_of), "value", (alias,)))
    return rules


def column_rules(
    alias: str,
    unreadable: str | None,
    name: str,
    column: Column,
    *,
    helper: str | None = None,
    number: bool = True,
) -> list[Rule]:
    """Rules of one column.

    Args:
        alias: SQL alias of its typed value.
        unreadable: SQL alias that is true where the raw value is not of the type.
        helper: alias of the time at which it became known, where that is later than the row.
        number: whether the alias is numeric (an integer that is passed as text is not).
    """
    effect: Effect = "value" if column.known_at else "row"
    blanks = (alias,) if column.known_at else ()
    rules = []
    if unreadable:
        kind = {
            "number": "a number",
            "integer": "a whole number",
            "boolean": "yes or no",
            "timestamp": "a time",
        }
        sentence = f"must be {kind.get(column.type, column.type)}"
        rules.append(Rule(name, "type", sentence, unreadable, effect, blanks))
    if not column.nullable and not column.known_at:
        absent = f"{alias} IS NULL" + (f" AND NOT {unreadable}" if unreadable else "")
        rules.append(Rule(name, "required", "must not be missing", absent, effect, blanks))
    for bound, sign, word in ((column.min, "<", "below"), (column.max, ">", "above")):
        if bound is not None and number:
            fails = f"coalesce({alias} {sign} {bound!r}, false)"
            rules.append(
                Rule(
                    name,
                    "min" if sign == "<" else "max",
                    f"must not be {word} {bound:g}",
                    fails,
                    effect,
                    blanks,
                )
            )
    if column.allowed is not None:
        listed = ", ".join(literal(value) for value in column.allowed)
        fails = f"coalesce({alias}::VARCHAR NOT IN ({listed}), false)"
        rules.append(Rule(name, "allowed", f"must be one of {', '.join(column.allowed)}", fails, effect, blanks))
    if helper is not None:
        rules.append(
            Rule(
                name,
                "undated",
                f"has a value without {column.known_at}, so it is never used",
                f"({alias} IS NOT NULL AND {helper} IS NULL)",
                "note",
            )
        )
    return rules


def _future(alias: str, as_of: datetime) -> str:
    return f"coalesce({alias} > TIMESTAMP '{as_of:%Y-%m-%d %H:%M:%S}' + INTERVAL 1 DAY, false)"


def _future_sentence(as_of: datetime) -> str:
    return f"must not lie in the future (after {as_of:%Y-%m-%d} and a day)"


def mask_columns(rules: list[Rule]) -> list[str]:
    """SQL of the integers whose bits say which rules a row breaks: rule ``i`` is bit ``i % 60`` of ``f{i //
    60}``."""
    chunks = [rules[start : start + BITS] for start in range(0, len(rules), BITS)] or [[]]
    return [
        " | ".join(f"(coalesce({rule.fails}, false)::BIGINT << {bit})" for bit, rule in enumerate(chunk)) or "0::BIGINT"
        for chunk in chunks
    ]


def broken(rules: list[Rule], effects: tuple[Effect, ...]) -> str:
    """SQL over a staged row: true where it breaks a rule with one of the effects."""
    tests = []
    for start in range(0, len(rules), BITS):
        mask = sum(1 << bit for bit, rule in enumerate(rules[start : start + BITS]) if rule.effect in effects)
        if mask:
            tests.append(f"(f{start // BITS} & {mask}) <> 0")
    return " OR ".join(tests) or "false"


def counts_sql(rules: list[Rule], table: str) -> str:
    """SQL that counts the failures of every rule in one pass over a staged table: one row, a column per
    rule."""
    counted = ", ".join(f"count(*) FILTER (WHERE (f{i // BITS} >> {i % BITS}) & 1 = 1)" for i in range(len(rules)))
    return f"SELECT {counted or '0'} FROM {table}"
