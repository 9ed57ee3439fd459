"""The source contract of the simulated company, with a description of every column."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

CATEGORY, INTEGER, NUMBER, BOOLEAN, TIMESTAMP, TEXT = (
    "category",
    "integer",
    "number",
    "boolean",
    "timestamp",
    "text",
)


@dataclass(frozen=True)
class Column:
    """One column as the contract says it; ``rules`` are row rules and temporality."""

    type: str
    description: str
    rules: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    path: str
    key: tuple[str, ...]
    event_time: str
    description: str
    columns: dict[str, Column]


def _column(type_: str, description: str, **rules: Any) -> Column:
    return Column(type_, description, rules)


_NOW_ONLY = {"temporality": "current_only"}
_NEVER_CHANGES = {"temporality": "immutable"}
_ENDED = {"known_at": "ended_recorded_at", "nullable": True}
_PAID = {"known_at": "payment_recorded_at", "nullable": True}
_CLOSED = {"known_at": "closed_recorded_at", "nullable": True}

TABLES: dict[str, Table] = {
    "accounts": Table(
        "accounts.parquet",
        ("account_id",),
        "created_at",
        "One row per customer account, as the CRM shows it today.",
        {
            "industry": _column(CATEGORY, "Industry of the customer, as given at signup.", **_NEVER_CHANGES),
            "region": _column(CATEGORY, "Sales region of the customer.", **_NEVER_CHANGES),
            "country": _column(CATEGORY, "Country of the customer (ISO 3166 alpha-2).", **_NEVER_CHANGES),
            "signup_channel": _column(CATEGORY, "How the customer found us.", **_NEVER_CHANGES),
            "initial_size": _column(CATEGORY, "Band of employees at signup.", **_NEVER_CHANGES),
            "plan": _column(CATEGORY, "Plan today; overwritten in place.", **_NOW_ONLY),
            "owner": _column(CATEGORY, "Customer success manager today; overwritten in place.", **_NOW_ONLY),
            "company_size": _column(CATEGORY, "Band of employees today; overwritten in place.", **_NOW_ONLY),
        },
    ),
    "subscriptions": Table(
        "subscriptions.parquet",
        ("subscription_version_id",),
        "started_at",
        "One row per version of a subscription: a new one where seats, price, plan or renewal change.",
        {
            "subscription_id": _column(TEXT, "The subscription that this is a version of."),
            "plan": _column(CATEGORY, "Plan of this version."),
            "billing_period": _column(
                CATEGORY, "Whether the contract runs by the month or the year.", allowed=["monthly", "annual"]
            ),
            "seats": _column(INTEGER, "Seats paid for.", min=1),
            "mrr": _column(NUMBER, "Monthly recurring revenue of this version, after the discount.", min=0),
            "renews_at": _column(
                TIMESTAMP, "Next renewal of an annual contract; empty for a monthly one.", nullable=True
            ),
            "discount": _column(NUMBER, "Discount on the list price, as a share.", min=0, max=1),
            "ended_at": _column(TIMESTAMP, "When the whole subscription ended.", **_ENDED),
        },
    ),
    "usage": Table(
        "usage/*.parquet",
        ("account_id", "usage_date"),
        "usage_date",
        "One row per account and day with any activity; a file holds what was delivered in its month.",
        {
            "active_seats": _column(INTEGER, "Seats that worked on this day.", min=0),
            "logins": _column(INTEGER, "Logins.", min=0),
            "core_actions": _column(INTEGER, "Uses of the product's main functions.", min=0),
            "api_calls": _column(INTEGER, "Calls of the API by the customer's integrations.", min=0),
            "reports": _column(INTEGER, "Reports made.", min=0),
            "minutes": _column(INTEGER, "Minutes in the product, over all seats.", min=0),
            "errors": _column(INTEGER, "Errors shown to users.", min=0),
        },
    ),
    "invoices": Table(
        "invoices.parquet",
        ("invoice_id",),
        "issued_at",
        "One row per invoice, with what became of its payment.",
        {
            "amount": _column(NUMBER, "Amount of the invoice.", min=0),
            "due_at": _column(TIMESTAMP, "When payment is due."),
            "paid_at": _column(TIMESTAMP, "When it was paid; empty while open, and where written off.", **_PAID),
            "failed_attempts": _column(INTEGER, "Failed charges until it was paid or written off.", min=0, **_PAID),
        },
    ),
    "tickets": Table(
        "tickets.parquet",
        ("ticket_id",),
        "opened_at",
        "One row per support ticket.",
        {
            "severity": _column(INTEGER, "1 (a question) to 4 (nothing works).", min=1, max=4),
            "category": _column(CATEGORY, "What the ticket is about."),
            "closed_at": _column(TIMESTAMP, "When it was closed; empty while open.", **_CLOSED),
            "csat": _column(
                INTEGER,
                "Satisfaction with the answer, 1 to 5; empty where not rated.",
                min=1,
                max=5,
                **_CLOSED,
            ),
            "first_response_hours": _column(NUMBER, "Hours until the first answer.", min=0, **_CLOSED),
        },
    ),
    "surveys": Table(
        "surveys.parquet",
        ("survey_id",),
        "answered_at",
        "One row per answer to the question whether one would recommend the product.",
        {"nps": _column(INTEGER, "0 (never) to 10 (surely).", min=0, max=10)},
    ),
    "marketing": Table(
        "marketing.parquet",
        ("touch_id",),
        "sent_at",
        "One row per marketing touch, reported three days later with what became of it.",
        {
            "channel": _column(CATEGORY, "How the customer was addressed."),
            "opened": _column(BOOLEAN, "Whether it was opened within three days."),
            "clicked": _column(BOOLEAN, "Whether a link in it was followed within three days."),
        },
    ),
    "interventions": Table(
        "interventions.parquet",
        ("intervention_id",),
        "assigned_at",
        "One row per attempt to keep a customer, and per control of one.",
        {
            "delivered_at": _column(TIMESTAMP, "When it reached the customer; empty for controls.", nullable=True),
            "play": _column(CATEGORY, "What was done."),
            "arm": _column(
                CATEGORY,
                "Whether the account was treated or kept as a control.",
                allowed=["control", "treated"],
            ),
            "propensity": _column(
                NUMBER, "Chance of being treated that it was drawn with; .5 in the random arm.", min=0, max=1
            ),
            "cost": _column(NUMBER, "What it cost.", min=0),
        },
    ),
    "churn_events": Table(
        "churn_events.parquet",
        ("churn_event_id",),
        "effective_at",
        "One row per customer who left, recorded about a day later.",
        {
            "cancel_requested_at": _column(
                TIMESTAMP, "When the customer gave notice; filed with the departure.", nullable=True
            ),
            "recorded_at": _column(TIMESTAMP, "When the departure was recorded."),
            "kind": _column(
                CATEGORY,
                "voluntary (a decision) or involuntary (payment failed).",
                allowed=["voluntary", "involuntary"],
            ),
            "reason": _column(CATEGORY, "Reason on file; empty where nobody asked.", nullable=True),
        },
    ),
}
HELPERS: dict[str, tuple[str, ...]] = {
    "subscriptions": ("ended_recorded_at",),
    "invoices": ("payment_recorded_at",),
    "tickets": ("closed_recorded_at",),
}
"""Columns of the files that say when another became known."""


def contract(*, problem: str = "churn") -> dict[str, Any]:
    """The contract as plain values, in the form of the contract's YAML."""
    return {
        "contract_version": 1,
        "problem": problem,
        "shape": "relational",
        "currency": "USD",
        "label": {
            "source": "churn_events",
            "kind_column": "kind",
            "voluntary": ["voluntary"],
            "involuntary": ["involuntary"],
            "horizon_days": 30,
            "gap_days": 0,
            "delay_days": 7,
        },
        "value_column": None,
        "tables": {name: _table(table) for name, table in TABLES.items()},
    }


def _table(table: Table) -> dict[str, Any]:
    return {
        "path": table.path,
        "entity": "account_id",
        "key": list(table.key),
        "event_time": table.event_time,
        "ingested_at": "ingested_at",
        "timezone": "UTC",
        "tolerance": 0.001,
        "columns": {
            name: {"type": column.type, "nullable": False, **column.rules, "description": column.description}
            for name, column in table.columns.items()
        },
    }
