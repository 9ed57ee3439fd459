"""Pauses grow, are spread, listen to the other side, and end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from churn_platform.outlets.schedule import ATTEMPTS, DELAYS, JITTER, LONGEST, pause

LUCK = st.floats(0, 1, exclude_max=True)


@given(st.integers(1, ATTEMPTS - 1), LUCK)
def test_a_pause_is_its_step_and_a_quarter_more_at_most(attempts: int, luck: float) -> None:
    found = pause(attempts, luck)
    assert found is not None
    assert DELAYS[attempts - 1] <= found <= DELAYS[attempts - 1] * (1 + JITTER)


@given(st.integers(1, ATTEMPTS - 2), LUCK, LUCK)
def test_each_pause_is_longer_than_the_one_before(attempts: int, luck: float, other: float) -> None:
    earlier, later = pause(attempts, luck), pause(attempts + 1, other)
    assert earlier is not None
    assert later is not None
    assert earlier < later


@given(st.integers(ATTEMPTS, 10_000), LUCK, st.none() | st.floats(0, 1e6))
def test_it_is_given_up_after_the_last(attempts: int, luck: float, asked: float | None) -> None:
    assert pause(attempts, luck, asked=asked) is None


@given(st.integers(1, ATTEMPTS - 1), LUCK, st.floats(0, 1e9))
def test_what_the_other_side_asks_for_is_granted_up_to_a_day(attempts: int, luck: float, asked: float) -> None:
    plain, found = pause(attempts, luck), pause(attempts, luck, asked=asked)
    assert plain is not None
    assert found is not None
    assert found >= min(asked, LONGEST)
    assert plain <= found <= max(plain, LONGEST)


def test_a_receiver_that_is_down_for_a_weekend_gets_it() -> None:
    assert sum(DELAYS) > 60 * 3600
    assert DELAYS[0] == pytest.approx(5)
