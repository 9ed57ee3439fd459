"""The event of each prediction: what was answered, by which model, from which vector, to whose key. Pseudonyms only."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from churn_platform import clock
from churn_platform.features.catalogue import VALUE_COLUMN
from churn_platform.records.events import EventWriter, read_events
from churn_platform.records.ids import uuid7_time
from churn_platform.records.jsontext import canonical

if TYPE_CHECKING:
    from churn_platform.champion.model import ChampionModel
    from churn_platform.records.home import Home
    from churn_platform.serving.schemas import Prediction
    from churn_platform.serving.scorer import Scorer

STREAM: Final = "predictions"
SCHEMA: Final = ("prediction_event", 1)


class Answered(NamedTuple):
    """An answer and what it was made from; nothing is computed before the writer's thread has it."""

    prediction: Prediction
    scorer: Scorer
    values: Mapping[str, Any]
    pseudonym: str | None
    key_id: str | None
    at: datetime


class PredictionLog:
    """Appends the event of each answer. Safe to use from several threads; one for each process."""

    def __init__(self, writer: EventWriter) -> None:
        self._writer = writer

    @classmethod
    def open(cls, home: Home) -> Self:
        """The log of a home.

        Raises:
            RecordError: it cannot be written.
        """
        return cls(EventWriter(home.events / STREAM, SCHEMA, encode=event_of))

    @property
    def lost(self) -> int:
        """Events that could not be kept since this process began."""
        return self._writer.lost

    def append(
        self,
        prediction: Prediction,
        scorer: Scorer,
        values: Mapping[str, Any],
        *,
        pseudonym: str | None,
        key_id: str | None,
    ) -> None:
        """Queue the event of one answer; takes microseconds.

        Args:
            scorer: that answered.
            values: the features as they were given or looked up; not to be changed afterwards.
            pseudonym: of the customer; None for a request by features.
            key_id: of the caller's key.
        """
        self._writer.append(Answered(prediction, scorer, values, pseudonym, key_id, clock.wall()))

    def flush(self, timeout: float = 10.0) -> bool:
        """Return when all that was appended is on disk."""
        return self._writer.flush(timeout)

    def close(self) -> None:
        """Write what waits, and stop."""
        self._writer.close()


def event_of(answered: Answered) -> dict[str, Any]:
    """The record ``prediction_event/1``, without its schema."""
    prediction, scorer = answered.prediction, answered.scorer
    return {
        "prediction_id": prediction.prediction_id,
        "at": answered.at.isoformat(),
        "pseudonym": answered.pseudonym,
        "by": "features" if prediction.customer_id is None else "customer_id",
        "key_id": answered.key_id,
        "model": scorer.name,
        "model_version": scorer.version,
        "model_digest": scorer.model.version_digest,
        "variant": prediction.variant,
        "vector_digest": vector_digest(scorer.model, answered.values),
        "observation": prediction.as_of.date().isoformat() if prediction.as_of and answered.pseudonym else None,
        "probability": prediction.probability,
        "margin": prediction.margin,
        "risk_band": prediction.risk_band,
        "degraded": prediction.degraded.reason if prediction.degraded is not None else None,
    }


def vector_digest(model: ChampionModel, values: Mapping[str, Any]) -> str:
    """SHA-256 of what a model was given: its features and the monthly revenue, in canonical JSON; unknown is null."""
    names = {VALUE_COLUMN, *(feature.name for feature in model.features)}
    return sha256(canonical({name: _plain(values.get(name)) for name in names})).hexdigest()


def find_event(home: Home, prediction_id: str) -> dict[str, Any] | None:
    """The event of a prediction, or None where there is none."""
    try:
        made = uuid7_time(uuid.UUID(prediction_id)).timestamp()
    except ValueError:
        return None
    wanted = str(uuid.UUID(prediction_id))
    for event in read_events(home.events / STREAM, SCHEMA[0], (SCHEMA[1],), since=made, containing=wanted.encode()):
        if event["prediction_id"] == wanted:
            return event
    return None


def _plain(value: Any) -> Any:
    """One spelling for each value: whole numbers as floats, NaN as null."""
    if isinstance(value, bool | int | float):
        return None if value != value else float(value)
    return value
