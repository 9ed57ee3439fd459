"""What a diagnosis leads to: pure functions. Each month is answered by one run at most, and told once for each feed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Action = Literal["retrain", "recalibrate", "alert"]


@dataclass(frozen=True)
class Answer:
    """What to do about a month.

    Attributes:
        key: the same for the same month and action: it is asked once.
        subject: the month whose departures a recalibration goes by, or the feed of an alert.
        columns: of the feed, that cannot be trusted; none where it has dried up.
    """

    action: Action
    key: str
    reason: str
    month: str
    subject: str = ""
    columns: tuple[str, ...] = ()


def respond(diagnoses: Sequence[Mapping[str, Any]], answered: Collection[str]) -> list[Answer]:
    """The answers that are due, in the order of months. No run is due for a month that a run has answered, however its
    diagnosis reads since, nor for one before it: that is history.

    Args:
        diagnoses: as :meth:`~churn_platform.monitoring.diagnosis.Diagnosis.to_json` gives them.
        answered: keys of what was asked before.
    """
    due: list[Answer] = []
    seen = set(answered)
    newest = max((month for key in answered if (month := month_of_run(key))), default="")
    for diagnosis in sorted(diagnoses, key=lambda one: str(one["month"])):
        for answer in _answers(diagnosis):
            if answer.key in seen or (answer.action != "alert" and answer.month <= newest):
                continue
            seen.add(answer.key)
            due.append(answer)
    return due


def first_to_run(due: Sequence[Answer]) -> Answer | None:
    """The one run to ask for: the newest training, which answers what a recalibration would, else the newest
    recalibration; what it leaves is looked at again when it has ended."""
    runs = [answer for answer in due if answer.action != "alert"]
    return max(runs, key=lambda one: (one.action == "retrain", one.month), default=None)


def month_of_run(key: str) -> str | None:
    """The month that a run of this key answers; None for the key of an alert."""
    action, _, month = key.partition(":")
    return month if action in ("retrain", "recalibrate") else None


def _answers(diagnosis: Mapping[str, Any]) -> list[Answer]:
    month, response, reason = str(diagnosis["month"]), diagnosis["response"], str(diagnosis["reason"])
    if response == "mark":
        columns: dict[str, list[str]] = {}
        for one in diagnosis["signals"].get("untrusted", ()):
            columns.setdefault(str(one["table"]), []).append(str(one["column"]))
        return [
            Answer("alert", f"data_fault:{feed}:{month}", reason, month, feed, tuple(columns.get(feed, ())))
            for feed in diagnosis["feeds"]
        ]
    if response == "retrain":
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
