"""One setting says where the tables are; what is wrong with it is said with its mend, never with the password."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
import sqlalchemy as sa

from churn_platform.errors import ConfigurationError, HomeError, RecordError
from churn_platform.identity.keys import ApiKeys
from churn_platform.records import database
from churn_platform.records.environ import prepare_dagster_home, tool_variables
from churn_platform.records.home import Home
from churn_platform.records.vault import IdentityVault
from churn_platform.settings import reload, settings

DEAD = "postgresql://user:hidden@127.0.0.1:1/company"


def use(patch: pytest.MonkeyPatch, url: str | None) -> None:
    if url is None:
        patch.delenv("CHURN_DATABASE_URL", raising=False)
    else:
        patch.setenv("CHURN_DATABASE_URL", url)
    reload()


@pytest.fixture
def fresh(postgres: str, embedded: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a database of its own; the settings name it."""
    engine = sa.create_engine(sa.make_url(postgres).set(drivername="postgresql+psycopg2"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text("CREATE DATABASE fresh"))
    url = sa.make_url(postgres).set(database="fresh").render_as_string(hide_password=False)
    use(embedded, url)
    yield url
    with engine.connect() as connection:
        connection.execute(sa.text("DROP DATABASE fresh WITH (FORCE)"))
    engine.dispose()


@pytest.mark.parametrize(
    "url",
    [
        "mysql://u:hidden@h/d",
        "postgresql://u:hidden@h",
        "postgresql://u:hidden@h/",
        "postgresql+asyncpg://u:hidden@h/d",
        "postgresql://u:half@hidden@h/d",
    ],
)
def test_another_form_is_refused(embedded: pytest.MonkeyPatch, url: str) -> None:
    embedded.setenv("CHURN_DATABASE_URL", url)
    with pytest.raises(ConfigurationError, match="postgresql://user:password@host/database") as caught:
        reload()
    assert "hidden" not in str(caught.value)


def test_the_password_is_not_shown(embedded: pytest.MonkeyPatch) -> None:
    use(embedded, DEAD)
    assert "hidden" not in repr(settings())
    url = database.configured()
    assert url is not None
    assert database.spoken(url) == "postgresql://user:***@127.0.0.1:1/company"


@pytest.mark.parametrize("query", ["", "?sslmode=require", "?options=-cstatement_timeout%3D5000&connect_timeout=3"])
def test_each_library_has_a_schema(embedded: pytest.MonkeyPatch, home: Home, query: str) -> None:
    use(embedded, DEAD + query)
    for part in database.SCHEMAS:
        url = sa.make_url(database.url_of(part, home))
        assert url.drivername == "postgresql+psycopg2"
        assert str(url.query["options"]).split()[-1] == f"-csearch_path={part}"
        assert ("statement_timeout" in str(url.query["options"])) == ("timeout%3D" in query)
        assert "+" not in database.url_of(part, home).partition("?")[2]
        assert url.password == "hidden"


def test_without_the_setting_all_is_in_sqlite(home: Home) -> None:
    assert database.configured() is None
    assert database.url_of("mlflow", home) == f"sqlite:///{home.mlflow / 'mlflow.db'}"
    assert database.url_of("feast", home) == f"sqlite:///{home.feast / 'registry.db'}"
    assert database.reach(home) is None
    assert "DAGSTER_DATABASE_URL" not in tool_variables(home)


def test_a_server_that_is_not_there(embedded: pytest.MonkeyPatch, home: Home) -> None:
    use(embedded, DEAD)
    for call in (
        database.prepare,
        lambda: database.reach(home),
        lambda: ApiKeys.open(home),
        lambda: IdentityVault.open(home),
    ):
        with pytest.raises(RecordError, match=r"cannot be used: .*refused") as caught:
            call()
        assert "hidden" not in str(caught.value)
        assert "server runs" in caught.value.mend


@pytest.mark.servers
def test_a_database_that_is_not_there(fresh: str, embedded: pytest.MonkeyPatch) -> None:
    use(embedded, fresh.replace("/fresh", "/absent"))
    with pytest.raises(RecordError, match='database "absent" does not exist') as caught:
        database.prepare()
    assert "createdb -O churn absent" in caught.value.mend


@pytest.mark.servers
def test_a_user_who_may_make_nothing(fresh: str, embedded: pytest.MonkeyPatch) -> None:
    engine = sa.create_engine(sa.make_url(fresh).set(drivername="postgresql+psycopg2"))
    with engine.begin() as connection:
        connection.execute(sa.text("DROP ROLE IF EXISTS guest"))
        connection.execute(sa.text("CREATE ROLE guest LOGIN"))
    use(embedded, fresh.replace("churn@", "guest@"))
    with pytest.raises(RecordError, match="permission denied") as caught:
        database.prepare()
    assert "GRANT CREATE ON DATABASE fresh TO guest" in caught.value.mend
    # Where an administrator has made the schemas, no such right is needed.
    with engine.begin() as connection:
        for schema in database.SCHEMAS:
            connection.execute(sa.text(f"CREATE SCHEMA {schema} AUTHORIZATION guest"))
    database.prepare()
    with engine.begin() as connection:
        connection.execute(sa.text("DROP OWNED BY guest CASCADE"))
        connection.execute(sa.text("DROP ROLE guest"))
    engine.dispose()


@pytest.mark.servers
def test_it_is_reached_with_its_tables(fresh: str, home: Home) -> None:
    reached = database.reach(home)
    assert reached is not None
    assert reached.place == fresh
    assert reached.version.split(".")[0].isdigit()
    assert json.loads((home.root / "DATABASE").read_bytes()) == {"database": "postgresql"}
    assert not home.identity_db.exists()
    assert not (home.vault / "vault.db").exists()
    assert not database.mlflow_tables_exist(home)


@pytest.mark.servers
def test_keys_and_vault_live_there(fresh: str, home: Home) -> None:
    secret, record = ApiKeys.open(home).create("tests", "service")
    assert ApiKeys.open(home).authenticate(secret).key_id == record.key_id
    (pseudonym,) = IdentityVault.open(home).pseudonymise(["ACME"])
    assert IdentityVault.open(home).find("ACME") == pseudonym
    engine = sa.create_engine(sa.make_url(database.url_of("churn", home)))
    with engine.connect() as connection:
        tables = set(sa.inspect(connection).get_table_names("churn"))
    engine.dispose()
    assert tables == {"api_key", "identity", "fact", "identity_version", "vault_version"}


def test_a_home_in_sqlite_does_not_change_over_in_silence(embedded: pytest.MonkeyPatch, home: Home) -> None:
    IdentityVault.open(home)
    (home.root / "DATABASE").unlink()  # as an older release leaves it
    use(embedded, DEAD)
    for opened in (IdentityVault, ApiKeys):
        with pytest.raises(HomeError, match="in SQLite, but CHURN_DATABASE_URL is set") as caught:
            opened.open(home)
        assert "postgresql-production.md" in caught.value.mend


@pytest.mark.servers
def test_a_home_in_postgresql_does_not_change_over_in_silence(
    fresh: str, embedded: pytest.MonkeyPatch, home: Home
) -> None:
    IdentityVault.open(home)
    use(embedded, None)
    with pytest.raises(HomeError, match="in PostgreSQL, but CHURN_DATABASE_URL is not set"):
        IdentityVault.open(home)
    assert not (home.vault / "vault.db").exists()


@pytest.mark.servers
def test_another_home_does_not_take_over_the_vault(fresh: str, home: Home, tmp_path: Path) -> None:
    IdentityVault.open(home)
    with pytest.raises(HomeError):
        IdentityVault.open(Home.open(tmp_path / "other"))


def _reach(root: Path) -> str:
    reload()
    found = database.reach(Home.open(root))
    assert found is not None
    return found.version


@pytest.mark.servers
def test_several_processes_may_make_everything_at_once(fresh: str, home: Home) -> None:
    with ProcessPoolExecutor(3, mp_context=get_context("spawn")) as pool:
        assert len(set(pool.map(_reach, [home.root] * 6))) == 1


@pytest.mark.servers
def test_dagster_s_configuration_follows(fresh: str, home: Home) -> None:
    prepare_dagster_home(home)
    text = (home.dagster / "dagster.yaml").read_text()
    assert "postgres_url:\n      env: DAGSTER_DATABASE_URL" in text
    variables = tool_variables(home)
    assert variables["DAGSTER_DATABASE_URL"].startswith("postgresql+psycopg2://")
    assert variables["MLFLOW_TRACKING_URI"].endswith("mlflow")
    assert variables["FEAST_REGISTRY_URL"].endswith("feast")
