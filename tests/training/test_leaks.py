"""The leak gate: every kind of leak is found by name or by evidence, and honest data passes."""

from __future__ import annotations

import copy
import csv
import dataclasses
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from churn_platform.errors import ContractError, TrainingError
from churn_platform.features.catalogue import catalogue_for
from churn_platform.features.origin import origins
from churn_platform.records.store import ContentStore
from churn_platform.settings import CHECKOUT
from churn_platform.sources.check import check_source
from churn_platform.sources.contract import Contract, parse_contract
from churn_platform.sources.infer import infer_contract
from churn_platform.sources.simulator import contract as simulator
from churn_platform.sources.tables import TablePart, TableVersion
from churn_platform.training.dataset import build_training_set
from churn_platform.training.leak import apply_reviews
from churn_platform.training.leak_rows import column_leaks, duplicate_leaks, training_leaks
from churn_platform.training.leaks import Leak, contract_leaks, flat_leaks, leak_findings, refuse, table_leaks
from tests.sources import company
from tests.training import synthetic

RNG = np.random.default_rng(3)
N = 4000
Y = (RNG.random(N) < 0.08).astype(np.int8)
GROUP = np.arange(N)


def changed(table: str, column: str, spec: dict[str, Any]) -> Contract:
    return company.contract(lambda value: value["tables"][table]["columns"].update({column: spec}))


def flat(columns: dict[str, dict[str, Any]]) -> Contract:
    return parse_contract(
        {
            "shape": "snapshot",
            "label": {"source": "column", "column": "left_us", "positive": "yes"},
            "tables": {"snapshot": {"path": "flat.csv", "entity": "cid", "key": ["cid"], "columns": columns}},
        }
    )


# By name


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        ("churn_flag", "label"),
        ("IsChurned", "label"),
        ("attrition", "label"),
        ("churn_score", "post_outcome"),
        ("predicted_churn", "post_outcome"),
        ("cancellation_reason", "post_outcome"),
        ("churn_date", "post_outcome"),
        ("exit_survey_comment", "post_outcome"),
        ("ended_at", "post_outcome"),
        ("health_score", "post_outcome"),
        ("ChurnReason", "post_outcome"),
        ("churnreason", "post_outcome"),
        ("exitdate", "post_outcome"),
        ("subscription_ended_on", "post_outcome"),
        ("attrition_risk_decile", "post_outcome"),
    ],
)
def test_names_of_outcomes_are_refused(column: str, kind: str) -> None:
    spec = {"type": "category", "temporality": "immutable"}
    (leak,) = contract_leaks(changed("accounts", column, spec))
    assert (leak.kind, leak.column) == (kind, f"accounts.{column}")
    assert column in leak.evidence
    assert "Take it out of tables.accounts.columns" in leak.mend
    hidden = contract_leaks(changed("accounts", "extra", {**spec, "source": column}))
    assert [leak.column for leak in hidden] == ["accounts.extra"], "another canonical name hides nothing"


@pytest.mark.parametrize(
    "column",
    ["contract_end_date", "renewal_date", "trial_ends_at", "chronic_region", "attributes", "tenure", "weekend"],
)
def test_honest_names_pass(column: str) -> None:
    assert contract_leaks(changed("accounts", column, {"type": "category", "temporality": "immutable"})) == ()


def test_a_time_of_knowledge_makes_an_outcome_usable() -> None:
    spec = {"type": "category", "known_at": "noted_at"}
    assert contract_leaks(changed("accounts", "cancellation_reason", spec)) == ()
    assert contract_leaks(changed("accounts", "churn_flag", {"type": "boolean", "temporality": "current_only"})) == ()
    end = {"type": "timestamp"}
    (leak,) = contract_leaks(changed("subscriptions", "ended_at", end))
    assert leak.column == "subscriptions.ended_at"


def test_an_undeclared_mutable_column_is_an_error() -> None:
    with pytest.raises(
        ContractError, match=r"tables\.accounts\.columns\.tier: say how its value becomes known"
    ) as raised:
        changed("accounts", "tier", {"type": "category"})
    assert "current_only" in raised.value.message
    assert raised.value.mend
    for declared in ({"temporality": "immutable"}, {"temporality": "current_only"}, {"known_at": "tier_set_at"}):
        changed("accounts", "tier", {"type": "category", **declared})
    changed("usage", "tier", {"type": "category"})  # events do not change after they happened


# By evidence


def only(values: Any) -> tuple[Leak, ...]:
    honest = RNG.normal(size=N) + 0.8 * Y
    return column_leaks({"honest": honest, "suspect": values}, Y, GROUP)


def test_a_column_that_ranks_by_itself() -> None:
    score = Y * 2.4 + RNG.normal(size=N)
    (leak,) = only(score + 2.0 * Y)
    assert (leak.kind, leak.column) == ("separates", "suspect")
    assert "AUC of 0.9" in leak.evidence or "AUC of 1.0" in leak.evidence
    (leak,) = only(-(score + 2.0 * Y))
    assert leak.kind == "separates", "in either direction"
    assert only(score) == (), "an AUC of .955 is rare but possible"


def test_a_value_in_the_middle_is_found_too() -> None:
    hidden = np.where(Y == 1, 0.5, np.where(RNG.random(N) < 0.5, 0.0, 1.0)) + 0.01 * RNG.random(N)
    (leak,) = only(hidden)
    assert leak.kind == "separates"


def test_a_value_that_only_leavers_have() -> None:
    reasons = np.where((Y == 1) & (RNG.random(N) < 0.5), "gone quiet", RNG.choice(["a", "b"], N)).astype(object)
    (leak,) = only(reasons)
    assert (leak.kind, leak.column) == ("post_outcome", "suspect")
    assert "'gone quiet'" in leak.evidence or "gone quiet" in leak.evidence


@pytest.mark.parametrize("there", [True, False])
def test_missing_values_that_tell_the_outcome(there: bool) -> None:
    filled = (Y == 1) & (RNG.random(N) < 0.6)
    (leak,) = only(np.where(filled == there, RNG.normal(size=N), np.nan))
    assert leak.kind == "missingness"
    assert ("there" if there else "missing") in leak.evidence


def test_what_is_learned_by_heart_is_no_evidence() -> None:
    assert only(np.asarray([f"id-{i}" for i in range(N)], dtype=object)) == ()
    assert only(RNG.permutation(N).astype(float)) == ()
    assert only(np.full(N, np.nan)) == ()
    assert column_leaks({"x": Y[:30].astype(float)}, Y[:30], GROUP[:30]) == (), "too few to say anything"


def test_copies_told_apart_by_a_running_number() -> None:
    base = {name: RNG.normal(size=N) for name in ("a", "b", "c")}
    observation = np.full(N, "snapshot", dtype=object)
    again = RNG.choice(np.flatnonzero(Y == 1), N // 5)
    take = np.concatenate([np.arange(N), again])
    columns = {name: values[take] for name, values in base.items()}
    columns["number"] = np.arange(len(take)).astype(float)
    many = np.full(len(take), "snapshot", dtype=object)
    (leak,) = duplicate_leaks(columns, Y[take], np.arange(len(take)), many, shape="snapshot")
    assert (leak.kind, leak.column) == ("duplicates", "number")
    honest = {**base, "number": np.arange(N).astype(float)}
    assert duplicate_leaks(honest, Y, GROUP, observation, shape="snapshot") == ()


def test_equal_rows_in_two_groups_and_a_customer_twice() -> None:
    columns = {"a": np.asarray([1.0, 1.0, 2.0]), "b": np.asarray([None, None, "x"], dtype=object)}
    y, observation = np.asarray([0, 0, 1]), np.full(3, "snapshot", dtype=object)
    (leak,) = duplicate_leaks(columns, y, np.asarray([0, 1, 2]), observation, shape="snapshot")
    assert leak.column == "all columns"
    assert duplicate_leaks(columns, y, np.asarray([0, 0, 2]), observation, shape="snapshot") == ()
    month = np.asarray(["2024-01-01", "2024-01-01", "2024-02-01"], dtype=object)
    (leak,) = duplicate_leaks(columns, y, np.asarray([5, 5, 5]), month, shape="relational")
    assert leak.column == "customer_id"
    assert duplicate_leaks(columns, y, np.asarray([5, 6, 5]), month, shape="relational") == ()


def test_times_after_the_arrival_of_their_row(tmp_path: Path) -> None:
    store = ContentStore(tmp_path)
    arrived = [company.START + timedelta(days=d) for d in range(50)]
    columns = {
        "ingested_at": arrived,
        "due_at": [t + timedelta(days=30) for t in arrived],
        "paid_at": [t + timedelta(days=20) if i % 2 else None for i, t in enumerate(arrived)],
        "seen_at": [t - timedelta(days=1) for t in arrived],
    }
    with store.temporary() as path:
        pq.write_table(pa.table({n: pa.array(v, pa.timestamp("us")) for n, v in columns.items()}), path)
        version = TableVersion("tickets", "2024-03-01", (TablePart("2024-03-01", store.put_file(path, move=True), 50),))

    def add(value: dict[str, Any]) -> None:
        value["tables"]["tickets"]["columns"] = {n: {"type": "timestamp"} for n in ("due_at", "paid_at", "seen_at")}

    (leak,) = table_leaks(company.contract(add), {"tickets": version}, store)
    assert (leak.kind, leak.column) == ("future", "tickets.paid_at")
    assert "25 of its 25 times" in leak.evidence
    assert "known_at" in leak.mend


# The gate


def test_only_training_months_are_looked_at(store: ContentStore) -> None:
    world = synthetic.world(store, customers=700, count=9)
    made = build_training_set(world.features, world.labels, synthetic.FEATURES, world.contract, store=store)
    rows = made.load(store)
    assert training_leaks(rows, shape="relational", horizon_days=30, gap_days=0) == ()
    late = rows.observation >= sorted(world.features)[-2]
    told = np.where(late, rows.label * 1.0, rows.columns["nps"])
    leaking = dataclasses.replace(rows, columns={**rows.columns, "nps": told})
    assert training_leaks(leaking, shape="relational", horizon_days=30, gap_days=0) == ()
    everywhere = dataclasses.replace(rows, columns={**rows.columns, "nps": rows.label * 1.0})
    (leak,) = training_leaks(everywhere, shape="relational", horizon_days=30, gap_days=0)
    assert leak.column == "nps"


def test_refusal_names_column_evidence_and_mend() -> None:
    refuse(())
    leaks = [Leak("separates", "plan", "it ranks.", "Take it out."), Leak("label", "x.y", "its name.", "Out.")]
    with pytest.raises(TrainingError) as raised:
        refuse(leaks)
    assert raised.value.field == "plan"
    assert raised.value.mend == "Take it out."
    assert "it ranks." in raised.value.message
    assert "x.y (its name.)" in raised.value.message


def test_the_asset_stops_what_follows() -> None:
    from assets.training import training_set

    (spec,) = [spec for spec in training_set.check_specs if spec.name == "no_leaks"]
    assert spec.blocking


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_a_flat_file_is_checked(tmp_path: Path) -> None:
    rows = [
        {
            "cid": f"c{i}",
            "left_us": "yes" if Y[i] else "no",
            "tenure": int(RNG.integers(0, 70)),
            "fee": round(float(RNG.normal(50, 10)), 2),
            "closing_balance": round(float(RNG.normal(5, 1)), 3) if Y[i] else "",
        }
        for i in range(N)
    ]
    path = written(tmp_path / "flat.csv", rows)
    columns: dict[str, dict[str, Any]] = {"tenure": {"type": "integer"}, "fee": {"type": "number"}}
    honest = check_source(path, flat(columns))
    assert leak_findings(honest, path).passed
    found = leak_findings(check_source(path, flat({**columns, "closing_balance": {"type": "number"}})), path)
    assert not found.passed
    finding = found.findings[0]
    assert (finding.rule, finding.stops) == ("leak", True)
    assert "closing_balance" in finding.message
    assert "left" in finding.message
    assert finding.to_json()["rule"] == "leak"


def test_the_simulators_contract_passes() -> None:
    assert contract_leaks(parse_contract(copy.deepcopy(simulator.contract()))) == ()


def test_telco_passes() -> None:
    root = Path(os.environ.get("CHURN_TEST_DATA") or CHECKOUT.parent / "shared" / "data")
    path = root / "telco_ibm" / "Telco-Customer-Churn.csv"
    if not path.is_file():
        pytest.skip("the real data set telco_ibm is not here; set CHURN_TEST_DATA to its folder")
    assert flat_leaks(infer_contract(path).contract, path) == ()


def test_a_plan_and_a_region_repeat_without_copies() -> None:
    columns = {
        "income": RNG.normal(50, 20, N),
        "plan": RNG.choice(["a", "b", "c"], N).astype(object),
        "region": RNG.choice(["n", "s", "e", "w"], N).astype(object),
    }
    assert duplicate_leaks(columns, Y, GROUP, np.full(N, "snapshot", dtype=object), shape="snapshot") == ()


# Reviews


def test_a_review_lets_a_named_finding_pass_and_no_other(tmp_path: Path) -> None:
    said = "a credit bureau's score of the day of signup; B. Meyer, risk team"
    spec = {"type": "category", "temporality": "immutable"}

    def add(value: dict[str, Any]) -> None:
        columns = value["tables"]["accounts"]["columns"]
        columns |= {"health_score": {**spec, "leak_reviewed": said}, "churn_reason": spec}

    contract = company.contract(add)
    found = apply_reviews(contract_leaks(contract), contract, {})
    assert {leak.column: leak.review for leak in found} == {
        "accounts.health_score": said,
        "accounts.churn_reason": None,
    }
    with pytest.raises(TrainingError) as raised:
        refuse(found)
    assert raised.value.field == "accounts.churn_reason"
    assert "health_score" not in raised.value.message
    assert "tables.accounts.columns.churn_reason: leak_reviewed:" in raised.value.mend
    refuse([leak for leak in found if leak.review])


@pytest.mark.parametrize("text", ["", "ok", "       ok          "])
def test_a_review_says_why_and_who(text: str) -> None:
    with pytest.raises(ContractError, match=r"leak_reviewed needs 10 characters or more") as raised:
        changed("accounts", "tier", {"type": "category", "temporality": "immutable", "leak_reviewed": text})
    assert "tables.accounts.columns.tier" in raised.value.message


def test_a_finding_about_a_feature_leads_to_all_its_columns() -> None:
    contract = parse_contract(copy.deepcopy(simulator.contract()))
    found = origins(contract)
    assert set(found) == {feature.name for feature in catalogue_for(contract)}
    assert found["logins_30d"] == {"usage.logins"}
    assert found["logins_per_seat_30d"] == {"usage.logins", "subscriptions.seats"}
    assert found["active_days_7d"] == {"usage." + str(contract.tables["usage"].event_time)}
    assert all(place.split(".")[0] in contract.tables for places in found.values() for place in places)
    value = copy.deepcopy(simulator.contract())
    value["tables"]["usage"]["columns"]["logins"]["leak_reviewed"] = "counted by the product itself; J. Doe"
    once = parse_contract(value)
    leaks = [Leak("separates", "logins_per_seat_30d", "it ranks.", "Out.")]
    (half,) = apply_reviews(leaks, once, origins(once))
    assert half.review is None, "the seats have not been reviewed"
    assert "tables.subscriptions.columns.seats" in half.mend
    assert "usage.columns.logins" not in half.mend
    value["tables"]["subscriptions"]["columns"]["seats"]["leak_reviewed"] = "from signed contracts; J. Doe"
    both = parse_contract(value)
    (whole,) = apply_reviews(leaks, both, origins(both))
    assert whole.review == "from signed contracts; J. Doe; counted by the product itself; J. Doe"


def test_rows_in_two_folds_cannot_be_let_pass() -> None:
    contract = flat({"x": {"type": "number", "leak_reviewed": "looked at it; J. Doe"}})
    (leak,) = apply_reviews([Leak("duplicates", "all columns", "3 rows.", "Again.")], contract, origins(contract))
    assert leak.review is None
    assert leak.mend == "Again."


def test_a_reviewed_flat_file_passes_and_says_so(tmp_path: Path) -> None:
    rows = [
        {
            "cid": f"c{i}",
            "left_us": "yes" if Y[i] else "no",
            "tenure": int(RNG.integers(0, 70)),
            "closing_balance": round(float(RNG.normal(5, 1)), 3) if Y[i] else "",
        }
        for i in range(N)
    ]
    path = written(tmp_path / "flat.csv", rows)
    said = "a test file in which it may; the authors"
    contract = flat({"tenure": {"type": "integer"}, "closing_balance": {"type": "number", "leak_reviewed": said}})
    report = leak_findings(check_source(path, contract), path)
    assert report.passed
    (finding,) = [finding for finding in report.findings if finding.rule == "leak"]
    assert finding.to_json()["reviewed"] == said
    assert "[passes] Table snapshot: closing_balance: it is there in" in report.to_text()
    assert f"Reviewed: {said}" in report.to_text()


def test_what_was_let_pass_is_told_by_the_training_set(store: ContentStore) -> None:
    world = synthetic.world(store, customers=300, count=6)
    made = build_training_set(world.features, world.labels, synthetic.FEATURES, world.contract, store=store)
    assert made.with_reviewed([], store) is made
    leak = Leak("separates", "nps", "it ranks.", "Out.", review="asked before; J. Doe")
    told = made.with_reviewed([leak.to_json()], store)
    assert told.spec_digest != made.spec_digest
    again = type(made).read(store, told.put(store))
    assert [dict(one) for one in again.reviewed] == [
        {"column": "nps", "kind": "separates", "evidence": "it ranks.", "review": "asked before; J. Doe"}
    ]
    assert again.load(store).label.tolist() == made.load(store).label.tolist()


def test_a_finding_about_a_generated_feature_leads_to_its_columns_too() -> None:
    contract = parse_contract(copy.deepcopy(simulator.contract()))
    found = origins(
        contract, None, ["usage_logins_mean_30d", "usage_logins_sum_trend_7d", "anomaly_score", "logins_30d"]
    )
    assert found["usage_logins_mean_30d"] == {"usage.logins"}
    assert "usage.logins" in found["usage_logins_sum_trend_7d"]
    assert "usage_minutes_mean_30d" not in found
    assert {"usage.logins", "subscriptions.mrr"} <= found["anomaly_score"]
    assert "segment" not in found
    value = copy.deepcopy(simulator.contract())
    value["tables"]["usage"]["columns"]["logins"]["leak_reviewed"] = "counted by the product itself; J. Doe"
    reviewed = parse_contract(value)
    places = origins(reviewed, None, ["usage_logins_mean_30d"])
    (passed,) = apply_reviews([Leak("separates", "usage_logins_mean_30d", "it ranks.", "Out.")], reviewed, places)
    assert passed.review == "counted by the product itself; J. Doe"
