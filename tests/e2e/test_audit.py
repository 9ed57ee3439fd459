"""The audit question, asked of the demo as a user asks it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Demo, churn

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def answer(demo: Demo) -> dict[str, Any]:
    done = churn("audit", "why", demo.answer["prediction"]["prediction_id"], "--json", home=demo.home)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_every_part_of_the_question_is_answered(demo: Demo, answer: dict[str, Any]) -> None:
    assert answer["schema"] == "audit_why/1"
    assert answer["missing"] == []
    assert answer["model"]["digest"] == demo.answer["champion"]["digest"]
    assert answer["model"]["registry_tags"]["churn.package_digest"] == demo.answer["champion"]["digest"]
    prediction = demo.answer["prediction"]
    assert answer["prediction"]["probability"] == prediction["probability"]
    assert answer["prediction"]["vector"]["confirmed"] is True
    assert answer["prediction"]["key"]["name"] == "demo"
    assert prediction["customer_id"] not in json.dumps(answer)
    data = answer["data"]
    assert data["rows"] > 1000
    assert set(data["sources"]) >= {"accounts", "usage", "churn_events"}
    assert all(source["files"] for source in data["sources"].values())
    assert set(data["months"]) <= set(data["feature_tables"])
    assert set(answer["code"]["versions"]) >= {"challenger", "customer_features", "sources/usage", "gate"}
    assert answer["parameters"]["search"] == {"budget": "quick", "seed": 11}
    assert answer["parameters"]["model"]
    assert answer["approvals"]["gate"]["outcome"] == "promote"
    assert answer["approvals"]["gate"]["checks"]
    assert "No person has approved it" in answer["approvals"]["note"]
    assert answer["report"]["auc"] == demo.answer["evaluation"]["auc"]
    assert all(run["known"] for run in answer["runs"])
    assert all(step["in_dagster"] for step in answer["steps"])


@pytest.mark.parametrize("asked", ["1", "champion", "digest"])
def test_a_model_can_be_asked_for(demo: Demo, answer: dict[str, Any], asked: str) -> None:
    asked = demo.answer["champion"]["digest"][:10] if asked == "digest" else asked
    done = churn("audit", "why", asked, "--json", home=demo.home)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["prediction"] is None
    assert {name: found[name] for name in ("model", "data", "report")} == {
        name: answer[name] for name in ("model", "data", "report")
    }


def test_people_get_a_tree_in_plain_words(demo: Demo) -> None:
    done = churn("audit", "why", demo.answer["prediction"]["prediction_id"], home=demo.home)
    for words in (
        "served by churn version 1", "asked for customer", "the row of that table gives the recorded digest", "Data: ",
        "Code: ", "Parameters: ", "No person has approved it", "gate: promote", "Report: AUC", "Nothing is missing",
    ):  # fmt: skip
        assert words in done.stdout


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("01a211db-5992-7296-8ecc-548ed1a3ff9e", "no record of the prediction"),
        ("99", "no record of a champion '99'"),
    ],
)
def test_what_is_not_there(demo: Demo, asked: str, says: str) -> None:
    done = churn("audit", "why", asked, home=demo.home)
    assert done.returncode == 1
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_records_that_are_gone_are_named(demo: Demo, tmp_path: Path) -> None:
    home = tmp_path / "copy"
    shutil.copytree(demo.home, home, symlinks=True)
    shutil.rmtree(home / "dagster" / "storage")
    shutil.rmtree(home / "events" / "lineage")
    shutil.rmtree(home / "refs" / "training_set")
    (home / "mlflow" / "mlflow.db").unlink()
    done = churn("audit", "why", "champion", "--json", home=home)
    assert done.returncode == 1
    missing = " / ".join(json.loads(done.stdout)["missing"])
    assert "challenger was made from training_set" in missing
    assert "Dagster has no record of the run" in missing
    assert "the model registry has no version" in missing
