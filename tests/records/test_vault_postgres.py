"""The identity vault on PostgreSQL does what it does on SQLite."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
import sqlalchemy as sa

from churn_platform.errors import HomeError
from churn_platform.records import database
from churn_platform.records.home import Home
from churn_platform.records.vault import IdentityVault
from churn_platform.settings import reload

pytestmark = pytest.mark.servers


@pytest.fixture(autouse=True)
def engine(postgres: str, embedded: pytest.MonkeyPatch) -> Iterator[sa.Engine]:
    embedded.setenv("CHURN_DATABASE_URL", postgres)
    reload()
    engine = sa.create_engine(sa.make_url(postgres).set(drivername="postgresql+psycopg2"))
    yield engine
    with engine.begin() as connection:
        for schema in database.SCHEMAS:
            connection.execute(sa.text(f"DROP SCHEMA IF EXISTS {schema} CASCADE"))
    engine.dispose()


@pytest.fixture
def vault(home: Home) -> IdentityVault:
    return IdentityVault.open(home)


def test_the_same_key_gives_the_same_pseudonyms_on_both(
    embedded: pytest.MonkeyPatch, tmp_path: Path, home: Home, vault: IdentityVault
) -> None:
    ids = [f"customer {i}" for i in range(1, 2500)] + ["a", "ä", "\N{SNOWMAN}", "O'Brien", "100%", "a\\b"]
    there = vault.pseudonymise(ids)
    assert vault.reveal(there) == ids
    assert [vault.find(one) for one in ids[-6:]] == there[-6:]
    assert vault.find("nobody") is None
    assert vault.reveal(["0" * 12, there[0]]) == [None, ids[0]]
    other = Home.open(tmp_path / "sqlite")
    shutil.copy(home.vault / "vault.key", other.vault)
    embedded.delenv("CHURN_DATABASE_URL")
    reload()
    assert IdentityVault.open(other).pseudonymise(ids) == there
    assert IdentityVault.open(other).row_salt == vault.row_salt


def test_a_null_character_is_no_obstacle(vault: IdentityVault) -> None:
    """PostgreSQL's text cannot hold one; ids are only kept sealed."""
    (pseudonym,) = vault.pseudonymise(["a\0b"])
    assert vault.reveal([pseudonym]) == ["a\0b"]


def _load(root: Path, first: int) -> list[str]:
    reload()
    return IdentityVault.open(Home.open(root)).pseudonymise([str(i) for i in range(first, first + 400)])


def test_several_processes_agree(home: Home, vault: IdentityVault) -> None:
    firsts = [0, 200, 100, 0]
    with ProcessPoolExecutor(3, mp_context=get_context("spawn")) as pool:
        loads = list(pool.map(_load, [home.root] * 4, firsts))
    known: dict[int, str] = {}
    for first, load in zip(firsts, loads, strict=True):
        for i, pseudonym in enumerate(load, start=first):
            assert known.setdefault(i, pseudonym) == pseudonym
    assert len(set(known.values())) == 600
    assert vault.pseudonymise([str(i) for i in range(600)]) == [known[i] for i in range(600)]


def test_threads_have_connections_of_their_own(vault: IdentityVault) -> None:
    with ThreadPoolExecutor(4) as pool:
        loads = list(pool.map(lambda _: vault.pseudonymise([str(i) for i in range(300)]), range(8)))
    assert all(load == loads[0] for load in loads)


def test_a_forked_child_has_a_connection_of_its_own(vault: IdentityVault) -> None:
    (pseudonym,) = vault.pseudonymise(["a"])
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.write(writing, json.dumps([vault.find("a") for _ in range(50)]).encode())
        finally:
            os._exit(0)
    assert [vault.find("a") for _ in range(50)] == [pseudonym] * 50
    os.waitpid(child, 0)
    assert json.loads(os.read(reading, 100_000)) == [pseudonym] * 50
    os.close(reading)
    os.close(writing)
    assert vault.find("a") == pseudonym


def test_a_connection_that_the_server_has_closed_is_opened_anew(vault: IdentityVault, engine: sa.Engine) -> None:
    (pseudonym,) = vault.pseudonymise(["a"])
    ended = sa.text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
    with engine.connect() as connection:
        connection.execute(ended)
    assert vault.find("a") == pseudonym
    with engine.connect() as connection:
        connection.execute(ended)
    assert len(vault.pseudonymise(["a", "b"])) == 2


def test_a_load_that_fails_leaves_nothing(vault: IdentityVault, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(vault._rows, "set_fact", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            vault.pseudonymise(["a", "b"])
    assert vault.find("a") is None
    assert len(vault.pseudonymise(["a", "b"])) == 2


def test_another_key_is_refused(home: Home, vault: IdentityVault) -> None:
    (home.vault / "vault.key").unlink()
    with pytest.raises(HomeError, match="key"):
        IdentityVault.open(home)


def test_no_id_is_in_the_database(vault: IdentityVault, engine: sa.Engine) -> None:
    vault.pseudonymise(["ACME-12345"])
    with engine.connect() as connection:
        rows = connection.execute(sa.text("SELECT lookup, pseudonym, sealed FROM churn.identity")).all()
    assert len(rows) == 1
    assert b"ACME" not in b"".join(bytes(value) if not isinstance(value, str) else value.encode() for value in rows[0])
