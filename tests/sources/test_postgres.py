"""PostgreSQL as a source: a real server; the same digests as files; only what changed is read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from churn_platform.errors import ContractError, SourceError, SourceMissingError
from churn_platform.sources.check import check_source
from churn_platform.sources.contract import Contract, dump_contract, load_contract, parse_contract, plain
from churn_platform.sources.infer import infer_contract
from churn_platform.sources.location import SourceLocation
from churn_platform.sources.readers_extract import Loaded
from churn_platform.sources.readers_manifest import Extract
from churn_platform.sources.readers_postgres import CHUNK
from churn_platform.sources.readers_protocol import open_reader
from churn_platform.sources.readers_url import SourceUrl, parse_source
from churn_platform.sources.remote import bring
from tests.records.servers import postgres_server
from tests.sources import company, database
from tests.sources.conftest import Door

MONTHS = ("2024-02-01", "2024-03-01", "2024-04-01", "2024-05-01", "2024-06-01")
pytestmark = pytest.mark.servers


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgres_server() as url:
        yield url


@pytest.fixture
def url(server: str) -> SourceUrl:
    database.fill(server, company.frames())
    found = parse_source(server)
    assert isinstance(found, SourceUrl)
    return found


def _bring(url: SourceUrl, root: Path, contract: Contract | None = None, **options: Any) -> dict[str, Loaded]:
    return bring(contract or database.contract(), url, root, **options)


def _usage(url: SourceUrl, accounts: int, days: int) -> int:
    """Days of usage of every account, each known and updated at the end of its day, in the place of the few."""
    database.run(
        url.text,
        "TRUNCATE usage; INSERT INTO usage SELECT 'ACME-' || lpad(account::text, 5, '0'), day, day + INTERVAL '1 day', "
        "account % 7, extract(day FROM day) / 8, day + INTERVAL '1 day' "
        f"FROM generate_series(0, {accounts - 1}) AS account, "
        f"generate_series(DATE '2024-02-01', DATE '2024-02-01' + {days - 1}, INTERVAL '1 day') AS day; "
        "ALTER TABLE usage ADD PRIMARY KEY (account_id, usage_date)",
    )
    return accounts * days


def _window(url: SourceUrl, days: int) -> tuple[int, Any]:
    """Rows of usage that a look-back of so many days reads again, and the newest watermark."""
    (newest,) = database.run(url.text, "SELECT max(updated_at) FROM usage")[0]
    sql = f"SELECT count(*) FROM usage WHERE updated_at >= %s - INTERVAL '{days} days'"
    return int(database.run(url.text, sql, (newest,))[0][0]), newest


def test_tables_in_sql_and_in_files_give_the_same_digests(door: Door, tmp_path: Path, url: SourceUrl) -> None:
    files = company.write(company.frames(), tmp_path / "files")
    expected = door.admit(company.contract(), files, MONTHS)
    loaded = _bring(url, tmp_path / "extract")
    assert {load.mode for load in loaded.values()} == {"full"}
    found = door.admit(database.contract(), tmp_path / "extract", MONTHS)
    assert found.digests == expected.digests
    assert found.current_digests == expected.current_digests
    assert found.rows == expected.rows


def test_only_what_changed_is_read_and_the_end_equals_a_full_load(door: Door, tmp_path: Path, url: SourceUrl) -> None:
    total = _usage(url, accounts=30, days=400)
    contract, root = database.contract(lead_days=2), tmp_path / "extract"
    assert _bring(url, root, contract)["usage"] == Loaded("usage", "full", total, rows=total)
    window, _ = _window(url, 1)
    assert window == 60
    assert _bring(url, root, contract)["usage"] == Loaded("usage", "unchanged", window, rows=total)

    database.run(
        url.text,
        "UPDATE usage SET logins = logins + 1, minutes = 0.5, updated_at = '2025-04-10 12:00:00Z' "
        "WHERE (account_id, usage_date) IN (SELECT account_id, usage_date FROM usage ORDER BY 2, 1 LIMIT 1000)",
    )
    assert _bring(url, root, contract)["usage"] == Loaded("usage", "changed", 1000 + window, rows=total)

    months = (*MONTHS, "2025-03-01")
    found = door.admit(contract, root, months)
    _bring(url, tmp_path / "whole", contract)
    expected = door.admit(contract, tmp_path / "whole", months)
    assert found.digests == expected.digests
    assert found.current_digests == expected.current_digests
    assert found.rows["usage"] == total


def test_new_changed_deleted_and_late_rows(door: Door, tmp_path: Path, url: SourceUrl) -> None:
    root = tmp_path / "extract"
    _bring(url, root)
    rows = Extract.find(root).tables["tickets"]["rows"]  # type: ignore[union-attr]
    # tickets have no watermark: ingested_at and the times at which values became known tell what changed
    database.run(
        url.text,
        "UPDATE tickets SET csat = 1, csat_recorded_at = '2024-06-18' WHERE ticket_id = (SELECT min(ticket_id) FROM "
        "tickets WHERE csat IS NULL); DELETE FROM tickets WHERE ticket_id = (SELECT max(ticket_id) FROM tickets); "
        "INSERT INTO tickets (account_id, ticket_id, opened_at, ingested_at, severity) VALUES "
        "('ACME-00001', 'new', '2024-06-18', '2024-06-18', 1)",
    )
    loaded = _bring(url, root)["tickets"]
    assert loaded.mode == "changed"
    assert loaded.fetched < rows / 2
    assert (loaded.deleted, loaded.keys, loaded.rows) == (1, rows, rows)
    # a row that comes with an old time cannot be seen by it: its absence is noticed, and the table read whole
    database.run(
        url.text,
        "INSERT INTO tickets (account_id, ticket_id, opened_at, ingested_at, severity) VALUES "
        "('ACME-00001', 'late', '2024-01-18', '2024-01-18', 1)",
    )
    late = _bring(url, root)["tickets"]
    assert (late.mode, late.rows) == ("full", rows + 1)
    _bring(url, tmp_path / "whole", full=True)
    contract = database.contract()
    found, expected = (door.admit(contract, folder, MONTHS) for folder in (root, tmp_path / "whole"))
    assert found.digests == expected.digests


def test_a_table_that_changes_without_a_trace_is_read_whole(tmp_path: Path, url: SourceUrl) -> None:
    root = tmp_path / "extract"
    first = _bring(url, root)["accounts"]  # plan and owner are overwritten in place
    assert first.mode == "full"
    assert _bring(url, root)["accounts"] == Loaded("accounts", "unchanged", first.fetched, rows=first.rows)
    database.run(url.text, "UPDATE accounts SET plan = 'free' WHERE account_id = 'ACME-00003'")
    assert _bring(url, root)["accounts"].mode == "full"


def test_look_back_reads_late_rows_again(tmp_path: Path, url: SourceUrl) -> None:
    contract = database.contract(look_back_days=3)
    root = tmp_path / "extract"
    _bring(url, root, contract)
    window, newest = _window(url, 3)
    # committed late: its time lies before the newest that was read
    database.run(
        url.text,
        "INSERT INTO usage SELECT 'ACME-00001', '2030-01-01', %s, 1, 1, %s - INTERVAL '2 days'",
        (newest, newest),
    )
    loaded = _bring(url, root, contract)["usage"]
    assert (loaded.mode, loaded.fetched) == ("changed", window + 1)


def test_a_time_of_the_future_does_not_hide_changes(tmp_path: Path, url: SourceUrl) -> None:
    database.run(url.text, "UPDATE usage SET updated_at = '2999-01-01' WHERE ctid = (SELECT min(ctid) FROM usage)")
    root = tmp_path / "extract"
    _bring(url, root)
    database.run(
        url.text, "UPDATE usage SET logins = 99, updated_at = '2024-07-01' WHERE ctid = (SELECT max(ctid) FROM usage)"
    )
    assert _bring(url, root)["usage"].mode == "changed"


def test_what_counts_cannot_tell_is_found_within_a_week(
    tmp_path: Path, url: SourceUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "extract"
    _bring(url, root)
    # one row goes and one with an old time comes: as many as before
    database.run(
        url.text,
        "DELETE FROM tickets WHERE ticket_id = (SELECT min(ticket_id) FROM tickets); INSERT INTO tickets "
        "(account_id, ticket_id, opened_at, ingested_at) VALUES ('ACME-00001', 'late', '2024-01-18', '2024-01-18')",
    )
    assert _bring(url, root)["tickets"].mode == "unchanged"
    monkeypatch.setattr("churn_platform.sources.readers_extract.COMPARE_DAYS", 0)
    assert _bring(url, root)["tickets"].mode == "full"


def test_repeated_keys_are_read_whole(tmp_path: Path, url: SourceUrl) -> None:
    database.run(url.text, "INSERT INTO usage SELECT * FROM usage LIMIT 1")
    root = tmp_path / "extract"
    rows = _bring(url, root)["usage"].rows
    assert _bring(url, root)["usage"] == Loaded("usage", "unchanged", rows or 0, rows=rows)


def test_soft_deletes(door: Door, tmp_path: Path, url: SourceUrl) -> None:
    database.run(url.text, "ALTER TABLE usage ADD deleted_at timestamptz")
    contract, root = database.contract(deleted_at="deleted_at"), tmp_path / "extract"
    before = _bring(url, root, contract)["usage"]
    whole = door.admit(contract, root, MONTHS, tables=["usage"])
    database.run(url.text, "UPDATE usage SET deleted_at = '2024-07-01' WHERE usage_date >= '2024-06-01'")
    (gone,) = database.run(url.text, "SELECT count(*) FROM usage WHERE deleted_at IS NOT NULL")[0]
    after = _bring(url, root, contract)["usage"]
    assert (after.mode, after.rows) == ("changed", before.rows)
    assert after.fetched >= gone > 0
    assert door.admit(contract, root, MONTHS, tables=["usage"]).rows["usage"] == whole.rows["usage"] - gone


def test_other_columns_stay_where_they_are(tmp_path: Path, url: SourceUrl) -> None:
    database.run(url.text, "ALTER TABLE accounts ADD email text DEFAULT 'x@example.com', ADD notes jsonb DEFAULT '{}'")
    root = tmp_path / "extract"
    _bring(url, root)
    extract = Extract.find(root)
    assert extract is not None
    assert extract.tables["accounts"]["others"] == ["email", "notes"]
    assert b"example.com" not in b"".join(path.read_bytes() for path in extract.files("accounts"))

    def change(value: dict[str, Any]) -> None:
        value["tables"]["accounts"]["columns"]["notes"] = {"type": "category", "temporality": "immutable"}

    value = plain(database.contract())
    change(value)
    with pytest.raises(ContractError, match=r"column 'notes' of public\.accounts has type jsonb") as raised:
        _bring(url, root, parse_contract(value))
    assert "view" in raised.value.mend


def test_values_of_every_type(tmp_path: Path, url: SourceUrl) -> None:
    import duckdb

    database.run(
        url.text,
        "CREATE DOMAIN seats AS integer; CREATE TABLE kinds (account_id uuid, at timestamptz, plain timestamp, "
        "day date, small smallint, n seats, x real, d double precision, price numeric(10, 2), "
        "big numeric, wide numeric(30, 0), "
        "flag boolean, text text, span interval, fixed char(5), cash money)",
    )
    row = (
        "'00000000-0000-0000-0000-000000000007', '2024-03-31 01:30:00+02', '2024-03-31 02:30:00.25', '2024-02-29', "
        "1, 2, 0.5, 1e-300, 12.30, 7.00, 123456789012345678901234567890, true, "
        "E'a \"b\",\\n\\'c\\' ü', '1 day', 'ab', 3.5"
    )
    nulls = ", ".join(["NULL"] * 16)
    odd = "NULL, 'infinity', '-infinity', 'infinity', 1, 2, 'NaN', '-Infinity', 'NaN', 'NaN', 0, false, '', NULL, '', 0"
    database.run(url.text, f"INSERT INTO kinds VALUES ({row}), ({nulls}), ({odd})")
    try:
        file = tmp_path / "kinds.parquet"
        with open_reader(url) as reader:
            from churn_platform.sources.readers_extract import read_to

            facts = reader.describe("kinds")
            assert read_to(reader, facts, list(facts.columns), file) == 3
            assert reader.count("public.kinds") == 3
        connection = duckdb.connect()
        connection.execute("SET TimeZone = 'UTC'")
        rows = connection.execute(f"SELECT * FROM '{file}' ORDER BY account_id, small").fetchall()
        first, odd_row, empty = rows
        assert str(first[1]) == "2024-03-30 23:30:00+00:00"
        assert [str(value) for value in first[2:4]] == ["2024-03-31 02:30:00.250000", "2024-02-29"]
        assert first[4:12] == (1, 2, 0.5, 1e-300, 12.3, "7", "123456789012345678901234567890", True)
        assert first[12:] == ("a \"b\",\n'c' ü", "1 day", "ab", "3.5")
        assert odd_row[1:4] == (None, None, None)
        assert odd_row[12] == ""
        assert empty == (None,) * 16
    finally:
        database.run(url.text, "DROP TABLE kinds; DROP DOMAIN seats")


def test_more_than_one_chunk(tmp_path: Path, url: SourceUrl) -> None:
    database.run(
        url.text, f"CREATE VIEW wide AS SELECT i, repeat('x', 1000) AS text FROM generate_series(1, {CHUNK // 400}) i"
    )
    sizes: list[int] = []
    with open_reader(url) as reader:
        rows = reader.read("wide", ["i", "text"], lambda table: sizes.append(table.num_rows))
    assert len(sizes) >= 3
    assert sum(sizes) == rows == CHUNK // 400


def test_infer_and_check(tmp_path: Path, url: SourceUrl) -> None:
    found = infer_contract(url)
    contract = found.contract
    assert contract.source == url.text
    assert {name: table.path for name, table in contract.tables.items()} == {
        name: f"public.{name}" for name in ("accounts", "subscriptions", "usage", "tickets", "churn_events")
    }
    assert contract.tables["usage"].watermark == "updated_at"
    assert contract.tables["tickets"].key == ("ticket_id",)
    assert contract.tables["tickets"].columns["closed_at"].known_at == "closed_recorded_at"
    (tmp_path / "contract.yaml").write_text(found.to_yaml())
    assert load_contract(tmp_path / "contract.yaml") == contract
    bring(contract, url, tmp_path / "extract")
    assert check_source(tmp_path / "extract", contract).passed


def test_the_commands_take_a_url(tmp_path: Path, url: SourceUrl) -> None:
    from churn_platform.cli.main import app

    runner = CliRunner()
    out = tmp_path / "contract.yaml"
    inferred = runner.invoke(app, ["contract", "infer", url.text, "--out", str(out)])
    assert inferred.exit_code == 0, inferred.output
    assert yaml.safe_load(out.read_text())["source"] == url.text
    checked = runner.invoke(app, ["contract", "check", url.text, "--contract", str(out)])
    assert checked.exit_code == 0, checked.output
    assert "usage:" in checked.output


def test_a_schema_is_chosen(url: SourceUrl) -> None:
    database.fill(url.text, company.frames(accounts=12), schema="Crm")
    try:
        found = infer_contract(SourceUrl(f"{url.text}?schema=Crm")).contract
        assert found.tables["usage"].path == "Crm.usage"
        with open_reader(url) as reader:
            assert reader.count("crm.ACCOUNTS") == reader.count('"Crm"."accounts"') == 12
        with pytest.raises(SourceMissingError, match="schema none of the database postgres has no table") as raised:
            infer_contract(SourceUrl(f"{url.text}?schema=none"))
        assert "Crm, public" in raised.value.mend
    finally:
        database.run(url.text, 'DROP SCHEMA "Crm" CASCADE')


def _fails(url: str, root: Path, contract: Contract | None = None) -> SourceError:
    source = parse_source(url)
    assert isinstance(source, SourceUrl)
    with pytest.raises(SourceError) as raised:
        _bring(source, root, contract)
    assert raised.value.mend
    assert "\n" not in str(raised.value)
    return raised.value


def test_options_of_the_url() -> None:
    url = SourceUrl("postgresql:///crm?schema=sales&sslmode=require")
    assert url.without("schema") == "postgresql:///crm?sslmode=require"
    assert SourceUrl("postgresql:///crm?schema=sales").without("schema") == "postgresql:///crm"
    assert (url.database, url.option("schema"), url.place) == ("crm", "sales", "the local socket")
    assert parse_source("postgresql:/u@host/db") == SourceUrl("postgresql://u@host/db")


def test_errors_say_what_to_mend(tmp_path: Path, url: SourceUrl) -> None:
    root, text = tmp_path / "extract", url.text
    assert "There is no database 'none' at 127.0.0.1" in str(_fails(text.replace("/postgres", "/none"), root))
    assert "knows no such user" in str(_fails(text.replace("churn@", "nobody-here@"), root))
    assert "No PostgreSQL server answers at 127.0.0.1:1" in str(_fails("postgresql://churn@127.0.0.1:1/postgres", root))
    assert "There is no host nowhere.invalid" in str(_fails("postgresql://churn@nowhere.invalid/postgres", root))
    missing = database.contract()
    value = plain(missing)
    value["tables"]["tickets"]["path"] = "public.ticket"
    assert "Nearest: public.tickets" in str(_fails(text, root, parse_contract(value)))
    value = plain(missing)
    value["tables"]["usage"]["watermark"] = "changed"
    assert "Name one of: usage_date, ingested_at" in str(_fails(text, root, parse_contract(value)))


def test_a_user_without_permission(tmp_path: Path, url: SourceUrl) -> None:
    database.run(
        url.text, "CREATE ROLE reader LOGIN; GRANT USAGE ON SCHEMA public TO reader; GRANT SELECT ON accounts TO reader"
    )
    try:
        error = _fails(url.text.replace("churn@", "reader@"), tmp_path / "extract")
        assert "may not be read by this user" in str(error)
        assert "GRANT SELECT ON public." in error.mend
    finally:
        database.run(url.text, "DROP OWNED BY reader; DROP ROLE reader")


def test_a_password_comes_from_the_environment_and_is_shown_nowhere(
    tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = server.replace("churn@", "churn:s3cr3t@")
    with pytest.raises(ContractError, match="holds a secret") as raised:
        parse_source(text)
    assert "s3cr3t" not in str(raised.value)
    assert "PGPASSWORD" in raised.value.mend
    with pytest.raises(ContractError) as raised:
        parse_contract({**plain(database.contract()), "source": text})
    assert "s3cr3t" not in str(raised.value)
    monkeypatch.setenv("PGPASSWORD", "s3cr3t")
    database.fill(server, company.frames(accounts=12))
    url = parse_source(server)
    assert isinstance(url, SourceUrl)
    _bring(url, tmp_path / "extract")
    written = [path.read_bytes() for path in (tmp_path / "extract").rglob("*") if path.is_file()]
    assert written
    assert not any(b"s3cr3t" in content for content in written)


def test_a_server_that_asks_for_a_password(tmp_path: Path, url: SourceUrl, monkeypatch: pytest.MonkeyPatch) -> None:
    hba = Path(database.run(url.text, "SHOW hba_file")[0][0])
    before = hba.read_text()
    database.run(url.text, "CREATE ROLE locked LOGIN SUPERUSER PASSWORD 's3cr3t'")
    hba.write_text(f"host all locked 127.0.0.1/32 scram-sha-256\n{before}")
    database.run(url.text, "SELECT pg_reload_conf()")
    text = url.text.replace("churn@", "locked@")
    monkeypatch.setenv("HOME", str(tmp_path))
    try:
        for password in (None, "wr0ng"):
            if password:
                monkeypatch.setenv("PGPASSWORD", password)
            else:
                monkeypatch.delenv("PGPASSWORD", raising=False)
            error = _fails(text, tmp_path / "extract")
            assert "did not accept the password" in str(error)
            assert "wr0ng" not in str(error)
        monkeypatch.setenv("PGPASSWORD", "s3cr3t")
        locked = parse_source(text)
        assert isinstance(locked, SourceUrl)
        assert _bring(locked, tmp_path / "extract")["accounts"].mode == "full"
    finally:
        hba.write_text(before)
        database.run(url.text, "SELECT pg_reload_conf(); DROP ROLE locked")


def test_a_failed_load_leaves_the_copy_as_it_was(
    door: Door, tmp_path: Path, url: SourceUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    from churn_platform.sources import readers_postgres

    root = tmp_path / "extract"
    _bring(url, root)
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}

    def broken(rows: Any, data: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(readers_postgres._Rows, "write", broken)
    with pytest.raises(Exception, match="No space left on device") as raised:
        _bring(url, root, full=True)
    assert "Make space" in str(raised.value)
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before


def test_demo_prepares_and_refreshes_a_database(tmp_path: Path, url: SourceUrl) -> None:
    from churn_platform.cli.demo_source import SourceRequest, prepare
    from churn_platform.cli.output import Stage
    from churn_platform.errors import ConfigurationError
    from churn_platform.records.home import Home
    from churn_platform.sources.location import load_location

    home = Home.open(tmp_path / "home")
    stated = tmp_path / "contract.yaml"
    stated.write_text(dump_contract(parse_contract({**plain(database.contract()), "source": url.text})))
    stage = Stage("source", quiet=True, live=False)
    location = prepare(home, "churn", SourceRequest(contract=stated), stage)  # the contract says where
    assert location.origin == url.text
    assert location.path == home.sources / "churn" / "extract"
    first = location.fingerprints()
    assert prepare(home, "churn", SourceRequest(source=url.text), stage).fingerprints() == first
    database.run(
        url.text, "UPDATE usage SET logins = 99, updated_at = '2024-07-01' WHERE ctid = (SELECT max(ctid) FROM usage)"
    )
    prepare(home, "churn", SourceRequest(), stage)  # what `churn materialize` does
    second = load_location(home, "churn").fingerprints()
    assert {name for name in first if first[name] != second[name]} == {"usage"}
    with pytest.raises(ConfigurationError, match="another source"):
        prepare(home, "churn", SourceRequest(source=f"{url.text}?schema=other"), stage)


def test_rates_in_a_table_of_the_database(door: Door, tmp_path: Path, url: SourceUrl) -> None:
    value: dict[str, Any] = plain(database.contract())
    value["rates"] = {"path": "public.fx", "date": "day", "rate": "usd"}
    value["tables"]["subscriptions"]["currency"] = "EUR"
    contract = parse_contract(value)
    database.run(
        url.text,
        "CREATE TABLE fx (day date, currency char(3), usd numeric(10, 4), PRIMARY KEY (day, currency)); "
        "INSERT INTO fx VALUES ('2024-01-01', 'EUR', 1.1), ('2024-03-01', 'EUR', 1.3), ('2024-01-01', 'JPY', 0.01)",
    )
    files = company.write(company.frames(), tmp_path / "files")
    (files / "fx.csv").write_text("day,currency,usd\n2024-01-01,EUR,1.1\n2024-03-01,EUR,1.3\n2024-01-01,JPY,0.01\n")
    plainly: dict[str, Any] = plain(company.contract())
    plainly["rates"] = {"path": "fx.csv", "date": "day", "rate": "usd"}
    plainly["tables"]["subscriptions"]["currency"] = "EUR"
    expected = door.admit(parse_contract(plainly), files, MONTHS)
    assert expected.digests["subscriptions"] != door.admit(company.contract(), files, MONTHS).digests["subscriptions"]

    root = tmp_path / "extract"
    assert _bring(url, root, contract)["rates"] == Loaded("rates", "full", 3, rows=3)
    assert door.admit(contract, root, MONTHS).digests == expected.digests
    location = SourceLocation(root, contract, dump_contract(contract), tmp_path)
    before = location.fingerprints()
    database.run(url.text, "INSERT INTO fx VALUES ('2024-04-01', 'EUR', 1.4)")
    assert _bring(url, root, contract)["rates"].rows == 4
    after = location.fingerprints()
    assert [name for name in before if before[name] != after[name]] == ["subscriptions"]
    changed = door.admit(contract, root, MONTHS).digests["subscriptions"]
    known = expected.digests["subscriptions"]
    assert changed["2024-04-01"] == known["2024-04-01"], "a later rate changes nothing before it"
    assert changed["2024-06-01"] != known["2024-06-01"]
    database.run(url.text, "DROP TABLE fx")
    with pytest.raises(SourceMissingError, match=r"public\.fx"):
        _bring(url, tmp_path / "again", contract)
