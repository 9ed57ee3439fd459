"""Counting what breaks the rules, and stopping beyond what the contract tolerates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from churn_platform.errors import DataFaultError
from churn_platform.sources.duplicates import CONFLICTS
from churn_platform.sources.rules import Effect, Rule, counts_sql
from churn_platform.sources.staging import SALT, SEPARATOR, Plan

if TYPE_CHECKING:
    import duckdb

EXAMPLES = 5
KEY_JOINT = " / "


@dataclass(frozen=True)
class Fault:
    """How many rows of a table break one rule.

    Args:
        table, column, rule, sentence, effect: see :class:`~churn_platform.sources.rules.Rule`.
        rows: rows that break it.
        total: rows of the table.
        tolerance: share of rows that may.
        places: where the first of them stand, for lines of a file.
    """

    table: str
    column: str
    rule: str
    sentence: str
    effect: Effect
    rows: int
    total: int
    tolerance: float
    places: tuple[str, ...] = ()

    @property
    def share(self) -> float:
        """Failing rows / all rows."""
        return self.rows / self.total if self.total else 0.0

    @property
    def stops(self) -> bool:
        """Whether the table may not pass."""
        return self.effect != "note" and self.share > self.tolerance

    @property
    def label(self) -> str:
        """``column: rule``."""
        return f"{self.column}: {self.rule}"

    def describe(self, examples: Sequence[str] = ()) -> str:
        """The fault as one sentence, with example keys where they are given."""
        keys = f" For example: {', '.join(examples)}." if examples else ""
        see = f" See {', '.join(self.places)}{' …' if self.rows > len(self.places) else ''}." if self.places else ""
        what = "each line" if self.rule == "fields" else f"column {self.column}"
        if self.effect == "note":
            return (
                f"Table {self.table}: {what} {self.sentence} in {self.rows:,} of "
                f"{self.total:,} rows "
                f"({_percent(self.share)}).{keys}"
            )
        return (
            f"Table {self.table}: {what} {self.sentence}, but {self.rows:,} of "
            f"{self.total:,} rows "
            f"({_percent(self.share)}) break this; the contract tolerates {_percent(self.tolerance)}.{keys}{see}"
        )

    @classmethod
    def unique(cls, plan: Plan, rows: int, total: int) -> Fault:
        """Rows that share a key and contradict each other."""
        key = " + ".join(plan.table.key) or plan.table.entity or "row"
        sentence = "must be unique: rows with the same key say different things"
        return cls(plan.name, key, "unique", sentence, "row", rows, total, plan.table.tolerance)


def count_faults(
    connection: duckdb.DuckDBPyConnection, plan: Plan, staged: str, *, lost: int, places: tuple[str, ...] = ()
) -> tuple[list[Fault], int]:
    """Failures of every rule, one :class:`Fault` each, and the number of raw rows.

    Args:
        lost: lines of CSV files that could not be cut into columns.
        places: where the first of them stand.
    """
    found = connection.execute(f"SELECT count(*) FROM {staged}").fetchone()
    total = (int(found[0]) if found else 0) + lost
    counted = connection.execute(counts_sql(plan.rules, staged)).fetchone() or ()
    tolerance = plan.table.tolerance
    faults = [
        Fault(plan.name, rule.column, rule.name, rule.sentence, rule.effect, int(rows), total, tolerance)
        for rule, rows in zip(plan.rules, counted, strict=False)
    ]
    if lost:
        sentence = "must have as many fields as the header, in well-formed quotes"
        faults.append(Fault(plan.name, "line", "fields", sentence, "row", lost, total, tolerance, places))
    return faults, total


def stop_beyond_tolerance(connection: duckdb.DuckDBPyConnection, plan: Plan, faults: Sequence[Fault]) -> None:
    """Raise for the rule that most rows break, where that is more than the contract tolerates.

    The message holds no key of the company's, since errors are logged; ``examples`` does.

    Raises:
        DataFaultError
    """
    stopping = sorted((fault for fault in faults if fault.stops), key=lambda fault: -fault.rows)
    if not stopping:
        return
    worst = stopping[0]
    others = f" {len(stopping) - 1} more rules break as well." if len(stopping) > 1 else ""
    raise DataFaultError(
        worst.describe() + others,
        mend=f"`churn contract check` lists every broken rule with example keys. {mend_of(worst)}",
        table=worst.table,
        rule=worst.rule,
        share=worst.share,
        column=worst.column,
        examples=examples(connection, plan, worst),
    )


def examples(connection: duckdb.DuckDBPyConnection, plan: Plan, fault: Fault) -> tuple[str, ...]:
    """Keys of a few failing rows, as the company writes them: for the terminal only."""
    if fault.rule == "fields":
        return ()
    if fault.rule == "unique":
        hashed = f"md5_number_lower(getvariable('{SALT}') || '{plan.name}' || {SEPARATOR} || row_key)"
        fails = f"{hashed} IN (SELECT rid FROM {CONFLICTS})"
    else:
        rule: Rule = next(r for r in plan.rules if (r.column, r.name) == (fault.column, fault.rule))
        fails = rule.fails
    key = f"replace(coalesce(row_key, entity, '(no key)'), {SEPARATOR}, '{KEY_JOINT}')"
    found = connection.execute(
        f"SELECT DISTINCT {key} FROM ({plan.parsed}) WHERE {fails} ORDER BY 1 LIMIT {EXAMPLES}"
    ).fetchall()
    return tuple(str(row[0]) for row in found)


def mend_of(fault: Fault) -> str:
    """What a company can do about a broken rule."""
    if fault.rule == "fields":
        return (
            "Put quotes around fields that hold the delimiter or a line break, close every quote, and deliver the file "
            f"again; or raise the tolerance of tables.{fault.table} in the contract: such lines are left out."
        )
    return f"Mend the data, or the rule or the tolerance of tables.{fault.table} in the contract."


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
