"""The whole loop, run as a user runs it."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.conftest import CHECKOUT, PORTS, Demo, churn

pytestmark = pytest.mark.e2e


def test_it_ends_in_a_served_additive_prediction(demo: Demo) -> None:
    answer, prediction = demo.answer, demo.answer["prediction"]
    assert answer["status"] == "ok"
    total = prediction["base_value"] + math.fsum(prediction["contributions"].values())
    assert abs(total - prediction["margin"]) < 1e-9
    assert abs(1 / (1 + math.exp(-prediction["margin"])) - prediction["probability"]) < 1e-9
    assert prediction["reasons"]
    assert prediction["model_version"] == str(answer["champion"]["version"])


def test_the_answer_keeps_its_contract(demo: Demo) -> None:
    answer = demo.answer
    assert set(answer) >= {
        "status", "champion", "evaluation", "oracle_auc", "prediction", "online_customers", "elapsed", "seconds",
        "materialized", "urls",
    }  # fmt: skip
    assert set(answer["champion"]) >= {"name", "version", "digest", "tier"}
    assert set(answer["evaluation"]) >= {
        "protocol", "rows", "positives", "auc", "auc_low", "auc_high", "pr_auc", "log_loss", "brier", "ece",
        "calibration_slope", "lift_at_10", "precision_at_capacity", "floors",
    }  # fmt: skip
    assert set(answer["evaluation"]["floors"]) == {"logistic_regression", "recency_rule"}
    assert answer["urls"].keys() == {"service", "dagster", "console"}
    assert answer["evaluation"]["protocol"] == "temporal"
    assert answer["evaluation"]["auc"] > 0.7
    assert answer["oracle_auc"] > answer["evaluation"]["auc"] - 0.1
    # Active as it is known: a departure is recorded days after it took effect, a signup some hours after.
    assert 690 <= answer["online_customers"] <= 710
    assert "champion_bento" in answer["materialized"]


def test_a_second_run_makes_nothing(demo: Demo) -> None:
    done = churn("demo", *PORTS, "--exit", "--json", home=demo.home)
    assert done.returncode == 0, done.stderr[-3000:]
    again = json.loads(done.stdout.strip().splitlines()[-1])
    assert again["materialized"] == []
    assert again["champion"] == demo.answer["champion"]
    assert again["prediction"]["probability"] == demo.answer["prediction"]["probability"]


def test_no_process_is_left_over(demo: Demo) -> None:
    marker = str(demo.home)
    left = []
    for process in psutil.process_iter(["pid", "cmdline"]):
        try:
            if process.pid != os.getpid() and process.environ().get("CHURN_HOME") == marker:
                left.append(process.info["cmdline"])
        except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    assert left == []
    assert list((demo.home / "run").glob("*.pid")) == []


def test_raw_ids_stay_in_the_sources_and_the_vault(demo: Demo) -> None:
    """Every file below the home is searched for every id, as bytes; Parquet files are also read."""
    import pyarrow.parquet as pq

    accounts = demo.home / "sources" / "churn" / "simulated" / "accounts.parquet"
    ids = [i.encode() for i in pq.read_table(accounts, columns=["account_id"])["account_id"].to_pylist()]
    assert len(ids) >= 700
    pattern = demo.home.parent / "ids.txt"
    pattern.write_bytes(b"\n".join(ids))
    allowed = {demo.home / "sources", demo.home / "vault"}
    places = [str(place) for place in demo.home.iterdir() if place not in allowed]
    found = subprocess.run(["grep", "-rlaF", "-f", str(pattern), *places], capture_output=True, text=True, check=False)
    assert found.returncode == 1, f"raw ids in: {found.stdout[:2000]}"
    wanted = {i.decode() for i in ids}
    looked_at = 0
    for place in places:
        for file in Path(place).rglob("*"):
            if file.is_file() and file.read_bytes()[:4] == b"PAR1":
                looked_at += 1
                # Nested columns too: every value is read as JSON text.
                text = json.dumps(pq.read_table(file).to_pylist(), default=str)
                assert not {token for token in re.findall(r"ACME-\w+", text) if token in wanted}, file
    assert looked_at > 10


def test_another_source_in_the_same_home_is_refused(demo: Demo, tmp_path: Path) -> None:
    other = tmp_path / "other.csv"
    other.write_text("id,churn\n1,yes\n2,no\n")
    done = churn("demo", "--source", str(other), *PORTS, "--exit", home=demo.home)
    assert done.returncode == 1
    assert "holds another source" in done.stderr
    assert "CHURN_HOME" in done.stderr


def test_other_simulation_options_are_refused(demo: Demo) -> None:
    done = churn("demo", "--customers", "900", *PORTS, "--exit", home=demo.home)
    assert done.returncode == 1
    assert "another simulation (accounts 700)" in " ".join(done.stderr.split())


def _tool(name: str) -> str:
    return str(Path(sys.executable).parent / name)


def _exports(home: Path) -> dict[str, str]:
    done = churn("env", "--json", home=home)
    assert done.returncode == 0, done.stderr
    return {**os.environ, **json.loads(done.stdout)}


def test_feast_lists_the_views_of_the_home(demo: Demo) -> None:
    done = subprocess.run(
        [_tool("feast"), "-c", "feature_repo", "feature-views", "list"],
        env=_exports(demo.home), cwd=CHECKOUT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert "usage" in done.stdout
    assert "customer" in done.stdout


def test_dagster_lists_the_assets(demo: Demo) -> None:
    done = subprocess.run(
        [_tool("dagster"), "asset", "list", "-m", "churn_platform.definitions"],
        env=_exports(demo.home), cwd=CHECKOUT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert {"champion", "sources/usage", "customer_features"} <= set(done.stdout.split())


def test_env_lines_can_be_evaluated_by_a_shell(demo: Demo) -> None:
    lines = churn("env", home=demo.home).stdout
    done = subprocess.run(
        ["sh", "-c", f'{lines}\nprintf "%s" "$DAGSTER_HOME"'], capture_output=True, text=True, check=True
    )
    assert done.stdout == str(demo.home / "dagster")
