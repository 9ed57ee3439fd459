"""Names that a contract cannot take as they stand: of the platform's own columns, and headers that stand twice."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from churn_platform.sources.inference import NOT_READ, Decision, canonical_names, column_plain
from churn_platform.sources.tables import RESERVED

if TYPE_CHECKING:
    from churn_platform.sources.readers import RawTable

MRR = "mrr"
"""The canonical name of monthly revenue: no other column may have it."""
REVENUE = (
    MRR, "monthlyrecurringrevenue", "monthlyrevenue", "monthlycharges", "monthlycharge", "monthlyfee",
    "monthlyspend", "monthlyprice", "monthlyamount", "arpu", "revenuepermonth",
)  # fmt: skip
REVIEW = "why it was known before one left, and who says so"


@dataclass(frozen=True)
class Oddity:
    """How a column is called, and what is odd about that.

    Args:
        column: as the reader names it.
        name: canonical.
        header: what the file's header says.
        reason, doubt, line: of a name that had to be changed; None where it is an ordinary one.
        role: the field of the column's that the line stands after.
    """

    column: str
    name: str
    header: str
    reason: str | None = None
    doubt: str | None = None
    line: str | None = None
    role: str = "type"

    def decisions(self, place: str, reason: str, doubt: str | None) -> list[Decision]:
        """The decisions about the column, given what its values say."""
        found = [Decision(place, self.column, reason, doubt)]
        if self.reason is not None:
            found.append(Decision(f"{place}.{self.role}", self.column, self.reason, self.doubt, line=self.line))
        return found


def flat_names(
    raw: RawTable, columns: Sequence[str], taken: Collection[str], numeric: Collection[str]
) -> dict[str, Oddity]:
    """Each column's canonical name in a flat file, with what people should look at.

    Args:
        columns: the columns as the reader names them.
        taken: names that are given already.
        numeric: those that hold numbers: only one of these may be called mrr.
    """
    revenue = next((c for c in columns if c.strip().casefold() == MRR and c in numeric), None)
    rest = [column for column in columns if column != revenue]
    names = canonical_names(rest, (*RESERVED, MRR, *taken))
    if revenue is not None:
        names[revenue] = MRR
    return {column: oddity(raw, column, names[column], (*RESERVED, MRR)) for column in columns}


def oddity(raw: RawTable, column: str, name: str, reserved: Collection[str] = RESERVED) -> Oddity:
    """What is odd about one column's name.

    Args:
        name: the canonical name that it was given.
        reserved: names that no column may have as they stand.
    """
    header, at = raw.header(column), raw.renamed.get(column, 0)
    if at and not header.strip():
        ask = "what does it hold? Say so in the next line, or take the column out"
        return Oddity(column, name, header, f"column {at} has no header", ask, 'description: "WHAT IT HOLDS"')
    if at:
        reason = f"the header {header!r} stands there twice or more; this is column {at}"
        ask = "does it say the same as the other? Then take it out, else say in the next line what sets it apart"
        return Oddity(column, name, header, reason, ask, f'description: "WHAT COLUMN {at} HOLDS"')
    if header.strip().casefold() in reserved and name.casefold() not in reserved:
        reason = f"{header!r} is a name of the platform's own, so that it is called {name} here"
        ask = f"what does it mean? Write that in the place of {name}, as in the next line, and keep the source"
        return Oddity(column, name, header, reason, ask, "MEANING:", role="source")
    return Oddity(column, name, header)


def left_out(
    table: str, column: str, name: str, fields: Mapping[str, Any], why: tuple[str, str], *, review: bool = False
) -> Decision:
    """A column that is not read, with the line that takes it in where it is honest.

    Args:
        fields: its plain form.
        why: the reason and the doubt.
        review: the leak gate would refuse it: a review has to be filled in.
    """
    value = {**column_plain(name, column, **fields), **({"leak_reviewed": REVIEW} if review else {})}
    flow = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, sort_keys=False, width=10_000).strip()
    within = f"tables.{table}.columns"
    return Decision(NOT_READ, column, *why, line=f"{name}: {flow}", within=within)
