"""The audit question, asked of Dagster's own GraphQL: from the champion back to the source tables' digests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import CHECKOUT, Demo

pytestmark = pytest.mark.e2e

NODES = """
query { assetNodes {
  assetKey { path } groupName kinds description isPartitioned
  owners { ... on TeamAssetOwner { team } ... on UserAssetOwner { email } }
  dependencyKeys { path }
  assetChecksOrError { ... on AssetChecks { checks { name executionForLatestMaterialization { status } } } }
  assetMaterializations(limit: 1) { runId partition
    tags { key value } metadataEntries { label ... on JsonMetadataEntry { jsonString } } }
} }
"""


@pytest.fixture(scope="module")
def nodes(demo: Demo) -> Iterator[dict[str, Any]]:
    """The asset graph as the UI's own server answers it, without a port."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "CHURN_HOME": demo.home,
            "DAGSTER_HOME": demo.home / "dagster",
            "DAGSTER_STORAGE_DIR": demo.home / "dagster" / "storage",
            "DAGSTER_COMPUTE_LOG_DIR": demo.home / "logs" / "dagster",
        }.items():
            patch.setenv(name, str(value))
        yield _ask(NODES)


def _ask(query: str) -> dict[str, Any]:
    from dagster import DagsterInstance
    from dagster._core.workspace.context import WorkspaceProcessContext
    from dagster._core.workspace.load_target import WorkspaceFileTarget
    from dagster_webserver.webserver import DagsterWebserver
    from starlette.testclient import TestClient

    with (
        DagsterInstance.get() as instance,
        WorkspaceProcessContext(instance, WorkspaceFileTarget([str(CHECKOUT / "workspace.yaml")])) as context,
    ):
        client = TestClient(DagsterWebserver(context).create_asgi_app())
        answer = client.post("/graphql", json={"query": query}).json()
    assert "errors" not in answer, answer
    return {"/".join(node["assetKey"]["path"]): node for node in answer["data"]["assetNodes"]}


def _inputs(node: dict[str, Any]) -> dict[str, str]:
    (event,) = node["assetMaterializations"]
    entry = next(e for e in event["metadataEntries"] if e["label"] == "inputs")
    return dict(json.loads(entry["jsonString"]))


def _version(node: dict[str, Any]) -> str:
    (event,) = node["assetMaterializations"]
    return next(t["value"] for t in event["tags"] if t["key"] == "dagster/data_version")


def test_the_champion_leads_back_to_the_digests_of_its_sources(nodes: dict[str, Any], demo: Demo) -> None:
    """Each step's recorded inputs are the data versions of the step before, down to the tables' own digests."""
    seen: set[str] = set()
    todo = ["champion"]
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        for selector, digest in _inputs(nodes[name]).items():
            if ":" in selector:
                continue
            parent, _, key = selector.partition("@")
            assert parent in nodes
            assert ["/".join(k["path"]) for k in nodes[name]["dependencyKeys"]].count(parent) == 1
            if not key:
                assert digest == _version(nodes[parent]), f"{name} was made from another {parent}"
            todo.append(parent)
    sources = {name for name in nodes if name.startswith("sources/")}
    assert {"sources/usage", "sources/accounts", "sources/churn_events"} <= seen & sources
    for name in seen & sources:
        digest = _version(nodes[name])
        version = json.loads((demo.home / "store" / "objects" / digest[:2] / digest).read_bytes())
        assert version["table"] == name.removeprefix("sources/")
        assert all(len(part[1]) == 64 for part in version["parts"])


def test_every_asset_says_what_it_is(nodes: dict[str, Any]) -> None:
    for name, node in nodes.items():
        assert node["groupName"] not in (None, "default"), name
        assert node["kinds"], name
        assert node["owners"], name
        assert node["description"], name
        assert node["assetMaterializations"], f"{name} was not made"


def test_the_checks_have_passed(nodes: dict[str, Any]) -> None:
    outcomes = {
        f"{name}:{check['name']}": (check["executionForLatestMaterialization"] or {}).get("status")
        for name, node in nodes.items()
        for check in node["assetChecksOrError"].get("checks", [])
    }
    assert len(outcomes) > 15
    failed = {name for name, status in outcomes.items() if status != "SUCCEEDED"}
    assert failed <= {
        "drift_report:population_is_stable",
        "evaluation:beats_floors",
        "evaluation:calibrated",
    }, outcomes


def test_partitions_are_the_observation_months(nodes: dict[str, Any], demo: Demo) -> None:
    months = sorted(path.stem for path in Path(demo.home / "refs" / "customer_features").glob("*.json"))
    assert len(months) >= 10
    assert nodes["customer_features"]["isPartitioned"]
    assert not nodes["champion"]["isPartitioned"]
