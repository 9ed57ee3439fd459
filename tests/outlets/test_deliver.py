"""From what a home holds to what a receiver, a file and a table get."""

from __future__ import annotations

import json
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from churn_platform import clock, settings
from churn_platform.monitoring.alerts import raise_alert
from churn_platform.outlets import deliver as module
from churn_platform.outlets.deliver import Deliverer
from churn_platform.outlets.kinds import Announcement
from churn_platform.outlets.lists import ListFacts
from churn_platform.outlets.notice import announce, notice
from churn_platform.outlets.outbox import Delivery
from churn_platform.outlets.schedule import ATTEMPTS, DELAYS
from churn_platform.outlets.webhook import Outcome, judged
from churn_platform.records.home import Home
from churn_platform.records.refs import Refs
from tests.outlets.conftest import CUSTOMERS, make_list
from tests.outlets.receiver import Receiver


def _later(deliverer: Deliverer, monkeypatch: pytest.MonkeyPatch, seconds: float) -> list[Delivery]:
    """Work as if so much time had passed."""
    now = clock.wall() + timedelta(seconds=seconds)
    with monkeypatch.context() as patch:
        patch.setattr(module.clock, "wall", lambda: now)
        return deliverer.work()


def test_a_message_is_signed_and_verified_by_the_standard_library(deliverer: Deliverer, hook: Receiver) -> None:
    _, secret = deliverer.outlets.add("webhook", hook.url, name="crm")
    assert secret is not None
    facts = make_list(deliverer.home)
    (sent,) = deliverer.work()
    assert (sent.state, sent.said) == ("done", "answered 204")
    headers, body = hook.received[0]
    told = Webhook(secret).verify(body, headers)
    assert told["type"] == "list.ready"
    assert told["data"] == facts.to_json()
    assert headers["webhook-id"] == sent.announcement.id
    assert headers["host"] == hook.url.split("/")[2]
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body.replace(b"list", b"lost"), headers)
    text = body.decode()
    assert not any(name in text for name in CUSTOMERS)
    assert not any(p in text for p in pq.read_table(_store_file(deliverer, facts.digest))["customer_id"].to_pylist())
    assert deliverer.work() == [], "what was received is not sent again"


def _store_file(deliverer: Deliverer, digest: str) -> Path:
    return deliverer.home.store / "objects" / digest[:2] / digest


def test_a_failure_is_tried_again_under_the_same_id(
    deliverer: Deliverer, hook: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, secret = deliverer.outlets.add("webhook", hook.url, name="crm")
    assert secret is not None
    make_list(deliverer.home)
    hook.answers = [500, (302, {"location": "http://169.254.169.254/"}), (503, {"retry-after": "900"})]
    assert [one.state for one in deliverer.work()] == ["waiting"]
    assert deliverer.work() == [], "not before its pause is over"
    (second,) = _later(deliverer, monkeypatch, 1.3 * DELAYS[0])
    assert second.said == "answered 302 (redirects are not followed)"
    (third,) = _later(deliverer, monkeypatch, 1.3 * (DELAYS[0] + DELAYS[1]))
    assert (third.attempts, third.said) == (3, "answered 503")
    assert (third.due_at - clock.wall()).total_seconds() > 850, "the receiver asked to be left alone"
    (last,) = _later(deliverer, monkeypatch, 3600)
    assert (last.state, last.attempts) == ("done", 4)
    assert len({headers["webhook-id"] for headers, _ in hook.received}) == 1
    assert len({body for _, body in hook.received}) == 1
    headers, body = hook.received[0]
    Webhook(secret).verify(body, headers)


def test_it_is_given_up_in_the_end_and_goes_on_by_hand(
    deliverer: Deliverer, hook: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliverer.outlets.add("webhook", hook.url, name="crm")
    make_list(deliverer.home)
    hook.answers = [500] * ATTEMPTS
    now = 0.0
    for number in range(ATTEMPTS):
        now += 0 if number == 0 else 1.3 * DELAYS[number - 1]
        (tried,) = _later(deliverer, monkeypatch, now)
    assert (tried.state, tried.attempts) == ("dead", ATTEMPTS)
    assert _later(deliverer, monkeypatch, 1e8) == []
    assert deliverer.outbox.retry(clock.wall()) == 1
    assert [one.state for one in deliverer.work()] == ["done"]


@pytest.mark.parametrize(
    ("asked", "least", "most"),
    [
        ("9" * 400, 86_400, 86_400),
        ("9" * 5000, 86_400, 86_400),
        ("120", 120, 120),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 86_400, 86_400),
        ("Mon, 01 Jan 2001 00:00:00 GMT", 0, 0),
    ],
)
def test_what_the_receiver_asks_for_has_an_end(asked: str, least: float, most: float) -> None:
    found = judged(503, asked, clock.wall()).asked
    assert found is not None
    assert least <= found <= most


@given(st.text(max_size=80) | st.from_regex(r"[A-Z][a-z]{2}, \d{1,9} Jan \d{1,9} \d\d:\d\d:\d\d [+-]\d{1,9}"))
def test_nothing_that_a_receiver_writes_breaks_the_attempt(asked: str) -> None:
    found = judged(503, asked, clock.wall()).asked
    assert found is None or 0 <= found <= 86_400


def test_a_receiver_that_answers_nonsense_is_one_failure_and_holds_nobody_up(
    deliverer: Deliverer, hook: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One delivery fails in a way that nobody has foreseen; the other is delivered, and the first is dead in time."""
    deliverer.outlets.add("webhook", "https://poison.example/", name="poison")
    deliverer.outlets.add("webhook", hook.url, name="crm")
    make_list(deliverer.home)
    real = module.send

    def send(told: Announcement, url: str, *rest: Any, **options: Any) -> Outcome:
        if "poison" in url:
            raise UnicodeError("label too long")
        return real(told, url, *rest, **options)

    monkeypatch.setattr(module, "send", send)
    hook.answers = [(503, {"retry-after": "9" * 400})]
    assert {one.outlet: one.said for one in deliverer.work()} == {
        "poison": "failed with UnicodeError: label too long", "crm": "answered 503",
    }  # fmt: skip
    now = 0.0
    for delay in DELAYS:
        now += 1.3 * delay
        _later(deliverer, monkeypatch, now)
    states = {one.outlet: (one.state, one.attempts) for one in deliverer.outbox.deliveries()}
    assert states == {"poison": ("dead", ATTEMPTS), "crm": ("done", 2)}


def test_410_stops_the_outlet(deliverer: Deliverer, hook: Receiver) -> None:
    deliverer.outlets.add("webhook", hook.url, name="crm")
    make_list(deliverer.home)
    hook.answers = [410]
    assert [one.state for one in deliverer.work()] == ["dead"]
    assert "410" in str(deliverer.outlets.get("crm").stopped)
    make_list(deliverer.home, "2024-06-01", made="2024-07-01T00:00:00+00:00")
    assert deliverer.work() == []
    assert len(hook.received) == 1


def test_a_private_address_is_refused_unless_allowed(
    deliverer: Deliverer, hook: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CHURN_OUTLET_PRIVATE_ADDRESSES")
    settings.reload()
    deliverer.outlets.add("webhook", hook.url, name="crm")
    make_list(deliverer.home)
    (tried,) = deliverer.work()
    assert tried.state == "waiting"
    assert "inside this network" in str(tried.said)
    assert hook.received == []


def test_a_receiver_that_is_down_and_one_that_is_silent(deliverer: Deliverer, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    monkeypatch.setattr("churn_platform.outlets.webhook.SECONDS", 0.3)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        deliverer.outlets.add("webhook", f"http://127.0.0.1:{silent.getsockname()[1]}/", name="silent")
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            port = closed.getsockname()[1]
        deliverer.outlets.add("webhook", f"http://127.0.0.1:{port}/", name="down")
        deliverer.outlets.add("webhook", "http://no-such-name.invalid/", name="nameless")
        make_list(deliverer.home)
        said = {one.outlet: str(one.said) for one in deliverer.work()}
    assert "no answer" in said["silent"] or "cannot be reached" in said["silent"]
    assert "cannot be reached" in said["down"]
    assert "cannot be reached" in said["nameless"]


def test_what_happened_is_announced_once_each(home: Home, deliverer: Deliverer) -> None:
    make_list(home)
    assert [one.kind for one in notice(home)] == ["list.ready"]
    assert notice(home) == []
    make_list(home, made="2024-06-02T00:00:00+00:00")
    assert notice(home) == [], "the same list made again is nothing new"
    make_list(home, shift=0.05, made="2024-06-03T00:00:00+00:00")
    assert [one.kind for one in notice(home)] == ["list.ready"]
    make_list(home, made="2024-06-04T00:00:00+00:00")
    assert [one.kind for one in notice(home)] == ["list.ready"], "back to what it was is a change again"
    champion = {
        "digest": "a" * 64, "name": "churn", "version": "1", "model": "b" * 64, "tier": "full",
        "promoted_at": "2024-06-01T00:00:00+00:00", "cause": {"churn/reason": "the first"},
    }  # fmt: skip
    Refs(home.refs).set("champion", None, champion)
    (first,) = notice(home)
    assert (first.kind, first.data["previous"], first.data["cause"]) == (
        "champion.changed", None, {"churn/reason": "the first"},
    )  # fmt: skip
    Refs(home.refs).set("champion", None, {**champion, "version": "2", "model": "c" * 64})
    (second,) = notice(home)
    assert second.data["previous"] == {"version": "1", "model": "b" * 64}
    for _ in range(2):
        raise_alert(
            home, key="fault:usage:2024-05-01", kind="data_fault", severity="page",
            title="The feed usage has dried up", detail="No rows.", month="2024-05-01", feed="usage",
        )  # fmt: skip
    raise_alert(home, key="run", kind="run_failed", severity="page", title="A run failed", detail="x")
    (fault,) = notice(home)
    assert (fault.kind, fault.data["feed"]) == ("data.fault", "usage")
    assert notice(home) == []
    assert announce(home, "data.fault", {"feed": "tickets"}, key="by-hand") is not None
    assert announce(home, "data.fault", {"feed": "tickets"}, key="by-hand") is None


def test_a_list_is_told_with_its_mark_and_not_before_its_month_is_diagnosed(home: Home, deliverer: Deliverer) -> None:
    first = make_list(home)
    assert [one.data["degraded"] for one in notice(home)] == [None]
    # The next month is scored, and its diagnosis is still to come.
    refs = Refs(home.refs)
    outlet = refs.get("scores_outlet")
    facts = make_list(home, "2024-06-01", made="2024-07-01T00:00:00+00:00", fault="The feed usage has dried up.")
    refs.set("scores_outlet", None, outlet)
    assert refs.get("scores_current")["month"] == "2024-06-01"
    assert notice(home) == []
    (told,) = notice(home, made=facts)
    assert (told.data["month"], told.data["degraded"]) == (
        "2024-06-01", {"reason": "The feed usage has dried up.", "feeds": ["usage"]},
    )  # fmt: skip
    refs.set("scores_outlet", None, {**outlet, "list": facts.to_json()})
    assert notice(home) == []
    mended = make_list(home, "2024-06-01", made="2024-07-01T00:00:00+00:00", diagnosed="2024-07-02T00:00:00+00:00")
    assert mended.digest == facts.digest
    assert [one.data["degraded"] for one in notice(home)] == [None], "that it can be trusted now is news"
    assert ListFacts.from_json({k: v for k, v in first.to_json().items() if k != "degraded"}) == first


def test_files_get_the_list_with_the_ids_that_were_asked_for(deliverer: Deliverer, tmp_path: Path) -> None:
    own, hidden = tmp_path / "own", tmp_path / "hidden"
    deliverer.outlets.add("parquet", str(own), name="own", ids="company")
    deliverer.outlets.add("parquet", str(hidden), name="hidden")
    make_list(deliverer.home)
    assert {one.said for one in deliverer.work()} == {"4 rows of 2024-05-01"}
    assert pq.read_table(own / "scores_current.parquet")["customer_id"].to_pylist() == CUSTOMERS[:4]
    shown = pq.read_table(hidden / "scores_current.parquet")["customer_id"].to_pylist()
    assert len(shown) == 4
    assert not set(shown) & set(CUSTOMERS)


def test_a_test_message_is_sent_once_and_written_nowhere(deliverer: Deliverer, hook: Receiver) -> None:
    hooked, secret = deliverer.outlets.add("webhook", hook.url, name="crm", events=["data.fault"])
    assert secret is not None
    assert deliverer.test(hooked) == (True, "answered 204")
    headers, body = hook.received[0]
    assert Webhook(secret).verify(body, headers)["type"] == "outlet.test"
    hook.answers = [500]
    assert deliverer.test(hooked) == (False, "answered 500")
    assert deliverer.outbox.deliveries() == []


def test_the_worker_goes_on_after_what_goes_wrong(
    deliverer: Deliverer, hook: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHURN_OUTLET_SECONDS", "1")
    settings.reload()
    deliverer.outlets.add("webhook", hook.url, name="crm")
    make_list(deliverer.home)
    real, calls, stop = deliverer.work, [0], threading.Event()

    def broken() -> list[Delivery]:
        calls[0] += 1
        if calls[0] == 1:
            raise RuntimeError("the disk hiccups")
        found = real()
        stop.set()
        return found

    monkeypatch.setattr(deliverer, "work", broken)
    deliverer.run(stop)
    assert len(hook.received) == 1


def test_the_body_is_what_standard_webhooks_recommends(deliverer: Deliverer, hook: Receiver) -> None:
    deliverer.outlets.add("webhook", hook.url, name="crm")
    make_list(deliverer.home)
    deliverer.work()
    told = json.loads(hook.received[0][1])
    assert set(told) == {"type", "timestamp", "data"}
    assert hook.received[0][0]["content-type"] == "application/json"
