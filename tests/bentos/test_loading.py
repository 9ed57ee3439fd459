"""What happens to a serving process whose parts are missing or broken."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import prometheus_client
import pytest

from churn_platform.records.home import Home
from churn_platform.serving.loading import complete
from churn_platform.serving.metrics import ServingMetrics
from churn_platform.serving.runtime import Runtime
from tests.bentos.conftest import CUSTOMERS, NOW, Prepared


@pytest.fixture
def runtime() -> Runtime:
    registry = prometheus_client.CollectorRegistry()

    def bound(kind: Any) -> Any:
        return lambda *args, **options: kind(*args, registry=registry, **options)

    classes = {"Counter": bound(prometheus_client.Counter), "Histogram": bound(prometheus_client.Histogram)}
    return Runtime(metrics=ServingMetrics(SimpleNamespace(**classes)))


def test_everything_is_there(runtime: Runtime, prepared: Prepared) -> None:
    package = prepared.bento.path / "src" / "champion"
    complete(runtime, package, prepared.home)
    assert runtime.ready
    assert runtime.missing == {}
    assert runtime.scorer is not None
    assert (runtime.scorer.name, runtime.scorer.version) == ("churn", "3")


def test_an_altered_model_is_not_served(runtime: Runtime, prepared: Prepared, package: Path, tmp_path: Path) -> None:
    folder = tmp_path / "package"
    shutil.copytree(package, folder)
    model = folder / "model.txt"
    model.write_text(model.read_text().replace("leaf_value=", "leaf_value=9", 1))
    complete(runtime, folder, prepared.home)
    assert not runtime.ready
    assert runtime.scorer is None
    assert "model.txt" in runtime.missing["scorer"]
    assert set(runtime.missing) == {"scorer"}

    shutil.copyfile(package / "model.txt", model)
    complete(runtime, folder, prepared.home)
    assert runtime.ready
    assert runtime.missing == {}


def test_without_a_registry_and_version_the_package_speaks(runtime: Runtime, prepared: Prepared, package: Path) -> None:
    complete(runtime, package, prepared.home)
    assert runtime.scorer is not None
    assert runtime.scorer.name == "churn"
    assert runtime.scorer.version == runtime.scorer.model.version_digest[:12]


def test_a_new_home_has_no_features(runtime: Runtime, package: Path, tmp_path: Path) -> None:
    complete(runtime, package, Home.open(tmp_path / "new"))
    assert not runtime.ready
    assert set(runtime.missing) == {"vectors"}
    assert "online_features" in runtime.missing["vectors"]


def test_a_broken_registry_leaves_the_process_alive(runtime: Runtime, package: Path, tmp_path: Path) -> None:
    home = Home.open(tmp_path / "broken")
    (home.feast / "registry.db").write_bytes(b"not a database" * 100)
    complete(runtime, package, home)
    assert set(runtime.missing) == {"vectors"}


REPLICA = """
import asyncio, json, sys
from pathlib import Path

# a replica's environment has none of these
ABSENT = {"feast", "pandas", "ibis", "duckdb", "pyarrow", "sqlglot", "dagster", "mlflow", "sklearn", "xgboost", "shap"}


class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"{name} is not here", name=name)


sys.meta_path.insert(0, Absent())
import httpx
import prometheus_client

from churn_platform.serving.api import build_app
from churn_platform.serving.loading import complete
from churn_platform.serving.metrics import ServingMetrics
from churn_platform.serving.runtime import Runtime

runtime = Runtime(metrics=ServingMetrics(prometheus_client))
complete(runtime, Path(sys.argv[1]))


async def ask():
    transport = httpx.ASGITransport(build_app(runtime))
    headers = {"authorization": f"Bearer {sys.argv[2]}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://service", headers=headers) as client:
        vector = await client.get(f"/v1/features/{sys.argv[3]}")
        return vector.json(), (await client.post("/v1/predict", json={"customer_id": sys.argv[3]})).json()


print(json.dumps([runtime.missing, *asyncio.run(ask())]))
"""


def test_a_replica_needs_neither_feast_nor_pandas(prepared: Prepared) -> None:
    package = prepared.bento.path / "src" / "champion"
    done = subprocess.run(
        [sys.executable, "-c", REPLICA, package, prepared.key, CUSTOMERS[3]],
        env={**os.environ, "CHURN_HOME": str(prepared.home.root), "CHURN_AS_OF": NOW},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    missing, vector, prediction = json.loads(done.stdout)
    assert missing == {}
    assert {name: vector["features"][name] for name in prepared.rows[3]} == prepared.rows[3]
    assert vector["generation"] >= 1
    assert set(vector["view_times"].values()) == {vector["as_of"]}
    assert prediction["customer_id"] == CUSTOMERS[3]
    assert prediction["as_of"] == vector["as_of"]
