"""Late, overwritten and out-of-order rows against a model in plain dictionaries, on both stores."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from churn_platform.features.online import OnlineReader, Vector
from churn_platform.features.packed.layout import Column, Layout, ViewSpec
from churn_platform.features.packed.lmdb_store import LmdbStore
from churn_platform.features.packed.redis_store import RedisStore
from churn_platform.features.packed.store import Building, PackedStore, leaving_out
from churn_platform.records.home import Home
from tests.features.packed.conftest import KEYS, LAYOUT, SPECS, Rows, materialize, row, state, table

CUSTOMERS = ["a", "b", "c"]
VIEWS = list(SPECS)
times = st.integers(0, 2)
values = st.tuples(st.one_of(st.none(), st.sampled_from([0.0, -1.5, 3.0])), st.sampled_from([None, "x", "y", "ü\0z"]))
rows = st.dictionaries(st.sampled_from(CUSTOMERS), st.tuples(times, times, values))
QUICK = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
)


class Machine(RuleBasedStateMachine):
    """What DESIGN section 4 says of rows: by event time, then creation time; the newest wins; of equals the later."""

    made: PackedStore

    @initialize()
    def begin_empty(self) -> None:
        self.made.clear()
        self.made.declare(SPECS)
        self.now: dict[str, dict[str, Any]] = {view: {} for view in VIEWS}
        self.departed: dict[str, int] = {}
        self.building: Building | None = None
        self.tables: dict[str, Rows] = {}
        self.touched: set[tuple[str, str]] = set()
        self.removed: set[str] = set()

    @rule(view=st.sampled_from(VIEWS), who=st.sampled_from(CUSTOMERS), event=times, created=times, value=values)
    def push(self, view: str, who: str, event: int, created: int, value: tuple[Any, Any]) -> None:
        written = self.made.push(view, LAYOUT, [row(who, event, created, *value)])
        old = self.now[view].get(who)
        wins = old is None or (event, created) >= old[:2]
        assert written == int(wins)
        if wins:
            self.now[view][who] = (event, created, *value)
            self.touched.add((view, who))

    @rule(who=st.sampled_from(CUSTOMERS))
    def remove(self, who: str) -> None:
        self.made.remove([who])
        for view in VIEWS:
            self.now[view].pop(who, None)
            self.touched.discard((view, who))
        self.departed.pop(who, None)
        self.removed.add(who)

    @rule()
    def begin(self) -> None:
        """Also while another run is under way, or was killed: it is given up."""
        self.building, self.tables, self.touched, self.removed = self.made.begin(SPECS), {}, set(), set()
        self.leavers: dict[str, int] = {}

    @precondition(lambda self: self.building is not None and len(self.tables) < len(VIEWS))
    @rule(found=rows)
    def load(self, found: dict[str, tuple[int, int, tuple[Any, Any]]]) -> None:
        view = VIEWS[len(self.tables)]
        delivered: Rows = {who: (event, created, *value) for who, (event, created, value) in found.items()}
        assert self.building is not None
        self.building.load(view, table(delivered), **KEYS)
        self.tables[view] = delivered
        newest = max((one[0] for one in delivered.values()), default=-1)
        for who, one in self.now[view].items():
            if who not in delivered and one[0] <= newest:
                self.leavers[who] = one[0]

    @precondition(lambda self: self.building is not None and len(self.tables) == len(VIEWS))
    @rule()
    def commit(self) -> None:
        assert self.building is not None
        self.building.commit()
        after: dict[str, dict[str, Any]] = {}
        for view, delivered in self.tables.items():
            newest = max((one[0] for one in delivered.values()), default=-1)
            after[view] = {who: one for who, one in delivered.items() if who not in self.removed}
            for who, one in self.now[view].items():
                there = after[view].get(who)
                touched = (view, who) in self.touched
                if there is None:
                    if touched or one[0] > newest:
                        after[view][who] = one
                elif one[:2] > there[:2] or (touched and one[:2] == there[:2]):
                    after[view][who] = one
        self.now = after
        self.departed |= {who: moment for who, moment in self.leavers.items() if who not in self.removed}
        self.building = None

    @rule(found=st.tuples(rows, rows))
    def begin_and_load(self, found: tuple[dict[str, Any], dict[str, Any]]) -> None:
        self.begin()
        for one in found:
            self.load(one)

    @precondition(lambda self: self.building is not None)
    @rule()
    def abort(self) -> None:
        assert self.building is not None
        self.building.abort()
        self.building = None

    @invariant()
    def reads_what_the_model_says(self) -> None:
        if not hasattr(self, "now"):
            return
        _, found, departed = state(self.made, CUSTOMERS)
        assert found == self.now
        absent = {who for who in CUSTOMERS if not any(who in self.now[view] for view in VIEWS)}
        assert departed == {who: moment for who, moment in self.departed.items() if who in absent}


pushes = st.tuples(st.sampled_from(VIEWS), st.sampled_from(CUSTOMERS), times, times, values)
steps = st.lists(st.one_of(pushes, st.sampled_from(CUSTOMERS)), max_size=5)


@pytest.fixture(params=["lmdb", "redis"])
def machine(request: pytest.FixtureRequest) -> Iterator[type[Machine]]:
    memory = Path("/dev/shm")  # noqa: S108 - thousands of commits: their fsync is not what is tested
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        store: Any = (
            LmdbStore(Path(folder) / "online.lmdb")
            if request.param == "lmdb"
            else RedisStore(request.getfixturevalue("redis_url"), "model", grace=0.0)
        )
        yield type("On" + request.param, (Machine,), {"made": store})
        store.close()


def test_rows_in_any_order(machine: type[Machine]) -> None:
    run_state_machine_as_test(machine, settings=QUICK)


@settings(QUICK, max_examples=400)
@given(before=steps, delivered=st.tuples(rows, rows), during=steps)
def test_what_happens_before_and_during_a_materialization(
    machine: type[Machine], before: list[Any], delivered: tuple[Any, Any], during: list[Any]
) -> None:
    one = machine()
    one.begin_empty()
    _take(one, before)
    one.begin_and_load(delivered)
    _take(one, during)
    one.reads_what_the_model_says()
    one.commit()
    one.reads_what_the_model_says()


def _take(machine: Machine, steps: list[Any]) -> None:
    for step in steps:
        machine.remove(step) if isinstance(step, str) else machine.push(*step)


def test_who_is_left_out_has_departed(store: PackedStore) -> None:
    delivered: Rows = dict.fromkeys(CUSTOMERS, (2, 2, 1.0, "x"))
    materialize(store, delivered)
    store.push(VIEWS[0], LAYOUT, [row("a", 3, 3, 5.0, "y")])
    with leaving_out(frozenset({"a", "nobody"})):
        materialize(store, delivered)
    _, found, departed = state(store, CUSTOMERS)
    assert all(set(found[view]) == {"b", "c"} for view in VIEWS)
    assert departed == {"a": 2}
    materialize(store, delivered)
    assert set(state(store, CUSTOMERS)[1][VIEWS[0]]) == set(CUSTOMERS), "who is in the table again is served again"


def test_a_view_that_is_declared_and_not_materialized_disturbs_no_reader(store: PackedStore, tmp_path: Path) -> None:
    materialize(store, dict.fromkeys(CUSTOMERS, (2, 2, 1.0, "x")))
    reader = OnlineReader(Home.open(tmp_path), store=store)
    at = datetime(1970, 1, 2, tzinfo=UTC)
    before = reader.get(["a"], at=at)["a"]
    assert isinstance(before, Vector)
    store.declare({**SPECS, "later": ViewSpec(Layout((Column("more", "number"),)), timedelta(days=45))})
    found = reader.get(["a"], at=at)["a"]
    assert isinstance(found, Vector)
    assert (dict(found), found.layout) == (dict(before), before.layout)
    assert "more" not in reader.features
