"""The accounts table as the CRM shows it: some columns never change, some were overwritten in place."""

from __future__ import annotations

import numpy as np

from churn_platform.sources.simulator.departures import Departures
from churn_platform.sources.simulator.history import History
from churn_platform.sources.simulator.population import (
    CHANNELS,
    COUNTRIES,
    INDUSTRIES,
    OWNERS,
    PLANS,
    REGIONS,
    SIZES,
)
from churn_platform.sources.simulator.timeline import DAY
from churn_platform.sources.simulator.values import Category, Columns, category, signup_times

RESIZE_MEAN_DAYS = 900.0
REASSIGN_MEAN_DAYS = 500.0
_COUNTRY_NAMES = tuple(name for names in COUNTRIES for name in names)
_COUNTRY_FIRST = np.cumsum([0, *(len(names) for names in COUNTRIES)])


def accounts(history: History, gone: Departures) -> Columns:
    """One row per account. ``plan``, ``owner`` and ``company_size`` show the latest value: they know the
    future of every earlier date (a leaver's owner is ``offboarding``), and that is why a contract must not
    let them in."""
    who, timeline = history.accounts, history.timeline
    serial = np.flatnonzero(history.visible)
    created = signup_times(history, serial)
    luck = who.luck[serial]
    left = gone.recorded[serial] < timeline.as_of
    until = np.where(left, gone.recorded[serial], timeline.as_of)
    age = (until - created) / DAY
    grown = who.size[serial] + np.where(who.fit[serial] > -0.2, 1, -1)
    resized = age > -np.log(1 - luck[:, 1]) * RESIZE_MEAN_DAYS
    reassigned = np.floor(age / (REASSIGN_MEAN_DAYS * (0.5 + luck[:, 2]))).astype(np.int64)
    owner = (np.floor(luck[:, 3] * len(OWNERS)).astype(np.int64) + reassigned) % len(OWNERS)
    return {
        "serial": serial,
        "created_at": created,
        "industry": _category(who.industry[serial], INDUSTRIES),
        "region": _category(who.region[serial], REGIONS),
        "country": _category(_COUNTRY_FIRST[who.region[serial]] + who.country[serial], _COUNTRY_NAMES),
        "signup_channel": _category(who.channel[serial], CHANNELS),
        "initial_size": _category(who.size[serial], SIZES),
        "plan": _category(np.where(left, len(PLANS), _latest_plan(history)[serial]), (*PLANS, "cancelled")),
        "owner": _category(np.where(left, len(OWNERS), owner), (*OWNERS, "offboarding")),
        "company_size": _category(np.where(resized, np.clip(grown, 0, len(SIZES) - 1), who.size[serial]), SIZES),
        "ingested_at": created + (20 + luck[:, 4] * 1_200).astype(np.int64) * 1_000_000,
    }


def _latest_plan(history: History) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    versions = history.versions.table()
    known = versions["day"] < history.timeline.days
    plan = history.accounts.plan.copy()
    # later versions come later in the log, and the last assignment wins
    plan[versions["serial"][known]] = versions["plan"][known]
    return plan


def _category(codes: np.ndarray[tuple[int], np.dtype[np.int64]], names: tuple[str, ...]) -> Category:
    return category(codes, names)
