"""Cleaned tables as the door makes them, from plain rows: a test double of the door."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from churn_platform.features.observation import instant, month_key, next_month
from churn_platform.records.store import ContentStore
from churn_platform.sources.contract import Contract, parse_contract
from churn_platform.sources.tables import TablePart, TableVersion

ARROW = {
    "number": pa.float64(),
    "integer": pa.int64(),
    "boolean": pa.bool_(),
    "category": pa.string(),
    "text": pa.string(),
    "timestamp": pa.timestamp("us"),
}
Row = dict[str, Any]


def relational(*, without: Iterable[str] = (), **changes: Any) -> Contract:
    """A contract of all tables in their canonical form, less some of them."""

    def columns(**types: str | dict[str, Any]) -> dict[str, Any]:
        return {name: {"type": spec} if isinstance(spec, str) else spec for name, spec in types.items()}

    def later(kind: str, known_at: str) -> dict[str, Any]:
        return {"type": kind, "known_at": known_at}

    shapes: dict[str, tuple[list[str], str, dict[str, Any]]] = {
        "accounts": (
            ["account_id"],
            "created_at",
            columns(
                **{
                    name: {"type": "category", "temporality": "immutable"}
                    for name in ("industry", "region", "country", "signup_channel", "initial_size")
                },
                plan={"type": "category", "temporality": "current_only"},
                owner={"type": "text", "temporality": "current_only"},
            ),
        ),
        "subscriptions": (
            ["subscription_version_id"],
            "started_at",
            columns(
                subscription_id="text",
                plan="category",
                billing_period="category",
                seats="integer",
                mrr="number",
                renews_at="timestamp",
                discount="number",
                ended_at=later("timestamp", "ended_recorded_at"),
            ),
        ),
        "usage": (
            ["account_id", "usage_date"],
            "usage_date",
            columns(
                active_seats="integer",
                logins="integer",
                core_actions="integer",
                api_calls="integer",
                reports="integer",
                minutes="number",
                errors="integer",
            ),
        ),
        "invoices": (
            ["invoice_id"],
            "issued_at",
            columns(
                amount="number",
                due_at="timestamp",
                paid_at=later("timestamp", "payment_recorded_at"),
                failed_attempts=later("integer", "payment_recorded_at"),
            ),
        ),
        "tickets": (
            ["ticket_id"],
            "opened_at",
            columns(
                severity="integer",
                category="category",
                closed_at=later("timestamp", "closed_recorded_at"),
                csat=later("number", "closed_recorded_at"),
                first_response_hours="number",
            ),
        ),
        "surveys": (["survey_id"], "answered_at", columns(nps="integer")),
        "marketing": (
            ["touch_id"],
            "sent_at",
            columns(channel="category", opened="boolean", clicked="boolean"),
        ),
        "interventions": (
            ["intervention_id"],
            "assigned_at",
            columns(delivered_at="timestamp", play="category", arm="category", propensity="number", cost="number"),
        ),
        "churn_events": (
            ["churn_event_id"],
            "effective_at",
            columns(cancel_requested_at="timestamp", kind="category", reason="category"),
        ),
    }
    dropped = set(without)
    return parse_contract(
        {
            "contract_version": 1,
            "problem": "churn",
            "shape": "relational",
            "label": {"source": "churn_events", **changes},
            "tables": {
                name: {
                    "path": f"{name}.parquet",
                    "entity": "account_id",
                    "key": key,
                    "event_time": time,
                    "ingested_at": "ingested_at",
                    "columns": specs,
                }
                for name, (key, time, specs) in shapes.items()
                if name not in dropped
            },
        }
    )


@dataclass
class Tables:
    """Revision rows by table; turned into the versions that a door would give."""

    contract: Contract
    store: ContentStore
    rows: Mapping[str, Sequence[Row]]

    def version(self, table: str, observation: str) -> TableVersion:
        """What is known of a table by an observation date, in a part for each month."""
        spec = self.contract.tables[table].passed
        schema = pa.schema(
            [
                ("customer_id", pa.string()),
                ("row_id", pa.string()),
                ("event_time", pa.timestamp("us")),
                ("ingested_at", pa.timestamp("us")),
                *((name, ARROW[column.type]) for name, column in spec.items()),
            ]
        )
        until = (
            instant(observation)
            if observation.endswith("-01") or observation == "snapshot"
            else datetime.fromisoformat(observation)
        )
        by_month: dict[str, list[Row]] = {}
        for row in self.rows.get(table, ()):
            if row["ingested_at"] <= until:
                by_month.setdefault(known_by(row["ingested_at"]), []).append(row)
        parts = []
        for month in sorted(by_month):
            rows = sorted(by_month[month], key=lambda row: (row["ingested_at"], row["row_id"]))
            parts.append(TablePart(month, self._put(rows, schema), len(rows)))
        if not parts:
            parts.append(TablePart(observation, self._put([], schema), 0))
        return TableVersion(table, observation, tuple(parts))

    def versions(self, observations: Iterable[str]) -> dict[str, dict[str, TableVersion]]:
        """observation → table → version, for all tables of the contract."""
        return {
            observation: {table: self.version(table, observation) for table in self.contract.tables}
            for observation in observations
        }

    def _put(self, rows: Sequence[Row], schema: pa.Schema) -> str:
        filled = [{name: row.get(name) for name in schema.names} for row in rows]
        with self.store.temporary() as path:
            pq.write_table(pa.Table.from_pylist(filled, schema=schema), path)
            return self.store.put_file(path, move=True)


def known_by(ingested_at: datetime) -> str:
    """The first observation date that is not before a time of ingestion."""
    key = month_key(ingested_at)
    return key if instant(key) == ingested_at else next_month(key)


def event(customer: str, row_id: str, at: datetime, *, lag: float = 1.0, **values: Any) -> Row:
    """A row whose first revision becomes known ``lag`` hours after the event."""
    return {
        "customer_id": customer,
        "row_id": row_id,
        "event_time": at,
        "ingested_at": at + timedelta(hours=lag),
        **values,
    }
