"""What diagnoses lead to: asked once, in order, never in a loop."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from churn_platform.monitoring.diagnosis import RESPONSES, Diagnosis, Kind, Outcome, Signals
from churn_platform.monitoring.response import Answer, due_by_age, first_to_run, respond

MONTHS = [f"{2024 + m // 12}-{m % 12 + 1:02d}-01" for m in range(24)]


def told(month: str, kind: Kind, feeds: tuple[str, ...] = ()) -> dict[str, Any]:
    outcome = Outcome("2023-12-01", 10.0, 30, mature=False) if kind == "calibration_lost" else None
    signals = Signals(month, (), 0.0, False, (), outcome, None)
    return Diagnosis(month, kind, f"{kind} in {month}", feeds, signals).to_json()


diagnoses = st.lists(
    st.tuples(st.sampled_from(MONTHS), st.sampled_from(list(RESPONSES))), max_size=12, unique_by=lambda one: one[0]
).map(lambda ones: [told(m, k, ("usage", "tickets") if k == "data_fault" else ()) for m, k in ones])


@given(diagnoses, st.randoms())
def test_the_order_of_arrival_changes_nothing(given_diagnoses: list[dict[str, Any]], chance: Any) -> None:
    shuffled = list(given_diagnoses)
    chance.shuffle(shuffled)
    assert respond(shuffled, ()) == respond(given_diagnoses, ())


@given(diagnoses)
def test_the_same_question_is_asked_once(given_diagnoses: list[dict[str, Any]]) -> None:
    first = respond(given_diagnoses, ())
    keys = [answer.key for answer in first]
    assert len(set(keys)) == len(keys)
    assert respond(given_diagnoses, keys) == []
    assert respond([*given_diagnoses, *given_diagnoses], ()) == first


@given(diagnoses, st.integers(0, 12))
def test_months_at_once_and_one_by_one_lead_to_the_same(given_diagnoses: list[dict[str, Any]], cut: int) -> None:
    """The daemon may be down for months, and then see them all."""
    ordered = sorted(given_diagnoses, key=lambda one: one["month"])
    at_once = respond(ordered, ())
    step_by_step: list[Answer] = []
    for part in (ordered[:cut], ordered[cut:]):
        step_by_step += respond(part, [answer.key for answer in step_by_step])
    assert step_by_step == at_once


@given(diagnoses, diagnoses)
def test_a_month_is_answered_by_one_run_at_most(first: list[dict[str, Any]], again: list[dict[str, Any]]) -> None:
    """However it is diagnosed later: a training, and then a recalibration by the same departures, would learn twice."""
    asked = [answer for answer in respond(first, ()) if answer.action != "alert"]
    later = [answer for answer in respond(again, [answer.key for answer in asked]) if answer.action != "alert"]
    months = [answer.month for answer in (*asked, *later)]
    assert len(set(months)) == len(months)
    assert all(answer.month > max((one.month for one in asked), default="") for answer in later)


@given(diagnoses)
def test_one_run_at_a_time_and_a_training_first(given_diagnoses: list[dict[str, Any]]) -> None:
    due = [answer for answer in respond(given_diagnoses, ()) if answer.action != "alert"]
    first = first_to_run(respond(given_diagnoses, ()))
    assert (first is None) == (not due)
    if first is not None:
        trainings = [answer.month for answer in due if answer.action == "retrain"]
        assert first.month == max(trainings or [answer.month for answer in due])
        assert first.action == ("retrain" if trainings else "recalibrate")


@given(diagnoses)
def test_a_data_fault_alerts_for_each_feed_and_nothing_else(given_diagnoses: list[dict[str, Any]]) -> None:
    faults = {one["month"] for one in given_diagnoses if one["kind"] == "data_fault"}
    answers = respond(given_diagnoses, ())
    assert {(a.action, a.subject) for a in answers if a.month in faults} <= {("alert", "usage"), ("alert", "tickets")}
    assert sum(a.action == "alert" for a in answers) == 2 * len(faults)


def test_what_is_asked_for() -> None:
    assert respond([told("2025-01-01", "concept_change")], ()) == [
        Answer("retrain", "retrain:2025-01-01", "concept_change in 2025-01-01", "2025-01-01")
    ]
    (answer,) = respond([told("2025-01-01", "calibration_lost")], ())
    assert (answer.action, answer.subject) == ("recalibrate", "2023-12-01")
    assert respond([told("2025-01-01", "covariate_shift"), told("2025-02-01", "healthy")], ()) == []


def test_a_month_that_comes_late_asks_for_no_training_after_a_later_one() -> None:
    assert respond([told("2024-11-01", "concept_change")], ["recalibrate:2025-01-01"]) == []
    assert respond([told("2025-01-01", "concept_change")], ["recalibrate:2025-01-01"]) == []
    assert respond([told("2024-11-01", "concept_change")], ["data_fault:usage:2025-01-01"]), "an alert answers nothing"


@pytest.mark.parametrize(
    ("learned", "mature", "due"),
    [
        ([], MONTHS, False),
        (MONTHS[:6], MONTHS[:8], False),
        (MONTHS[:6], MONTHS[:9], True),
        (MONTHS[:6], list(reversed(MONTHS[:9])), True),
        (MONTHS[3:9], MONTHS[:9], False),
    ],
)
def test_age(learned: list[str], mature: list[str], due: bool) -> None:
    why = due_by_age(learned, mature, 3)
    assert (why is not None) == due
    if why is not None:
        assert max(learned) in why
