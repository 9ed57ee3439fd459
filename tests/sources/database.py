"""The made-up company as tables of a PostgreSQL schema."""

from __future__ import annotations

import io
from contextlib import closing
from typing import Any

import pandas as pd
import psycopg2
from psycopg2 import sql

from churn_platform.sources.contract import Contract
from tests.sources import company

TYPES: dict[str, dict[str, str]] = {
    "accounts": {
        "account_id": "text PRIMARY KEY", "created_at": "timestamp", "ingested_at": "timestamp", "industry": "text",
        "initial_size": "varchar(20)", "plan": "text", "owner": "text",
    },
    "subscriptions": {
        "account_id": "text", "subscription_version_id": "text PRIMARY KEY", "subscription_id": "text",
        "started_at": "timestamp", "ingested_at": "timestamp", "plan": "plan", "n_seats": "integer",
        "mrr": "numeric(12, 2)", "ended_at": "timestamp", "ended_recorded_at": "timestamp",
    },
    "usage": {
        "account_id": "text", "usage_date": "date", "ingested_at": "timestamptz", "logins": "smallint",
        "minutes": "numeric", "updated_at": "timestamptz",
    },
    "tickets": {
        "account_id": "char(20)", "ticket_id": "text PRIMARY KEY", "opened_at": "timestamptz",
        "ingested_at": "timestamptz", "severity": "bigint", "escalated": "boolean", "closed_at": "timestamptz",
        "closed_recorded_at": "timestamptz", "csat": "double precision", "csat_recorded_at": "timestamptz",
    },
    "churn_events": {
        "account_id": "text", "churn_event_id": "text PRIMARY KEY", "effective_at": "timestamp",
        "recorded_at": "timestamp", "kind": "text",
    },
}  # fmt: skip


def run(url: str, statement: str | sql.Composable, parameters: Any = None) -> list[tuple[Any, ...]]:
    """Run SQL in a transaction of its own; its rows, if it gives some."""
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return list(cursor.fetchall()) if cursor.description else []


def fill(url: str, frames: company.Frames, schema: str = "public") -> None:
    """Make the tables anew and copy the frames into them. ``usage`` has an ``updated_at`` besides."""
    run(url, f'DROP SCHEMA IF EXISTS "{schema}" CASCADE; CREATE SCHEMA "{schema}"')
    run(url, f"CREATE TYPE \"{schema}\".plan AS ENUM ('pro', 'free')")
    for name, frame in frames.items():
        types = TYPES[name]
        columns = ", ".join(f'"{column}" {kind}' for column, kind in types.items()).replace(
            'plan" plan', f'plan" "{schema}".plan'
        )
        run(url, f'CREATE TABLE "{schema}"."{name}" ({columns})')
        table = frame.assign(updated_at=frame["ingested_at"]) if name == "usage" else frame
        copy_rows(url, f'"{schema}"."{name}"', table[list(types)])


def copy_rows(url: str, table: str, frame: pd.DataFrame) -> None:
    """COPY a frame into a table."""
    buffer = io.StringIO()
    frame.to_csv(buffer, index=False, header=False, date_format="%Y-%m-%d %H:%M:%S.%f")
    buffer.seek(0)
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("SET TIME ZONE 'UTC'")
        columns = ", ".join(f'"{column}"' for column in frame.columns)
        cursor.copy_expert(f"COPY {table} ({columns}) FROM STDIN (FORMAT csv)", buffer)


def contract(*, watermark: str | None = "updated_at", schema: str = "public", **table: Any) -> Contract:
    """The company's contract with the schema's tables in the place of files."""

    def change(value: dict[str, Any]) -> None:
        for name, spec in value["tables"].items():
            spec["path"] = f"{schema}.{name}"
        if watermark:
            value["tables"]["usage"]["watermark"] = watermark
        value["tables"]["usage"].update(table)

    return company.contract(change)
