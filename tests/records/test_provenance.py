"""The plan of what must be made anew."""

from __future__ import annotations

from typing import Any

import pytest

from churn_platform.records.provenance import SINGLE, Node, Plan, digest_of, make_plan, resolve

MONTHS = ("2024-01-01", "2024-02-01")


class Memory:
    """References in memory."""

    def __init__(self) -> None:
        self.held: dict[tuple[str, str | None], dict[str, Any]] = {}

    def put(self, asset: str, partition: str | None, digest: str, inputs: dict[str, str], code: str = "1") -> None:
        self.held[asset, partition] = {"digest": digest, "code_version": code, "inputs": inputs}

    def find(self, asset: str, partition: str | None = None) -> dict[str, Any] | None:
        return self.held.get((asset, partition))

    def partitions(self, asset: str) -> list[str]:
        return sorted(p for a, p in self.held if a == asset and p is not None)


def _nodes(**changes: Any) -> list[Node]:
    return [
        Node("usage", "1", MONTHS, (), {"source:usage": changes.get("source", "s1")}),
        Node("features", changes.get("features_code", "1"), MONTHS, ("usage",)),
        Node("training", "1", (), ("features",), {"config:training": changes.get("config", "c1")}),
        Node("scores", "1", (), ("features", "training")),
    ]


@pytest.fixture
def current() -> Memory:
    """References in which everything is current."""
    refs = Memory()
    for month in MONTHS:
        refs.put("usage", month, f"u{month}", {"source:usage": "s1"})
        refs.put("features", month, f"f{month}", {f"usage@{month}": f"u{month}"})
    everything = digest_of({month: f"f{month}" for month in MONTHS})
    refs.put("training", None, "t", {"features@*": everything, "config:training": "c1"})
    refs.put("scores", None, "s", {"features@^": f"{MONTHS[-1]}:f{MONTHS[-1]}", "training": "t"})
    return refs


def test_nothing_is_stale_where_nothing_has_changed(current: Memory) -> None:
    plan = make_plan(_nodes(), current)
    assert plan.assets == ()
    assert plan.partition_range is None


def test_an_empty_home_needs_everything() -> None:
    plan = make_plan(_nodes(), Memory())
    assert plan.stale == {"usage": MONTHS, "features": MONTHS, "training": (SINGLE,), "scores": (SINGLE,)}
    assert plan.partition_range == MONTHS


@pytest.mark.parametrize(
    ("change", "stale"),
    [
        ({"source": "s2"}, ["usage", "features", "training", "scores"]),
        ({"features_code": "2"}, ["features", "training", "scores"]),
        ({"config": "c2"}, ["training", "scores"]),
    ],
)
def test_a_change_reaches_what_depends_on_it_and_nothing_else(
    current: Memory, change: dict[str, str], stale: list[str]
) -> None:
    assert list(make_plan(_nodes(**change), current).assets) == stale


def test_a_changed_month_touches_only_itself_and_what_reads_all_or_the_newest(current: Memory) -> None:
    current.put("usage", MONTHS[0], "other", {"source:usage": "s1"})
    plan = make_plan(_nodes(), current)
    assert plan.stale["features"] == (MONTHS[0],)
    assert "usage" not in plan.stale
    assert plan.partition_range == (MONTHS[0], MONTHS[0])


def test_a_new_month_is_made_and_carried_on(current: Memory) -> None:
    nodes = [
        Node(n.asset, n.code_version, (*MONTHS, "2024-03-01") if n.partitions else (), n.parents, n.external)
        for n in _nodes()
    ]
    plan = make_plan(nodes, current)
    assert plan.stale["usage"] == ("2024-03-01",)
    assert plan.stale["features"] == ("2024-03-01",)
    assert set(plan.assets) == {"usage", "features", "training", "scores"}


def test_reasons_name_what_has_changed(current: Memory) -> None:
    plan = make_plan(_nodes(config="c2"), current)
    assert plan.reasons == {"training": "config:training has changed", "scores": "training is made anew"}


def test_what_is_asked_for_is_made_again_with_what_depends_on_it(current: Memory) -> None:
    plan = make_plan(_nodes(), current, again=("training",))
    assert plan.stale == {"training": (SINGLE,), "scores": (SINGLE,)}
    assert plan.reasons["training"] == "asked for"


def test_selectors(current: Memory) -> None:
    assert resolve(current, "training", {}) == "t"
    assert resolve(current, f"features@{MONTHS[0]}", {}) == f"f{MONTHS[0]}"
    assert resolve(current, "features@^", {}) == f"{MONTHS[-1]}:f{MONTHS[-1]}"
    assert resolve(current, "config:training", {"config:training": "x"}) == "x"
    assert resolve(current, "nothing", {}) is None
    assert resolve(current, "nothing@*", {}) is None
    assert resolve(current, "nothing@^", {}) is None


def test_runs_have_one_range_each() -> None:
    plan = Plan(
        {"usage": ("b",), "rules": (SINGLE,), "features": ("b",), "labels": ("a", "b"), "scores": (SINGLE,)},
        dict.fromkeys(("usage", "rules", "features", "labels", "scores"), "x"),
    )
    assert [part.assets for part in plan.runs()] == [("usage", "rules", "features"), ("labels", "scores")]
    assert [part.partition_range for part in plan.runs()] == [("b", "b"), ("a", "b")]
    assert plan.only(["scores"]).runs()[0].partition_range is None
    assert Plan({}, {}).runs() == ()


def test_the_newest_carries_what_is_known_since(current: Memory) -> None:
    before = resolve(current, "usage@^", {})
    current.held["usage", MONTHS[-1]]["current"] = {"digest": "later", "as_of": "2024-02-20"}
    assert resolve(current, "usage@^", {}) != before
    assert resolve(current, f"usage@{MONTHS[-1]}", {}) == f"u{MONTHS[-1]}"
