"""Which decimal mark a table's numbers have: 12,50 or 12.50. A table has one; where its columns differ, people say."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from churn_platform.sources.inference import Decision
from churn_platform.sources.profile import Profile, profile_table

if TYPE_CHECKING:
    import duckdb

    from churn_platform.sources.readers import RawTable

NEARLY = 0.95
"""Share of a column's values that must be numbers, for it to be one of numbers."""


@dataclass(frozen=True)
class Marked:
    """A table's profiles by its decimal mark.

    Args:
        decimal: the mark.
        profiles: column → profile, numbers read by that mark.
        unclear: columns of numbers that cannot be read by it → (why, what to ask): they are left out.
        decisions: what was decided about the mark.
    """

    decimal: Literal[".", ","]
    profiles: dict[str, Profile]
    unclear: dict[str, tuple[str, str]] = field(default_factory=dict)
    decisions: tuple[Decision, ...] = ()


def read_by_mark(
    connection: duckdb.DuckDBPyConnection, raw: RawTable, *, table: str, limit: int | None = None
) -> Marked:
    """Profile a table, its numbers by the decimal mark that they show.

    A comma between digits is a decimal mark, unless exactly three digits follow it everywhere (1,234): that may be a
    mark of thousands.

    Args:
        table: its name in the contract, for the decisions.
        limit: see :func:`profile_table`.
    """
    profiles = profile_table(connection, raw, limit=limit)
    commas = {n: p for n, p in profiles.items() if p.kind == "text" and p.commas and p.commas + p.numbers >= NEARLY}
    if not commas:
        return Marked(".", profiles)
    sure = {name for name, p in commas.items() if p.grouped < p.commas}
    points = [n for n, p in profiles.items() if p.kind == "text" and p.numbers >= NEARLY and p.points > p.dotted]
    shown = {name: repr(p.comma_sample) for name, p in commas.items()}
    line = 'decimal: ","'
    place = f"tables.{table}.path"
    if sure and not points:
        found = profile_table(connection, raw, limit=limit, decimal=",")
        reason = f"numbers such as {', '.join(f'{shown[n]} ({n})' for n in sorted(sure))}"
        thousands = [n for n, p in found.items() if p.kind == "text" and p.dotted and p.numbers >= NEARLY]
        doubt = None
        if thousands:
            doubt = f"a point groups thousands then, also in {', '.join(thousands)}: does it?"
        elif raw.layout is not None and raw.layout.delimiter == ",":
            doubt = "is the comma in them a decimal mark?"
        return Marked(",", found, {}, (Decision(f"tables.{table}.decimal", None, reason, doubt),))
    if not sure:
        reason = f"values such as {', '.join(f'{v} ({n})' for n, v in shown.items())} hold a comma before three digits"
        ask = "does the comma mark decimals? Then fill in the next line; if it groups thousands, deliver without it"
        why = "its numbers hold a comma before three digits, which may mark decimals or group thousands"
    else:
        some = ", ".join(f"{shown[n]} ({n})" for n in commas)
        reason = f"some numbers have a comma, such as {some}, others a point ({', '.join(points)})"
        ask = "a table has one decimal mark: deliver one; where it is the comma, fill in the next line"
        why = "its numbers have a decimal comma where other columns have a point"
    unclear = dict.fromkeys(commas, (why, "see the decimal mark of the table"))
    return Marked(".", profiles, unclear, (Decision(place, None, reason, ask, line=line),))
