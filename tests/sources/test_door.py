"""The door: revisions, parts, ids, duplicates, idempotence."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest

from churn_platform.errors import ContractError, DataFaultError, SourceMissingError
from churn_platform.records.owner import scratch
from churn_platform.sources.calendar import observe_dates
from churn_platform.sources.tables import TableVersion
from tests.sources import company
from tests.sources.company import at
from tests.sources.conftest import Door, open_door

MONTHS = ("2024-02-01", "2024-03-01", "2024-04-01", "2024-05-01", "2024-06-01")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return company.write(company.frames(), tmp_path / "source")


def _tickets(source: Path, rows: list[dict[str, Any]]) -> None:
    pd.DataFrame(rows).to_csv(source / "tickets.csv", index=False)


def _ticket(**values: Any) -> dict[str, Any]:
    return {
        "account_id": "ACME-00001", "ticket_id": "t-1", "opened_at": "2024-03-10 08:00:00",
        "ingested_at": "2024-03-10 09:00:00", "severity": 2, "escalated": "no", "closed_at": None,
        "closed_recorded_at": None, "csat": None, "csat_recorded_at": None, **values,
    }  # fmt: skip


def _known(door: Door, version: TableVersion, t: datetime) -> list[dict[str, Any]]:
    """What a reader downstream takes: of each row the latest revision known at t."""
    latest: dict[str, dict[str, Any]] = {}
    for row in door.rows(version):
        if row["event_time"] <= t and row["ingested_at"] <= t:
            latest[row["row_id"]] = row
    return list(latest.values())


def test_a_value_is_null_until_it_is_known(door: Door, source: Path) -> None:
    _tickets(
        source,
        [
            _ticket(
                closed_at="2024-03-20", closed_recorded_at="2024-03-21 10:00:00",
                csat=4, csat_recorded_at="2024-04-02 00:00:00",
            )
        ],
    )  # fmt: skip
    admission = door.admit(company.contract(), source, MONTHS, tables=["tickets"])
    versions = admission.versions["tickets"]
    assert [versions[month].rows for month in MONTHS] == [0, 0, 2, 3, 3]
    assert [version.digest for version in versions["2024-03-01"].parts]  # an empty part still has the columns
    assert door.rows(versions["2024-03-01"]) == []
    opened, closed, rated = door.rows(versions["2024-05-01"])
    assert opened["row_id"] == closed["row_id"] == rated["row_id"]
    assert (opened["ingested_at"], opened["closed_at"], opened["csat"]) == (
        at(2024, 3, 10, 9),
        None,
        None,
    )
    assert (closed["ingested_at"], closed["closed_at"]) == (at(2024, 3, 21, 10), at(2024, 3, 20))
    assert (closed["csat"], rated["csat"]) == (None, 4.0)
    (before,) = _known(door, versions["2024-05-01"], at(2024, 3, 21, 9, 59, 59))
    assert before["closed_at"] is None
    (after,) = _known(door, versions["2024-05-01"], at(2024, 3, 21, 10))
    assert after["closed_at"] == at(2024, 3, 20)
    assert set(opened) == {
        "customer_id", "row_id", "event_time", "ingested_at", "severity", "escalated", "closed_at", "csat",
    }  # fmt: skip


def test_what_was_known_at_arrival_needs_one_revision(door: Door, source: Path) -> None:
    _tickets(source, [_ticket(closed_at="2024-03-10 08:30:00", closed_recorded_at="2024-03-10 08:45:00")])
    admission = door.admit(company.contract(), source, MONTHS, tables=["tickets"])
    (row,) = door.rows(admission.current["tickets"])
    # recorded before the row arrived: known to us when it arrived
    assert (row["ingested_at"], row["closed_at"]) == (at(2024, 3, 10, 9), at(2024, 3, 10, 8, 30))


def test_midnight_of_the_first_belongs_to_the_observation(door: Door, source: Path) -> None:
    _tickets(
        source,
        [
            _ticket(ticket_id="a", ingested_at="2024-04-01 00:00:00"),
            _ticket(ticket_id="b", ingested_at="2024-04-01 00:00:00.000001"),
        ],
    )
    versions = door.admit(company.contract(), source, MONTHS, tables=["tickets"]).versions["tickets"]
    assert [versions[month].rows for month in MONTHS] == [0, 0, 1, 2, 2]


def test_current_holds_what_came_after_the_last_observation(door: Door, source: Path) -> None:
    calendar = observe_dates(company.contract(), source)
    admission = door.admit(company.contract(), source, calendar.observations)
    for name, version in admission.current.items():
        last = admission.versions[name][calendar.observations[-1]]
        assert version.parts[: len(last.parts)] == last.parts
        assert version.observation == f"{calendar.as_of:%Y-%m-%d}"
        assert door.store.read_json(admission.current_digests[name]) == version.to_json()
    assert admission.current["usage"].rows > admission.versions["usage"][calendar.observations[-1]].rows


def test_versions_are_records_in_the_store(door: Door, source: Path) -> None:
    admission = door.admit(company.contract(), source, MONTHS, tables=["usage"])
    for month in MONTHS:
        record = door.store.read_json(admission.digests["usage"][month])
        assert TableVersion.from_json(record) == admission.versions["usage"][month]
    with pytest.raises(ValueError, match="table-version/1"):
        TableVersion.from_json({**record, "schema": "table-version/9"})


def test_a_second_load_gives_the_same_digests(door: Door, source: Path) -> None:
    first = door.admit(company.contract(), source, MONTHS)
    # in one file and another order, as one month alone, on one thread: it is the same data
    usage = pd.concat(pd.read_parquet(file) for file in (source / "usage").glob("*.parquet"))
    for file in (source / "usage").glob("*.parquet"):
        file.unlink()
    usage.sample(frac=1, random_state=1).to_parquet(source / "usage" / "all.parquet", index=False)
    second = door.admit(company.contract(), source, MONTHS[-1:])
    for name in company.CONTRACT["tables"]:
        assert second.digests[name][MONTHS[-1]] == first.digests[name][MONTHS[-1]], name
        assert second.current_digests[name] == first.current_digests[name], name


def test_csv_and_parquet_give_the_same_digests(door: Door, source: Path) -> None:
    def as_csv(value: dict[str, Any]) -> None:
        value["tables"]["accounts"]["path"] = "accounts.csv"
        value["tables"]["subscriptions"]["path"] = "subscriptions.csv.gz"

    first = door.admit(company.contract(), source, MONTHS)
    pd.read_parquet(source / "accounts.parquet").to_csv(source / "accounts.csv", index=False, sep=";")
    pd.read_parquet(source / "subscriptions.parquet").to_csv(source / "subscriptions.csv.gz", index=False, sep="\t")
    assert door.admit(company.contract(as_csv), source, MONTHS).digests == first.digests


def test_no_raw_id_leaves_the_door(door: Door, source: Path) -> None:
    bad = pd.read_parquet(source / "accounts.parquet")
    bad.loc[0, "industry"] = "piracy"
    bad.to_parquet(source / "accounts.parquet", index=False)

    def tolerate(value: dict[str, Any]) -> None:
        value["tables"]["accounts"]["tolerance"] = 0.5

    admission = door.admit(company.contract(tolerate), source, MONTHS, expectations=True)
    file = admission.quarantine_files["accounts"]
    held = duckdb.sql(f"SELECT * FROM '{file}'")
    assert held.columns == ["customer_id", "row_id", "event_time", "ingested_at", "effect", "reason"]
    (row,) = held.fetchall()
    assert door.vault.reveal([row[0]]) == [bad.loc[0, "account_id"]]
    tables = [path for table in admission.current.values() for path in table.paths(door.store)]
    for path in [*tables, file]:
        content = "\n".join(str(row) for row in duckdb.sql(f"SELECT * FROM read_parquet('{path}')").fetchall())
        assert "ACME-" not in content
        assert "sub-" not in content  # other ids of the company's are hashed
    for path in door.home.root.rglob("*"):
        if path.is_file() and not path.is_relative_to(door.home.vault):
            assert b"ACME-" not in path.read_bytes(), path
    assert list(door.home.tmp.iterdir()) == []
    assert (door.home.reports / "expectations" / "index.html").is_file()


def test_the_same_customer_has_one_pseudonym_in_every_table(door: Door, source: Path) -> None:
    admission = door.admit(company.contract(), source, MONTHS)
    pseudonym = door.vault.find("ACME-00003")
    accounts = {row["customer_id"] for row in door.rows(admission.current["accounts"])}
    assert pseudonym in accounts
    for name in ("subscriptions", "usage"):
        assert {row["customer_id"] for row in door.rows(admission.current[name])} <= accounts
    subscriptions = door.rows(admission.current["subscriptions"], f"customer_id = '{pseudonym}'")
    assert len({row["subscription_id"] for row in subscriptions}) == 1


def test_ids_are_texts_whatever_the_file_makes_of_them(door: Door, source: Path) -> None:
    accounts = pd.DataFrame({"account_id": ["007", "7"], "created_at": "2024-01-05", "ingested_at": "2024-01-05"})
    accounts = accounts.assign(industry="retail", initial_size="small", plan="pro", owner="x")
    accounts.to_csv(source / "accounts.csv", index=False)

    def as_csv(value: dict[str, Any]) -> None:
        value["tables"]["accounts"]["path"] = "accounts.csv"

    door.admit(company.contract(as_csv), source, MONTHS, tables=["accounts"])
    assert door.vault.find("007") != door.vault.find("7") != None  # noqa: E711
    accounts.assign(account_id=[7.0, 8.0]).to_parquet(source / "accounts.parquet")
    admission = door.admit(company.contract(), source, MONTHS, tables=["accounts"])
    assert door.vault.find("8") in {row["customer_id"] for row in door.rows(admission.current["accounts"])}
    assert door.vault.find("8.0") is None


def test_exact_repetitions_are_dropped_and_counted(door: Door, source: Path) -> None:
    clean = door.admit(company.contract(), source, MONTHS, tables=["usage", "tickets"])
    usage = pd.read_parquet(source / "usage" / "2024-03.parquet")
    usage.head(7).to_parquet(source / "usage" / "again.parquet", index=False)
    tickets = pd.read_csv(source / "tickets.csv")
    pd.concat([tickets, tickets.head(3)]).to_csv(source / "tickets.csv", index=False)
    again = door.admit(company.contract(), source, MONTHS, tables=["usage", "tickets"])
    assert again.dropped == {"usage": 7, "tickets": 3}
    assert again.digests == clean.digests


def test_rows_that_contradict_each_other_are_held_back(door: Door, source: Path) -> None:
    base = [_ticket(ticket_id=f"t-{i}") for i in range(20)]
    _tickets(source, [*base, _ticket(ticket_id="t-3", severity=4)])

    def tolerate(value: dict[str, Any]) -> None:
        value["tables"]["tickets"]["tolerance"] = 0.2

    admission = door.admit(company.contract(tolerate), source, MONTHS, tables=["tickets"])
    assert admission.faults["tickets"] == {"ticket_id: unique": 2}
    assert len(door.rows(admission.current["tickets"])) == 19
    with pytest.raises(DataFaultError, match="ticket_id must be unique") as raised:
        door.admit(company.contract(), source, MONTHS, tables=["tickets"])
    assert raised.value.examples == ("t-3",)


def test_a_later_delivery_is_a_revision_from_its_own_time_on(door: Door, source: Path) -> None:
    base = [_ticket(ticket_id=f"t-{i}") for i in range(20)]
    later = _ticket(ticket_id="t-3", severity=4, ingested_at="2024-05-02 00:00:00")
    again = _ticket(ticket_id="t-4", ingested_at="2024-05-02 00:00:00")

    def tolerate(value: dict[str, Any]) -> None:
        value["tables"]["tickets"]["tolerance"] = 0.2

    _tickets(source, base)
    before = door.admit(company.contract(tolerate), source, MONTHS, tables=["tickets"])
    _tickets(source, [*base, later, again])
    after = door.admit(company.contract(tolerate), source, MONTHS, tables=["tickets"])
    assert after.faults["tickets"] == {}
    assert (after.dropped["tickets"], after.corrected["tickets"]) == (1, 1)
    versions = after.versions["tickets"]
    for month in MONTHS[:-1]:
        assert after.digests["tickets"][month] == before.digests["tickets"][month]
    early, late = (_known(door, versions["2024-06-01"], at(2024, *day)) for day in ((5, 1), (5, 3)))
    assert [row["severity"] for row in early] == [2] * 20
    assert sorted(row["severity"] for row in late) == [2] * 19 + [4]
    assert versions["2024-06-01"].corrected
    assert not versions["2024-05-01"].corrected


def test_deliveries_of_a_row_that_has_grown_become_one(door: Door, source: Path) -> None:
    """Daily dumps repeat a ticket: open, then closed, then closed and rated."""
    closed = {"closed_at": "2024-03-20", "closed_recorded_at": "2024-03-21 10:00:00"}
    rated = {"csat": 4, "csat_recorded_at": "2024-04-02 00:00:00"}
    _tickets(source, [_ticket(**closed, **rated)])
    one = door.admit(company.contract(), source, MONTHS, tables=["tickets"])
    _tickets(source, [_ticket(**closed), _ticket(), _ticket(**closed, **rated)])
    many = door.admit(company.contract(), source, MONTHS, tables=["tickets"])
    assert many.dropped["tickets"] == 2
    assert many.digests == one.digests


def test_without_a_key_equal_rows_are_different_rows(door: Door, source: Path) -> None:
    def keyless(value: dict[str, Any]) -> None:
        value["tables"]["tickets"]["key"] = []

    closed = {"closed_at": "2024-03-20", "closed_recorded_at": "2024-03-21 10:00:00"}
    _tickets(source, [_ticket(), _ticket(), _ticket(severity=3)])
    first = door.admit(company.contract(keyless), source, MONTHS, tables=["tickets"])
    assert first.dropped["tickets"] == 0
    assert len({row["row_id"] for row in door.rows(first.current["tickets"])}) == 3
    _tickets(source, [_ticket(severity=3), _ticket(), _ticket(**closed)])
    second = door.admit(company.contract(keyless), source, MONTHS, tables=["tickets"])
    march = {row["row_id"] for row in door.rows(first.current["tickets"])}
    assert {row["row_id"] for row in door.rows(second.current["tickets"])} == march
    assert len(door.rows(second.current["tickets"])) == 4


def test_times_are_read_in_the_zone_of_their_table(door: Door, source: Path) -> None:
    # 2024-03-10 is the day on which New York's clocks went forward at two
    _tickets(
        source,
        [
            _ticket(ticket_id="a", opened_at="2024-03-10 01:30", ingested_at="2024-03-10 03:30"),
            _ticket(ticket_id="b", opened_at="2024-03-10T01:30:00Z", ingested_at="2024-03-10T03:30:00+02:00"),
        ],
    )

    def local(value: dict[str, Any]) -> None:
        value["tables"]["tickets"]["timezone"] = "America/New_York"

    admission = door.admit(company.contract(local), source, MONTHS, tables=["tickets"])
    utc = [(row["event_time"], row["ingested_at"]) for row in door.rows(admission.current["tickets"])]
    assert utc == [
        (at(2024, 3, 10, 1, 30), at(2024, 3, 10, 1, 30)),
        (at(2024, 3, 10, 6, 30), at(2024, 3, 10, 7, 30)),
    ]


def test_formats_decimal_commas_and_words_for_nothing(door: Door, source: Path) -> None:
    def german(value: dict[str, Any]) -> None:
        tickets = value["tables"]["tickets"]
        tickets["decimal"] = ","
        tickets["columns"]["opened_at"] = {"type": "timestamp", "format": "%d.%m.%Y %H:%M"}
        tickets["columns"]["hours"] = {"type": "number", "missing": ["?"]}

    rows = [_ticket(opened_at="10.03.2024 08:00", hours=h, ticket_id=h) for h in ("1.234,5", "?", "N/A")]
    _tickets(source, rows)
    admission = door.admit(company.contract(german), source, MONTHS, tables=["tickets"])
    hours = sorted(str(row["hours"]) for row in door.rows(admission.current["tickets"]))
    assert hours == ["1234.5", "None", "None"]
    assert door.rows(admission.current["tickets"])[0]["event_time"] == at(2024, 3, 10, 8)


def test_columns_named_like_our_own_steps(door: Door, source: Path) -> None:
    accounts = pd.read_parquet(source / "accounts.parquet")
    accounts.rename(columns={"industry": "event", "initial_size": "c0"}).to_parquet(source / "accounts.parquet")

    def rename(value: dict[str, Any]) -> None:
        columns = value["tables"]["accounts"]["columns"]
        columns["industry"]["source"] = "event"
        columns["initial_size"]["source"] = "c0"
        columns["known"] = {"type": "category", "source": "owner", "temporality": "immutable"}

    admission = door.admit(company.contract(rename), source, MONTHS, tables=["accounts"])
    rows = door.rows(admission.current["accounts"])
    assert {row["industry"] for row in rows} == {"retail", "health"}
    assert {row["initial_size"] for row in rows} == {"small", "large"}


def test_what_cannot_be_asked_for(door: Door, source: Path) -> None:
    contract = company.contract()
    for observation in ("2024-03-02", "snapshot", "March", "20240301"):
        with pytest.raises(ContractError, match="is no observation date of the relational shape"):
            door.admit(contract, source, [observation])
    with pytest.raises(ContractError, match="The contract has no table invoices"):
        door.admit(contract, source, MONTHS, tables=["invoices"])
    (source / "accounts.parquet").unlink()
    with pytest.raises(SourceMissingError, match=r"tables\.accounts\.path"):
        door.admit(contract, source, MONTHS)


def test_a_date_cannot_be_a_number(door: Door, source: Path) -> None:
    def wrong(value: dict[str, Any]) -> None:
        age = {"type": "number", "source": "created_at", "temporality": "immutable"}
        value["tables"]["accounts"]["columns"]["age"] = age

    with pytest.raises(ContractError, match=r"tables\.accounts\.columns\.age: the file holds TIMESTAMP"):
        door.admit(company.contract(wrong), source, MONTHS)


def test_leftovers_of_a_killed_load_are_removed(door: Door, source: Path) -> None:
    mine = scratch("door", door.home.tmp)
    left = mine.with_name(mine.name.replace(f"-{os.getpid()}-", "-4194999-", 1))
    left.mkdir()
    (left / "spilled").write_text("ACME-00001")
    door.admit(company.contract(), source, MONTHS, tables=["accounts"])
    assert not left.exists()
    assert mine.exists()


def test_progress_names_the_tables(door: Door, source: Path) -> None:
    said: list[tuple[str, float]] = []
    door.admit(company.contract(), source, MONTHS, progress=lambda stage, share: said.append((stage, share)))
    assert [stage.split()[-1] for stage, _ in said] == list(company.CONTRACT["tables"])
    assert all(0 <= share <= 1 for _, share in said)


def test_memory_and_threads_come_from_the_settings(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from churn_platform import settings

    door = open_door(tmp_path / "home")
    two = door.admit(company.contract(), source, MONTHS)
    monkeypatch.setenv("CHURN_THREADS", "1")
    monkeypatch.setenv("CHURN_MEMORY_LIMIT", "100MB")
    settings.reload()
    try:
        assert door.admit(company.contract(), source, MONTHS).digests == two.digests
    finally:
        monkeypatch.undo()
        settings.reload()
