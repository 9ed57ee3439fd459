"""What is chosen among candidates, and the reason of each that is not."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from churn_platform.errors import TrainingError
from churn_platform.evaluation.splits import split_without, temporal_split
from churn_platform.training.selection import LEAST_LEAVERS, Selection, psi, select
from churn_platform.training.selection_months import STEPS, check_months, selection_months
from churn_platform.training.selection_page import page
from churn_platform.training.selection_rows import Offered, SelectionRows
from tests.training.synthetic import months

MONTHS = tuple(months(6))
ROWS = 9_000


def rows(*, signal: float = 1.6, leavers: float = 2.2, seed: int = 3) -> SelectionRows:
    """Hand-made features that know half of the hazard, a candidate that knows the rest, and others that do not."""
    rng = np.random.default_rng(seed)
    base, other = rng.normal(size=(ROWS, 3)), rng.normal(size=ROWS)
    month = np.repeat(np.array(MONTHS, dtype=object), ROWS // len(MONTHS))
    margin = base[:, 0] + signal * other - leavers
    y = (rng.random(ROWS) < 1 / (1 + np.exp(-margin))).astype(np.int8)
    unknown = np.where(rng.random(ROWS) < 0.95, np.nan, other)
    x = {
        "good": other,
        "good_again": np.exp(other) + 0.001 * rng.normal(size=ROWS),
        "as_hand_made": base[:, 0] ** 3,
        "noise": rng.normal(size=ROWS),
        "more_noise": rng.normal(size=ROWS),
        "unknown": unknown,
        "constant": np.ones(ROWS),
        "moving": rng.normal(size=ROWS) + 3.0 * (np.searchsorted(MONTHS, month) >= 3),
    }
    return SelectionRows(
        base=base,
        base_names=("a", "b", "c"),
        categorical=(),
        x=np.column_stack(list(x.values())),
        candidates=tuple(Offered(name, name, "aggregate", "usage") for name in x),
        y=y,
        month=month,
        months=MONTHS,
    )


@pytest.fixture(scope="module")
def chosen() -> Selection:
    made = rows()
    return select(made, made.folds(30, 0))


def test_what_foretells_is_kept_and_every_other_has_its_reason(chosen: Selection) -> None:
    assert chosen.chosen == ("good",)
    stages = {verdict.name: verdict.stage for verdict in chosen.verdicts}
    assert stages == {
        "good": "kept",
        "good_again": "redundancy",
        "as_hand_made": "redundancy",
        "noise": "importance",
        "more_noise": "importance",
        "unknown": "nulls",
        "constant": "nulls",
        "moving": "stability",
    }
    reasons = {verdict.name: verdict.reason for verdict in chosen.verdicts}
    assert "as a does" in reasons["as_hand_made"]
    assert "as good does" in reasons["good_again"]
    assert "95 %" in reasons["unknown"]
    assert "PSI" in reasons["moving"]
    assert chosen.losses["1"] < chosen.losses["0"]


def test_the_same_rows_make_the_same_record(chosen: Selection) -> None:
    made = rows()
    again = select(made, made.folds(30, 0), threads=2)
    assert json.dumps(again.to_json()) == json.dumps(chosen.to_json())
    assert Selection.from_json(json.loads(json.dumps(chosen.to_json()))) == chosen


def test_where_nothing_helps_nothing_is_kept() -> None:
    made = rows(signal=0.0)
    assert select(made, made.folds(30, 0)).chosen == ()


def test_few_departures_choose_nothing_and_say_so() -> None:
    made = rows(leavers=7.0)
    assert 0 < made.y.sum() < LEAST_LEAVERS
    found = select(made, made.folds(30, 0))
    assert found.chosen == ()
    assert "too few to choose" in found.note
    assert all(verdict.reason == found.note for verdict in found.verdicts)
    assert "fold" in select(rows(), []).note


def test_inside_the_months_of_the_choice_a_fold_learns_from_what_was_known_by_then(chosen: Selection) -> None:
    made = rows()
    folds = made.folds(30, 0)
    assert folds
    for learn, judge in folds:
        assert max(made.month[learn]) < min(made.month[judge])
    assert set(made.month) == set(chosen.months)


def test_the_page_names_every_candidate_with_its_reason(chosen: Selection) -> None:
    text = page(replace(chosen, carried=("old_one",)))
    for verdict in chosen.verdicts:
        assert f"| `{verdict.name}` |" in text
        assert verdict.reason in text
    assert "## Kept" in text
    assert "champion in force reads them: old_one" in text
    assert "from 2023-01-01 to 2023-06-01" in text
    assert page(Selection((), (), (), note="A flat file has no events.")).count("A flat file") == 1


def labels(count: int, leavers: int = 10) -> dict[str, dict[str, object]]:
    return {month: {"mature": True, "rows": 9_000, "positives": leavers} for month in months(count)}


@given(count=st.integers(1, 60), horizon=st.sampled_from([30, 60, 90]))
def test_a_month_that_judges_is_never_one_of_the_choice(count: int, horizon: int) -> None:
    found = selection_months(labels(count), horizon, 0)
    split = temporal_split(months(count), horizon, 0)
    assert not set(found) & {*split.holdout, *split.embargoed}
    assert len(found) in (0, *STEPS)  # few leave here
    check_months(found, split)


@given(count=st.integers(1, 40))
def test_where_departures_are_few_all_months_up_to_the_step_count(count: int) -> None:
    now, later = (selection_months(labels(n), 30, 0) for n in (count, count + 1))
    assert later[: len(now)] == now
    assert now == tuple(months(len(now)))


@given(count=st.integers(8, 60), leavers=st.integers(20, 900))
def test_where_departures_are_many_the_last_months_up_to_the_step_do(count: int, leavers: int) -> None:
    found, every = selection_months(labels(count, leavers), 30, 0), selection_months(labels(count), 30, 0)
    assert found == every[-len(found) :]
    assert len(found) == min(len(every), max(4, -(-600 // leavers)))


def test_a_year_of_new_months_asks_for_few_new_choices() -> None:
    made = {selection_months(labels(n), 30, 0) for n in range(18, 31)}
    assert len(made) <= 4


def test_what_is_not_mature_and_a_flat_file_have_no_choice() -> None:
    assert selection_months({}, 30, 0) == ()
    assert selection_months({"snapshot": {"mature": True, "rows": 9}}, 30, 0) == ()
    immature = {**labels(20), months(20)[5]: {"mature": False, "rows": 5}}
    assert months(20)[5] not in selection_months(immature, 30, 0)


def test_a_model_is_not_judged_on_months_of_the_choice() -> None:
    split = temporal_split(months(12), 30, 0)
    check_months(split.train, split)
    with pytest.raises(TrainingError, match=f"chosen on {split.holdout[0]}"):
        check_months((split.train[0], *split.holdout), split)
    with pytest.raises(TrainingError, match="chosen on 2023-01-01"):
        check_months(months(1), temporal_split(months(1), 30, 0))


def test_psi_is_nothing_for_the_same_and_much_for_another() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=5_000), rng.normal(size=5_000)
    assert psi(one, other) < 0.02
    assert psi(one, other + 2) > 1
    assert psi(one, np.full(5_000, np.nan)) > 1
    assert psi(np.full(50, np.nan), np.full(50, np.nan)) == 0


@given(
    count=st.integers(6, 39), horizon=st.sampled_from([30, 60, 90]), back=st.integers(1, 4), leavers=st.integers(5, 900)
)
def test_a_month_with_a_data_fault_moves_no_month_of_the_choice_among_the_judging(
    count: int, horizon: int, back: int, leavers: int
) -> None:
    faulty = months(count)[-back]
    found = selection_months(labels(count, leavers), horizon, 0)
    rest = [month for month in months(count) if month != faulty]
    split = split_without(rest, [faulty], horizon, 0)
    assert faulty not in (*split.train, *split.holdout, *split.embargoed)
    assert all(faulty not in (*learn, *validate) and learn and validate for learn, validate in split.folds)
    whole = temporal_split(months(count), horizon, 0)
    if set(whole.holdout) != {faulty}:
        check_months(found, split)
        assert set(split.holdout) == set(whole.holdout) - {faulty}


def test_where_only_the_faulty_month_would_judge_another_does() -> None:
    split = split_without(months(4)[:-1], months(4)[-1:], 30, 0)
    assert split == temporal_split(months(4)[:-1], 30, 0)
    assert split_without(months(12), [], 30, 0) == temporal_split(months(12), 30, 0)
