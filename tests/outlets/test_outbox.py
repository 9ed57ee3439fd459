"""Announced once, told until it is received, given up in the end; on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from churn_platform import clock
from churn_platform.errors import InvalidRequestError, NotFoundError, RecordError
from churn_platform.outlets.outbox import Delivery, Outbox
from churn_platform.outlets.registry import Outlets
from churn_platform.outlets.schedule import ATTEMPTS
from churn_platform.outlets.sealing import Seal
from churn_platform.records.sql import head, open_database

KEY = bytes(range(32))
LEASE = timedelta(seconds=30)


@pytest.fixture(params=["sqlite", "postgres"])
def outbox(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Outbox]:
    if request.param == "sqlite":
        engine = open_database(tmp_path / "outbox.db", migrations="outlets")
    else:
        engine = open_database(request.getfixturevalue("postgres"), migrations="outlets")
    yield Outbox(engine)
    if request.param == "postgres":
        with engine.begin() as connection:
            connection.execute(sa.text("TRUNCATE outlet, announcement, delivery"))
    engine.dispose()


@pytest.fixture
def outlets(outbox: Outbox) -> Outlets:
    return Outlets(outbox, Seal(KEY))


def _taken(outbox: Outbox, now: datetime | None = None) -> Delivery:
    found = outbox.claim(now or clock.wall(), LEASE)
    assert found is not None
    return found


def test_a_key_is_announced_once(outbox: Outbox, outlets: Outlets) -> None:
    outlets.add("webhook", "https://example.com/", name="crm")
    first = outbox.announce("list.ready", {"month": "2024-05-01"}, key="a")
    assert first is not None
    assert first.id.startswith("msg_")
    assert outbox.announce("list.ready", {"month": "2024-05-01"}, key="a") is None
    assert [one.announcement.id for one in outbox.deliveries()] == [first.id]
    assert outbox.newest("list.ready") == first
    assert outbox.newest("data.fault") is None


def test_who_asked_for_it_gets_it(outbox: Outbox, outlets: Outlets) -> None:
    outlets.add("webhook", "https://example.com/", name="all")
    outlets.add("webhook", "https://example.com/", name="faults", events=["data.fault"])
    outlets.add("parquet", "/srv/lists", name="file")
    outbox.announce("champion.changed", {}, key="a")
    outbox.announce("data.fault", {}, key="b")
    outbox.announce("list.ready", {}, key="c")
    told = [(one.outlet, one.announcement.kind) for one in outbox.deliveries()]
    assert sorted(told) == [
        ("all", "champion.changed"), ("all", "data.fault"), ("all", "list.ready"),
        ("faults", "data.fault"), ("file", "list.ready"),
    ]  # fmt: skip


def test_a_claimed_delivery_is_nobody_elses_until_its_lease_ends(outbox: Outbox, outlets: Outlets) -> None:
    outlets.add("webhook", "https://example.com/", name="crm")
    outbox.announce("list.ready", {}, key="a")
    now = clock.wall()
    taken = _taken(outbox, now)
    assert taken.attempts == 1
    assert outbox.claim(now, LEASE) is None
    # The process that had it was killed: another one takes it up, under the same webhook-id.
    again = _taken(outbox, now + LEASE + timedelta(seconds=1))
    assert (again.id, again.attempts, again.announcement.id) == (taken.id, 2, taken.announcement.id)
    assert not outbox.settle(taken, "done", "late"), "the first must not speak for the second"
    assert outbox.settle(again, "done", "answered 204")
    assert [one.state for one in outbox.deliveries()] == ["done"]


def test_one_that_takes_its_process_down_each_time_is_given_up(outbox: Outbox, outlets: Outlets) -> None:
    outlets.add("webhook", "https://example.com/", name="crm")
    outbox.announce("list.ready", {}, key="poison")
    now = clock.wall()
    for number in range(ATTEMPTS):
        assert _taken(outbox, now).attempts == number + 1
        now += LEASE + timedelta(seconds=1)
    assert outbox.claim(now - timedelta(seconds=2), LEASE) is None
    assert [one.state for one in outbox.deliveries()] == ["waiting"], "the last attempt may still be at work"
    assert outbox.claim(now, LEASE) is None
    (dead,) = outbox.deliveries("dead")
    assert (dead.attempts, dead.said) == (ATTEMPTS, "cut off at its last attempt; before: nothing")
    assert outbox.retry(now) == 1
    assert _taken(outbox, now).attempts == 1


def test_many_workers_share_the_work(outbox: Outbox, outlets: Outlets) -> None:
    outlets.add("webhook", "https://example.com/", name="crm")
    for number in range(20):
        outbox.announce("list.ready", {}, key=str(number))
    now = clock.wall()

    def work(_: int) -> list[str]:
        found = []
        while (taken := outbox.claim(now, LEASE)) is not None:
            found.append(taken.id)
            outbox.settle(taken, "done", "")
        return found

    with ThreadPoolExecutor(4) as pool:
        taken = [one for part in pool.map(work, range(4)) for one in part]
    assert len(taken) == len(set(taken)) == 20


def test_dead_letters_are_listed_and_begin_anew(outbox: Outbox, outlets: Outlets) -> None:
    made, _ = outlets.add("webhook", "https://example.com/", name="crm")
    first = outbox.announce("list.ready", {}, key="a")
    assert first is not None
    outbox.settle(_taken(outbox), "dead", "answered 410: it wants no more messages")
    outlets.stop(made.id, "answered 410")
    outbox.announce("list.ready", {}, key="b")
    assert outbox.claim(clock.wall(), LEASE) is None, "nothing goes to one that was stopped"
    (dead,) = outbox.deliveries("dead")
    assert dead.said == "answered 410: it wants no more messages"
    with pytest.raises(NotFoundError):
        outbox.retry(clock.wall(), "nothing")
    assert outbox.retry(clock.wall(), dead.id) == 1
    assert outlets.get("crm").stopped is None
    again = _taken(outbox)
    assert (again.attempts, again.announcement.id) == (1, first.id)


def test_removing_takes_deliveries_along(outbox: Outbox, outlets: Outlets) -> None:
    outlets.add("webhook", "https://example.com/", name="crm")
    outbox.announce("list.ready", {}, key="a")
    outlets.remove("crm")
    assert outbox.deliveries() == []
    assert outbox.claim(clock.wall(), LEASE) is None
    with pytest.raises(NotFoundError):
        outlets.remove("crm")
    assert outbox.announce("list.ready", {}, key="a") is None, "what was announced is not announced again"


def test_what_was_done_long_ago_is_forgotten(outbox: Outbox, outlets: Outlets) -> None:
    outlets.add("webhook", "https://example.com/", name="crm")
    for key in "ab":
        outbox.announce("list.ready", {}, key=key)
    outbox.settle(_taken(outbox), "done", "")
    assert outbox.forget(clock.wall() - timedelta(days=1)) == 0
    assert outbox.forget(clock.wall() + timedelta(days=1)) == 1
    assert [one.state for one in outbox.deliveries()] == ["waiting"]
    assert outbox.counts()[outlets.get("crm").id] == {"waiting": 1}


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"kind": "fax"}, "kind"),
        ({"name": "No Name"}, "name"),
        ({"events": ["list.lost"]}, "event"),
        ({"ids": "both"}, "ids"),
        ({"kind": "postgres", "target": "mysql://u@h/d"}, "target"),
        ({"kind": "postgres", "target": "postgresql://u:word@h"}, "target"),
        ({"kind": "postgres", "target": "postgresql://u@h/d", "schema": 'x"; DROP'}, "schema"),
    ],
)
def test_wrong_outlets_are_refused(tmp_path: Path, options: dict[str, object], field: str) -> None:
    outlets = Outlets(Outbox(open_database(tmp_path / "outbox.db", migrations="outlets")), Seal(KEY))
    given = {"kind": "webhook", "target": "https://example.com/", "name": "x", **options}
    with pytest.raises(InvalidRequestError) as told:
        outlets.add(given.pop("kind"), given.pop("target"), **given)  # type: ignore[arg-type]
    assert told.value.field == field
    assert "word" not in str(told.value)


def test_secrets_are_sealed(tmp_path: Path) -> None:
    outlets = Outlets(Outbox(open_database(tmp_path / "outbox.db", migrations="outlets")), Seal(KEY))
    hook, secret = outlets.add("webhook", "https://example.com/", name="crm")
    assert secret is not None
    assert secret.startswith("whsec_")
    table, none = outlets.add("postgres", "postgresql://u:hunter2@h/d?sslmode=require", name="table")
    assert none is None
    assert table.target == "postgresql://u:***@h/d?sslmode=require"
    assert outlets.secrets(hook) == {"secret": secret}
    assert outlets.secrets(table)["url"] == "postgresql://u:hunter2@h/d?sslmode=require"
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"hunter2" not in stored
    assert secret.removeprefix("whsec_").encode() not in stored
    assert "hunter2" not in str([one.to_json() for one in outlets.list()])
    # A row that was moved under another outlet's id does not open, nor under another key.
    with pytest.raises(RecordError):
        Seal(KEY).open(hook.sealed, table.id)
    with pytest.raises(RecordError):
        Seal(bytes(32)).open(hook.sealed, hook.id)


def test_the_chain_has_a_head() -> None:
    assert head("outlets") == "0001"
    assert datetime(1970, 1, 1, tzinfo=UTC) < clock.wall()
