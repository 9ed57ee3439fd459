"""Inference against what people say of five data sets: at least 90 % of the roles must be right in each."""

from __future__ import annotations

import shutil
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from churn_platform.sources.contract import Contract, load_contract, parse_contract
from churn_platform.sources.infer import Inference, infer_contract
from tests.sources.test_infer import data

ENOUGH = 0.9
Roles = dict[str, Any]

TELCO: Roles = {
    "shape": "snapshot",
    "label.column": "Churn",
    "label.positive": "Yes",
    "value_column": "MonthlyCharges",
    "snapshot.entity": "customerID",
    "snapshot.key": ("customerID",),
    **{f"snapshot.{name}.type": "category" for name in (
        "gender", "SeniorCitizen", "Partner", "Dependents", "PhoneService", "MultipleLines", "InternetService",
        "OnlineSecurity", "OnlineBackup", "DeviceProtection", "TechSupport", "StreamingTV", "StreamingMovies",
        "Contract", "PaperlessBilling", "PaymentMethod",
    )},
    "snapshot.tenure.type": "integer",
    "snapshot.MonthlyCharges.type": "number",
    "snapshot.TotalCharges.type": "number",
}  # fmt: skip
ONLINE_RETAIL: Roles = {
    "shape": "relational",
    "label.source": "inactivity",
    "label.activity": "orders",
    "label.horizon_days": 90,
    "orders.entity": "CustomerID",
    "orders.key": (),
    "orders.event_time": "InvoiceDate",
    "orders.ingested_at": None,
    "orders.order_id.source": "InvoiceNo",
    "orders.order_id.type": "text",
    "orders.product_id.source": "StockCode",
    "orders.product_id.type": "text",
    "orders.quantity.source": "Quantity",
    "orders.quantity.type": "integer",
    "orders.unit_price.source": "UnitPrice",
    "orders.unit_price.type": "number",
    "orders.Country.type": "category",
    "orders.Description": None,
}
CDNOW: Roles = {
    "shape": "relational",
    "label.source": "inactivity",
    "label.activity": "orders",
    "orders.header": False,
    "orders.delimiter": "whitespace",
    "orders.names": ("customer_id", "date", "quantity", "amount"),
    "orders.entity": "customer_id",
    "orders.key": (),
    "orders.event_time": "date",
    "orders.ingested_at": None,
    "orders.date.format": "%Y%m%d",
    "orders.quantity.type": "integer",
    "orders.amount.type": "number",
}
RAVENSTACK: Roles = {
    "shape": "relational",
    "label.source": "churn_events",
    "label.kind_column": "reason",
    "label.flag_column": "churn_flag",
    "accounts.entity": "account_id",
    "accounts.key": ("account_id",),
    "accounts.event_time": "signup_date",
    "accounts.ingested_at": None,
    "accounts.industry.temporality": "immutable",
    "accounts.country.temporality": "immutable",
    "accounts.signup_channel.source": "referral_source",
    "accounts.plan.temporality": "current_only",
    "accounts.seats.temporality": "current_only",
    "accounts.seats.type": "integer",
    "accounts.is_trial.temporality": "current_only",
    "accounts.is_trial.type": "boolean",
    "accounts.account_name": None,
    "accounts.churn_flag": None,
    "subscriptions.entity": "account_id",
    "subscriptions.key": ("subscription_id",),
    "subscriptions.event_time": "start_date",
    "subscriptions.plan.source": "plan_tier",
    "subscriptions.mrr.source": "mrr_amount",
    "subscriptions.ended_at.source": "end_date",
    "subscriptions.ended_at.known_at": "end_date",
    "subscriptions.billing_period.source": "billing_frequency",
    "subscriptions.churn_flag": None,
    "usage.entity": None,
    "usage.via.table": "subscriptions",
    "usage.via.on": "subscription_id",
    "usage.key": ("usage_id",),
    "usage.event_time": "usage_date",
    "usage.core_actions.source": "usage_count",
    "usage.errors.source": "error_count",
    "usage.is_beta_feature.type": "boolean",
    "tickets.entity": "account_id",
    "tickets.key": ("ticket_id",),
    "tickets.event_time": "submitted_at",
    "tickets.closed_at.known_at": "closed_at",
    "tickets.csat.source": "satisfaction_score",
    "tickets.csat.known_at": "closed_at",
    "tickets.priority.type": "category",
    "tickets.severity.source": "priority",
    "churn_events.entity": "account_id",
    "churn_events.key": ("churn_event_id",),
    "churn_events.event_time": "churn_date",
    "churn_events.reason.source": "reason_code",
    "churn_events.refund_amount_usd.type": "number",
    "churn_events.feedback_text": None,
}


def roles_of(contract: Contract) -> Roles:
    """What a contract says that a test of inference may ask for."""
    found: Roles = {"shape": contract.shape, "value_column": contract.value_column}
    found |= {f"label.{name}": value for name, value in contract.label.model_dump().items()}
    for name, table in contract.tables.items():
        plain = table.model_dump(exclude={"columns", "via"})
        found |= {f"{name}.{field}": value for field, value in plain.items()}
        if table.via is not None:
            found |= {f"{name}.via.table": table.via.table, f"{name}.via.on": table.via.on}
        for column, spec in table.columns.items():
            found |= {f"{name}.{column}.{field}": value for field, value in spec.model_dump().items()}
            found[f"{name}.{column}"] = spec.type
            found[f"{name}.{column}.source"] = spec.source or column
    return found


def share_right(inference: Inference, expected: Roles) -> tuple[float, dict[str, tuple[Any, Any]]]:
    """The share of roles that are as expected, and those that are not: (expected, found)."""
    found = roles_of(inference.contract)
    wrong = {role: (value, found.get(role)) for role, value in expected.items() if found.get(role) != value}
    return 1 - len(wrong) / len(expected), wrong


def _simulated(folder: Path) -> tuple[Path, Roles]:
    from churn_platform.sources.simulator.simulate import simulate
    from churn_platform.sources.simulator.spec import SimulationSpec

    simulate(SimulationSpec(accounts=300, months=8, seed=3), folder / "simulated")
    source = folder / "plain"
    shutil.copytree(folder / "simulated", source, ignore=shutil.ignore_patterns("contract.yaml", "truth", "*.json"))
    truth = roles_of(load_contract(folder / "simulated" / "contract.yaml"))
    fields = ("entity", "key", "event_time", "ingested_at", "type", "temporality", "known_at", "source")
    asked = {role: value for role, value in truth.items() if role.rsplit(".", 1)[-1] in fields}
    for role in ("label.source", "label.kind_column", "label.voluntary", "label.involuntary"):
        asked[role] = truth[role]
    return source, asked


def _source(name: str, folder: Path) -> tuple[Path, Roles]:
    if name == "simulator":
        return _simulated(folder)
    if name == "telco":
        return data("telco_ibm", "Telco-Customer-Churn.csv"), TELCO
    if name == "online_retail":
        with tarfile.open(data("online_retail", "by-day.tar.gz")) as archive:
            archive.extractall(folder, filter="data")
        return next(folder.rglob("*.csv")).parent, ONLINE_RETAIL
    if name == "cdnow":
        with zipfile.ZipFile(data("cdnow", "CDNOW_master.zip")) as archive:
            archive.extractall(folder)  # noqa: S202 - a data set of ours
        return next(folder.rglob("CDNOW_master.txt")).parent, CDNOW
    return data("ravenstack"), RAVENSTACK


@pytest.mark.parametrize("name", ["simulator", "telco", "online_retail", "cdnow", "ravenstack"])
def test_roles(name: str, tmp_path: Path) -> None:
    source, expected = _source(name, tmp_path)
    inference = infer_contract(source)
    share, wrong = share_right(inference, expected)
    assert share >= ENOUGH, wrong
    assert all(decision.reason for decision in inference.decisions)
    text = inference.to_yaml()
    assert parse_contract(yaml.safe_load(text)) == inference.contract
    for decision in inference.decisions:
        assert decision.comment in text
        if decision.line is not None:
            assert f"# {decision.line}" in text


def test_what_cannot_be_known_is_a_line_to_edit(tmp_path: Path) -> None:
    (tmp_path / "orders.csv").write_text(
        "customer_id,order_date,amount\n" + "".join(f"C{i % 7},2024-0{1 + i % 9}-01,{i}.5\n" for i in range(60))
    )
    text = infer_contract(tmp_path).to_yaml()
    assert "    # ingested_at: COLUMN" in text.splitlines()
    assert "assumed: who buys nothing for 90 days has left. DOUBT" in text
    edited = text.replace("# ingested_at: COLUMN", "ingested_at: order_date")
    assert parse_contract(yaml.safe_load(edited)).tables["orders"].ingested_at == "order_date"
