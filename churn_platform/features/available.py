"""What a contract offers to the feature definitions: tables, their columns and types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from churn_platform.sources.contract import Contract

# Every cleaned table carries these beside its canonical columns (``sources.tables.PASSED_COLUMNS``).
BITEMPORAL = {
    "customer_id": "string",
    "row_id": "string",
    "event_time": "timestamp(6)",
    "ingested_at": "timestamp(6)",
}

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
    """

    tables: Mapping[str, Mapping[str, str]]
    revised: frozenset[str]
    lead_days: Mapping[str, int]

    def __hash__(self) -> int:
        columns = tuple((name, *kinds.items()) for name, kinds in self.tables.items())
        return hash((columns, self.revised, tuple(self.lead_days.items())))

    @classmethod
    def of(cls, contract: Contract) -> Available:
        """Read a contract: the columns that the door lets through; one known later makes revisions."""
        tables: dict[str, dict[str, str]] = {}
        revised = set()
        for name, table in contract.tables.items():
            tables[name] = {column: str(spec.type) for column, spec in table.passed.items()}
            if any(spec.known_at for spec in table.columns.values()):
                revised.add(name)
        lead = {name: contract.lead_days(name) for name in contract.tables}
        return cls(tables=tables, revised=frozenset(revised), lead_days=lead)

    def has(self, table: str, *columns: str) -> bool:
        """Whether the table is there with all these columns."""
        return table in self.tables and all(column in self.tables[table] for column in columns)

    def schema(self, table: str) -> dict[str, str]:
        """The Ibis schema of a cleaned table, with the observation instant ``t`` that every row carries."""
        canonical = {column: IBIS_TYPES[kind] for column, kind in self.tables[table].items()}
        return {**BITEMPORAL, **canonical, "t": "timestamp(6)"}
