"""The contract: what it takes, what it refuses and how it says so."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from churn_platform.errors import ContractError, SourceMissingError
from churn_platform.sources.contract import (
    Column,
    Contract,
    Label,
    Table,
    dump_contract,
    json_schema,
    load_contract,
    parse_contract,
)
from tests.sources import company

SNAPSHOT: dict[str, Any] = {
    "shape": "snapshot",
    "label": {"source": "column", "column": "Churn", "positive": "Yes"},
    "tables": {
        "snapshot": {
            "path": "flat.csv",
            "entity": "customerID",
            "key": ["customerID"],
            "columns": {"tenure": {"type": "integer", "min": 0}, "plan": {"type": "category"}},
        }
    },
}


def test_round_trip(tmp_path: Path) -> None:
    for contract in (company.contract(), parse_contract(SNAPSHOT)):
        path = tmp_path / "contract.yaml"
        path.write_text(dump_contract(contract))
        assert load_contract(path) == contract


def test_every_field_of_the_form_is_read() -> None:
    table = company.contract().tables["subscriptions"]
    assert table.columns["seats"].source == "n_seats"
    assert table.source_of("seats") == "n_seats"
    assert table.source_of("started_at") == "started_at"
    assert table.helpers == ("ended_recorded_at",)
    assert company.contract().label.mature_after_days == 37
    assert company.contract().lead_days("subscriptions") == 400
    assert company.contract().lead_days("usage") == 1


def test_what_the_door_passes() -> None:
    def change(value: dict[str, Any]) -> None:
        columns = value["tables"]["tickets"]["columns"]
        columns["closed_recorded_at"] = {"type": "timestamp"}
        columns["handled_at"] = {"type": "timestamp", "source": "csat_recorded_at"}
        columns["reopened_at"] = {"type": "timestamp", "known_at": "reopened_at"}

    contract = company.contract(change)
    passed = set(contract.tables["tickets"].passed)
    # the times at which others became known would tell the future, under whatever name
    assert passed == {"severity", "escalated", "closed_at", "csat", "reopened_at"}
    assert set(contract.tables["accounts"].passed) == {"industry", "initial_size"}


def _set(*path: str, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(value: dict[str, Any]) -> None:
        for key in path[:-1]:
            value = value[key]
        value[path[-1]] = to

    return change


def _drop(*path: str) -> Callable[[dict[str, Any]], None]:
    def change(value: dict[str, Any]) -> None:
        for key in path[:-1]:
            value = value[key]
        del value[path[-1]]

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_set("tables", "usage", "colour", to=1), "tables.usage.colour: there is no such field"),
        (_set("tables", "refunds", to={"path": "x"}), "tables.refunds: no such table in the relational shape"),
        (
            _set("tables", to={"tickets": {"path": "t.csv", "entity": "account_id", "event_time": "opened_at"}}),
            "tables.accounts: the relational shape needs",
        ),
        (_drop("tables", "churn_events"), "tables.churn_events: label.source says churn_events"),
        (_drop("tables", "usage", "path"), "tables.usage.path: is missing"),
        (_drop("tables", "usage", "entity"), "tables.usage.entity: name the column"),
        (_drop("tables", "usage", "event_time"), "tables.usage.event_time: name the column"),
        (_set("tables", "usage", "path", to="/etc/usage"), "tables.usage.path: must stay inside the source"),
        (_set("tables", "usage", "path", to="../usage"), "tables.usage.path: must stay inside the source"),
        (
            _set("tables", "usage", "timezone", to="Mars/Base"),
            "tables.usage.timezone: 'Mars/Base' is no zone",
        ),
        (_set("tables", "usage", "tolerance", to=1.5), "tables.usage.tolerance"),
        (
            _set("tables", "usage", "columns", "logins", "type", to="float"),
            "tables.usage.columns.logins.type",
        ),
        (_set("tables", "usage", "columns", "logins", "max", to=-1), "min 0 is above max -1"),
        (
            _set("tables", "usage", "columns", "logins", "effective", to=["a"]),
            "tables.usage.columns.logins.effective",
        ),
        (
            _set("tables", "tickets", "columns", "csat", "temporality", to="immutable"),
            "state only one of temporality and known_at",
        ),
        (
            _set("tables", "usage", "columns", "customer_id", to={"type": "text"}),
            "tables.usage.columns.customer_id: the name is the platform's own",
        ),
        (
            _set("tables", "usage", "columns", "Logins", to={"type": "integer"}),
            "tables.usage.columns: logins differ only in case",
        ),
        (_set("tables", "tickets", "key", to=["csat"]), "tables.tickets.key: 'csat' is known only later"),
        (
            _set("tables", "tickets", "event_time", to="severity"),
            "event_time: column 'severity' must have type",
        ),
        (
            _set("label", "kind_column", to="type"),
            "label.kind_column: tables.churn_events.columns has no 'type'",
        ),
        (_set("label", "involuntary", to=["voluntary"]), "stands under voluntary and involuntary"),
        (_set("label", "source", to="column"), "label.source: the relational shape takes its label from"),
        (_set("value_column", to="mrr"), "value_column: for the snapshot shape only"),
        (_set("currency", to="dollars"), "currency"),
        (_set("contract_version", to=9), "contract_version 9; this release reads 1"),
    ],
)
def test_refusals_name_the_place_and_the_rule(change: Callable[[dict[str, Any]], None], says: str) -> None:
    with pytest.raises(ContractError) as raised:
        company.contract(change)
    assert says in raised.value.message
    assert raised.value.mend


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_drop("label", "column"), "label.column: name the column that says who has left"),
        (_drop("label", "positive"), "label.positive: give the value"),
        (
            _set("tables", "snapshot", "columns", "Churn", to={"type": "category"}),
            "tables.snapshot.columns.Churn: the label may not be a feature",
        ),
        (_set("tables", "snapshot", "event_time", to="tenure"), "a flat file makes no claim about time"),
        (_set("value_column", to="mrr"), "value_column: 'mrr' is not in tables.snapshot.columns"),
        (_set("value_column", to="plan"), "value_column: 'plan' must be a number, not category"),
        (_set("tables", "usage", to={"path": "x"}), "the snapshot shape has exactly one table"),
    ],
)
def test_refusals_of_the_snapshot_shape(change: Callable[[dict[str, Any]], None], says: str) -> None:
    value = yaml.safe_load(yaml.safe_dump(SNAPSHOT))
    change(value)
    with pytest.raises(ContractError) as raised:
        parse_contract(value)
    assert says in raised.value.message


def test_a_bare_yes_is_a_boolean_to_yaml_and_stays_a_text_here() -> None:
    value = yaml.safe_load(yaml.safe_dump(SNAPSHOT))
    value["label"]["positive"] = 1
    assert parse_contract(value).label.positive == "1"


def test_no_file_and_no_yaml(tmp_path: Path) -> None:
    with pytest.raises(SourceMissingError, match=r"no contract at .*none\.yaml"):
        load_contract(tmp_path / "none.yaml")
    bad = tmp_path / "bad.yaml"
    bad.write_text("tables: [unclosed")
    with pytest.raises(ContractError, match="is not YAML"):
        load_contract(bad)
    bad.write_text("just text")
    with pytest.raises(ContractError, match="not a mapping"):
        load_contract(bad)


def test_json_schema_describes_what_is_forbidden() -> None:
    schema = json_schema()
    assert schema["additionalProperties"] is False
    assert set(schema["$defs"]["Table"]["properties"]) >= {
        "entity",
        "key",
        "event_time",
        "tolerance",
        "timezone",
    }


REFERENCE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "contract.md"


def test_every_field_is_documented_and_no_other() -> None:
    text = REFERENCE.read_text(encoding="utf-8")
    documented = set(re.findall(r"`([a-z_]+)`", "".join(re.findall(r"^\| (`[^|]+) \|", text, re.MULTILINE))))
    models = (Contract, Label, Table, Column)
    fields = {name for model in models for name in model.model_fields}
    assert fields - documented == set()
    rules = {"required", "order", "future", "unique", "fields", "undated", "via", "rate"}
    rules |= {"unknown_customer", "before_signup", "before_subscription", "after_subscription", "flag_agrees"}
    rules |= {"no_survivor"}
    assert documented - fields - rules == set()


def test_the_examples_of_the_reference_are_contracts() -> None:
    text = REFERENCE.read_text(encoding="utf-8")
    examples = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    whole = [example for example in examples if "shape:" in example]
    assert [parse_contract(yaml.safe_load(example)).shape for example in whole] == ["relational", "snapshot"]


def test_the_customers_id_cannot_pass_under_another_name() -> None:
    value = yaml.safe_load(yaml.safe_dump(SNAPSHOT))
    value["tables"]["snapshot"]["columns"]["client"] = {"type": "category", "source": " CUSTOMERID"}
    with pytest.raises(ContractError, match=r"columns\.client: is the customer's id"):
        parse_contract(value)
