"""What a diagnosis leads to: pure functions. Each month asks once for each response, and learning has a cooldown."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

Action = Literal["retrain", "recalibrate", "alert"]
COOLDOWN_MONTHS = 1
"""A training is asked for at most once in so many months of the data: the next one would learn from the same rows."""


@dataclass(frozen=True)
class Answer:
    """What to do about a month.

    Attributes:
        key: the same for the same month and action: it is asked once.
        subject: the month whose departures a recalibration goes by, or the feed of an alert.
    """

    action: Action
    key: str
    reason: str
    month: str
    subject: str = ""


def respond(
    diagnoses: Sequence[Mapping[str, Any]], answered: Collection[str], last_training: str | None
) -> list[Answer]:
    """The answers that are due, in the order of months; none for months before one that has been answered.

    Args:
        diagnoses: as :meth:`~churn_platform.monitoring.diagnosis.Diagnosis.to_json` gives them.
        answered: keys of what was asked before.
        last_training: the month of the last training that was asked for, or None.
    """
    due: list[Answer] = []
    seen = set(answered)
    newest = max((key.rsplit(":", 1)[-1] for key in answered), default="")
    for diagnosis in sorted(diagnoses, key=lambda one: str(one["month"])):
        if str(diagnosis["month"]) < newest:
            continue  # a later month has been answered: an earlier one, diagnosed again, is history
        for answer in _answers(diagnosis, last_training):
            if answer.key in seen:
                continue
            seen.add(answer.key)
            due.append(answer)
            if answer.action == "retrain":
                last_training = answer.month
    return due


def _answers(diagnosis: Mapping[str, Any], last_training: str | None) -> list[Answer]:
    month, response, reason = str(diagnosis["month"]), diagnosis["response"], str(diagnosis["reason"])
    if response == "mark":
        return [Answer("alert", f"data_fault:{feed}:{month}", reason, month, feed) for feed in diagnosis["feeds"]]
    if response == "retrain" and (last_training is None or months_between(last_training, month) >= COOLDOWN_MONTHS):
        return [Answer("retrain", f"retrain:{month}", reason, month)]
    outcome = diagnosis["signals"].get("outcome")
    if response == "recalibrate" and outcome is not None:
        return [Answer("recalibrate", f"recalibrate:{month}", reason, month, str(outcome["month"]))]
    return []


def due_by_age(learned: Sequence[str], mature: Sequence[str], after_months: int) -> str | None:
    """Why the champion is due for a training by its age, or None: so many months have matured since the newest that it
    was made from (those that it was judged on included)."""
    if not learned:
        return None
    newest = max(learned)
    since = sorted(month for month in mature if month > newest)
    if len(since) < after_months:
        return None
    return f"{len(since)} months with certain labels since {newest} are not learned from"


def months_between(first: str, second: str) -> int:
    """Whole months from one observation date to another."""
    a, b = date.fromisoformat(first), date.fromisoformat(second)
    return (b.year - a.year) * 12 + b.month - a.month
