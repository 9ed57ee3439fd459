"""Options of `churn demo` that would change nothing are refused, never passed over."""

from __future__ import annotations

from pathlib import Path

import pytest

from churn_platform.cli.demo_source import SourceRequest, prepare
from churn_platform.cli.output import Stage
from churn_platform.errors import ConfigurationError
from churn_platform.records.home import Home
from churn_platform.sources.contract import dump_contract
from tests.sources import company


@pytest.mark.parametrize("where", ["in the folder", "given"])
@pytest.mark.parametrize("option", ["label", "positive", "id"])
def test_hints_beside_a_contract_are_refused(tmp_path: Path, where: str, option: str) -> None:
    source = company.write(company.frames(), tmp_path / "tables")
    contract = (source if where == "in the folder" else tmp_path) / "contract.yaml"
    contract.write_text(dump_contract(company.contract()))
    request = SourceRequest(source=source, contract=None if where == "in the folder" else contract, **{option: "x"})
    with pytest.raises(ConfigurationError, match=rf"taken as it stands: --{option} changes nothing") as raised:
        prepare(Home.open(tmp_path / "home"), "churn", request, Stage("source", live=False, quiet=True))
    assert raised.value.field == option
    assert "mend the contract" in raised.value.mend
