"""``churn contract check``: every broken rule with its share and example keys, and nothing stored."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pandas as pd
from typer.testing import CliRunner

from churn_platform.cli.main import app
from churn_platform.sources.check import check_source
from churn_platform.sources.contract import dump_contract
from tests.sources import company


def test_sound_tables(tmp_path: Path) -> None:
    report = check_source(company.write(company.frames(), tmp_path), company.contract())
    assert report.passed
    assert report.findings == ()
    assert report.rows["usage"] > 500
    assert report.calendar is not None
    assert report.to_json()["passed"] is True


def test_every_flaw_is_listed_with_examples_worst_first(tmp_path: Path) -> None:
    frames = company.frames()
    frames["usage"].loc[frames["usage"].index[:40], "logins"] = -5
    frames["accounts"].loc[frames["accounts"].index[:20], "industry"] = "piracy"
    frames["tickets"].loc[frames["tickets"].index[:2], "closed_recorded_at"] = pd.NaT
    twice = frames["subscriptions"].head(2).assign(mrr=1.0)
    frames["subscriptions"] = pd.concat([frames["subscriptions"], twice, frames["subscriptions"].tail(3)])
    report = check_source(company.write(frames, tmp_path), company.contract())
    assert not report.passed
    found = {(f.table, f.fault.label): f for f in report.findings if f.fault}
    assert set(found) == {
        ("accounts", "industry: allowed"),
        ("usage", "logins: min"),
        ("subscriptions", "subscription_version_id: unique"),
        ("tickets", "closed_at: undated"),
    }
    assert report.findings[0].table == "accounts"
    assert report.findings[0].examples[0] == "ACME-00000"
    logins = found["usage", "logins: min"]
    assert "column logins must not be below 0" in logins.message
    assert logins.examples[0].startswith("ACME-00000 / ")
    assert logins.to_json()["share"] == 40 / len(frames["usage"])
    unique = found["subscriptions", "subscription_version_id: unique"]
    assert unique.fault is not None
    assert unique.fault.rows == 4
    assert unique.examples == ("sv-0-0", "sv-0-1")
    assert report.repeated["subscriptions"] == 3
    assert not found["tickets", "closed_at: undated"].stops
    text = report.to_text()
    assert "[STOPS] Table accounts: column industry must be one of retail, health, but 20 of 30 rows" in text
    assert "For example: sv-0-0, sv-0-1." in text
    assert "[passes] Table tickets: column closed_at has a value without closed_recorded_at" in text
    assert text.endswith("3 of 4 findings stop a table.")


def test_tables_that_cannot_be_read_do_not_hide_the_others(tmp_path: Path) -> None:
    source = company.write(company.frames(), tmp_path)
    (source / "accounts.parquet").unlink()
    frame = pd.read_parquet(source / "churn_events.parquet").drop(columns="kind")
    frame.to_parquet(source / "churn_events.parquet")
    report = check_source(source, company.contract())
    assert [(f.table, f.fault) for f in report.findings] == [("accounts", None), ("churn_events", None)]
    assert "no column 'kind'" in report.findings[1].message
    assert report.rows["usage"] > 500


def test_without_a_contract_the_proposed_one_is_checked(tmp_path: Path) -> None:
    report = check_source(company.write(company.frames(), tmp_path))
    assert report.passed
    assert report.decisions


def test_lines_that_cannot_be_cut_count(tmp_path: Path) -> None:
    source = company.write(company.frames(), tmp_path)
    with (source / "tickets.csv").open("a") as file:
        file.write("only,three,fields\n")
    report = check_source(source, company.contract())
    assert [f.fault.label for f in report.findings if f.fault] == ["line: fields"]
    assert not report.passed


def test_times_to_come_are_a_flaw_with_its_keys(tmp_path: Path) -> None:
    """No table may know what has not happened yet: neither an arrival, nor the time at which a value became known."""
    frames = company.frames()
    tickets = frames["tickets"]
    arrived, closed = tickets.index[:3], tickets.index[tickets["closed_recorded_at"].notna()][-2:]
    tickets.loc[arrived, "ingested_at"] = pd.Timestamp("2199-01-01 10:00")
    tickets.loc[closed, "closed_recorded_at"] = pd.Timestamp("2198-01-01")
    keys = set(tickets.loc[arrived, "ticket_id"])
    source, stated = company.write(frames, tmp_path / "s"), tmp_path / "contract.yaml"
    stated.write_text(dump_contract(company.contract()))
    runner = CliRunner()
    done = runner.invoke(app, ["contract", "check", str(source), "--contract", str(stated), "--json"])
    assert done.exit_code == 1
    found = {(f["table"], f["column"], f["rule"]): f for f in json.loads(done.stdout)["findings"]}
    assert set(found) == {("tickets", "ingested_at", "future"), ("tickets", "closed_recorded_at", "future")}
    arrival = found["tickets", "ingested_at", "future"]
    assert (arrival["rows"], arrival["effect"], arrival["stops"]) == (3, "row", True)
    assert set(arrival["examples"]) == keys
    assert found["tickets", "closed_recorded_at", "future"]["effect"] == "value"
    # three times of the next century move no calendar, and are tolerated where the contract says so
    known = check_source(source, company.contract())
    assert known.calendar is not None
    assert known.calendar.as_of < datetime(2024, 8, 1)  # noqa: DTZ001
    stated.write_text(dump_contract(company.contract(lambda v: v["tables"]["tickets"].update(tolerance=0.5))))
    done = runner.invoke(app, ["contract", "check", str(source), "--contract", str(stated)])
    assert done.exit_code == 0, done.output
    said = " ".join(done.output.split())
    assert "[passes] Table tickets: column ingested_at must not lie in the future" in said
