"""The Definitions load quickly, import nothing heavy, and say of each asset what it is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from churn_platform.sources.contract import RELATIONAL_TABLES
from tests.conftest import CHECKOUT

HEAVY = (
    "mlflow", "feast", "h2o", "shap", "evidently", "great_expectations", "bentoml", "lightgbm", "xgboost", "sklearn",
    "optuna", "ibis", "pandas", "matplotlib",
)  # fmt: skip


def test_nothing_to_compare_is_not_always_a_difference() -> None:
    from churn_platform.features.skew import Skew
    from resources.feast import agrees

    assert agrees(Skew(0, 0, (), pushed=40), fresh=True), "all were pushed since"
    assert agrees(Skew(5, 50, ()), fresh=True)
    assert not agrees(Skew(5, 50, ("a b: 1 / 2 / 2 / 2",), pushed=40), fresh=True)
    assert not agrees(Skew(0, 0, ()), fresh=True), "nobody is online"
    assert agrees(Skew(0, 0, ()), fresh=False)


def test_loading_imports_nothing_heavy() -> None:
    code = (
        "import json, sys; from churn_platform.definitions import defs; "
        f"print(json.dumps([m for m in {HEAVY!r} if m in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout) == []
    assert done.stderr == "", "loading must not warn"


def test_loading_writes_nothing(tmp_path_factory: pytest.TempPathFactory) -> None:
    from churn_platform.definitions import build_defs
    from churn_platform.settings import settings

    build_defs()
    assert not settings().home.exists()


def test_a_bare_checkout_shows_every_relational_table() -> None:
    from churn_platform.definitions import build_defs

    graph = build_defs().resolve_asset_graph()
    names = {key.to_user_string() for key in graph.get_all_asset_keys()}
    assert {f"sources/{table}" for table in RELATIONAL_TABLES} <= names
    assert {"customer_features", "churn_labels", "challenger", "champion", "champion_bento", "drift_report"} <= names


def test_every_asset_has_a_code_version_and_checks() -> None:
    from churn_platform.definitions import build_defs

    graph = build_defs().resolve_asset_graph()
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert node.code_version, key
        assert node.owners, key
        assert node.kinds, key
        assert node.group_name not in (None, "default"), key
        assert len((node.description or "").split()) >= 6, f"{key}: say what it holds"
    checked = {check.asset_key for check in graph.asset_check_keys}
    unchecked = graph.get_all_asset_keys() - checked
    assert {key.to_user_string() for key in unchecked} == {"business_report"}


def test_every_check_says_what_it_means() -> None:
    from churn_platform.definitions import build_defs

    graph = build_defs().resolve_asset_graph()
    assert len(graph.asset_check_keys) > 20
    for key in graph.asset_check_keys:
        assert len((graph.get_check_spec(key).description or "").split()) >= 5, key


def test_jobs_sensors_and_schedules_say_what_they_do() -> None:
    from churn_platform.definitions import build_defs

    defs = build_defs()
    for one in [*(defs.jobs or ()), *(defs.sensors or ()), *(defs.schedules or ())]:
        assert len((one.description or "").split()) >= 6, one


def test_links_lead_to_the_reports_that_a_server_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    from churn_platform.records.home import Home
    from churn_platform.settings import reload
    from resources.links import page_link

    home = Home.open()
    page = home.reports / "drift" / "2026-01-01" / "evidently.html"
    assert page_link(home, page).value == str(page)
    monkeypatch.setenv("CHURN_REPORTS_URL", "https://reports.example.com/churn/")
    reload()
    assert page_link(home, page).value == "https://reports.example.com/churn/drift/2026-01-01/evidently.html"


def test_overrides_replace_resources() -> None:
    from churn_platform.definitions import build_defs
    from resources.mlflow import MlflowResource

    other = MlflowResource()
    assert build_defs(mlflow=other).resources["mlflow"] is other


def test_what_is_online_is_compared_each_night(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import dagster as dg

    from churn_platform import settings
    from churn_platform.records.home import Home
    from churn_platform.records.refs import Refs
    from sensors import all_schedules

    monkeypatch.setenv("CHURN_HOME", str(tmp_path))
    settings.reload()
    (nightly,) = [one for one in all_schedules() if one.name == "nightly_skew"]
    home = Home.open()
    with dg.instance_for_test() as found, dg.build_schedule_context(instance=found) as context:
        assert not nightly.evaluate_tick(context).run_requests
        Refs(home.refs).set("online_features", None, {"digest": "0" * 64})
        (asked,) = nightly.evaluate_tick(context).run_requests or ()
    assert asked.asset_selection == [dg.AssetKey("feature_skew")]
