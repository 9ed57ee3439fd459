"""The whole loop on a real PostgreSQL: the same champion as on SQLite, and nothing left in SQLite."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from tests.conftest import DEMO_ARGUMENTS, PORTS, Demo, churn
from tests.records.servers import postgres_server

# Two demos, one after the other.
pytestmark = [pytest.mark.e2e, pytest.mark.servers, pytest.mark.timeout(1500)]


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    with postgres_server() as url:
        yield url


@pytest.fixture(scope="module")
def on_postgresql(database: str, tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """The shared demo's data, with everything that can be in PostgreSQL there."""
    home = tmp_path_factory.mktemp("postgresql") / "churn"
    done = churn(
        "demo", *DEMO_ARGUMENTS, *PORTS, "--exit", "--json", home=home, timeout=580, CHURN_DATABASE_URL=database
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return Demo(home, json.loads(done.stdout.strip().splitlines()[-1]), done.stderr)


def test_the_champion_is_the_same(demo: Demo, on_postgresql: Demo) -> None:
    assert on_postgresql.answer["champion"] == demo.answer["champion"]
    assert on_postgresql.answer["evaluation"] == demo.answer["evaluation"]
    for name in ("margin", "contributions", "reasons"):
        assert on_postgresql.answer["prediction"][name] == demo.answer["prediction"][name]


def test_every_library_has_its_tables_there(on_postgresql: Demo, database: str) -> None:
    with psycopg2.connect(database) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT schemaname, tablename FROM pg_tables")
        tables = set(cursor.fetchall())
        assert tables >= {
            ("dagster", "event_logs"), ("dagster", "runs"), ("mlflow", "model_versions"), ("feast", "feature_views"),
            ("churn", "identity"), ("churn", "api_key"),
        }  # fmt: skip
        for table in ("dagster.event_logs", "mlflow.model_versions", "feast.feature_views", "churn.identity"):
            cursor.execute(f"SELECT count(*) FROM {table}")
            row = cursor.fetchone()
            assert row is not None
            assert row[0] > 0, table
        assert not [table for schema, table in tables if schema == "public"]
    connection.close()


def test_no_table_of_theirs_is_in_sqlite(on_postgresql: Demo) -> None:
    home = on_postgresql.home
    left = {path.relative_to(home).as_posix() for path in home.rglob("*.db")}
    assert left <= {"feast/online.db"}  # the embedded online store, which is no part of this setting


def test_a_second_run_makes_nothing_and_the_audit_is_whole(on_postgresql: Demo, database: str) -> None:
    done = churn("materialize", "--json", home=on_postgresql.home, CHURN_DATABASE_URL=database)
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout)["materialized"] == []
    asked = on_postgresql.answer["prediction"]["prediction_id"]
    done = churn("audit", "why", asked, "--json", home=on_postgresql.home, CHURN_DATABASE_URL=database)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert json.loads(done.stdout)["missing"] == []


def test_without_the_server_the_error_says_what_to_do(on_postgresql: Demo, tmp_path: Path) -> None:
    dead = "postgresql://churn:hidden@127.0.0.1:1/postgres"
    for command in (("materialize",), ("keys", "list"), ("demo", *PORTS, "--exit")):
        done = churn(*command, home=on_postgresql.home, CHURN_DATABASE_URL=dead)
        assert done.returncode == 1
        assert "postgresql://churn:***@127.0.0.1:1/postgres cannot be used" in done.stderr
        assert "psql with the same URL must work" in done.stderr
        assert "hidden" not in done.stderr + done.stdout
        assert "Traceback" not in done.stderr
    done = churn("doctor", "--json", home=on_postgresql.home, CHURN_DATABASE_URL=dead)
    (finding,) = [one for one in json.loads(done.stdout)["findings"] if one["name"] == "database"]
    assert not finding["ok"]
    assert "psql" in finding["mend"]
    assert "hidden" not in done.stdout
