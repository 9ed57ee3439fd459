"""The published file: whole at any moment, the same name, never back to an older list."""

from __future__ import annotations

import hashlib
import json
import threading
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from churn_platform.outlets import published as module
from churn_platform.outlets.published import publish, published
from churn_platform.records.home import Home
from churn_platform.records.store import ContentStore
from tests.outlets.conftest import make_list


def test_by_name_and_by_digest(home: Home, tmp_path: Path) -> None:
    store, facts = ContentStore(home.store), make_list(home)
    said = publish(tmp_path, store, facts, "pseudonym", list)
    content = (tmp_path / "scores_current.parquet").read_bytes()
    assert hashlib.sha256(content).hexdigest() == said["sha256"]
    rows = pq.read_table(tmp_path / "scores_current.parquet")
    assert rows.drop(["degraded"]).equals(pq.read_table(store.path(facts.digest)))
    assert rows["degraded"].to_pylist() == [None] * 4
    assert said["degraded"] is None
    assert (tmp_path / said["file"]).read_bytes() == content
    assert json.loads((tmp_path / "scores_current.json").read_text()) == said == published(tmp_path)
    before = (tmp_path / "scores_current.parquet").stat()
    publish(tmp_path, store, facts, "pseudonym", list)
    after = (tmp_path / "scores_current.parquet").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns), (
        "the same list is not written twice"
    )


def test_a_later_list_is_not_replaced_by_an_earlier_one(home: Home, tmp_path: Path) -> None:
    store = ContentStore(home.store)
    old = make_list(home, made="2024-06-01T00:00:00+00:00")
    new = make_list(home, shift=0.01, made="2024-06-02T00:00:00+00:00")
    publish(tmp_path, store, new, "pseudonym", list)
    assert publish(tmp_path, store, old, "pseudonym", list)["digest"] == new.digest
    assert publish(tmp_path, store, old, "pseudonym", list, always=True)["digest"] == old.digest
    publish(tmp_path, store, new, "pseudonym", list)
    (tmp_path / "scores_current.parquet").unlink()
    assert publish(tmp_path, store, new, "pseudonym", list)["digest"] == new.digest
    assert (tmp_path / "scores_current.parquet").exists(), "what was deleted is made again"


def test_ids_that_the_vault_does_not_know_any_more_are_left_out(home: Home, tmp_path: Path) -> None:
    facts = make_list(home)
    said = publish(tmp_path, ContentStore(home.store), facts, "company", lambda ids: [None, *["own"] * (len(ids) - 1)])
    assert said["rows"] == 3
    table = pq.read_table(tmp_path / "scores_current.parquet")
    assert table["rank"].to_pylist() == [2, 3, 4]


def test_a_list_that_stands_on_a_data_fault_says_so(home: Home, tmp_path: Path) -> None:
    store, file = ContentStore(home.store), tmp_path / "scores_current.parquet"
    publish(tmp_path, store, make_list(home), "pseudonym", list)
    facts = make_list(home, fault="The feed usage has dried up.", diagnosed="2024-06-02T00:00:00+00:00")
    said = publish(tmp_path, store, facts, "pseudonym", list)
    assert said["degraded"] == {"reason": "The feed usage has dried up.", "feeds": ["usage"]}
    assert pq.read_table(file)["degraded"].to_pylist() == ["The feed usage has dried up."] * 4
    again = make_list(home, diagnosed="2024-06-03T00:00:00+00:00")
    assert again.digest == facts.digest
    publish(tmp_path, store, again, "pseudonym", list)
    assert pq.read_table(file)["degraded"].to_pylist() == [None] * 4


def test_a_file_of_an_earlier_release_is_written_anew(home: Home, tmp_path: Path) -> None:
    store, facts = ContentStore(home.store), make_list(home)
    said = publish(tmp_path, store, facts, "pseudonym", list)
    (tmp_path / "scores_current.json").write_text(json.dumps({k: v for k, v in said.items() if k != "degraded"}))
    (tmp_path / "scores_current.parquet").write_bytes(store.read_bytes(facts.digest))
    publish(tmp_path, store, facts, "pseudonym", list)
    assert "degraded" in pq.read_schema(tmp_path / "scores_current.parquet").names


def test_a_reader_never_sees_a_half(home: Home, tmp_path: Path) -> None:
    store = ContentStore(home.store)
    lists = [make_list(home, shift=0.01 * i, made=f"2024-06-{i + 1:02d}T00:00:00+00:00") for i in range(20)]
    publish(tmp_path, store, lists[0], "pseudonym", list)
    seen, stop = set(), threading.Event()

    def read() -> None:
        while not stop.is_set():
            seen.add(hashlib.sha256((tmp_path / "scores_current.parquet").read_bytes()).hexdigest())

    reader = threading.Thread(target=read)
    reader.start()
    try:
        known = {published(tmp_path)["sha256"]}  # type: ignore[index]
        known |= {publish(tmp_path, store, one, "pseudonym", list)["sha256"] for one in lists[1:]}
    finally:
        stop.set()
        reader.join()
    assert seen
    assert seen <= known


def test_old_files_by_digest_go(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT", 2)
    store = ContentStore(home.store)
    for i in range(4):
        said = publish(
            tmp_path, store, make_list(home, shift=0.01 * i, made=f"2024-06-0{i + 1}T00:00:00+00:00"), "pseudonym", list
        )
    left = {path.name for path in (tmp_path / "by-digest").iterdir()}
    assert len(left) == 2
    assert f"{said['sha256']}.parquet" in left
