"""A shop without a table of customers: contracts, random orders, and its features and labels again as plain loops."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

import numpy as np

from churn_platform.sources.contract import Contract, parse_contract
from tests.features.data import Row, event
from tests.features.reference import add, days, known, ratio, total, window

START = datetime.fromisoformat("2024-01-01")
DAYS = 420
COLUMNS: dict[str, Any] = {
    "order_id": {"type": "text"},
    "product_id": {"type": "text"},
    "category": {"type": "category"},
    "quantity": {"type": "integer"},
    "unit_price": {"type": "number"},
}


def shop(
    columns: dict[str, Any] | None = None, *, accounts: bool = False, interventions: bool = False, **label: Any
) -> Contract:
    """A contract of orders, with a label by inactivity unless ``label`` says otherwise."""
    common = {"entity": "customer", "ingested_at": "loaded_at"}
    tables: dict[str, Any] = {
        "orders": {
            **common,
            "path": "orders.csv",
            "event_time": "ordered_at",
            "columns": COLUMNS if columns is None else columns,
        }
    }
    if accounts:
        tables["accounts"] = {
            **common,
            "path": "accounts.csv",
            "event_time": "created_at",
            "columns": {"region": {"type": "category", "temporality": "immutable"}},
        }
    if interventions:
        tables["interventions"] = {
            **common,
            "path": "interventions.csv",
            "event_time": "assigned_at",
            "columns": {"delivered_at": {"type": "timestamp"}, "arm": {"type": "category"}},
        }
    return parse_contract(
        {
            "shape": "relational",
            "label": {"source": "inactivity", "activity": "orders", "horizon_days": 60, **label},
            "tables": tables,
        }
    )


def random_orders(seed: int, *, customers: int = 8) -> dict[str, list[Row]]:
    """Lines of orders over fourteen months: late ones, returns, ties, unknown quantities, window edges, lone buyers."""
    rng = np.random.default_rng(seed)
    rows: list[Row] = []
    for number in range(customers):
        who = f"c{number:02d}"
        for order in range(int(rng.choice([1, 2, 3, 12]))):
            at = START + timedelta(days=float(rng.uniform(0, DAYS)))
            if rng.random() < 0.5:
                at = at.replace(hour=0, minute=0, second=0, microsecond=0)
            lag = float(rng.choice([0.0, 1.0, 24.0 * 20]))
            for line in range(int(rng.integers(1, 4))):
                rows.append(
                    event(
                        who,
                        f"{who}-{order}-{line}",
                        at + timedelta(minutes=int(rng.integers(0, 2)) * 5),
                        lag=lag,
                        order_id=f"o{order}" if rng.random() < 0.9 else None,
                        product_id=f"p{rng.integers(0, 4)}",
                        category=str(rng.choice(["x", "y"])) if rng.random() < 0.9 else None,
                        quantity=int(rng.choice([-2, 0, 1, 1, 2, 5])) if rng.random() < 0.9 else None,
                        unit_price=float(rng.choice([0.0, 1.25, 3.1, 10.0])) if rng.random() < 0.9 else None,
                    )
                )
    return {"orders": rows}


def with_settled_amounts(tables: dict[str, list[Row]], seed: int) -> dict[str, list[Row]]:
    """The same orders with an amount that becomes known days later, sometimes as a negative one."""
    rng = np.random.default_rng(seed)
    rows = []
    for row in tables["orders"]:
        rows.append({**row, "amount": None})
        if rng.random() < 0.8:
            known_at = row["ingested_at"] + timedelta(days=float(rng.choice([0.5, 3.0, 40.0])))
            rows.append({**row, "amount": float(rng.choice([-4.0, 0.0, 2.5, 9.99])), "ingested_at": known_at})
    return {"orders": rows}


SETTLED = {**COLUMNS, "amount": {"type": "number", "known_at": "settled_at"}}


def bought(row: Row) -> bool:
    """Whether a line is a purchase."""
    quantity, price, amount = row.get("quantity"), row.get("unit_price"), row.get("amount")
    if quantity is not None and quantity <= 0:
        return False
    return not (price is not None and price < 0) and not (amount is not None and amount < 0)


def features(orders: list[Row], who: str, t: datetime, *, within: int | None, settled: bool) -> dict[str, Any] | None:
    """The features of one customer at t, or None where there is no such customer then."""
    mine = []
    for row in known(orders, t):
        if row["customer_id"] != who:
            continue
        if settled:
            worth = row["amount"]
        else:
            lacking = row["quantity"] is None or row["unit_price"] is None
            worth = None if lacking else row["quantity"] * row["unit_price"]
        mine.append({**row, "worth": worth})
    purchases = [row for row in mine if bought(row)]
    if not purchases:
        return None
    newest, first = max(r["event_time"] for r in purchases), min(r["event_time"] for r in purchases)
    if within is not None and newest <= t - timedelta(days=within):
        return None
    recency, tenure = days(newest, t), days(first, t)
    made: dict[str, Any] = {"days_since_last_purchase": recency, "tenure_days": tenure}
    for length in (30, 90, 180, 365, None):
        inside = purchases if length is None else window(purchases, t, length)
        name = "ever" if length is None else f"{length}d"
        made[f"purchase_days_{name}"] = float(len({_day(row) for row in inside}))
        made[f"orders_{name}"] = float(len({row["order_id"] for row in inside} - {None}))
        made[f"amount_{name}"] = total(inside, "worth")
        if length in (90, 365, None):
            made[f"items_{name}"] = total(inside, "quantity")
            made[f"products_{name}"] = float(len({row["product_id"] for row in inside}))
            made[f"categories_{name}"] = float(len({row["category"] for row in inside} - {None}))
    valued = [row for row in purchases if row["worth"] is not None]
    last_day = _day(max(valued, key=lambda row: row["event_time"])) if valued else None
    returns = [{**row, "worth": abs(row["worth"])} for row in mine if not bought(row) and row["worth"] is not None]
    back, spent = total(window(returns, t, 90), "worth"), made["amount_90d"]
    gap = ratio(tenure - recency, made["purchase_days_ever"] - 1)
    made |= {
        "mean_order_value": ratio(made["amount_ever"], made["orders_ever"]),
        "last_order_value": add([row["worth"] for row in valued if _day(row) == last_day]),
        "returned_share": ratio(total(returns, "worth"), made["amount_ever"]),
        "mrr": None if spent is None else max(spent - (back or 0.0), 0.0) / 3,
        "purchase_days_per_month": made["purchase_days_ever"] * 365.25 / 12 / max(tenure, 30.0),
        "mean_purchase_gap_days": gap,
        "recency_to_mean_gap": ratio(recency, gap),
    }
    earlier = window(purchases, t, 90, 90)
    prior = {
        "orders": float(len({row["order_id"] for row in earlier} - {None})),
        "amount": total(earlier, "worth"),
    }
    for name, before in prior.items():
        a_day = ratio(before, min(tenure - 90.0, 90.0))
        now = made[f"{name}_90d"]
        change = ratio(None if now is None else now / 90.0, a_day)
        made[f"{name}_trend_90d_vs_90d"] = change if tenure >= 120.0 else None
    return made


def outcome(orders: list[Row], who: str, t: datetime, *, gap: int, horizon: int, delay: int, as_of: datetime) -> str:
    """What became of a customer of t, as known at ``as_of``."""
    opens = t + timedelta(days=gap)
    closes = opens + timedelta(days=horizon)
    if closes + timedelta(days=delay) > as_of:
        return "immature"
    for row in known(orders, as_of):
        if row["customer_id"] == who and bought(row) and opens < row["event_time"] <= closes:
            return "retained"
    return "voluntary"


def _day(row: Row) -> date:
    moment: datetime = row["event_time"]
    return moment.date()
