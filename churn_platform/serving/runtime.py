"""What a serving process holds, and whether it is complete. Parts are swapped as whole frozen objects."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from churn_platform import clock
from churn_platform.errors import NotReadyError
from churn_platform.serving.metrics import ServingMetrics
from churn_platform.serving.ports import Identities, Keys, Vectors
from churn_platform.serving.prediction_log import PredictionLog
from churn_platform.serving.schemas import Degraded
from churn_platform.serving.scorer import Scorer

WAIT_MEND = "Try again in a moment; /readyz answers 200 when the service is complete."


@dataclass
class Runtime:
    """The parts of one serving process; ``None`` is a part that is not there (yet).

    Attributes:
        metrics: counts what is answered.
        keys: checks API keys.
        scorer: the champion.
        identities: company's own id → pseudonym.
        vectors: pseudonym → newest features.
        now: the present: when features count as stale, and the time of a request by features.
        predictions: keeps the event of each answer.
        degraded: why predictions by id cannot be trusted now, or None.
        missing: part → why it is not there, for the operator's log; callers learn only that it is missing.
    """

    metrics: ServingMetrics
    keys: Keys | None = None
    scorer: Scorer | None = None
    identities: Identities | None = None
    vectors: Vectors | None = None
    predictions: PredictionLog | None = None
    degraded: Degraded | None = None
    now: Callable[[], datetime] = clock.now
    missing: dict[str, str] = field(default_factory=dict)

    @property
    def ready(self) -> bool:
        """Whether every part is there."""
        return all((self.keys, self.scorer, self.identities, self.vectors, self.predictions))

    def need_keys(self) -> Keys:
        """The key check; NotReadyError where it is not there: without it nobody gets in."""
        if self.keys is None:
            raise NotReadyError("API keys cannot be checked yet.", mend=WAIT_MEND)
        return self.keys

    def need_scorer(self) -> Scorer:
        """The champion; NotReadyError where there is none."""
        if self.scorer is None:
            raise NotReadyError("No model is loaded yet.", mend=WAIT_MEND)
        return self.scorer

    def need_predictions(self) -> PredictionLog:
        """The log of predictions; NotReadyError where it is not open: what is not recorded is not answered."""
        if self.predictions is None:
            raise NotReadyError("Predictions cannot be recorded yet.", mend=WAIT_MEND)
        return self.predictions

    def need_store(self) -> tuple[Identities, Vectors]:
        """Vault and online store; NotReadyError where one is not there."""
        if self.identities is None:
            raise NotReadyError("The identity vault is not open yet.", mend=WAIT_MEND)
        if self.vectors is None:
            raise NotReadyError("The online store is not open yet.", mend=WAIT_MEND)
        return self.identities, self.vectors
