"""What the company is: the columns of the accounts. Grain: one customer.

Of columns that are overwritten in place the past values are gone, and the present ones would leak: they are here once
snapshots of them exist, as the newest snapshot before t says.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from churn_platform.features.available import Available
from churn_platform.features.definitions.base import Definition, Expression, Family, Rows

FAMILY = Family("attributes")
LABELS = {
    "signup_channel": "channel of the signup",
    "initial_size": "size of the company at signup",
}
# Columns of an account that a contract may name but that other families own.
TAKEN = frozenset({"tenure_days", "seats", "plan", "discount", "billing_period"})


@FAMILY.generator
def account_columns(available: Available) -> Sequence[Definition]:
    """One feature per category, number or boolean of the accounts; free text and times are none."""
    made = []
    for column, kind in available.tables.get("accounts", {}).items():
        if kind not in ("category", "number", "integer", "boolean"):
            continue
        owned = available.has("subscriptions", column) or column in TAKEN
        label = LABELS.get(column) or available.words("accounts", column)
        seen = column in available.overwritten.get("accounts", ())
        made.append(
            FAMILY.define(
                partial(_text if kind == "category" else _number, column),
                name=f"account_{column}" if owned else column,
                table="accounts",
                columns=[column],
                label=f"{label} of the account" if owned else label,
                kind="category" if kind == "category" else "number",
                null="null before the first snapshot" if seen else "null where not known at t",
                decimals=2 if kind == "number" else 0,
                description=f"The column {column} of the account, as the newest snapshot taken by t says; snapshots "
                f"exist since {available.since['accounts']:%Y-%m-%d}."
                if seen
                else f"The column {column} of the account, as known at t.",
            )
        )
    return made


def _text(column: str, rows: Rows) -> Expression:
    return rows[column].max()


def _number(column: str, rows: Rows) -> Expression:
    return rows[column].cast("float64").max()
