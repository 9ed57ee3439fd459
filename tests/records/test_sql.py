import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from churn_platform.errors import HomeError, RecordError
from churn_platform.identity import keys
from churn_platform.records import sql
from churn_platform.records.sql import MIGRATIONS, Chain, head, open_database, reading, version_table

CHAINS: list[Chain] = ["identity", "outlets", "vault"]
TABLES = {"identity": {"api_key"}, "outlets": {"outlet", "announcement", "delivery"}, "vault": {"identity", "fact"}}


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.servers)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'test.db'}"
        return
    url: str = request.getfixturevalue("postgres")
    yield url
    engine = sa.create_engine(sa.make_url(url).set(drivername="postgresql+psycopg2"))
    with engine.begin() as connection:
        connection.execute(sa.text("DROP SCHEMA public CASCADE"))
        connection.execute(sa.text("CREATE SCHEMA public"))
    engine.dispose()


@pytest.mark.parametrize("chain", CHAINS)
def test_the_head_by_file_names_is_alembics_head(chain: Chain):
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS / chain))
    script = ScriptDirectory.from_config(config)
    assert script.get_heads() == [head(chain)]
    for revision in script.walk_revisions():
        assert Path(revision.path).name.startswith(f"{revision.revision}_")


def test_a_new_database_is_migrated_and_opened_again(database: str):
    for chain in CHAINS:
        engine = open_database(database, chain)
        with reading(engine) as connection:
            assert TABLES[chain] <= set(sa.inspect(connection).get_table_names())
            found = connection.execute(sa.text(f"SELECT version_num FROM {version_table(chain)}")).scalars().all()
            assert found == [head(chain)]
        engine.dispose()
        open_database(database, chain).dispose()


def test_the_tables_in_code_are_the_tables_of_the_migrations(database: str):
    engine = open_database(database, "identity")
    with reading(engine) as connection:
        context = MigrationContext.configure(connection, opts={"version_table": version_table("identity")})
        assert compare_metadata(context, keys._TABLE.metadata) == []
    engine.dispose()


def _open(url: str) -> None:
    open_database(url, "vault").dispose()


def test_several_processes_may_migrate_at_once(database: str):
    with ProcessPoolExecutor(3, mp_context=get_context("spawn")) as pool:
        list(pool.map(_open, [database] * 6))
    engine = open_database(database, "vault")
    with reading(engine) as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM vault_version")).scalar() == 1
    engine.dispose()


def test_a_failed_migration_leaves_nothing(database: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    folder = tmp_path / "migrations" / "vault"
    (folder / "versions").mkdir(parents=True)
    for name in ("env.py", "versions/0001_identities.py"):
        (folder / name).write_bytes((MIGRATIONS / "vault" / name).read_bytes())
    broken = (MIGRATIONS / "vault" / "versions" / "0001_identities.py").read_text()
    broken = broken.replace('"0001"', '"0002"').replace("down_revision = None", 'down_revision = "0001"')
    broken = broken.split("def upgrade")[0] + (
        "def upgrade() -> None:\n"
        '    op.create_table("more", sa.Column("a", sa.Integer))\n'
        '    op.execute("INSERT INTO absent VALUES (1)")\n'
    )
    (folder / "versions" / "0002_broken.py").write_text(broken)
    monkeypatch.setattr(sql, "MIGRATIONS", tmp_path / "migrations")
    with pytest.raises(RecordError, match="absent"):
        open_database(database, "vault")
    # The release without the broken revision opens it, and it is as if the other had never run.
    (folder / "versions" / "0002_broken.py").unlink()
    engine = open_database(database, "vault")
    with reading(engine) as connection:
        assert set(sa.inspect(connection).get_table_names()) == {*TABLES["vault"], "vault_version"}
    engine.dispose()


def test_a_database_of_an_older_release_is_migrated(database: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    engine = open_database(database, "vault")
    with engine.begin() as connection:
        connection.execute(sa.text("INSERT INTO fact (name, value) VALUES ('a', 'b')"))
    engine.dispose()
    folder = tmp_path / "migrations" / "vault"
    (folder / "versions").mkdir(parents=True)
    for name in ("env.py", "versions/0001_identities.py"):
        (folder / name).write_bytes((MIGRATIONS / "vault" / name).read_bytes())
    (folder / "versions" / "0002_more.py").write_text(
        "import sqlalchemy as sa\nfrom alembic import op\n"
        'revision = "0002"\ndown_revision = "0001"\n'
        "def upgrade():\n"
        '    with op.batch_alter_table("fact") as table:\n'
        '        table.add_column(sa.Column("more", sa.Integer, nullable=False, server_default="7"))\n'
    )
    monkeypatch.setattr(sql, "MIGRATIONS", tmp_path / "migrations")
    engine = open_database(database, "vault")
    with reading(engine) as connection:
        assert connection.execute(sa.text("SELECT name, more FROM fact")).all() == [("a", 7)]
    engine.dispose()


def test_a_database_of_a_newer_release_is_refused(database: str):
    engine = open_database(database, "identity")
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE identity_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(HomeError, match="revision 9999") as caught:
        open_database(database, "identity")
    assert "newer" in caught.value.mend


def test_a_transaction_is_whole(database: str):
    engine = open_database(database, "vault")
    insert = sa.text("INSERT INTO fact (name, value) VALUES (:name, '')")

    def fail() -> None:
        with engine.begin() as connection:
            connection.execute(insert, {"name": "a"})
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    with engine.begin() as connection:
        connection.execute(insert, {"name": "b"})
    with reading(engine) as connection:
        assert connection.execute(sa.text("SELECT name FROM fact")).scalars().all() == ["b"]
    engine.dispose()


def test_sqlite_readers_do_not_wait_for_a_writer(tmp_path: Path):
    engine = open_database(tmp_path / "test.db", "vault")
    with engine.begin() as writer:
        writer.execute(sa.text("INSERT INTO fact (name, value) VALUES ('a', '')"))
        with reading(engine) as connection:
            assert connection.execute(sa.text("SELECT count(*) FROM fact")).scalar() == 0
    with reading(engine) as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM fact")).scalar() == 1


def test_sqlite_connections_have_the_settings(tmp_path: Path):
    engine = open_database(str(tmp_path / "test.db"), "vault")
    with reading(engine) as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "busy_timeout", "synchronous", "foreign_keys")
        }
    assert pragmas == {"journal_mode": "wal", "busy_timeout": 30_000, "synchronous": 2, "foreign_keys": 1}


def test_alembic_is_loaded_only_to_migrate(tmp_path: Path):
    open_database(tmp_path / "test.db", "vault").dispose()
    program = (
        "import sys; from pathlib import Path; from churn_platform.records.sql import open_database; "
        "open_database(Path(sys.argv[1]), 'vault'); sys.exit('alembic' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program, tmp_path / "test.db"], check=True)


@pytest.mark.parametrize("url", ["mysql://host/db", "sqlite://", "sqlite:///:memory:"])
def test_other_databases_are_refused(url: str):
    with pytest.raises(RecordError, match="not supported") as caught:
        open_database(url, "vault")
    assert "postgresql+psycopg2://" in caught.value.mend


def test_a_database_that_cannot_be_opened_says_so(tmp_path: Path):
    (tmp_path / "text.db").write_text("not a database" * 100)
    with pytest.raises(RecordError, match=r"text\.db cannot be opened: file is not a database"):
        open_database(tmp_path / "text.db", "vault")
    with pytest.raises(RecordError, match="cannot be opened: unable to open"):
        open_database(tmp_path / "absent" / "test.db", "vault")
    with pytest.raises(RecordError, match="cannot be opened") as caught:
        open_database("postgresql+psycopg2://user:hidden@127.0.0.1:1/db", "vault")
    assert "hidden" not in str(caught.value)


def test_the_switch_to_wal_waits_for_others(tmp_path: Path):
    path = tmp_path / "test.db"
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("CREATE TABLE t (a)")
    other.execute("BEGIN EXCLUSIVE")
    timer = threading.Timer(0.2, lambda: other.execute("COMMIT"))
    timer.start()
    sql.connect_sqlite(path).close()
    timer.join()
    other.close()
