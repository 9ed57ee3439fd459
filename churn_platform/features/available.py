"""What a contract offers to the feature definitions: tables, their columns and types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from churn_platform.features.words import plain_words
from churn_platform.sources.mutable import mutable_columns
from churn_platform.sources.staging import LINKS

if TYPE_CHECKING:
    from churn_platform.sources.contract import Contract

# Every cleaned table carries these beside its canonical columns (``sources.tables.PASSED_COLUMNS``).
BITEMPORAL = {
    "customer_id": "string",
    "row_id": "string",
    "event_time": "timestamp(6)",
    "ingested_at": "timestamp(6)",
}

# Event tables of which only the recent past is read; all others are read whole.
REACH_DAYS = {"usage": 90, "marketing": 90}

IBIS_TYPES = {
    "number": "float64",
    "integer": "int64",
    "boolean": "boolean",
    "category": "string",
    "text": "string",
    "timestamp": "timestamp(6)",
}


@dataclass(frozen=True)
class Available:
    """The tables of a contract as the features see them.

    Attributes:
        tables: table → canonical column → contract type. Columns that are overwritten in place are not here.
        revised: the tables whose rows have later revisions (a column is known later than its row).
        lead_days: table → days by which an event may be known before it happens (clocks differ, contracts are
            signed before they start).
        overwritten: table → columns that are overwritten in place and read from snapshots.
        since: table → the time of its first snapshot (naive UTC).
        sources: table → canonical column → the company's name, where it is another.
        grace_days: where the end of subscriptions is what leaving means: days in which a successor may come.
        activity: the table whose rows make a customer, where neither subscriptions nor accounts do.
        active_within_days: a customer at t is who has a row of it in this many days up to t; None: ever.
    """

    tables: Mapping[str, Mapping[str, str]]
    revised: frozenset[str]
    lead_days: Mapping[str, int]
    activity: str | None = None
    active_within_days: int | None = None
    overwritten: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    since: Mapping[str, datetime] = field(default_factory=dict)
    grace_days: int | None = None
    sources: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def __hash__(self) -> int:
        columns = tuple((name, *kinds.items()) for name, kinds in self.tables.items())
        snapshots = (tuple(self.overwritten.items()), tuple(self.since.items()))
        customers = (self.activity, self.active_within_days, self.grace_days, snapshots)
        return hash((columns, self.revised, tuple(self.lead_days.items()), customers))

    @classmethod
    def of(cls, contract: Contract, since: Mapping[str, datetime] | None = None) -> Available:
        """Read a contract: the columns that the door lets through; one known later makes revisions.

        Args:
            since: tables whose columns that are overwritten in place may be read from snapshots, and the time of their
                first (``sources.mutable.usable_since``). Only those of the accounts are features.
        """
        tables: dict[str, dict[str, str]] = {}
        revised = set()
        for name, table in contract.tables.items():
            tables[name] = {column: str(spec.type) for column, spec in table.passed.items()}
            if any(spec.known_at or spec.effective for spec in table.columns.values()):
                revised.add(name)
        overwritten = {}
        for name in since or {}:
            if name == "accounts":
                overwritten[name] = tuple(c for c in mutable_columns(contract.tables[name]) if c not in LINKS)
                kinds = {c: str(contract.tables[name].columns[c].type) for c in overwritten[name]}
                tables[name] = {**tables[name], **kinds}
        lead = {name: contract.lead_days(name) for name in contract.tables}
        inactivity = contract.label.source == "inactivity"
        return cls(
            tables=tables,
            revised=frozenset(revised),
            lead_days=lead,
            activity=contract.activity,
            active_within_days=contract.label.active_within_days if inactivity else None,
            overwritten=overwritten,
            since={name: moment for name, moment in (since or {}).items() if name in overwritten},
            grace_days=contract.label.grace_days if contract.label.source == "subscription_end" else None,
            sources={
                name: {column: spec.source for column, spec in table.columns.items() if spec.source}
                for name, table in contract.tables.items()
            },
        )

    def reach(self, table: str) -> int | None:
        """Days of the table's past that are read; None: all. Who is a customer, and since when, needs all."""
        return None if table == self.activity else REACH_DAYS.get(table)

    def has(self, table: str, *columns: str) -> bool:
        """Whether the table is there with all these columns."""
        return table in self.tables and all(column in self.tables[table] for column in columns)

    def words(self, table: str, column: str) -> str:
        """What the company calls a column, in plain words."""
        return plain_words(self.sources.get(table, {}).get(column, column))

    def schema(self, table: str) -> dict[str, str]:
        """The Ibis schema of a cleaned table, with the observation instant ``t`` that every row carries."""
        canonical = {column: IBIS_TYPES[kind] for column, kind in self.tables[table].items()}
        return {**BITEMPORAL, **canonical, "t": "timestamp(6)"}
