"""A running service follows its home: swapped under load, and what is broken changes nothing."""

from __future__ import annotations

import json
import shutil
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from churn_platform.champion.projection import POINTER
from churn_platform.records.files import write_atomic
from churn_platform.records.home import Home
from churn_platform.serving.degraded import clear, degraded, for_vector, mark
from churn_platform.serving.follow import Follower
from churn_platform.serving.runtime import Runtime
from churn_platform.serving.schemas import Degraded
from tests.serving.champion import make_package
from tests.serving.conftest import CUSTOMER, Client


@pytest.fixture(scope="session")
def versions(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, str]]:
    """Three packages with their digests."""
    root = tmp_path_factory.mktemp("versions")
    return [(root / str(seed), make_package(root / str(seed), seed=seed)) for seed in (1, 2, 3)]


@pytest.fixture
def place(tmp_path: Path) -> Home:
    return Home.open(tmp_path / "served")


def point(home: Home, package: Path, digest: str, version: int, **facts: Any) -> None:
    """As a promotion does it: the package first, then the pointer, by one rename."""
    if not (home.champion / digest).exists():
        shutil.copytree(package, home.champion / digest)
    pointer = {"schema": "champion_pointer/1", "name": "churn", "version": str(version), "model": digest, **facts}
    write_atomic(home.champion / POINTER, json.dumps(pointer).encode())


def test_it_takes_the_champion_that_the_pointer_names(
    runtime: Runtime, place: Home, versions: list[tuple[Path, str]], client: Client
) -> None:
    follower = Follower(runtime, place)
    follower.look()
    assert runtime.scorer is not None
    assert runtime.scorer.version == "7", "without a pointer, the model of the bento answers"
    for number, (package, digest) in enumerate(versions, start=8):
        point(place, package, digest, number)
        follower.look()
        (model,) = client.get("/v1/models").json()["models"]
        assert model["version"] == str(number)
        answer = client.predict({"customer_id": CUSTOMER}).json()
        assert answer["model_version"] == str(number)


def test_the_same_pointer_is_loaded_once(runtime: Runtime, place: Home, versions: list[tuple[Path, str]]) -> None:
    follower = Follower(runtime, place)
    point(place, *versions[0], 8)
    follower.look()
    loaded = runtime.scorer
    follower.look()
    point(place, *versions[0], 8, promoted_at="at another time")
    follower.look()
    assert runtime.scorer is loaded


@pytest.mark.parametrize("broken", ["text", "list", "no such folder", "altered", "other digest"])
def test_a_bad_pointer_keeps_the_present_one(
    runtime: Runtime, place: Home, versions: list[tuple[Path, str]], client: Client, broken: str
) -> None:
    follower = Follower(runtime, place)
    point(place, *versions[0], 8)
    follower.look()
    package, digest = versions[1]
    if broken == "text":
        write_atomic(place.champion / POINTER, b"{half a poin")
    elif broken == "list":
        write_atomic(place.champion / POINTER, b"[1, 2]")
    elif broken == "no such folder":
        point(place, package, digest, 9)
        shutil.rmtree(place.champion / digest)
    elif broken == "altered":
        point(place, package, digest, 9)
        model = place.champion / digest / "model.txt"
        model.write_text(model.read_text().replace("leaf_value=", "leaf_value=9", 1))
    else:
        shutil.copytree(package, place.champion / versions[2][1])
        point(place, package, versions[2][1], 9)
    follower.look()
    assert client.predict({"customer_id": CUSTOMER}).json()["model_version"] == "8"
    point(place, *versions[2], 10) if broken != "other digest" else point(place, package, digest, 10)
    follower.look()
    assert client.predict({"customer_id": CUSTOMER}).json()["model_version"] == "10"


def test_what_could_not_be_read_is_tried_again(runtime: Runtime, place: Home, versions: list[tuple[Path, str]]) -> None:
    """The pointer has not moved, but what it names has come back: from a slow file system, or from a backup."""
    follower = Follower(runtime, place)
    package, digest = versions[0]
    point(place, package, digest, 8)
    shutil.rmtree(place.champion / digest)
    follower.look()
    shutil.copytree(package, place.champion / digest)
    follower.look()
    assert runtime.scorer is not None
    assert runtime.scorer.version == "8"


def test_an_unreadable_mark_costs_no_swap(runtime: Runtime, place: Home, versions: list[tuple[Path, str]]) -> None:
    (place.champion / "degraded.json").write_text("{half")
    point(place, *versions[0], 8)
    Follower(runtime, place).look()
    assert runtime.scorer is not None
    assert runtime.scorer.version == "8"


def test_a_data_fault_is_said_with_each_answer_until_it_is_over(runtime: Runtime, place: Home, client: Client) -> None:
    follower = Follower(runtime, place)
    mark(place, month="2025-04-01", reason="A feed has dried up: usage brought 0 rows.", feeds=("usage",))
    follower.look()
    answer = client.predict({"customer_id": CUSTOMER}).json()
    assert answer["degraded"] == {
        "reason": "A feed has dried up: usage brought 0 rows.",
        "feeds": ["usage"],
        "since": "2025-04-01",
    }
    by_features = client.predict({"features": {"logins_30d": 3}}).json()
    assert by_features["degraded"] is None, "what the caller brings does not come from the feed"
    clear(place)
    clear(place)
    follower.look()
    assert client.predict({"customer_id": CUSTOMER}).json()["degraded"] is None
    assert degraded(place) is None


def test_no_request_fails_and_no_answer_is_mixed_while_models_are_swapped(
    runtime: Runtime, place: Home, versions: list[tuple[Path, str]], client: Client
) -> None:
    """Clients in threads of their own, while the pointer moves as fast as packages load: every answer is the answer of
    one of the models, whole."""
    assert runtime.scorer is not None
    known = {}
    for number, (package, digest) in enumerate(versions, start=8):
        one = replace(runtime)
        follower = Follower(one, place)
        point(place, package, digest, number)
        follower.look()
        assert one.scorer is not None
        known[str(number)] = one.scorer.answer({"logins_30d": 3.0}, customer_id=None, as_of=None).margin
    known["7"] = runtime.scorer.answer({"logins_30d": 3.0}, customer_id=None, as_of=None).margin

    over, failed, seen = threading.Event(), [], set()

    def hammer() -> None:
        while not over.is_set():
            answer = client.predict({"features": {"logins_30d": 3}})
            body = answer.json()
            total = body.get("base_value", 0) + sum(body.get("contributions", {}).values())
            of_one_model = answer.status_code == 200 and body["margin"] == known[body["model_version"]]
            if not of_one_model or abs(total - body["margin"]) > 1e-9:
                failed.append(body)
            seen.add(body.get("model_version"))

    threads = [threading.Thread(target=hammer) for _ in range(4)]
    for thread in threads:
        thread.start()
    follower = Follower(runtime, place)
    for round_ in range(12):
        package, digest = versions[round_ % 3]
        point(place, package, digest, 8 + round_ % 3)
        follower.look()
    over.set()
    for thread in threads:
        thread.join()
    assert failed == []
    assert {"8", "9", "10"} <= seen


def test_a_vector_that_lacks_what_the_model_reads_is_degraded() -> None:
    reads = frozenset({"a", "b", "c"})
    assert for_vector(reads, {"a": 1, "b": None, "c": 2, "mrr": 3}, "2025-07-01", None) is None
    found = for_vector(reads, {"b": 1}, "2025-07-01", None)
    assert found == Degraded(reason="The model reads a and 1 more, which is not online.", feeds=[], since="2025-07-01")
    known = Degraded(reason="a feed has dried up", feeds=["usage"], since="2025-06-01")
    assert for_vector(reads, {}, "2025-07-01", known) is known
