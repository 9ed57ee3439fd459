from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from churn_platform.champion.package import package_digest
from churn_platform.champion.registry import ModelRegistry
from churn_platform.errors import ChampionError
from churn_platform.records.home import Home


def test_a_training_becomes_a_version_and_the_champion(tmp_path: Path, package: Path) -> None:
    """One test, because MLflow's import and database are its cost."""
    home = Home.open(tmp_path / "home")
    registry = ModelRegistry(home, "churn")
    assert registry.current_champion() is None
    digest = package_digest(package)
    facts: dict[str, Any] = {
        "params": {"learner": {"name": "lightgbm", "rounds": 80}, "seed": 0},
        "tags": {"asset_key": "challenger"},
    }

    run = registry.log_training(digest, metrics={"auc": 0.8, "nothing": None}, package=package, **facts)
    # a retry, and metrics that come later, continue the run
    again = registry.log_training(digest, metrics={"floors": {"recency_rule": 0.6}}, **facts)
    assert run == again == registry.find_run(digest)
    recorded = registry._client.get_run(run)
    assert recorded.info.status == "FINISHED"
    assert recorded.data.params == {"learner.name": "lightgbm", "learner.rounds": "80", "seed": "0"}
    assert recorded.data.metrics == {"auc": 0.8, "floors.recency_rule": 0.6}
    assert recorded.data.tags["asset_key"] == "challenger"
    with pytest.raises(ChampionError, match="other parameters"):
        registry.log_training(digest, metrics={}, params={"seed": 1}, tags={})

    first = registry.register(run, digest, {"training": "abc"})
    assert registry.register(run, digest, {"tier": "full"}).version == first.version == "1"
    assert registry.find_version(digest) is not None
    with pytest.raises(ChampionError, match="holds the package"):
        registry.register(run, "0" * 64)
    assert registry.current_champion() is None
    registry.set_champion(first.version)

    seen = ModelRegistry(home, "churn").current_champion()
    assert seen is not None
    assert (seen.name, seen.version, seen.digest, seen.run_id) == ("churn", "1", digest, run)
    assert seen.tags["training"] == "abc"
    assert seen.tags["tier"] == "full"
    assert ModelRegistry(home, "other").current_champion() is None

    # the files are there as files, and nothing is a pickle
    files = [path for path in home.mlflow.rglob("*") if path.is_file()]
    held = {path.name for path in files if path.parent.name == "package"}
    assert held == {path.name for path in package.iterdir()}
    assert not [path for path in files if path.suffix in {".pkl", ".joblib"}]
    assert [path.name for path in home.mlflow.iterdir() if path.name.startswith(".tmp-")] == []


def test_importing_the_registry_does_not_import_mlflow() -> None:
    code = "import sys, churn_platform.champion.registry; print('mlflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
