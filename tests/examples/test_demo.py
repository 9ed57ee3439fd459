"""A shop's daily files, from the command line to a served prediction."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from tests.conftest import PORTS, churn
from tests.examples.conftest import EXAMPLES

pytestmark = pytest.mark.e2e


def test_the_demo_runs_on_a_shop(online_retail: Path, tmp_path: Path) -> None:
    arguments = ("demo", "--source", str(online_retail), "--contract", str(EXAMPLES / "online_retail.yaml"))
    done = churn(*arguments, *PORTS, "--exit", "--json", home=tmp_path / "churn")
    assert done.returncode == 0, done.stderr[-3000:]
    answer = json.loads(done.stdout.strip().splitlines()[-1])
    assert answer["evaluation"]["protocol"] == "temporal"
    assert answer["evaluation"]["auc"] >= 0.73
    assert answer["online_customers"] == 2_840
    prediction = answer["prediction"]
    assert prediction["customer_id"].isdigit()  # 12357, not 12357.0
    total = prediction["base_value"] + math.fsum(prediction["contributions"].values())
    assert abs(total - prediction["margin"]) < 1e-9
    assert prediction["reasons"]
    assert len({reason.split(": ", 1)[1] for reason in prediction["reasons"]}) == len(prediction["reasons"])
    assert prediction["revenue_at_risk"] > 0
    page = (tmp_path / "churn" / "reports" / "business" / "report.md").read_text(encoding="utf-8")
    assert "| month | customers | MRR | logo churn | MRR churn |" in page
    assert "voluntary" not in page
