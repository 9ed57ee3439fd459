"""The features again, slowly and independently: plain loops over what was known, no SQL."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

from tests.features.data import Row

Rows = list[Row]


def known(rows: Rows, t: datetime) -> Rows:
    """Of each row the newest revision known at t, for events that had happened by t."""
    newest: dict[str, Row] = {}
    for row in rows:
        if row["event_time"] <= t and row["ingested_at"] <= t:
            other = newest.get(row["row_id"])
            if other is None or row["ingested_at"] > other["ingested_at"]:
                newest[row["row_id"]] = row
    return list(newest.values())


def customer_rows(tables: dict[str, Rows], who: str, t: datetime) -> dict[str, Rows]:
    return {name: [row for row in known(rows, t) if row["customer_id"] == who] for name, rows in tables.items()}


def days(start: datetime, end: datetime) -> float:
    # whole seconds, as epoch seconds are
    return (int(end.timestamp()) - int(start.timestamp())) / 86_400


def window(rows: Rows, t: datetime, length: int, before: int = 0) -> Rows:
    end = t - timedelta(days=before)
    return [row for row in rows if end - timedelta(days=length) < row["event_time"] <= end]


def known_values(rows: Rows, column: str) -> list[Any]:
    return [row[column] for row in rows if row.get(column) is not None]


def total(rows: Rows, column: str) -> float | None:
    if not rows:
        return 0.0
    found = known_values(rows, column)
    return float(sum(found)) if found else None


def mean(rows: Rows, column: str) -> float | None:
    found = known_values(rows, column)
    return sum(found) / len(found) if found else None


def ratio(top: float | None, bottom: float | None) -> float | None:
    return None if top is None or not bottom else top / bottom


def newest(rows: Rows, column: str) -> float | None:
    rated = [row for row in rows if row.get(column) is not None]
    if not rated:
        return None
    last = max(row["event_time"] for row in rated)
    return mean([row for row in rated if row["event_time"] == last], column)


def subscriptions(rows: Rows, t: datetime) -> list[Rows]:
    """The live subscriptions, each as its versions by start, one per start: the one known last."""
    by_id: dict[str, dict[datetime, Row]] = {}
    for row in sorted(rows, key=lambda r: (r["ingested_at"], r["mrr"] if r["mrr"] is not None else -1, r["seats"])):
        by_id.setdefault(row["subscription_id"], {})[row["event_time"]] = row
    live = []
    for versions in by_id.values():
        ordered = [versions[start] for start in sorted(versions)]
        ends = known_values(ordered, "ended_at")
        if not ends or min(ends) > t:
            live.append(ordered)
    return live


def at(versions: Rows, column: str, t: datetime) -> Any:
    found = known_values([row for row in versions if row["event_time"] <= t], column)
    return found[-1] if found else None


def add(values: list[Any]) -> float | None:
    there = [value for value in values if value is not None]
    return sum(there) if there else None


def features(tables: dict[str, Rows], who: str, t: datetime) -> dict[str, Any] | None:
    """The features of one customer at t, or None where there is no such customer then."""
    mine = customer_rows(tables, who, t)
    live = subscriptions(mine["subscriptions"], t)
    left = [row["event_time"] for row in mine["churn_events"]]
    if not live or (left and max(left) >= min(versions[0]["event_time"] for versions in live)):
        return None
    now = [versions[-1] for versions in live]
    seats, mrr = add([row["seats"] for row in now]), add([row["mrr"] for row in now])
    ago = {n: t - timedelta(days=n) for n in (90, 180)}
    seats_then = {n: add([at(v, "seats", ago[n]) for v in live]) for n in ago}
    mrr_then = {n: add([at(v, "mrr", ago[n]) for v in live]) for n in ago}
    renewals = known_values(now, "renews_at")
    tenure = days(min(row["event_time"] for row in mine["subscriptions"]), t)
    renewal = days(t, min(renewals)) if renewals else None
    largest = sorted(
        live,
        key=lambda v: (
            -(v[-1]["mrr"] if v[-1]["mrr"] is not None else -1),
            v[0]["event_time"],
            v[0]["subscription_id"],
        ),
    )[0][-1]

    made: dict[str, Any] = {
        "tenure_days": tenure,
        "days_to_renewal": renewal,
        "renewal_within_30d": None if renewal is None else float(0 <= renewal <= 30),
        "days_since_contract_change": days(max(row["event_time"] for row in now), t),
        "plan": largest["plan"],
        "seats": seats,
        "mrr": mrr,
        "price_per_seat": ratio(mrr, seats),
        "industry": mine["accounts"][0]["industry"] if mine["accounts"] else None,
    }
    for n in ago:
        lost = seats is None or seats_then[n] is None
        made[f"seats_change_{n}d"] = None if lost else seats - seats_then[n]
        lost = mrr is None or mrr_then[n] is None
        made[f"mrr_change_{n}d"] = None if lost else ratio(mrr - mrr_then[n], mrr_then[n])
    made |= usage(mine["usage"], t, tenure, seats, seats_then[90])
    made |= others(mine, t)
    return made


def dates(rows: Rows) -> set[date]:
    return {row["event_time"].date() for row in rows}


def usage(rows: Rows, t: datetime, tenure: float, seats: Any, seats_before: Any) -> dict[str, Any]:
    recent = {n: window(rows, t, n) for n in (7, 30, 90)}
    prior = window(rows, t, 60, 30)
    reach = recent[90]
    made: dict[str, Any] = {
        "days_since_last_activity": (days(max(row["event_time"] for row in reach), t) if reach else min(tenure, 90.0)),
        "weekday_share_90d": ratio(float(sum(day.weekday() < 5 for day in dates(reach))), float(len(dates(reach)))),
        "core_actions_per_active_seat_30d": ratio(total(recent[30], "core_actions"), total(recent[30], "active_seats")),
        "error_rate_30d": ratio(total(recent[30], "errors"), total(recent[30], "core_actions")),
        "logins_per_seat_30d": ratio(total(recent[30], "logins"), seats),
        "core_actions_per_seat_30d": ratio(total(recent[30], "core_actions"), seats),
        "minutes_per_seat_30d": ratio(total(recent[30], "minutes"), seats),
        "seat_utilisation_30d": ratio(mean(recent[30], "active_seats"), seats),
        "active_seats_trend_30d_vs_60d": ratio(mean(recent[30], "active_seats"), mean(prior, "active_seats")),
    }
    then = ratio(mean(prior, "active_seats"), seats_before)
    current = made["seat_utilisation_30d"]
    made["seat_utilisation_change"] = None if current is None or then is None else current - then
    for n, rows_n in recent.items():
        made[f"active_days_{n}d"] = float(len(dates(rows_n)))
        made[f"active_seats_{n}d"] = mean(rows_n, "active_seats")
        for column in ("logins", "core_actions"):
            made[f"{column}_{n}d"] = total(rows_n, column)
        if n > 7:
            for column in ("api_calls", "reports", "minutes", "errors"):
                made[f"{column}_{n}d"] = total(rows_n, column)
    for column in ("logins", "core_actions"):
        change = ratio(
            ratio(total(recent[30], column), min(tenure, 30.0)),
            ratio(total(prior, column), min(tenure - 30.0, 60.0)),
        )
        made[f"{column}_trend_30d_vs_60d"] = change if tenure >= 37 else None
        change = ratio(
            ratio(total(recent[7], column), min(tenure, 7.0)),
            ratio(total(recent[30], column), min(tenure, 30.0)),
        )
        made[f"{column}_trend_7d_vs_30d"] = change if tenure >= 14 else None
    return made


def others(mine: dict[str, Rows], t: datetime) -> dict[str, Any]:
    bills, tickets, surveys = mine["invoices"], mine["tickets"], mine["surveys"]
    failed = [row["event_time"] for row in bills if (row.get("failed_attempts") or 0) > 0]
    overdue = [row for row in bills if row["due_at"] < t and (not row.get("paid_at") or row["paid_at"] > t)]
    late = [row for row in window(bills, t, 180) if row.get("paid_at") and row["due_at"] < row["paid_at"] <= t]
    answered = [row["event_time"] for row in surveys if row["nps"] is not None]
    touches = window(mine["marketing"], t, 90)
    delivered = [
        row
        for row in mine["interventions"]
        if row["arm"] == "treated" and row["delivered_at"] and t - timedelta(days=90) < row["delivered_at"] <= t
    ]
    return {
        "failed_payments_90d": total(window(bills, t, 90), "failed_attempts"),
        "days_since_failed_payment": days(max(failed), t) if failed else None,
        "late_payments_180d": float(len(late)),
        "overdue_invoices": float(len(overdue)),
        "overdue_amount": float(sum(row["amount"] for row in overdue)),
        "tickets_30d": float(len(window(tickets, t, 30))),
        "tickets_90d": float(len(window(tickets, t, 90))),
        "open_tickets": float(sum(not row.get("closed_at") or row["closed_at"] > t for row in tickets)),
        "high_severity_tickets_90d": float(sum(row["severity"] >= 3 for row in window(tickets, t, 90))),
        "csat_mean_180d": mean(window(tickets, t, 180), "csat"),
        "last_csat": newest(tickets, "csat"),
        "first_response_hours_90d": mean(window(tickets, t, 90), "first_response_hours"),
        "last_nps": newest(surveys, "nps"),
        "days_since_nps": days(max(answered), t) if answered else None,
        "marketing_sent_90d": float(len(touches)),
        "marketing_opened_90d": float(sum(row["opened"] for row in touches)),
        "marketing_clicked_90d": float(sum(row["clicked"] for row in touches)),
        "interventions_90d": float(len(delivered)),
    }
