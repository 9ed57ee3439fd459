"""What says whether tables have to be looked at again: the content of exactly the files that the door opens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from churn_platform.errors import SourceMissingError
from churn_platform.records.home import Home
from churn_platform.sources.contract import Contract, dump_contract, parse_contract
from churn_platform.sources.location import SourceLocation, load_location, save_location
from churn_platform.sources.readers import locate
from tests.sources import company

FLAT: dict[str, Any] = {
    "contract_version": 1,
    "problem": "churn",
    "shape": "snapshot",
    "label": {"source": "column", "column": "left", "positive": "yes"},
    "tables": {
        "snapshot": {"path": "what it was called then.csv", "entity": "id", "columns": {"age": {"type": "number"}}}
    },
}


def _location(tmp_path: Path, source: Path, contract: Contract) -> SourceLocation:
    home = Home.open(tmp_path / "home")
    save_location(home, "churn", source, dump_contract(contract))
    return load_location(home, "churn")


def test_a_file_source_whose_contract_names_another_path(tmp_path: Path) -> None:
    file = tmp_path / "customers.csv"
    file.write_text("id,age,left\n1,30,yes\n2,40,no\n")
    contract = parse_contract(FLAT)
    location = _location(tmp_path, file, contract)
    assert locate(contract.tables["snapshot"], file, name="snapshot") == (file,)
    before = location.fingerprint("snapshot")
    (tmp_path / "what it was called then.csv").write_text("id,age,left\n9,9,yes\n")
    assert location.fingerprint("snapshot") == before, "the door does not read that one"
    file.write_text("id,age,left\n1,31,yes\n2,40,no\n")
    assert location.fingerprint("snapshot") != before


def test_a_table_that_is_not_there_is_named(tmp_path: Path) -> None:
    folder = company.write(company.frames(accounts=5), tmp_path / "source")
    location = _location(tmp_path, folder, company.contract())
    assert set(location.fingerprints()) == set(company.contract().tables)
    (folder / "tickets.csv").unlink()
    with pytest.raises(SourceMissingError, match=r"tables\.tickets\.path") as raised:
        location.fingerprint("tickets")
    assert raised.value.mend
    location.fingerprint("usage")


def test_rates_in_several_files_are_all_looked_at(tmp_path: Path) -> None:
    def change(value: dict[str, Any]) -> None:
        value["rates"] = {"path": "rates/*.csv"}
        value["tables"]["subscriptions"]["currency"] = "EUR"

    folder = company.write(company.frames(accounts=5), tmp_path / "source")
    (folder / "rates").mkdir()
    (folder / "rates" / "2024-01.csv").write_text("date,currency,rate\n2024-01-01,EUR,1.1\n")
    location = _location(tmp_path, folder, company.contract(change))
    before = location.fingerprints()
    (folder / "rates" / "2024-02.csv").write_text("date,currency,rate\n2024-02-01,EUR,1.2\n")
    after = location.fingerprints()
    assert [name for name in before if before[name] != after[name]] == ["subscriptions"]
