import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone

import pytest

from churn_platform import clock

MOMENT = datetime(2024, 3, 1, 12, tzinfo=UTC)


def near(moment: datetime) -> bool:
    return moment.utcoffset() == timedelta(0) and abs(datetime.now(UTC) - moment) < timedelta(seconds=10)


def test_the_present_is_the_wall_clock_unless_another_is_set():
    assert near(clock.now())
    with clock.as_of(MOMENT):
        assert clock.now() == MOMENT
        assert near(clock.wall())
    assert near(clock.now())


def test_presents_nest_and_none_is_the_wall_clock():
    with clock.as_of(MOMENT):
        with clock.as_of(MOMENT + timedelta(days=1)):
            assert clock.now() == MOMENT + timedelta(days=1)
        with clock.as_of(None):
            assert near(clock.now())
        assert clock.now() == MOMENT


def test_the_present_comes_back_after_an_error():
    with pytest.raises(KeyError), clock.as_of(MOMENT):
        raise KeyError
    assert near(clock.now())


def test_other_zones_become_utc():
    with clock.as_of(MOMENT.astimezone(timezone(timedelta(hours=5)))):
        assert clock.now() == MOMENT
        assert clock.now().tzinfo is UTC


def test_a_naive_moment_is_refused():
    with pytest.raises(ValueError, match="aware"), clock.as_of(datetime(2024, 3, 1)):  # noqa: DTZ001
        pass


def test_a_present_is_its_own_context_only():
    async def seen(moment: datetime) -> datetime:
        with clock.as_of(moment):
            await asyncio.sleep(0)
            return clock.now()

    async def both() -> list[datetime]:
        return await asyncio.gather(seen(MOMENT), seen(MOMENT + timedelta(days=1)))

    assert asyncio.run(both()) == [MOMENT, MOMENT + timedelta(days=1)]
    with clock.as_of(MOMENT), ThreadPoolExecutor(1) as pool:
        assert near(pool.submit(clock.now).result())
