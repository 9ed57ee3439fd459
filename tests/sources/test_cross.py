"""Rules between tables: what they find, what they leave alone, and that they never take a row out."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from churn_platform.errors import ContractError, DataFaultError
from churn_platform.sources.check import CheckReport, check_source
from churn_platform.sources.contract import Contract, parse_contract
from churn_platform.sources.cross import check_cleaned, stop_where_they_contradict
from tests.sources import company
from tests.sources.conftest import Door
from tests.sources.test_infer import data

MONTHS = ("2024-03-01", "2024-06-01")


def _with_subscription(value: dict[str, Any]) -> None:
    """Usage names only its subscription, as some trackers do."""
    usage = value["tables"]["usage"]
    del usage["entity"]
    usage["via"] = {"table": "subscriptions", "on": "subscription_id"}
    usage["key"] = ["subscription_id", "usage_date"]
    usage["columns"]["subscription_id"] = {"type": "text"}


def _frames_by_subscription() -> company.Frames:
    frames = company.frames()
    number = frames["usage"]["account_id"].str[-5:].astype(int)
    frames["usage"] = frames["usage"].assign(subscription_id="sub-" + number.astype(str)).drop(columns="account_id")
    return frames


def _flagged(value: dict[str, Any]) -> None:
    value["label"]["flag_column"] = "left"


def _found(report: CheckReport) -> dict[str, tuple[int, int, bool]]:
    return {f.fault.label: (f.fault.rows, f.fault.total, f.stops) for f in report.findings if f.fault}


def test_ravenstack_is_refused_with_its_shares_and_examples() -> None:
    report = check_source(data("ravenstack"))
    assert not report.passed
    shares = {(f.table, f.fault.rule): f for f in report.findings if f.fault}
    before = shares["usage", "before_subscription"]
    assert before.fault is not None
    assert before.fault.share == pytest.approx(0.766, abs=0.0005)
    assert before.stops
    assert all(key.startswith("U-") for key in before.examples)
    tickets = shares["tickets", "before_signup"]
    assert tickets.fault is not None
    assert tickets.fault.share == pytest.approx(0.5385)
    assert all(key.startswith("T-") for key in tickets.examples)
    flags = shares["accounts", "flag_agrees"]
    assert flags.fault is not None
    assert 1 - flags.fault.share == pytest.approx(0.376)
    text = report.to_text()
    for said in ("76.6 %", "53.8 %", "They agree for 37.6 %"):
        assert said in text


def test_sound_tables_break_none(tmp_path: Path) -> None:
    report = check_source(company.write(_frames_by_subscription(), tmp_path), company.contract(_with_subscription))
    assert report.findings == ()
    assert report.rows["usage"] > 500


def test_each_contradiction_is_found(tmp_path: Path) -> None:
    frames = _frames_by_subscription()
    subscriptions, usage, tickets = frames["subscriptions"], frames["usage"], frames["tickets"]
    ended = subscriptions[subscriptions["ended_at"].notna()].iloc[0]
    first = usage[usage["subscription_id"] == ended["subscription_id"]].index
    usage.loc[first[0], "usage_date"] = ended["ended_at"] + timedelta(days=3)
    usage.loc[first[0], "ingested_at"] = ended["ended_at"] + timedelta(days=4)
    usage.loc[first[1], "usage_date"] -= timedelta(days=400)
    tickets.loc[tickets.index[:3], "opened_at"] -= timedelta(days=400)
    stranger = frames["churn_events"].head(1).assign(account_id="ACME-99999", churn_event_id="ce-x")
    frames["churn_events"] = pd.concat([frames["churn_events"], stranger])
    gone = set(frames["churn_events"]["account_id"])
    left = frames["accounts"]["account_id"].isin(gone)
    left.iloc[:4] = ~left.iloc[:4]
    frames["accounts"]["left"] = left

    def change(value: dict[str, Any]) -> None:
        _with_subscription(value)
        _flagged(value)

    report = check_source(company.write(frames, tmp_path), company.contract(change))
    rows, events = report.rows, len(frames["churn_events"])
    assert _found(report) == {
        "usage_date: after_subscription": (1, rows["usage"], False),
        "usage_date: before_subscription": (1, rows["usage"], False),
        "usage_date: before_signup": (1, rows["usage"], False),
        "opened_at: before_signup": (3, rows["tickets"], True),
        "account_id: unknown_customer": (1, events, True),
        "left: flag_agrees": (4, rows["accounts"], True),
    }
    examples = {f.fault.rule: f.examples for f in report.findings if f.fault}
    assert examples["unknown_customer"] == ("ce-x",)
    assert examples["flag_agrees"] == tuple(f"ACME-0000{i}" for i in range(4))
    assert examples["after_subscription"][0].startswith(f"{ended['subscription_id']} / ")


def test_a_customer_whose_row_is_held_back_is_known_all_the_same(tmp_path: Path) -> None:
    frames = company.frames()
    frames["accounts"].loc[frames["accounts"].index[:2], "industry"] = "piracy"
    report = check_source(company.write(frames, tmp_path), company.contract())
    assert set(_found(report)) == {"industry: allowed"}


def test_without_a_subscriptions_id_only_what_follows_the_last_end_is_outside(tmp_path: Path) -> None:
    frames = company.frames()
    accounts = frames["accounts"].set_index("account_id")["created_at"]
    trial = frames["usage"].head(1).copy()
    customer = trial["account_id"].iloc[0]
    later = frames["subscriptions"]["account_id"] == customer
    frames["subscriptions"].loc[later, "started_at"] = accounts[customer] + timedelta(days=60)
    frames["subscriptions"].loc[later, "ended_at"] = pd.NaT
    frames["subscriptions"].loc[later, "ended_recorded_at"] = pd.NaT
    frames["churn_events"] = frames["churn_events"][frames["churn_events"]["account_id"] != customer]
    report = check_source(company.write(frames, tmp_path), company.contract())
    assert "usage_date: after_subscription" not in _found(report)
    assert "usage_date: before_subscription" not in _found(report)


def test_days_are_compared_in_the_zone_of_their_table(tmp_path: Path) -> None:
    # In Auckland the first ticket is opened on the day of the signup, which in UTC is the day before
    frames = company.frames()
    created = pd.Timestamp("2024-02-10 00:30")
    frames["accounts"]["created_at"] = created
    frames["accounts"]["ingested_at"] = created
    moments = {"opened_at": pd.Timestamp("2024-02-10 08:00"), "ingested_at": pd.Timestamp("2024-02-10 09:00")}
    nothing = dict.fromkeys(("closed_at", "closed_recorded_at", "csat", "csat_recorded_at"), None)
    frames["tickets"] = frames["tickets"].head(5).assign(account_id="ACME-00001", **moments, **nothing)
    frames["usage"] = frames["usage"][frames["usage"]["usage_date"] > created]
    frames["churn_events"] = frames["churn_events"][frames["churn_events"]["effective_at"] > created]

    def local(value: dict[str, Any]) -> None:
        value["tables"]["tickets"]["timezone"] = "Pacific/Auckland"

    report = check_source(company.write(frames, tmp_path), company.contract(local))
    assert "opened_at: before_signup" not in _found(report)


@pytest.mark.parametrize(("tolerance", "stops"), [(0.01, True), (0.5, False), (1.0, False)])
def test_the_tolerance_is_the_tables(tmp_path: Path, tolerance: float, stops: bool) -> None:
    frames = company.frames()
    frames["tickets"].loc[frames["tickets"].index[:20], "opened_at"] -= timedelta(days=400)

    def change(value: dict[str, Any]) -> None:
        value["tables"]["tickets"]["cross_tolerance"] = tolerance

    report = check_source(company.write(frames, tmp_path), company.contract(change))
    assert _found(report)["opened_at: before_signup"][2] is stops


def _cleaned(door: Door, contract: Contract, source: Path) -> Any:
    admission = door.admit(contract, source, MONTHS)
    return admission, check_cleaned(
        contract, admission.current, source=source, store=door.store, vault=door.vault, home=door.home
    )


def test_behind_the_door_the_same_is_found_and_nothing_is_taken_out(door: Door, tmp_path: Path) -> None:
    frames = _frames_by_subscription()
    frames["tickets"].loc[frames["tickets"].index[:20], "opened_at"] -= timedelta(days=400)
    gone = set(frames["churn_events"]["account_id"])
    frames["accounts"]["left"] = ~frames["accounts"]["account_id"].isin(gone)

    def change(value: dict[str, Any]) -> None:
        _with_subscription(value)
        _flagged(value)

    source, contract = company.write(frames, tmp_path / "source"), company.contract(change)
    admission, found = _cleaned(door, contract, source)
    report = check_source(source, contract)
    assert {(f.fault.label, f.fault.rows, f.fault.total) for f in found} == {
        (label, rows, total) for label, (rows, total, _) in _found(report).items()
    }
    tickets = {row["row_id"] for row in door.rows(admission.current["tickets"])}
    assert len(tickets) == len(frames["tickets"])
    with pytest.raises(DataFaultError, match="must be true for the customers that churn_events name") as raised:
        stop_where_they_contradict(found, door.vault)
    assert "ACME" not in str(raised.value)
    assert all(key.startswith("ACME-") for key in raised.value.examples)
    assert raised.value.share == 1.0
    stop_where_they_contradict([f for f in found if not f.fault.stops], door.vault)


def test_customers_through_another_table(door: Door, tmp_path: Path) -> None:
    plain = door.admit(company.contract(), company.write(company.frames(), tmp_path / "plain"), MONTHS)
    source = company.write(_frames_by_subscription(), tmp_path / "source")
    contract = company.contract(_with_subscription)
    led = door.admit(contract, source, MONTHS, tables=["usage"], calendar=plain.calendar)

    def rows(version: Any) -> set[tuple[Any, ...]]:
        return {(row["customer_id"], row["event_time"], row["logins"]) for row in door.rows(version)}

    assert rows(led.current["usage"]) == rows(plain.current["usage"])
    assert led.quarantined == {"usage": 0}


def test_nobody_knows_whose_a_row_is_before_the_row_that_says_so(door: Door, tmp_path: Path) -> None:
    frames = _frames_by_subscription()
    subscription = str(frames["usage"]["subscription_id"].iloc[0])
    late = pd.Timestamp("2024-05-20")
    frames["subscriptions"].loc[frames["subscriptions"]["subscription_id"] == subscription, "ingested_at"] = late
    source = company.write(frames, tmp_path / "source")
    contract = company.contract(_with_subscription)
    admission = door.admit(contract, source, MONTHS)
    account = f"ACME-{int(subscription.removeprefix('sub-')):05d}"
    pseudonym = door.vault.find(account)
    known = door.rows(admission.current["usage"], f"customer_id = '{pseudonym}'")
    assert known
    assert min(row["ingested_at"] for row in known) >= late
    march = door.rows(admission.versions["usage"]["2024-03-01"], f"customer_id = '{pseudonym}'")
    assert march == []


def test_a_key_that_leads_nowhere_or_to_two_is_held_back(door: Door, tmp_path: Path) -> None:
    frames = _frames_by_subscription()
    frames["usage"].loc[frames["usage"].index[0], "subscription_id"] = "sub-none"
    twice = frames["subscriptions"][frames["subscriptions"]["subscription_id"] == "sub-1"].head(1)
    twice = twice.assign(account_id="ACME-00002", subscription_version_id="sv-twice")
    frames["subscriptions"] = pd.concat([frames["subscriptions"], twice])
    lost = 1 + int((frames["usage"]["subscription_id"] == "sub-1").sum())

    def tolerate(value: dict[str, Any]) -> None:
        _with_subscription(value)
        value["tables"]["usage"]["tolerance"] = 0.5

    source = company.write(frames, tmp_path / "source")
    admission = door.admit(company.contract(tolerate), source, MONTHS)
    assert admission.faults["usage"] == {"subscription_id: via": lost}
    with pytest.raises(DataFaultError, match="must lead to one customer in subscriptions"):
        door.admit(company.contract(_with_subscription), source, MONTHS)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda v: v["tables"]["usage"].update(via={"table": "subscriptions", "on": "x"}), "give one of the two"),
        (
            lambda v: (v["tables"]["usage"].pop("entity"), v["tables"]["usage"].update(via={"table": "no", "on": "x"})),
            "'no' names no customer; choose of accounts",
        ),
        (
            lambda v: (v["tables"]["accounts"].pop("entity"), v["tables"]["accounts"].update(
                via={"table": "usage", "on": "x"})),
            "accounts name their customers themselves",
        ),
        (
            lambda v: (
                v["label"].update(flag_column="gone"), v["tables"]["accounts"]["columns"].update(
                    gone={"type": "boolean", "temporality": "immutable"})
            ),
            "the flag may not be a feature",
        ),
    ],
)  # fmt: skip
def test_contracts_that_do_not_hold(change: Callable[[dict[str, Any]], Any], says: str) -> None:
    with pytest.raises(ContractError, match=says):
        company.contract(change)


def test_yaml_reads_on_as_true_and_that_is_understood() -> None:
    import copy

    import yaml

    value = copy.deepcopy(company.CONTRACT)
    _with_subscription(value)
    value["tables"]["usage"]["via"] = yaml.safe_load("{table: subscriptions, on: subscription_id}")
    via = parse_contract(value).tables["usage"].via
    assert via is not None
    assert via.on == "subscription_id"


def test_merged_accounts_lead_to_one_that_is_there(door: Door, tmp_path: Path) -> None:
    def change(value: dict[str, Any]) -> None:
        value["tables"]["accounts"]["columns"]["merged_into"] = {"type": "text", "known_at": "merged_at"}
        value["tables"]["accounts"]["cross_tolerance"] = 0.9

    frames = company.frames()
    ids = sorted(frames["accounts"]["account_id"])
    into = {ids[0]: ids[1], ids[1]: ids[2], ids[3]: ids[4], ids[4]: ids[3], ids[5]: "ACME-gone", ids[6]: ids[6]}
    accounts = frames["accounts"]
    frames["accounts"] = accounts.assign(
        merged_into=accounts["account_id"].map(into),
        merged_at=accounts["ingested_at"].where(accounts["account_id"].isin(into)) + timedelta(days=1),
    )
    source = company.write(frames, tmp_path / "s")
    contract = company.contract(change)
    report = check_source(source, contract)
    (found,) = [f for f in report.findings if f.fault and f.fault.rule == "no_survivor"]
    assert found.fault is not None
    assert (found.fault.rows, found.fault.total) == (4, 6)
    assert set(found.examples) == {ids[3], ids[4], ids[5], ids[6]}
    admission = door.admit(contract, source, MONTHS)
    (kept,) = [
        one
        for one in check_cleaned(
            contract, admission.current, source=source, store=door.store, vault=door.vault, home=door.home
        )
        if one.fault.rule == "no_survivor"
    ]
    assert (kept.fault.rows, kept.fault.total) == (4, 6)
