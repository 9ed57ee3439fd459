import hashlib
import re
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path

import pytest
import sqlalchemy as sa

from churn_platform import clock
from churn_platform.errors import InvalidRequestError, NotFoundError, RequestError, UnauthenticatedError
from churn_platform.identity import keys as module
from churn_platform.identity import secret as secret_text
from churn_platform.identity.keys import ApiKeys
from churn_platform.identity.roles import Principal, Role
from churn_platform.records.home import Home
from churn_platform.records.sql import open_database


class Clocks:
    """The wall clock and the monotonic clock, moved by the test."""

    def __init__(self) -> None:
        self.wall = datetime(2026, 1, 1, tzinfo=UTC)
        self.monotonic = 1000.0

    def advance(self, seconds: float) -> None:
        self.wall += timedelta(seconds=seconds)
        self.monotonic += seconds


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    clocks = Clocks()
    monkeypatch.setattr(clock, "wall", lambda: clocks.wall)
    monkeypatch.setattr(module.time, "monotonic", lambda: clocks.monotonic)
    return clocks


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.servers)])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sa.Engine]:
    url = tmp_path / "identity.db" if request.param == "sqlite" else request.getfixturevalue("postgres")
    engine = open_database(url, "identity")
    yield engine
    with engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM api_key"))
    engine.dispose()


def test_a_key_is_made_listed_used_and_revoked(engine: sa.Engine):
    keys = ApiKeys(engine)
    before = clock.wall()
    text, record = keys.create("  crm-sync ", "service")
    assert (record.name, record.role, record.state) == ("crm-sync", Role.SERVICE, "active")
    assert before <= record.created_at <= clock.wall()
    _, second = keys.create("auditor", Role.AUDITOR, timedelta(days=90))
    assert second.expires_at == second.created_at + timedelta(days=90)
    assert keys.list() == [record, second]
    assert keys.authenticate(text) == Principal(record.key_id, "crm-sync", Role.SERVICE)
    revoked = keys.revoke(record.key_id)
    assert revoked.state == "revoked"
    assert keys.revoke(record.key_id) == revoked
    assert keys.list() == [revoked, second]
    with pytest.raises(UnauthenticatedError, match="was revoked"):
        keys.authenticate(text)


def test_a_key_is_random_text_of_one_form(keys: ApiKeys):
    made = [keys.create("x", Role.SERVICE) for _ in range(20)]
    for text, record in made:
        assert re.fullmatch(r"churn_[0-9a-z]{12}_[0-9A-Za-z]{43}", text)
        assert secret_text.key_id_of(text) == record.key_id
    assert len({text for text, _ in made}) == len({record.key_id for _, record in made}) == 20


def test_a_secret_carries_256_bits(monkeypatch: pytest.MonkeyPatch):
    for number, digits in ((0, "0" * 43), (2**256 - 1, None)):
        monkeypatch.setattr(secret_text.secrets, "randbits", lambda bits, n=number: n if bits == 256 else 1 / 0)
        _, text = secret_text.generate()
        secret = text.rpartition("_")[2]
        assert digits in (None, secret)
        assert sum(secret_text._BASE62.index(d) * 62**i for i, d in enumerate(secret)) == number


def test_the_secret_is_stored_nowhere(keys: ApiKeys, home: Home):
    text, record = keys.create("x", Role.ADMIN)
    keys.authenticate(text)
    for file in home.root.rglob("*"):
        if file.is_file():
            assert text.rpartition("_")[2].encode() not in file.read_bytes()
    with keys._engine.connect() as connection:
        stored = connection.execute(sa.text("SELECT secret_hash FROM api_key")).scalar_one()
    assert stored == hashlib.sha256(text.encode()).digest()
    assert text not in repr(record) + str(record.to_json())
    assert home.identity_db.stat().st_mode & 0o777 == 0o600


def test_a_record_is_json_with_its_schema(keys: ApiKeys, clocks: Clocks):
    _, record = keys.create("x", Role.ANALYST, timedelta(hours=1))
    assert record.to_json() == {
        "schema": "api_key/1",
        "key_id": record.key_id,
        "name": "x",
        "role": "analyst",
        "state": "active",
        "created_at": "2026-01-01T00:00:00+00:00",
        "expires_at": "2026-01-01T01:00:00+00:00",
        "revoked_at": None,
    }


@pytest.mark.parametrize("sent", [None, ""])
def test_no_key_is_told_how_to_send_one(keys: ApiKeys, sent: str | None):
    with pytest.raises(UnauthenticatedError, match="carries no API key") as caught:
        keys.authenticate(sent)
    assert "Authorization: Bearer" in caught.value.mend
    assert caught.value.status == 401


def test_wrong_keys_are_refused_in_the_same_words(keys: ApiKeys):
    text, record = keys.create("x", Role.ADMIN)
    last = "a" if text[-1] != "a" else "b"
    wrong = [
        "nonsense",
        text[:-1],
        text + "0",
        text[:-1] + last,
        f" {text}",
        text.replace(record.key_id, "0" * 12),
        text.upper(),
        "ü" * 50,
        "\ud800",
        secret_text.generate()[1],
    ]
    words = set()
    for sent in wrong * 2:
        with pytest.raises(UnauthenticatedError) as caught:
            keys.authenticate(sent)
        words.add(str(caught.value))
    assert len(words) == 1
    assert record.key_id not in words.pop()
    assert not keys._cache
    assert keys.authenticate(text).key_id == record.key_id


def test_a_key_expires_by_the_wall_clock(keys: ApiKeys, clocks: Clocks):
    text, record = keys.create("x", Role.SERVICE, timedelta(seconds=10))
    clocks.advance(9.9)
    # The present of the data does not matter.
    with clock.as_of(datetime(2030, 1, 1, tzinfo=UTC)):
        keys.authenticate(text)
    # Also what was remembered as right a moment ago.
    clocks.advance(0.1)
    for _ in range(2):
        with pytest.raises(UnauthenticatedError, match="expired at 2026-01-01 00:00 UTC"):
            keys.authenticate(text)
        clocks.advance(5)
    assert keys.list()[0].state == "expired"
    assert keys.list()[0] == record


def test_a_revoked_key_is_refused_elsewhere_within_a_second(home: Home, clocks: Clocks):
    here, elsewhere = ApiKeys.open(home), ApiKeys.open(home)
    text, record = here.create("x", Role.SERVICE)
    elsewhere.authenticate(text)
    here.revoke(record.key_id)
    with pytest.raises(UnauthenticatedError):
        here.authenticate(text)
    clocks.advance(1.001)
    with pytest.raises(UnauthenticatedError, match="revoked"):
        elsewhere.authenticate(text)


def test_right_keys_are_remembered_for_a_second(keys: ApiKeys, clocks: Clocks):
    text, _ = keys.create("x", Role.SERVICE)
    statements = []
    sa.event.listen(keys._engine, "before_cursor_execute", lambda *seen: statements.append(seen[2]))
    keys.authenticate(text)
    first = len(statements)
    for _ in range(10):
        clocks.advance(0.09)
        keys.authenticate(text)
    assert len(statements) == first
    clocks.advance(0.2)
    keys.authenticate(text)
    assert len(statements) == 2 * first
    # A request writes nothing.
    assert all(statement.lstrip().startswith(("SELECT", "BEGIN")) for statement in statements)


def test_the_memory_for_right_keys_is_bounded(keys: ApiKeys, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "_CACHE_LIMIT", 3)
    for text, _ in [keys.create("x", Role.SERVICE) for _ in range(8)]:
        keys.authenticate(text)
    assert len(keys._cache) <= 3


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "x" * 101, "\x1b[31m"])
def test_a_name_of_a_wrong_form_is_refused(keys: ApiKeys, name: str):
    with pytest.raises(InvalidRequestError) as caught:
        keys.create(name, Role.SERVICE)
    assert caught.value.field == "name"
    assert keys.list() == []


@pytest.mark.parametrize("expires_in", [timedelta(0), timedelta(days=-1), timedelta.max])
def test_a_time_that_cannot_be_is_refused(keys: ApiKeys, expires_in: timedelta):
    with pytest.raises(InvalidRequestError) as caught:
        keys.create("x", Role.SERVICE, expires_in)
    assert caught.value.field == "expires_in"


def test_an_unknown_role_or_key_is_refused(keys: ApiKeys):
    with pytest.raises(InvalidRequestError, match="root") as caught:
        keys.create("x", "root")
    assert "ml_engineer" in caught.value.mend
    with pytest.raises(NotFoundError, match="0123") as missing:
        keys.revoke("0123")
    assert missing.value.status == 404
    assert issubclass(NotFoundError, RequestError)


def _create(root: Path) -> list[str]:
    keys = ApiKeys.open(Home.open(root))
    return [keys.create("x", Role.SERVICE)[0] for _ in range(5)]


def test_processes_and_threads_may_use_the_same_keys(tmp_path: Path):
    root = tmp_path / "home"
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        texts = [text for part in pool.map(_create, [root] * 3) for text in part]
    keys = ApiKeys.open(Home.open(root))
    assert len(keys.list()) == 15
    with ThreadPoolExecutor(4) as threads:
        principals = list(threads.map(keys.authenticate, texts * 5))
    assert {principal.key_id for principal in principals} == {record.key_id for record in keys.list()}


def test_speed(keys: ApiKeys):
    text, _ = keys.create("x", Role.SERVICE)
    keys.authenticate(text)
    started = time.process_time()
    for _ in range(2000):
        keys.authenticate(text)
    assert (time.process_time() - started) / 2000 < 50e-6
