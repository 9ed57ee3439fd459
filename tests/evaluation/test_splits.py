from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from churn_platform.errors import NotEnoughDataError
from churn_platform.evaluation.splits import churners, evidence_tier, stratified_groups, temporal_split


def months(count: int, first: int = 2023 * 12) -> list[str]:
    return [f"{(first + m) // 12:04d}-{(first + m) % 12 + 1:02d}-01" for m in range(count)]


@given(
    count=st.integers(1, 40),
    first=st.integers(1990 * 12, 2030 * 12),
    horizon=st.integers(1, 200),
    gap=st.integers(0, 60),
    holdout=st.integers(1, 5),
)
def test_no_label_window_reaches_into_what_judges_it(
    count: int, first: int, horizon: int, gap: int, holdout: int
) -> None:
    keys = months(count, first)
    split = temporal_split(keys, horizon, gap, holdout)

    def closes(t: str) -> date:
        return date.fromisoformat(t) + timedelta(days=gap + horizon)

    for learn, judge in [*split.folds, (split.train, split.holdout)]:
        if judge:
            assert max(closes(t) for t in learn) <= date.fromisoformat(min(judge))
            assert not set(learn) & set(judge)
    assert sorted([*split.train, *split.embargoed, *split.holdout]) == keys
    for learn, judge in split.folds:
        assert {*learn, *judge} <= set(split.train)
    assert len(split.holdout) <= holdout
    # embargoed months are exactly those that may not be used
    assert all(closes(t) > date.fromisoformat(split.holdout[0]) for t in split.embargoed)
    assert split.protocol == ("temporal" if split.holdout else "grouped")
    assert split.train


def test_the_demos_split() -> None:
    split = temporal_split(months(14), 30, 0)
    assert split.holdout == ("2023-12-01", "2024-01-01", "2024-02-01")
    assert split.train[-1] == "2023-11-01"
    assert [judge for _, judge in split.folds] == [("2023-09-01",), ("2023-10-01",), ("2023-11-01",)]
    assert split.folds[-1][0][-1] == "2023-10-01"
    assert split.tuned_on == "forward"


def test_february_is_too_short_for_a_horizon_of_thirty_days() -> None:
    assert temporal_split(months(12, 2023 * 12 + 5), 30, 0, holdout=3).embargoed == ("2024-02-01",)


@pytest.mark.parametrize(
    ("keys", "horizon", "train", "holdout", "tuned_on"),
    [
        # Online Retail's and CDNOW's published protocols: one month held out
        (months(8, 2011 * 12 + 1), 90, months(5, 2011 * 12 + 1), ["2011-09-01"], "forward"),
        (months(10, 1997 * 12 + 3), 180, months(4, 1997 * 12 + 3), ["1998-01-01"], "grouped"),
        (months(1), 30, months(1), [], "grouped"),
        (["snapshot"], 30, ["snapshot"], [], "grouped"),
    ],
)
def test_short_histories(keys: list[str], horizon: int, train: list[str], holdout: list[str], tuned_on: str) -> None:
    split = temporal_split(keys, horizon, 0)
    assert (list(split.train), list(split.holdout), split.tuned_on) == (train, holdout, tuned_on)


@pytest.mark.parametrize("count", range(1, 30))
@pytest.mark.parametrize("horizon", [30, 90, 180])
def test_a_further_month_is_held_out_only_where_three_can_teach(count: int, horizon: int) -> None:
    split = temporal_split(months(count), horizon, 0)
    if len(split.holdout) > 1:
        assert len(split.train) >= max(3, 2 * len(split.holdout))
    longer = temporal_split(months(count + 1), horizon, 0)
    assert len(longer.train) >= len(split.train) - 1 or split.protocol == "grouped"
    if split.protocol == "grouped":  # no later month could judge: none closes before another opens
        assert horizon > 31 * (count - 1) - 3


def test_the_split_says_what_was_done() -> None:
    retail = temporal_split(months(9, 2011 * 12), 90, 0)
    assert retail.train == ("2011-01-01", "2011-02-01", "2011-03-01", "2011-04-01", "2011-05-01")
    assert retail.holdout == ("2011-08-01", "2011-09-01")
    assert retail.notes == (
        "history is short: 2 months (2011-08 to 2011-09) held out rather than 3, so that 5 months (2011-01 to 2011-05) "
        "could teach",
        "2 months (2011-06 to 2011-07) between the two not used: their label windows reach into the later",
    )
    assert temporal_split(months(10, 1997 * 12 + 3), 180, 0).notes[0].startswith("history is short: 1 month (1998-01)")
    assert temporal_split(months(14), 30, 0).notes == ()
    assert "say nothing about later months" in temporal_split(months(1), 30, 0).notes[0]
    assert "a flat file has no time" in temporal_split(["snapshot"], 30, 0).notes[0]


def test_nothing_mature_is_an_error() -> None:
    with pytest.raises(NotEnoughDataError, match="mature"):
        temporal_split([], 30, 0)


@given(st.integers(0, 5), st.integers(2, 6))
def test_folds_never_divide_a_customer_and_share_the_churners(seed: int, folds: int) -> None:
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, 90, 600)
    y = (rng.random(600) < 0.1).astype(int)
    fold = stratified_groups(y, groups, folds, seed)
    assert all(len(set(fold[groups == g].tolist())) == 1 for g in set(groups.tolist()))
    with_churn = {g: fold[groups == g][0] for g in set(groups[y == 1].tolist())}
    counts = np.bincount(list(with_churn.values()), minlength=folds)
    assert counts.max() - counts.min() <= 1
    sizes = np.bincount([fold[groups == g][0] for g in set(groups.tolist())], minlength=folds)
    assert sizes.max() - sizes.min() <= 2
    np.testing.assert_array_equal(fold, stratified_groups(y, groups, folds, seed))
    assert (fold != stratified_groups(y, groups, folds, seed + 1)).any()


@given(st.integers(0, 5), st.integers(2, 5), st.integers(12, 30))
def test_few_large_groups_are_dealt_out_by_size(seed: int, folds: int, kinds: int) -> None:
    """Sets of equal rows that hold both outcomes: none is divided, and each fold has its share of either."""
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, kinds, 2000)
    y = (rng.random(2000) < 0.1 + 0.3 * groups / kinds).astype(int)
    fold = stratified_groups(y, groups, folds, seed)
    assert all(len(set(fold[groups == g].tolist())) == 1 for g in set(groups.tolist()))
    left, rows = np.bincount(fold, weights=y, minlength=folds), np.bincount(fold, minlength=folds)
    assert left.min() > 0.4 * y.sum() / folds
    assert rows.min() > 0.4 * len(y) / folds
    np.testing.assert_array_equal(fold, stratified_groups(y, groups, folds, seed))


def test_one_large_group_among_many_small_ones() -> None:
    groups = np.concatenate([np.zeros(600, dtype=int), np.arange(1, 1001)])
    y = (np.arange(1600) % 4 == 0).astype(int)
    fold = stratified_groups(y, groups, 4, 0)
    assert np.bincount(fold, minlength=4).max() == 600, "nothing is put beside what fills a fold"


def test_too_few_kinds_of_rows_are_named() -> None:
    y, groups = np.tile([0, 1], 300), np.repeat([0, 1, 2], 200)
    with pytest.raises(NotEnoughDataError, match="in 3 kinds of equal rows: too few for 5 folds") as raised:
        stratified_groups(y, groups, 5, 0)
    assert "more columns that tell customers apart" in raised.value.mend


def test_more_folds_than_churners_is_an_error() -> None:
    with pytest.raises(NotEnoughDataError, match="too few for 3 folds"):
        stratified_groups(np.array([1, 1, 0, 0, 0]), np.arange(5), 3, 0)


def test_evidence_is_counted_in_customers() -> None:
    assert churners(np.array([1, 1, 0, 1]), np.array([7, 7, 8, 9])) == 2
    assert [evidence_tier(n) for n in (0, 49, 50, 199, 200, 10_000)] == [
        "rules",
        "rules",
        "small",
        "small",
        "full",
        "full",
    ]
