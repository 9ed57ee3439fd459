import multiprocessing
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from churn_platform import clock
from churn_platform.records import ids
from churn_platform.records.ids import uuid7, uuid7_time


def test_an_id_is_a_uuid_of_version_7_that_carries_its_time():
    before = datetime.now(UTC)
    value = uuid7()
    assert (value.version, value.variant) == (7, uuid.RFC_4122)
    assert before - timedelta(milliseconds=1) <= uuid7_time(value) <= datetime.now(UTC) + timedelta(milliseconds=1)


def test_the_example_of_the_standard():
    # RFC 9562, appendix A.6: 2022-02-22 19:22:22 in UTC.
    value = uuid.UUID("017F22E2-79B0-7CC3-98C4-DC0C0C07398F")
    assert uuid7_time(value) == datetime(2022, 2, 22, 19, 22, 22, tzinfo=UTC)


def test_the_time_of_another_version_is_refused():
    with pytest.raises(ValueError, match="version 4"):
        uuid7_time(uuid.uuid4())


@given(st.lists(st.integers(-5000, 5000), min_size=1, max_size=50))
@settings(max_examples=50, deadline=None)
def test_ids_increase_whatever_the_clock_does(steps: list[int]):
    moment = [datetime(2030, 1, 1, tzinfo=UTC)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clock, "wall", lambda: moment[0])
        patch.setattr(ids, "_last_milliseconds", -1)
        patch.setattr(ids, "_last_counter", 0)
        made = []
        for step in steps:
            moment[0] += timedelta(milliseconds=step)
            made += [uuid7(), uuid7()]
    assert made == sorted(set(made))
    assert [str(value) for value in made] == sorted(str(value) for value in made)


def test_a_full_counter_borrows_from_the_next_millisecond(monkeypatch: pytest.MonkeyPatch):
    moment = datetime(2030, 1, 1, tzinfo=UTC)
    monkeypatch.setattr(clock, "wall", lambda: moment)
    monkeypatch.setattr(ids, "_last_milliseconds", -1)
    first = uuid7()
    monkeypatch.setattr(ids, "_last_counter", (1 << 42) - 1)
    second, third = uuid7(), uuid7()
    assert first < second < third
    assert uuid7_time(second) == uuid7_time(third) == moment + timedelta(milliseconds=1)


def test_threads_never_share_an_id():
    def many(_: int) -> list[uuid.UUID]:
        return [uuid7() for _ in range(2000)]

    with ThreadPoolExecutor(4) as pool:
        made = [value for part in pool.map(many, range(4)) for value in part]
    assert len(set(made)) == 8000


def test_forked_children_do_not_continue_their_parents_counter(monkeypatch: pytest.MonkeyPatch):
    moment = datetime(2030, 1, 1, tzinfo=UTC)
    monkeypatch.setattr(clock, "wall", lambda: moment)
    monkeypatch.setattr(ids, "_last_milliseconds", -1)
    uuid7()
    counters = {_in_fork(lambda: uuid7().int >> 32 & 0x3FFFFFFF) for _ in range(4)}
    assert len(counters) == 4


def _in_fork(action: Callable[[], int]) -> int:
    context = multiprocessing.get_context("fork")
    reader, writer = context.Pipe(duplex=False)
    child = context.Process(target=lambda: writer.send(action()))
    child.start()
    value: int = reader.recv()
    child.join()
    return value
