"""Feast's history in a real PostgreSQL: the same answers as from files, months by digest, all or nothing."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from churn_platform import settings
from churn_platform.errors import ChurnError, FeatureError
from churn_platform.features import feast_postgres
from churn_platform.features.feast_objects import CATALOGUE_REF
from churn_platform.features.feast_store import apply, historical, materialize, repo_config, sync_offline
from churn_platform.features.observation import instant
from churn_platform.features.skew import skew
from churn_platform.records.environ import tool_variables
from churn_platform.records.home import Home
from churn_platform.records.refs import Refs
from tests.features.test_feast import MONTHS, REPO, Shop, shop
from tests.records.servers import postgres_server

__all__ = ["shop"]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgres_server() as url:
        yield url


@pytest.fixture
def there(shop: Shop, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home whose history is in PostgreSQL."""
    with psycopg.connect(server) as connection:
        connection.execute("DROP SCHEMA IF EXISTS feast CASCADE")
    monkeypatch.setenv("CHURN_DATABASE_URL", server)
    monkeypatch.setenv("CHURN_OFFLINE_STORE", "postgres")
    settings.reload()
    home = Home.open(tmp_path)
    Refs(home.refs).set(CATALOGUE_REF, None, Refs(shop.home.refs).find(CATALOGUE_REF) or {})
    return home


def _table(server: str) -> list[tuple[object, ...]]:
    with psycopg.connect(server) as connection:
        return connection.execute("SELECT * FROM feast.customer_features ORDER BY 1, 2").fetchall()


def test_online_equals_history_equals_the_files(shop: Shop, there: Home) -> None:
    sync_offline(there, shop.digests, store=shop.store)
    apply(there, shop.features)
    assert materialize(there, MONTHS[-1]) == len(shop.customers(MONTHS[-1]))
    compared = skew(there, MONTHS[-1], sample=1000)
    assert compared.differing == ()
    assert compared.values == len(shop.customers(MONTHS[-1])) * len(shop.features) > 100


def test_the_same_history_as_from_files(shop: Shop, there: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    sync_offline(there, shop.digests, store=shop.store)
    apply(there, shop.features)
    asked = [
        {"customer_id": who, "event_timestamp": instant(month)}
        for month in MONTHS
        for who in shop.customers(MONTHS[-1])
    ]
    by_server = historical(there, asked)
    monkeypatch.delenv("CHURN_OFFLINE_STORE")
    monkeypatch.delenv("CHURN_DATABASE_URL")
    settings.reload()
    by_files = historical(shop.home, asked)
    names = [feature.name for feature in shop.features]
    assert by_server[names].notna().to_numpy().any()
    known = by_files[names].notna()
    assert by_server[names].notna().equals(known)
    assert (by_server[names].where(known, 0) == by_files[names].where(known, 0)).to_numpy().all(), "exactly"


def test_only_other_months_are_written(shop: Shop, there: Home, server: str) -> None:
    assert feast_postgres.sync({MONTHS[0]: shop.digests[MONTHS[0]]}, store=shop.store) == 1
    assert feast_postgres.sync(shop.digests, store=shop.store) == len(shop.digests) - 1
    assert feast_postgres.sync(shop.digests, store=shop.store) == 0
    rows = sum(len(shop.customers(month)) for month in shop.digests)
    assert len(_table(server)) == rows
    assert feast_postgres.sync({MONTHS[-1]: shop.digests[MONTHS[-1]]}, store=shop.store) == 0
    assert len(_table(server)) == len(shop.customers(MONTHS[-1])), "months that are no longer asked for go"


def test_another_catalogue_makes_the_table_anew(shop: Shop, there: Home, server: str) -> None:
    feast_postgres.sync(shop.digests, store=shop.store)
    narrow = {}
    for month, digest in shop.digests.items():
        table = pq.read_table(shop.store.path(digest))
        sink = pa.BufferOutputStream()
        pq.write_table(table.select(table.column_names[:5]), sink)
        narrow[month] = shop.store.put_bytes(sink.getvalue().to_pybytes())
    assert feast_postgres.sync(narrow, store=shop.store) == len(narrow)
    assert {len(row) for row in _table(server)} == {5}


def test_a_month_that_is_refused_leaves_the_table_as_it_was(shop: Shop, there: Home, server: str) -> None:
    feast_postgres.sync({MONTHS[0]: shop.digests[MONTHS[0]]}, store=shop.store)
    before = _table(server)
    table = pq.read_table(shop.store.path(shop.digests[MONTHS[-1]]))
    twice = pa.concat_tables([table, table.slice(0, 1)])  # one customer has two rows
    sink = pa.BufferOutputStream()
    pq.write_table(twice, sink)
    broken = {MONTHS[0]: shop.digests[MONTHS[0]], MONTHS[-1]: shop.store.put_bytes(sink.getvalue().to_pybytes())}
    with pytest.raises(FeatureError, match="could not be written to postgresql://") as caught:
        feast_postgres.sync(broken, store=shop.store)
    assert "password" not in str(caught.value)
    assert _table(server) == before


def test_texts_and_numbers_come_back_as_they_went(shop: Shop, there: Home, server: str) -> None:
    month = MONTHS[0]
    texts = ["", "a,b", 'quo"te', "line\nbreak", None, "Ärger", "\\N"]
    moment = pa.array([instant(month)] * len(texts), pa.timestamp("us"))
    numbers = [0.1, 1e-300, -0.0, 1 / 3, None, 123456789.123456789, 5e-324]
    columns = {
        "customer_id": [f"c{i}" for i in range(len(texts))],
        "event_timestamp": moment,
        "created_timestamp": moment,
        "n": pa.array(numbers, pa.float64()),
        'odd "name"': texts,
    }
    table = pa.table(columns)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    feast_postgres.sync({month: shop.store.put_bytes(sink.getvalue().to_pybytes())}, store=shop.store)
    found = _table(server)
    assert [row[3] for row in found] == numbers
    assert [row[4] for row in found] == texts


def test_the_files_of_the_repository_say_the_same(there: Home) -> None:
    text = (REPO / "feature_store.postgres.yaml").read_text(encoding="utf-8")
    for name, value in tool_variables(there).items():
        text = text.replace("${" + name + "}", value)
    assert "${" not in text
    assert yaml.safe_load(text) == repo_config(there)


def test_it_needs_a_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHURN_OFFLINE_STORE", "postgres")
    monkeypatch.delenv("CHURN_DATABASE_URL", raising=False)
    with pytest.raises(ChurnError, match="CHURN_OFFLINE_STORE=postgres needs CHURN_DATABASE_URL"):
        settings.reload()


def test_a_name_that_postgresql_would_cut_is_refused(shop: Shop, there: Home) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"customer_id": ["c"], "x" * 64: [1.0]}), sink)
    with pytest.raises(FeatureError, match="has a name of 64 bytes"):
        feast_postgres.sync({MONTHS[0]: shop.store.put_bytes(sink.getvalue().to_pybytes())}, store=shop.store)
