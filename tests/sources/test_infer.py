"""Inference: roles with their reasons, doubts said aloud, ambiguity refused."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from churn_platform.errors import ContractError, SourceMissingError
from churn_platform.sources.contract import dump_contract, parse_contract
from churn_platform.sources.infer import Inference, infer_contract
from churn_platform.sources.inference import canonical_names
from tests.sources import company
from tests.sources.conftest import Door


def data(*parts: str) -> Path:
    """A file of the shared real data.

    Skips where ``CHURN_TEST_DATA`` (by default ``../shared/data`` beside the checkout) does not have it.
    """
    root = os.environ.get("CHURN_TEST_DATA")
    folder = Path(root) if root else Path(__file__).resolve().parents[3] / "shared" / "data"
    file = folder.joinpath(*parts)
    if not file.exists():
        pytest.skip(f"the real data set {'/'.join(parts)} is not here; set CHURN_TEST_DATA to its folder")
    return file


ROWS = 60


def _flat(folder: Path, **columns: object) -> Path:
    """A flat file with a clear id and label, changed by ``columns`` (None takes one out)."""
    rng = np.random.default_rng(0)
    values: dict[str, object] = {
        "customer_id": [f"C{i:04d}" for i in range(ROWS)],
        "tenure": rng.integers(0, 50, ROWS),
        "monthly_charges": rng.uniform(10, 90, ROWS).round(2),
        "plan": rng.choice(["basic", "pro", "max"], ROWS),
        "churn": ["yes", "no", "no"] * (ROWS // 3),
        **columns,
    }
    file = folder / "flat.csv"
    pd.DataFrame({name: value for name, value in values.items() if value is not None}).to_csv(file, index=False)
    return file


def _columns(inference: Inference) -> dict[str, str]:
    return {name: spec.type for name, spec in inference.contract.snapshot.columns.items()}


def _left_out(inference: Inference) -> dict[str, str]:
    return {d.column or "": d.reason for d in inference.decisions if d.role == "not read"}


def test_a_flat_file(tmp_path: Path) -> None:
    inference = infer_contract(_flat(tmp_path))
    contract = inference.contract
    assert contract.shape == "snapshot"
    assert (contract.label.column, contract.label.positive) == ("churn", "yes")
    assert (contract.snapshot.entity, contract.value_column) == ("customer_id", "monthly_charges")
    assert _columns(inference) == {"tenure": "integer", "monthly_charges": "number", "plan": "category"}


def test_telco(door: Door) -> None:
    file = data("telco_ibm", "Telco-Customer-Churn.csv")
    inference = infer_contract(file)
    contract = inference.contract
    assert (contract.label.column, contract.label.positive) == ("Churn", "Yes")
    assert (contract.snapshot.entity, contract.value_column) == ("customerID", "MonthlyCharges")
    columns = _columns(inference)
    assert len(columns) == 19
    assert columns["TotalCharges"] == "number"
    assert columns["tenure"] == "integer"
    assert columns["SeniorCitizen"] == "category"
    reason = next(d.reason for d in inference.decisions if d.column == "TotalCharges")
    assert "11 rows have no value" in reason
    admission = door.admit(contract, file, ["snapshot"])
    rows = door.rows(admission.current["snapshot"])
    assert len(rows) == admission.rows["snapshot"] == 7043
    assert sum(row["TotalCharges"] is None for row in rows) == 11
    assert sum(row["label_raw"] == "Yes" for row in rows) == 1869
    assert admission.faults["snapshot"] == {}


def test_the_yaml_holds_the_reasons_and_loads_as_the_contract(tmp_path: Path) -> None:
    file = _flat(tmp_path, **{"Total, $": [""] * 5 + ["1.5"] * 55, "const": 1, "city: main": "a"})
    inference = infer_contract(file)
    text = inference.to_yaml()
    assert parse_contract(yaml.safe_load(text)) == inference.contract
    assert "      # numbers (text in the file)" in text or "# two values" in text or "# numbers" in text
    assert "# assumed. DOUBT: in which currency are the amounts?" in text
    assert "#   const: every row has the same value '1'" in text
    lines = text.splitlines()
    entity = lines.index("    entity: customer_id")
    assert lines[entity - 1].strip() == "# its name says so, and each row has its own"
    for decision in inference.decisions:
        assert decision.comment in text, decision


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["0", "1"] * 30, "category"),
        (["1.5", " ", "2"] * 20, "number"),
        (["7", "n/a", "9", "11"] * 15, "integer"),
        (["1.5", "2"] * 29 + ["?", "3"], "number"),
        (["00123", "00124", "00125"] * 20, "category"),
        (["red", "green", "blue"] * 20, "category"),
        ([True, False] * 30, "category"),
    ],
)
def test_types_hidden_in_text(tmp_path: Path, values: list[object], expected: str) -> None:
    inference = infer_contract(_flat(tmp_path, x=values))
    assert _columns(inference)["x"] == expected


def test_an_odd_word_among_numbers_is_a_doubt(tmp_path: Path) -> None:
    inference = infer_contract(_flat(tmp_path, x=["1.5", "2"] * 29 + ["?", "3"]))
    assert inference.contract.snapshot.columns["x"].missing == ("?",)
    assert any(d.column == "x" and d.doubt for d in inference.doubts)


def test_what_is_left_out(tmp_path: Path) -> None:
    file = _flat(
        tmp_path,
        RowNumber=range(60),
        surname=[f"name {chr(97 + i % 26)}{i}" for i in range(60)],
        empty=[None] * 60,
        constant=["x"] * 60,
        signup_date=["2024-01-02", "2024-02-03"] * 30,
        churn_reason=["price", "other", "none"] * 20,
        churned_flag=[1, 0, 0] * 20,
    )
    inference = infer_contract(file, label="churn")
    assert set(_columns(inference)) == {"tenure", "monthly_charges", "plan"}
    reasons = _left_out(inference)
    assert "numbers the rows" in reasons["RowNumber"]
    assert "own text" in reasons["surname"]
    assert "empty" in reasons["empty"]
    assert "same value" in reasons["constant"]
    assert "a date" in reasons["signup_date"] or "two values" in reasons["signup_date"]
    assert "after the customer has left" in reasons["churn_reason"]
    assert "repeats the label" in reasons["churned_flag"]


def test_labels_that_say_the_same_are_one(tmp_path: Path) -> None:
    inference = infer_contract(_flat(tmp_path, churned=[1, 0, 0] * 20))
    assert inference.contract.label.column == "churn"
    assert "churned" not in _columns(inference)


def test_ambiguity_lists_the_candidates(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=r"Several may be the label: churn, exited") as raised:
        infer_contract(_flat(tmp_path, exited=[0, 1, 1, 1] * 15))
    assert "--label" in raised.value.mend
    two_ids = _flat(tmp_path, account_id=[f"A{i}" for i in range(60)])
    with pytest.raises(ContractError, match=r"Several may be the customer's id: customer_id, account_id") as raised:
        infer_contract(two_ids)
    assert "--id" in raised.value.mend
    assert infer_contract(two_ids, id="account_id").contract.snapshot.entity == "account_id"
    with pytest.raises(ContractError, match=r"the value of 'churn' that means 'has left': B, A") as raised:
        infer_contract(_flat(tmp_path, churn=["A", "B", "B"] * 20))
    assert "--positive" in raised.value.mend
    assert infer_contract(tmp_path / "flat.csv", positive="a").contract.label.positive == "A"


def test_no_label_lists_what_has_two_values(tmp_path: Path) -> None:
    file = _flat(tmp_path, churn=None, gender=["m", "f"] * 30)
    with pytest.raises(ContractError, match="looks like a label") as raised:
        infer_contract(file)
    assert "gender" in raised.value.mend
    assert infer_contract(file, label="gender", positive="f").contract.label.column == "gender"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"label": "nothing"}, "no column 'nothing'"),
        ({"label": "tenure"}, "different values"),
        ({"id": "plan"}, "3 different values in 60 rows"),
        ({"positive": "maybe"}, "never has the value 'maybe'"),
    ],
)
def test_what_a_user_says_is_checked(tmp_path: Path, options: dict[str, str], says: str) -> None:
    with pytest.raises(ContractError, match=says):
        infer_contract(_flat(tmp_path), **options)


def test_one_class_and_repeated_ids(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="has one value only"):
        infer_contract(_flat(tmp_path, churn=["no"] * 60))
    with pytest.raises(ContractError, match=r"'customer_id' looks like the customer's id, but it has 6 different"):
        infer_contract(_flat(tmp_path, customer_id=[f"C{i % 6}" for i in range(60)]))


def test_without_an_id_rows_are_known_by_their_content(door: Door, tmp_path: Path) -> None:
    file = _flat(tmp_path, customer_id=None)
    frame = pd.read_csv(file)
    pd.concat([frame, frame.head(5)]).to_csv(file, index=False)
    inference = infer_contract(file)
    assert inference.contract.snapshot.entity is None
    assert any("made from its content" in d.reason and d.doubt for d in inference.decisions)
    rows = door.rows(door.admit(inference.contract, file, ["snapshot"]).current["snapshot"])
    assert len({row["customer_id"] for row in rows}) == 65


def test_odd_names_are_made_safe_and_keep_their_source(door: Door, tmp_path: Path) -> None:
    file = _flat(
        tmp_path,
        **{"Ångström %": range(60), "1st": range(60), "event_time": range(60), "a b": 1.5, "a.b": range(60)},
    )
    inference = infer_contract(file)
    columns = inference.contract.snapshot.columns
    assert columns["Angstroem"].source == "Ångström %"
    assert columns["c_1st"].source == "1st"
    assert columns["event_time_2"].source == "event_time"
    row = door.rows(door.admit(inference.contract, file, ["snapshot"]).current["snapshot"])[0]
    assert {"Angstroem", "c_1st", "event_time_2", "a_b"} <= set(row)


@pytest.mark.parametrize(
    ("column", "name"),
    [
        ("Größe", "Groesse"),
        ("STRASSE ẞ", "STRASSE_SS"),
        ("prénom", "prenom"),
        ("Łódź", "Lodz"),
        ("u\u0308ber", "ueber"),
        ("売上", "column"),
        ("2. Mahnung", "c_2_Mahnung"),
    ],
)
def test_names_are_transliterated(column: str, name: str) -> None:
    assert canonical_names([column], ()) == {column: name}


def test_a_folder_with_one_file_is_flat(tmp_path: Path) -> None:
    _flat(tmp_path)
    assert infer_contract(tmp_path).contract.shape == "snapshot"


def test_a_contract_in_the_folder_is_taken(tmp_path: Path) -> None:
    source = company.write(company.frames(), tmp_path)
    (source / "contract.yaml").write_text(dump_contract(company.contract()))
    assert infer_contract(source).contract == company.contract()


def test_a_folder_of_tables(door: Door, tmp_path: Path) -> None:
    source = company.write(company.frames(), tmp_path)
    inference = infer_contract(source)
    contract, truth = inference.contract, company.contract()
    assert set(contract.tables) == set(truth.tables)
    assert contract.label.voluntary == ("voluntary",)
    for name, table in truth.tables.items():
        found = contract.tables[name]
        assert (found.entity, found.event_time, found.ingested_at) == (
            table.entity,
            table.event_time,
            table.ingested_at,
        )
        assert found.key == table.key, name
    assert contract.tables["subscriptions"].columns["seats"].source == "n_seats"
    assert contract.tables["subscriptions"].columns["ended_at"].known_at == "ended_recorded_at"
    assert contract.tables["tickets"].columns["closed_at"].known_at == "closed_recorded_at"
    accounts = contract.tables["accounts"].columns
    assert accounts["plan"].temporality == accounts["owner"].temporality == "current_only"
    assert accounts["industry"].temporality == "immutable"
    assert any(d.role.startswith("tables.accounts.columns") and d.doubt for d in inference.doubts)
    assert parse_contract(yaml.safe_load(inference.to_yaml())) == contract
    admission = door.admit(contract, source, ["2024-03-01"])
    assert admission.quarantined == dict.fromkeys(truth.tables, 0)


def test_ravenstack_gives_a_valid_contract_with_doubts() -> None:
    inference = infer_contract(data("ravenstack"))
    tables = inference.contract.tables
    assert set(tables) >= {"accounts", "subscriptions", "tickets", "churn_events"}
    assert tables["subscriptions"].columns["mrr"].source == "mrr_amount"
    assert "subscriptions.churn_flag" in _left_out(inference)
    assert "subscription_id" in tables["subscriptions"].columns
    assert len(inference.doubts) >= 5


def test_what_is_no_source(tmp_path: Path) -> None:
    with pytest.raises(SourceMissingError, match="There is no source"):
        infer_contract(tmp_path / "none")
    with pytest.raises(SourceMissingError, match="holds no CSV or Parquet file"):
        infer_contract(tmp_path)
    (tmp_path / "a.csv").write_text("customer_id,churn\n")
    with pytest.raises(SourceMissingError, match="a header but no row"):
        infer_contract(tmp_path / "a.csv")
    (tmp_path / "b.csv").write_text("x\n1\n")
    with pytest.raises(ContractError, match=r"No table is recognised by its name in .*: a\.csv, b\.csv"):
        infer_contract(tmp_path)
