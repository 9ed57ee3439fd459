"""What counts as a purchase in the table ``orders``: said once for the features and once for the labels.

A row is a purchase unless its quantity is not above 0 or its amount (or price) is negative: that is a return, or a
correction. What is not known does not speak against a purchase, and what cost nothing is one.
"""

from __future__ import annotations

from typing import Any

from churn_platform.features.available import Available

TABLE = "orders"
QUANTITY, PRICE, AMOUNT = "quantity", "unit_price", "amount"
# Columns that every row of orders gets: whether it is a purchase, what it brought, what a return gave back.
PURCHASE, SPENT, RETURNED = "purchase__", "spent__", "returned__"


def numeric(available: Available, *columns: str) -> bool:
    """Whether the table of orders has all these columns as numbers."""
    kinds = available.tables.get(TABLE, {})
    return all(kinds.get(column) in ("number", "integer") for column in columns)


def has_amounts(available: Available) -> bool:
    """Whether it is known what an order brought: its amount, or quantity and price."""
    return numeric(available, AMOUNT) or numeric(available, QUANTITY, PRICE)


def with_purchases(rows: Any, available: Available) -> Any:
    """The Ibis table of orders with :data:`PURCHASE` (never null), :data:`SPENT` (null for what is no purchase) and
    :data:`RETURNED` (positive; null for what is no return)."""
    import ibis

    bought = ibis.literal(True)
    if numeric(available, QUANTITY):
        bought = bought & (rows[QUANTITY] > 0).fill_null(True)
    for column in (PRICE, AMOUNT):
        if numeric(available, column):
            bought = bought & (rows[column] >= 0).fill_null(True)
    if numeric(available, AMOUNT):
        amount = rows[AMOUNT].cast("float64")
    elif has_amounts(available):
        amount = rows[QUANTITY].cast("float64") * rows[PRICE].cast("float64")
    else:
        amount = ibis.null("float64")
    nothing = ibis.null("float64")
    rows = rows.mutate(**{PURCHASE: bought, SPENT: amount})
    return rows.mutate(
        **{
            SPENT: rows[PURCHASE].ifelse(rows[SPENT], nothing),
            RETURNED: rows[PURCHASE].ifelse(nothing, rows[SPENT].abs()),
        }
    )


def purchase_sql(available: Available) -> str:
    """The condition of a purchase in DuckDB's SQL, over a cleaned table of orders."""
    tests = [f"coalesce({QUANTITY} > 0, true)"] if numeric(available, QUANTITY) else []
    tests += [f"coalesce({column} >= 0, true)" for column in (PRICE, AMOUNT) if numeric(available, column)]
    return " AND ".join(tests) or "true"
