"""The list as a table of a real PostgreSQL: a month is replaced as a whole, and the same list twice is as once."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from traceback import format_exception
from typing import Any
from urllib.parse import quote, unquote

import psycopg
import pytest

from churn_platform import settings
from churn_platform.errors import InvalidRequestError
from churn_platform.outlets import postgres
from churn_platform.outlets.deliver import Deliverer
from churn_platform.outlets.kinds import Ids
from churn_platform.outlets.lists import ListFacts, table_of
from churn_platform.outlets.postgres import TableError, probe, write_list
from churn_platform.records.home import Home
from churn_platform.records.libpq import parsed, redacted
from churn_platform.records.store import ContentStore
from churn_platform.records.vault import IdentityVault
from tests.outlets.conftest import CUSTOMERS, make_list

pytestmark = pytest.mark.servers


@pytest.fixture
def database(postgres: str) -> Iterator[str]:
    """The server, without the schemas of other tests."""
    yield postgres
    with psycopg.connect(postgres, autocommit=True) as connection:
        for schema in ("churn_lists", "lists", "newer"):
            connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE".encode())


def _write(url: str, home: Home, facts: ListFacts, ids: Ids = "pseudonym", schema: str = "churn_lists") -> str:
    table = table_of(ContentStore(home.store), facts, ids, IdentityVault.open(home).reveal)
    return write_list(url, schema, facts, table, ids)


def _rows(url: str, query: str) -> list[Any]:
    with psycopg.connect(url) as connection:
        return connection.execute(query.encode()).fetchall()


def test_the_rows_are_those_of_the_list(database: str, home: Home) -> None:
    facts = make_list(home)
    assert _write(database, home, facts) == "4 rows of 2024-05-01"
    table = table_of(ContentStore(home.store), facts, "pseudonym", list).to_pylist()
    found = _rows(
        database,
        "SELECT customer_id, rank, probability, mrr, reasons, contributions, observation FROM churn_lists.scores "
        "ORDER BY rank",
    )
    assert found == [
        tuple(row[n] for n in ("customer_id", "rank", "probability", "mrr", "reasons", "contributions", "observation"))
        for row in table
    ]
    assert _rows(database, "SELECT problem, digest, ids, row_count FROM churn_lists.score_lists") == [
        ("churn", facts.digest, "pseudonym", 4)
    ]


def test_the_same_twice_is_as_once(database: str, home: Home) -> None:
    facts = make_list(home)
    _write(database, home, facts)
    before = _rows(database, "SELECT xmin::text, * FROM churn_lists.scores ORDER BY rank")
    assert _write(database, home, facts) == "2024-05-01 is there already"
    assert _rows(database, "SELECT xmin::text, * FROM churn_lists.scores ORDER BY rank") == before


def test_a_corrected_month_replaces_only_that_month(database: str, home: Home) -> None:
    may = make_list(home, "2024-05-01", count=5)
    june = make_list(home, "2024-06-01", count=3, made="2024-07-01T00:00:00+00:00")
    _write(database, home, june)
    _write(database, home, may)
    again = make_list(home, "2024-05-01", count=2, shift=0.2, made="2024-07-02T00:00:00+00:00")
    assert _write(database, home, again) == "2 rows of 2024-05-01"
    counts = "SELECT observation, count(*), max(probability) FROM churn_lists.scores GROUP BY 1 ORDER BY 1"
    assert _rows(database, counts) == [("2024-05-01", 2, pytest.approx(0.7)), ("2024-06-01", 3, pytest.approx(0.9))]
    assert _write(database, home, may) == "2024-05-01 is there from a later list"
    assert _rows(database, "SELECT DISTINCT observation FROM churn_lists.scores_current") == [("2024-06-01",)]


def test_own_ids_only_where_asked_for(database: str, home: Home) -> None:
    facts = make_list(home)
    _write(database, home, facts)
    names = "SELECT customer_id FROM churn_lists.scores ORDER BY rank"
    assert not {row[0] for row in _rows(database, names)} & set(CUSTOMERS)
    _write(database, home, facts, ids="company", schema="lists")
    own = names.replace("churn_lists.", "lists.")
    assert [row[0] for row in _rows(database, own)] == CUSTOMERS[:4]
    # Where the outlet changes its mind, no row of the other kind stays.
    _write(database, home, facts, ids="pseudonym", schema="lists")
    assert not {row[0] for row in _rows(database, own)} & set(CUSTOMERS)


def test_a_list_that_stands_on_a_data_fault_says_so_in_every_row(database: str, home: Home) -> None:
    facts = make_list(home, fault="The feed usage has dried up.")
    _write(database, home, facts)
    marks = "SELECT DISTINCT s.degraded, l.degraded FROM churn_lists.scores_current s JOIN churn_lists.score_lists l "
    marks += "USING (problem, observation)"
    assert _rows(database, marks) == [("The feed usage has dried up.",) * 2]
    # The feed has come late, and the month is diagnosed anew: the rows are the same, and unmarked.
    mended = make_list(home, diagnosed="2024-06-03T00:00:00+00:00")
    assert mended.digest == facts.digest
    assert _write(database, home, mended) == "4 rows of 2024-05-01"
    assert _rows(database, marks) == [(None, None)]
    assert _write(database, home, facts) == "2024-05-01 is there from a later list"


def test_tables_of_an_earlier_release_get_the_mark(database: str, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = make_list(home)
    with monkeypatch.context() as earlier:
        earlier.setattr(postgres, "STEPS", postgres.STEPS[:1])
        earlier.setattr(postgres, "VERSION", 1)
        assert probe(database, "churn_lists") == "the schema churn_lists is ready at version 1"
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO churn_lists.scores SELECT 'churn', '2024-04-01', 'c', 1, 0.5, 0, 0, 'high', 1, 1, '{}', '{}', "
            "'1', 'm'"
        )
        connection.execute(
            "INSERT INTO churn_lists.score_lists SELECT 'churn', '2024-04-01', 'd', 'x', 1, '1', 'm', now()"
        )
    assert _rows(database, "SELECT customer_id FROM churn_lists.scores_current") == [("c",)]
    _write(database, home, make_list(home, fault="dry"))
    assert facts.month == "2024-05-01"
    assert _rows(database, "SELECT degraded, count(*) FROM churn_lists.scores_current GROUP BY 1") == [("dry", 4)]
    assert _rows(database, "SELECT customer_id, degraded FROM churn_lists.scores WHERE observation = '2024-04-01'") == [
        ("c", None)
    ]


def test_writers_at_once(database: str, home: Home) -> None:
    lists = [
        make_list(home, "2024-05-01", count=i + 1, made=f"2024-06-0{i + 1}T00:00:00+00:00") for i in range(5)
    ]  # fmt: skip
    with ThreadPoolExecutor(5) as pool:
        list(pool.map(lambda one: _write(database, home, one), lists))
    assert _rows(database, "SELECT count(*) FROM churn_lists.scores") == [(5,)], "the latest wins, whoever comes last"


def test_a_failure_leaves_all_as_it_was(database: str, home: Home) -> None:
    facts = make_list(home)
    _write(database, home, facts)
    before = _rows(database, "SELECT * FROM churn_lists.scores ORDER BY rank")
    broken = make_list(home, shift=0.3, made="2024-07-01T00:00:00+00:00")
    table = table_of(ContentStore(home.store), broken, "pseudonym", list)
    twice = table.take([0, 1, 1])
    with pytest.raises(TableError, match="PostgreSQL says"):
        write_list(database, "churn_lists", broken, twice, "pseudonym")
    assert _rows(database, "SELECT * FROM churn_lists.scores ORDER BY rank") == before


def test_a_newer_schema_is_refused_and_an_own_one_needs_no_right_to_create(database: str, home: Home) -> None:
    assert probe(database, "newer") == "the schema newer is ready at version 2"
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("INSERT INTO newer.outlet_version (version) VALUES (99)")
        connection.execute("DROP ROLE IF EXISTS lister")
        connection.execute("CREATE ROLE lister LOGIN")
        connection.execute("CREATE SCHEMA lists AUTHORIZATION lister")
    with pytest.raises(TableError, match="version 99"):
        probe(database, "newer")
    other = database.replace("churn@", "lister@")
    assert _write(other, home, make_list(home), schema="lists") == "4 rows of 2024-05-01"
    with pytest.raises(TableError, match="permission denied"):
        probe(other, "churn_lists")
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("DROP SCHEMA lists CASCADE")
        connection.execute("DROP ROLE lister")


AWKWARD = ["100%sure", "50%25%", "a/b?c#d", "p:w[d]", "with space+plus", "%zz&=;"]


@pytest.mark.parametrize("password", AWKWARD)
def test_a_password_is_never_repeated(
    database: str, home: Home, deliverer: Deliverer, caplog: pytest.LogCaptureFixture, password: str
) -> None:
    """Where it is not written as a URL wants it, libpq would repeat it; it is taken as it is meant."""
    deliverer.outlets.add("postgres", database.replace("churn@", f"churn:{password}@"), name="table")
    down, _ = deliverer.outlets.add("postgres", f"postgresql://u:{password}@127.0.0.1:1/d?sslmode=prefer", name="down")
    wrong, _ = deliverer.outlets.add("postgres", f"postgresql://u:{password}@127.0.0.1:1/d?sslmode=no", name="wrong")
    make_list(home)
    found = {one.outlet: one for one in deliverer.work()}
    assert found["table"].state == "done"
    assert "PostgreSQL says" in str(found["down"].said)
    said = [str(one.said) for one in found.values()] + [deliverer.test(one)[1] for one in (down, wrong)]
    for form in (password, unquote(password), quote(password, safe="")):
        assert form not in " ".join(said) + caplog.text + down.target + wrong.target


@pytest.mark.parametrize(
    "url", ["postgresql://u:half@sure@h/d", "postgresql://u:sure@h:port/d", "mysql://u:sure@h/d", "postgres:/u:sure@h"]
)
def test_a_url_that_is_none_is_refused_without_being_repeated(deliverer: Deliverer, url: str) -> None:
    with pytest.raises(InvalidRequestError) as told:
        deliverer.outlets.add("postgres", url, name="table")
    assert "sure" not in str(told.value) + "".join(format_exception(told.value))


def test_what_a_library_says_is_redacted() -> None:
    url = parsed("postgresql://u:100%25%20sure@h/d?sslpassword=k%2Fy")
    words = 'no "100% sure", no 100%25%20sure, no k/y'
    assert redacted(words, url) == 'no "***", no ***, no ***'


def test_an_outlet_goes_on_when_the_database_comes_back(database: str, home: Home, deliverer: Deliverer) -> None:
    deliverer.outlets.add("postgres", database, name="table")
    deliverer.outlets.add("postgres", "postgresql://u:hunter2@127.0.0.1:1/d", name="down")
    make_list(home)
    found = {one.outlet: one for one in deliverer.work()}
    assert found["table"].state == "done"
    assert found["down"].state == "waiting"
    assert "PostgreSQL says" in str(found["down"].said)
    assert "hunter2" not in str(found["down"].said)
    assert _rows(database, "SELECT count(*) FROM churn_lists.scores_current") == [(4,)]
    assert settings.settings().problem == "churn"
