"""``churn contract check``: every broken rule with its share and example keys, and nothing stored."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from churn_platform.sources.check import check_source
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
