"""Lineage from records alone: what led to an artifact, also after its references have moved on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from churn_platform.governance.trace import trace
from churn_platform.records.history import History, Made, remember
from churn_platform.records.home import Home
from churn_platform.records.provenance import digest_of, newest_digest
from churn_platform.records.refs import Refs


def digest(text: str) -> str:
    return digest_of(text)


def record(text: str, minute: int, **inputs: str) -> dict[str, Any]:
    named = {name.replace("__", ":").replace("_at_", "@"): value for name, value in inputs.items()}
    return {
        "digest": digest(text),
        "made_at": f"2026-01-01T00:{minute:02}:00+00:00",
        "run_id": f"run-{minute}",
        "code_version": "c1",
        "inputs": named,
    }


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.open(tmp_path / "home")


def build(home: Home) -> None:
    """Two months of a table, a set over both, a model; then one month is delivered again and all is made anew."""
    for minute, version in ((1, "old"), (11, "new")):
        months = {}
        for month in ("2026-01", "2026-02"):
            text = f"table {month} {version if month == '2026-02' else 'old'}"
            months[month] = record(text, minute, source__table=digest(f"file {version}"))
        remember(home, "table", dict(months))
        state = digest_of({month: one["digest"] for month, one in months.items()})
        newest = newest_digest("2026-02", months["2026-02"])
        whole = record(f"set {version}", minute + 1, **{"table_at_*": state, "table_at_^": newest})
        remember(home, "set", {None: whole})
        model = record(f"model {version}", minute + 2, set=whole["digest"], config__model=digest("seed"))
        remember(home, "model", {None: model})


def test_the_old_model_is_traced_to_the_old_table(home: Home) -> None:
    build(home)
    history = History.read(home)
    for version in ("old", "new"):
        model = history.find("model", digest(f"model {version}"))
        assert model is not None
        found = trace(history, model)
        assert found.missing == []
        assert [(one.partition, one.digest) for one in found.steps["table"]] == [
            ("2026-01", digest("table 2026-01 old")),
            ("2026-02", digest(f"table 2026-02 {version}")),
        ]
        assert found.outside["config:model"] == {digest("seed")}
        assert digest(f"file {version}") in found.outside["source:table"]
        one = found.one("set")
        assert one is not None
        assert one.digest == digest(f"set {version}")


def test_what_is_not_recorded_is_missing_not_guessed(home: Home) -> None:
    build(home)
    history = History([*History.read(home).of("model"), *History.read(home).of("set")])
    model = history.of("model")[0]
    found = trace(history, model)
    assert len(found.missing) == 2
    assert all("of which there is no record" in line for line in found.missing)


def test_a_state_that_does_not_give_the_recorded_digest_does_not_count(home: Home) -> None:
    build(home)
    kept = [one for name in ("table", "set", "model") for one in History.read(home).of(name)]
    history = History([one for one in kept if (one.partition, one.made_at[14:16]) != ("2026-01", "01")])
    model = history.find("model", digest("model old"))
    assert model is not None
    assert trace(history, model).missing == [
        f"set was made from table@* ({history.of('set')[0].inputs['table@*'][:12]}), of which there is no record"
    ]


def test_references_of_an_older_release_are_part_of_the_history(home: Home) -> None:
    Refs(home.refs).set("model", None, record("kept", 5))
    remember(home, "model", {None: record("later", 6)})
    assert [one.digest for one in History.read(home).of("model")] == [digest("kept"), digest("later")]


def test_a_reference_and_its_event_are_one(home: Home) -> None:
    one = record("same", 5)
    remember(home, "sources/table", {"2026-01": one})
    Refs(home.refs).set("sources/table", "2026-01", one)
    assert History.read(home).of("sources/table") == [Made("sources/table", "2026-01", one)]
    assert one["digest"] == History.read(home).of("sources/table")[0].digest


def test_before_a_time_the_newest_that_was_there_counts(home: Home) -> None:
    for minute in (1, 5, 9):
        remember(home, "gate", {None: record("same decision", minute)})
    history = History.read(home)
    found = history.find("gate", digest("same decision"), before="2026-01-01T00:06:00+00:00")
    assert found is not None
    assert found.run_id == "run-5"
    assert history.find("gate", digest("another")) is None
