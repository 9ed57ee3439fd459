"""The contracts under docs/examples and in the how-to hold, and what they say fits the data."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from churn_platform.features.catalogue import catalogue_for
from churn_platform.settings import CHECKOUT
from churn_platform.sources.check import check_source
from churn_platform.sources.contract import dump_contract, load_contract, parse_contract
from tests.examples.conftest import EXAMPLES, real_data


@pytest.mark.parametrize("example", ["cdnow.yaml", "online_retail.yaml", "telco.yaml"])
def test_examples_load_and_have_features(example: str) -> None:
    contract = load_contract(EXAMPLES / example)
    assert parse_contract(yaml.safe_load(dump_contract(contract))) == contract
    assert len(catalogue_for(contract)) >= 19


def test_there_are_no_other_examples() -> None:
    assert sorted(path.name for path in EXAMPLES.iterdir()) == ["cdnow.yaml", "online_retail.yaml", "telco.yaml"]


def test_the_contract_in_the_how_to_holds() -> None:
    page = (CHECKOUT / "docs" / "how-to" / "own-data-in-half-an-hour.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```yaml\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    assert "recency_to_mean_gap" in {feature.name for feature in catalogue_for(parse_contract(yaml.safe_load(block)))}


def test_online_retail_passes_its_rules(online_retail: Path) -> None:
    report = check_source(online_retail, load_contract(EXAMPLES / "online_retail.yaml"))
    assert report.passed
    assert report.rows == {"orders": 541_909}
    faults = {finding.fault.label: finding.fault.rows for finding in report.findings if finding.fault}
    assert faults == {"customer: required": 135_080, "unit_price: min": 2_517}


def test_cdnow_passes_its_rules_as_text_and_as_it_is_delivered(cdnow: Path) -> None:
    contract = load_contract(EXAMPLES / "cdnow.yaml")
    for source in (cdnow, cdnow / "CDNOW_master.txt", real_data("cdnow")):
        report = check_source(source, contract)
        assert report.passed
        assert report.rows == {"orders": 69_659}
        assert report.findings == ()
        assert report.repeated == {"orders": 0}  # 255 equal lines are purchases of their own


def test_unpacked_beside_the_archive_nothing_counts_twice(cdnow: Path, tmp_path: Path) -> None:
    for file in (cdnow / "CDNOW_master.txt", real_data("cdnow", "CDNOW_master.zip")):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    assert check_source(tmp_path, load_contract(EXAMPLES / "cdnow.yaml")).rows == {"orders": 69_659}


def test_telco_passes_its_rules() -> None:
    source = real_data("telco_ibm", "Telco-Customer-Churn.csv")
    report = check_source(source, load_contract(EXAMPLES / "telco.yaml"))
    assert report.passed
    assert report.rows == {"snapshot": 7_043}
    assert report.findings == ()
