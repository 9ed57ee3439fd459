"""Old contracts are rewritten when they are read; the published schema is the code's."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from churn_platform.errors import ContractError
from churn_platform.settings import CHECKOUT
from churn_platform.sources.contract import CONTRACT_VERSION, json_schema, load_contract, parse_contract
from churn_platform.sources.migrate_contract import STEPS, VERSION, migrate
from tests.sources import company


def test_the_present_form_stays_as_it_is() -> None:
    value = copy.deepcopy(company.CONTRACT)
    assert migrate(value) == value
    without = {k: v for k, v in value.items() if k != "contract_version"}
    assert migrate(without) == without
    assert parse_contract(without) == parse_contract(value)


def test_there_is_a_step_from_every_earlier_form() -> None:
    assert CONTRACT_VERSION == VERSION
    assert set(STEPS) == set(range(1, VERSION))


# Made-up earlier forms: in form 1 tables were a list, in form 2 the horizon was in weeks


def _named(value: dict[str, Any]) -> dict[str, Any]:
    value["tables"] = {table.pop("name"): table for table in value["tables"]}
    return value


def _in_days(value: dict[str, Any]) -> dict[str, Any]:
    value["label"]["horizon_days"] = 7 * value["label"].pop("horizon_weeks")
    return value


def old() -> dict[str, Any]:
    value = copy.deepcopy(company.CONTRACT)
    value["label"]["horizon_weeks"] = 4
    value["tables"] = [{"name": name, **table} for name, table in value["tables"].items()]
    return {**value, "contract_version": 1}


def test_steps_run_one_after_the_other_and_leave_the_value_alone() -> None:
    value = old()
    made = migrate(value, to=3, steps={1: _named, 2: _in_days})
    assert made["contract_version"] == 3
    assert made["label"]["horizon_days"] == 28
    assert set(made["tables"]) == set(company.CONTRACT["tables"])
    assert value == old()
    second = _named(old()) | {"contract_version": 2}
    assert migrate(second, to=3, steps={1: _named, 2: _in_days}) == made


def test_an_old_contract_is_a_contract_after_its_steps() -> None:
    made = migrate(old(), to=3, steps={1: _named, 2: _in_days})
    read = parse_contract({**made, "contract_version": VERSION})
    assert read.label.horizon_days == 28
    assert read.tables == company.contract().tables


def test_reading_a_file_goes_through_the_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def spy(value: dict[str, Any], **options: Any) -> dict[str, Any]:
        seen.append(options["name"])
        return migrate(value, **options)

    monkeypatch.setattr("churn_platform.sources.contract.migrate", spy)
    path = tmp_path / "contract.yaml"
    path.write_text(json.dumps(company.CONTRACT))  # JSON is YAML
    assert load_contract(path) == company.contract()
    assert seen[0] == "The contract contract.yaml"


@pytest.mark.parametrize("version", [2, 99, 0, -1, "1", 1.0, True, None])
def test_a_newer_or_senseless_number_is_refused(version: Any) -> None:
    with pytest.raises(ContractError, match=r"has contract_version .*; this release reads 1\.") as raised:
        parse_contract({**company.CONTRACT, "contract_version": version})
    assert raised.value.field == "contract_version"
    assert raised.value.mend


def test_a_missing_step_is_refused() -> None:
    with pytest.raises(ContractError, match="no way from 2 to 3"):
        migrate(old(), to=3, steps={1: _named})


def test_the_published_schema_is_the_codes() -> None:
    published = CHECKOUT / "docs" / "reference" / "contract.schema.json"
    assert json.loads(published.read_text(encoding="utf-8")) == json_schema(), "run `python docs/generate.py`"


def test_the_schema_takes_what_the_code_takes() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    validator = jsonschema.Draft202012Validator(json_schema())
    jsonschema.Draft202012Validator.check_schema(json_schema())
    assert not list(validator.iter_errors(json.loads(json.dumps(company.CONTRACT))))
    wrong = copy.deepcopy(company.CONTRACT)
    wrong["tables"]["usage"]["colour"] = 1
    assert list(validator.iter_errors(wrong))
