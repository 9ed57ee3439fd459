"""A materialization through Feast that is killed: old or new, never torn; the next run repairs. On both stores."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from churn_platform import clock, settings
from churn_platform.features.catalogue import Feature
from churn_platform.features.feast_store import apply, materialize, open_feast, sync_offline
from churn_platform.features.observation import instant
from churn_platform.features.online import Missing, OnlineReader, Vector
from churn_platform.features.packed.opening import open_store
from churn_platform.records.home import Home
from churn_platform.records.store import ContentStore

MONTHS = ("2025-01-01", "2025-02-01", "2025-03-01")
CUSTOMERS = [f"c{i:05d}" for i in range(3000)]
FAMILIES = ("usage", "billing", "support")
FEATURES = tuple(
    Feature(f"{family}_{i}", family, "number", "a number", "", "A number.", "never null", 0)
    for family in FAMILIES
    for i in range(4)
)
# Stops where the argument says: 1 between the views, 4 before the pointer moves.
CHILD = """
import sys, time
from churn_platform.features.feast_store import materialize
from churn_platform.features.packed import lmdb_store, redis_store
from churn_platform.records.home import Home

at, done = int(sys.argv[1]), 0


def stop():
    sys.stderr.write("HALF\\n")
    sys.stderr.flush()
    time.sleep(60)


for kind in (lmdb_store.LmdbBuilding, redis_store.RedisBuilding):
    def load(self, *args, _load=kind.load, **options):
        global done
        if done == at:
            stop()
        done += 1
        return _load(self, *args, **options)

    def commit(self, _commit=kind.commit):
        stop()

    kind.load, kind.commit = load, commit
sys.__stderr__ = sys.stderr
import churn_platform.features.feast_store as feast_store
import contextlib
feast_store._quiet = contextlib.nullcontext
materialize(Home.open(), sys.argv[2])
"""


@pytest.fixture(params=["lmdb", "redis"])
def home(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    monkeypatch.setenv("CHURN_HOME", str(tmp_path / "home"))
    if request.param == "redis":
        monkeypatch.setenv("CHURN_ONLINE_STORE", "redis")
        monkeypatch.setenv("CHURN_REDIS_URL", request.getfixturevalue("redis_url"))
    settings.reload()
    home = Home.open()
    open_store(home).clear()
    store = ContentStore(home.store)
    digests = {}
    for number, month in enumerate(MONTHS):
        moment = pa.array([instant(month)] * len(CUSTOMERS), pa.timestamp("us"))
        columns = {feature.name: [float(number)] * len(CUSTOMERS) for feature in FEATURES}
        frame = {
            "customer_id": CUSTOMERS,
            "event_timestamp": moment,
            "created_timestamp": moment,
            "mrr": columns["usage_0"],
        }
        with store.temporary() as path:
            pq.write_table(pa.table({**frame, **columns}), path)
            digests[month] = store.put_file(path)
    sync_offline(home, {MONTHS[0]: digests[MONTHS[0]]}, store=store)
    apply(home, FEATURES)
    materialize(home, MONTHS[0])
    sync_offline(home, digests, store=store)
    yield home
    open_store(home).clear()


def numbers(home: Home) -> list[tuple[int, float]]:
    """Generation and value of each customer, after checking that all views of a vector agree."""
    with clock.as_of(instant(MONTHS[1]).replace(tzinfo=UTC)):
        found = OnlineReader(home).get(CUSTOMERS)
    answers = []
    for vector in found.values():
        assert isinstance(vector, Vector), vector
        values = {vector[feature.name] for feature in FEATURES}
        assert len(values) == 1, f"torn: {values}"
        assert len(set(vector.view_times.values())) == 1
        answers.append((vector.generation, values.pop()))
    return answers


@pytest.mark.parametrize("at", [1, 4])
def test_killed_halfway(home: Home, at: int) -> None:
    before = numbers(home)
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(at), MONTHS[2]], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if line.startswith("HALF"):
            break
    else:
        pytest.fail("".join(said)[-3000:])
    # what is pushed while it runs is seen at once, and outlives it
    pushed = [{"customer_id": CUSTOMERS[7], "event_timestamp": instant(MONTHS[2]), "usage_0": 9.0}]
    row = {**pushed[0], "created_timestamp": instant(MONTHS[2]), **{f"usage_{i}": 9.0 for i in range(4)}}
    feast = open_feast(home)
    feast.write_to_online_store("usage", inputs={name: [value] for name, value in row.items()})
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    process.stderr.close()

    reading = open_store(home).read(CUSTOMERS[:7])
    assert reading.generation.number == before[0][0], "the old generation is served"
    others = [one for i, one in enumerate(numbers_of_others(home)) if i != 7]
    assert set(others) == set(before)
    with clock.as_of(instant(MONTHS[1]).replace(tzinfo=UTC)):
        service = open_feast(home).get_feature_service("churn")
        answer = open_feast(home).get_online_features(service, [{"customer_id": CUSTOMERS[7]}]).to_dict()
    assert (answer["usage_0"], answer["billing_0"]) == ([9.0], [0.0]), "the registry still serves"

    assert materialize(home, MONTHS[2]) == len(CUSTOMERS)
    after = numbers(home)
    assert {value for _, value in after} == {2.0}
    assert len({generation for generation, _ in after}) == 1
    assert after[0][0] > before[0][0]
    _nothing_is_left(home)


def numbers_of_others(home: Home) -> list[tuple[int, float]]:
    """As :func:`numbers`, but for the customer with a pushed row."""
    with clock.as_of(instant(MONTHS[1]).replace(tzinfo=UTC)):
        found = OnlineReader(home).get(CUSTOMERS)
    answers = []
    for i, vector in enumerate(found.values()):
        assert not isinstance(vector, Missing)
        values = {vector[feature.name] for feature in FEATURES}
        assert len(values) == 1 or i == 7
        answers.append((vector.generation, max(values)))
    return answers


def test_readers_see_one_generation_while_others_are_written(home: Home) -> None:
    """Two months one after the other, under a reader that never stops."""
    seen: set[tuple[int, float]] = set()
    failures: list[BaseException] = []
    over = threading.Event()

    def read() -> None:
        try:
            while not over.is_set():
                answers = set(numbers(home))
                assert len(answers) == 1, answers
                seen.update(answers)
        except BaseException as error:
            failures.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for _ in range(3):
            materialize(home, MONTHS[2])
    finally:
        over.set()
        reader.join(30)
    assert failures == []
    assert {value for _, value in seen} <= {0.0, 2.0}
    assert len(seen) >= 2
    _nothing_is_left(home)


def _nothing_is_left(home: Home) -> None:
    """Old generations, journals and marks of a run are gone."""
    store: Any = open_store(home)
    number = store.generation().number
    if settings.settings().online_store == "redis":
        keys = {key.decode().partition("}:")[2] for key in store._redis.keys("*churn:churn*")}
        rows = {f"rows:{number}:{view.index}" for view in store.generation().views}
        assert keys - {"current", "documents", "made", "sequence"} == rows
    else:
        db = store._reader()
        with db.env.begin() as txn:
            old = 1 - store.generation().slot
            assert txn.stat(db[f"slot{old}"])["entries"] == 0
            assert txn.stat(db["journal"])["entries"] == 0
            assert txn.get(b"building", db=db["meta"]) is None
