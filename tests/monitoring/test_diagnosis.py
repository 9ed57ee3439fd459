"""The diagnosis as a pure function: what explains what, how often chance alone is taken for a change, and its page."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from churn_platform.monitoring.diagnosis import (
    AUC_LOSS,
    FEED_ROWS,
    FEED_SHARE,
    RESPONSES,
    Feed,
    Outcome,
    Ranking,
    Signals,
    auc_deviation,
    diagnose,
)

MONTH, BEFORE = "2025-03-01", "2025-02-01"
QUIET = Signals(MONTH, (), 0.0, False, (), None, None)

feeds = st.builds(Feed, st.sampled_from(["usage", "tickets", "invoices"]), st.integers(0, 10**6), st.floats(0, 1e6))
outcomes = st.builds(Outcome, st.just(BEFORE), st.floats(0, 2000), st.integers(0, 2000), st.booleans())
rankings = st.builds(Ranking, st.just(BEFORE), st.floats(0, 1), st.floats(0, 0.2), st.floats(0.5, 1, allow_nan=False))
signals = st.builds(
    Signals,
    month=st.just(MONTH),
    feeds=st.lists(feeds, max_size=3, unique_by=lambda feed: feed.table).map(tuple),
    share_drifted=st.floats(0, 1),
    drifted=st.booleans(),
    shifted=st.lists(st.sampled_from(["mrr", "logins_30d"]), max_size=2, unique=True).map(tuple),
    outcome=st.none() | outcomes,
    ranking=st.none() | rankings,
    earlier=st.none() | outcomes,
)


def test_nothing_is_nothing() -> None:
    found = diagnose(QUIET)
    assert (found.kind, found.response, found.feeds) == ("healthy", "none", ())


@given(signals)
def test_a_fault_of_the_data_explains_all_the_others(given_signals: Signals) -> None:
    """While a feed is missing, nothing is ever learned, and the feed is named; a feed is never blamed otherwise."""
    found = diagnose(given_signals)
    dry = {
        feed.table for feed in given_signals.feeds if feed.usual >= FEED_ROWS and feed.rows < FEED_SHARE * feed.usual
    }
    assert set(found.feeds) == dry
    assert (found.kind == "data_fault") == bool(dry)
    assert found.response == RESPONSES[found.kind]
    if dry:
        assert found.response == "mark"
        assert all(feed in found.reason for feed in dry)


@given(signals)
def test_it_is_a_record_that_any_program_reads(given_signals: Signals) -> None:
    found = diagnose(given_signals)
    text = json.dumps(found.to_json(), allow_nan=False)
    assert json.loads(text)["signals"]["month"] == MONTH
    assert found.reason in found.markdown()
    assert "\n" not in found.reason


@given(signals, st.integers(1, 500))
def test_more_departures_never_make_it_better(given_signals: Signals, more: int) -> None:
    """Where too many have left, more of them change nothing."""
    outcome = given_signals.outcome
    if outcome is None or outcome.observed < outcome.expected or diagnose(given_signals).kind != "calibration_lost":
        return
    worse = replace(given_signals, outcome=replace(outcome, observed=outcome.observed + more))
    assert diagnose(worse).kind == "calibration_lost"


@given(signals, st.floats(0, 0.5))
def test_a_lower_auc_never_makes_it_better(given_signals: Signals, less: float) -> None:
    ranking = given_signals.ranking
    if ranking is None or diagnose(given_signals).kind != "concept_change":
        return
    worse = replace(given_signals, ranking=replace(ranking, auc=ranking.auc - less))
    assert diagnose(worse).kind == "concept_change"


@pytest.mark.parametrize("expected", [5.0, 17.0, 60.0, 120.0, 400.0])
def test_chance_alone_seldom_costs_a_training(expected: float) -> None:
    """With departures as a Poisson process of the expected mean, a month is found to be off in at most 1 of 100 by too
    many departures, and in at most 1 of 100 by too few."""
    from scipy.stats import poisson

    upto = int(expected + 12 * math.sqrt(expected) + 20)
    found = [Outcome(BEFORE, expected, n, mature=True) for n in range(upto)]
    assert sum(poisson.pmf(one.observed, expected) for one in found if one.too_many) <= 0.01
    assert sum(poisson.pmf(one.observed, expected) for one in found if one.too_few) <= 0.01


@pytest.mark.parametrize(("expected", "power"), [(120.0, 0.95), (60.0, 0.75)])
def test_a_price_shock_is_seen_within_its_month(expected: float, power: float) -> None:
    """It makes 1.47 times as many leave (measured on the simulator): found before the labels are certain."""
    from scipy.stats import poisson

    upto = int(3 * expected)
    seen = [
        n
        for n in range(upto)
        if diagnose(replace(QUIET, outcome=Outcome(BEFORE, expected, n, mature=False))).kind == "calibration_lost"
    ]
    assert sum(poisson.pmf(n, 1.47 * expected) for n in seen) >= power


def test_too_few_departures_are_believed_when_no_more_can_come_and_a_second_month_agrees() -> None:
    few = Outcome(BEFORE, 200.0, 100, mature=True)
    usual = Outcome("2025-01-01", 100.0, 98, mature=True)
    twice = replace(QUIET, outcome=few, earlier=replace(few, month="2025-01-01"))
    assert diagnose(twice).kind == "calibration_lost"
    assert diagnose(replace(twice, outcome=replace(few, mature=False))).kind == "healthy"
    assert diagnose(replace(twice, earlier=None)).kind == "healthy"
    assert diagnose(replace(twice, earlier=usual)).kind == "healthy"


def test_the_quiet_weeks_of_a_year_ask_for_nothing() -> None:
    """Measured on 4,000 simulated accounts where nothing drifts: expected and observed departures after each month,
    by a model that has not seen a New Year. Only January, after the holidays, lies outside of the bounds."""
    measured = {
        "2024-11-01": (109.6, 112), "2024-12-01": (98.2, 98), "2025-01-01": (139.4, 96), "2025-02-01": (95.5, 90),
        "2025-03-01": (93.9, 97), "2025-06-01": (90.0, 105), "2025-09-01": (108.3, 101), "2025-12-01": (98.4, 89),
        "2026-01-01": (135.9, 92), "2026-02-01": (88.9, 81), "2026-03-01": (88.4, 101), "2026-05-01": (100.4, 79),
    }  # fmt: skip
    outcomes = [Outcome(month, expected, observed, True) for month, (expected, observed) in measured.items()]
    assert {one.month for one in outcomes if one.too_few or one.too_many} == {"2025-01-01", "2026-01-01"}
    for earlier, outcome in pairwise(outcomes):
        assert diagnose(replace(QUIET, outcome=outcome, earlier=earlier)).kind == "healthy"


def test_a_small_miss_is_no_loss_however_certain() -> None:
    """A ratio within the bounds stays calibrated with any number of customers."""
    assert diagnose(replace(QUIET, outcome=Outcome(BEFORE, 1e6, 1_200_000, mature=True))).kind == "healthy"


def test_nothing_expected_and_nothing_seen() -> None:
    nothing = Outcome(BEFORE, 0.0, 0, mature=True)
    assert math.isnan(nothing.ratio)
    assert diagnose(replace(QUIET, outcome=nothing)).kind == "healthy"


def test_a_lower_auc_must_be_certain_and_large() -> None:
    certain = Ranking(BEFORE, 0.80 - AUC_LOSS - 0.03, 0.01, judged=0.80)
    assert diagnose(replace(QUIET, ranking=certain)).kind == "concept_change"
    assert diagnose(replace(QUIET, ranking=replace(certain, deviation=0.03))).kind == "healthy"
    assert diagnose(replace(QUIET, ranking=replace(certain, auc=0.80 - AUC_LOSS + 0.005))).kind == "healthy"


def test_changed_reasons_come_before_lost_calibration_and_that_before_other_customers() -> None:
    all_of_it = replace(
        QUIET,
        drifted=True,
        outcome=Outcome(BEFORE, 100.0, 200, mature=True),
        ranking=Ranking(BEFORE, 0.6, 0.01, judged=0.8),
    )
    assert diagnose(all_of_it).kind == "concept_change"
    assert diagnose(replace(all_of_it, ranking=None)).kind == "calibration_lost"
    assert diagnose(replace(all_of_it, ranking=None, outcome=None)).kind == "covariate_shift"
    assert diagnose(replace(all_of_it, ranking=None, outcome=None)).response == "none"


def test_the_standard_error_of_an_auc_is_that_of_its_model() -> None:
    """Hanley and McNeil take both classes' scores to be exponential: compared with 3,000 such samples."""
    from churn_platform.evaluation.metrics import auc

    rng = np.random.default_rng(0)
    positives, negatives, ratio = 40, 400, 4.0
    y = np.repeat([1, 0], [positives, negatives])
    drawn = [
        auc(y, np.concatenate([rng.exponential(ratio, positives), rng.exponential(1.0, negatives)]))
        for _ in range(3000)
    ]
    assert np.mean(drawn) == pytest.approx(ratio / (1 + ratio), abs=0.003)
    assert auc_deviation(ratio / (1 + ratio), positives, negatives) == pytest.approx(np.std(drawn), rel=0.06)
