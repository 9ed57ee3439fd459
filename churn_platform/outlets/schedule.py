"""When a delivery that has failed is tried again: a pure function."""

from __future__ import annotations

from typing import Final

DELAYS: Final = (5.0, 60.0, 300.0, 1_800.0, 7_200.0, 18_000.0, 36_000.0, 50_400.0, 64_800.0, 86_400.0)
"""Seconds after the first, second … failed attempt, in the manner of the Standard Webhooks specification."""
ATTEMPTS: Final = len(DELAYS) + 1
JITTER: Final = 0.25
LONGEST: Final = 86_400.0


def pause(attempts: int, luck: float, *, asked: float | None = None) -> float | None:
    """Seconds until the next attempt, or None where there is none any more.

    Args:
        attempts: attempts that have failed so far, from 1.
        luck: uniform in [0, 1): spreads the attempts of many deliveries that failed together. A pause is up to a
            quarter longer than its step, never shorter.
        asked: the pause that the other side has asked for (``Retry-After``); at most a day of it is granted.
    """
    if attempts >= ATTEMPTS:
        return None
    step = DELAYS[attempts - 1] * (1.0 + JITTER * luck)
    return max(step, min(asked, LONGEST)) if asked is not None else step
