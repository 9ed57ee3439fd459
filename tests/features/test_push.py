"""Pushing a row: what is refused, and that the rest is online at once and never overwrites newer rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from churn_platform import clock
from churn_platform.errors import InvalidRequestError, UnknownCustomerError
from churn_platform.features.observation import instant
from churn_platform.features.online import OnlineReader, Vector
from churn_platform.features.packed.layout import Column, Layout, View
from churn_platform.features.push import Pusher, read_push
from churn_platform.records.vault import IdentityVault
from tests.bentos.conftest import CUSTOMERS, NOW, OBSERVATION, Prepared, bento, home, package, prepared
from tests.serving.champion import FEATURES

_FIXTURES = (home, package, bento, prepared)  # of the service's tests: a home with 50 customers online
VIEWS = (
    View("usage", 1, Layout((Column("logins", "number"), Column("plan", "category"))), timedelta(0)),
    View("billing", 2, Layout((Column("mrr", "number"),)), timedelta(0)),
    View("profile", 1, Layout((Column("anomaly_score", "number"), Column("segment", "category"))), timedelta(0)),
)
PRESENT = datetime(2026, 3, 10, tzinfo=UTC)
GOOD: dict[str, Any] = {"customer_id": "ACME-1", "event_timestamp": "2026-03-05T12:00:00+01:00", "mrr": 250}


def find(customer: str) -> str | None:
    return {"ACME-1": "c1"}.get(customer)


def test_a_good_row() -> None:
    row = read_push({**GOOD, "logins": None, "plan": "pro"}, VIEWS, find, now=PRESENT)
    assert row.customer == "c1"
    assert row.event == datetime(2026, 3, 5, 11, tzinfo=UTC)
    assert row.created == PRESENT
    assert row.values == {"usage": {"logins": None, "plan": "pro"}, "billing": {"mrr": 250.0}}


@pytest.mark.parametrize(
    ("change", "field", "says"),
    [
        ({"spend": 1.0}, "spend", "is no feature that is online"),
        ({"mrr": "250"}, "mrr", "is text; it takes a number or null"),
        ({"mrr": True}, "mrr", "is true or false"),
        ({"mrr": float("inf")}, "mrr", "is not finite"),
        ({"logins": 1.0, "plan": 3}, "plan", "is a number; it takes text or null"),
        ({"logins": 1.0}, "plan", "is missing: the view usage is written as a whole"),
        ({"event_timestamp": "2026-03-05T12:00:00"}, "event_timestamp", "has no offset"),
        ({"event_timestamp": "last week"}, "event_timestamp", "is no time of ISO 8601"),
        ({"event_timestamp": 1772000000}, "event_timestamp", "is a number; a time is text"),
        ({"event_timestamp": "2026-03-10T00:00:01Z"}, "event_timestamp", "lies in the future"),
        ({"created_timestamp": "2026-03-05T12:00:00"}, "created_timestamp", "has no offset"),
        ({"anomaly_score": 0.5, "segment": "a"}, "anomaly_score", "is made for whole months, and never pushed"),
        ({"customer_id": 42}, "customer_id", "is a number; the company's own id is text"),
        ({"customer_id": None}, "customer_id", "is null"),
    ],
)
def test_what_is_refused(change: dict[str, Any], field: str, says: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        read_push({**GOOD, **change}, VIEWS, find, now=PRESENT)
    assert {one["field"]: one["detail"] for one in caught.value.errors}[field].startswith(says)
    assert caught.value.mend


def test_a_row_without_features_and_an_unknown_customer() -> None:
    with pytest.raises(InvalidRequestError, match="features are missing"):
        read_push({name: GOOD[name] for name in ("customer_id", "event_timestamp")}, VIEWS, find, now=PRESENT)
    with pytest.raises(UnknownCustomerError):
        read_push({**GOOD, "customer_id": "ACME-2"}, VIEWS, find, now=PRESENT)


def test_a_pushed_row_is_online_at_once_and_a_late_one_changes_nothing(prepared: Prepared) -> None:
    family = FEATURES[0].family
    members = [feature for feature in FEATURES if feature.family == family]

    def row(at: datetime, value: float) -> dict[str, Any]:
        values = {f.name: value if f.kind == "number" else "pushed" for f in members}
        return {"customer_id": CUSTOMERS[5], "event_timestamp": at.isoformat(), **values}

    pseudonym = IdentityVault.open(prepared.home).find(CUSTOMERS[5])
    assert pseudonym is not None
    month = instant(OBSERVATION).replace(tzinfo=UTC)
    with clock.as_of(datetime.fromisoformat(NOW)):
        reader, pusher = OnlineReader(prepared.home), Pusher(prepared.home)
        before = reader.get([pseudonym])[pseudonym]
        pusher.push(row(month + timedelta(days=2), 7.0))
        pusher.push(row(month + timedelta(days=1), 5.0))  # late
        after = reader.get([pseudonym])[pseudonym]
    assert isinstance(before, Vector)
    assert isinstance(after, Vector)
    assert {after[f.name] for f in members} == {7.0, "pushed"} or {after[f.name] for f in members} == {7.0}
    assert after.view_times[family] == after["event_timestamp"] == month + timedelta(days=2)
    rest = {name for name in after if name not in {f.name for f in members} | {"event_timestamp"}}
    assert {name: after[name] for name in rest} == {name: before[name] for name in rest}
