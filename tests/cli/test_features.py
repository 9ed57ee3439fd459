"""``churn features`` on the home of a small demo."""

from __future__ import annotations

import json

from tests.conftest import Demo, churn


def test_list_why_and_show(demo: Demo) -> None:
    listed = json.loads(churn("features", "list", "--json", home=demo.home).stdout)["features"]
    names = [one["name"] for one in listed]
    assert "logins_30d" in names
    assert all(one["read_by"] == ["1"] for one in listed if one["name"] == "logins_30d")
    why = json.loads(churn("features", "why", "logins_30d", "--json", home=demo.home).stdout)
    assert (why["table"], why["columns"], why["available"]) == ("usage", ["logins"], True)
    generated = json.loads(churn("features", "why", "usage_minutes_std_30d", "--json", home=demo.home).stdout)
    assert "It is generated, and was " in generated["reason"]
    assert generated["read_from"] == ["usage.minutes"]
    ratio = churn("features", "why", "seat_utilisation_30d", home=demo.home).stdout
    assert "subscriptions.seats, usage.active_seats" in " ".join(ratio.split())
    customer = demo.answer["prediction"]["customer_id"]
    online = json.loads(churn("features", "show", customer, "--json", home=demo.home).stdout)
    day = online["as_of"][:10]
    offline = json.loads(churn("features", "show", customer, "--at", day, "--json", home=demo.home).stdout)
    assert (online["source"], offline["source"]) == ("online", "offline")
    assert online["features"] == offline["features"]
    assert online["as_of"] == demo.answer["prediction"]["as_of"].replace("Z", "+00:00")


def test_what_is_wrong_is_said(demo: Demo) -> None:
    customer = demo.answer["prediction"]["customer_id"]
    naive = json.dumps({"customer_id": customer, "event_timestamp": "2025-01-01T00:00:00", "logins_30d": "many"})
    for arguments, says in (
        (("why", "no_such_feature"), "There is no feature 'no_such_feature'"),
        (("show", "nobody-has-this-id"), "No customer has this id"),
        (("show", customer, "--at", "yesterday"), "is no date"),
        (("push", naive), "has no offset"),
        (("push", "{}"), "is null"),
        (("push", "{"), "no JSON"),
    ):
        done = churn("features", *arguments, home=demo.home)
        assert done.returncode == 1
        assert says in " ".join(done.stderr.split()), done.stderr
