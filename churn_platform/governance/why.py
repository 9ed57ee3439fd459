"""Which data, code, parameters, approvals and report led to the model that served a prediction.

Everything is read from records: the event of the prediction, the lineage of the assets, the artifacts by digest, the
model registry. What they do not hold is listed under ``missing``; nothing is guessed.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from churn_platform.errors import ChurnError, NotFoundError
from churn_platform.governance.trace import Trace, trace
from churn_platform.records.history import History, Made
from churn_platform.records.schema import schema_tag

if TYPE_CHECKING:
    from churn_platform.champion.registry import RegisteredModel
    from churn_platform.records.home import Home
    from churn_platform.records.store import ContentStore

NO_APPROVALS: Final = (
    "No person has approved it: this release has no step for approvals. The gate decided by its criteria, and the "
    "registry recorded the version; both are below."
)


@dataclass(frozen=True)
class Why:
    """The answer, as JSON values (``audit_why/1``)."""

    question: str
    prediction: dict[str, Any] | None
    model: dict[str, Any]
    reason: dict[str, Any]
    data: dict[str, Any]
    code: dict[str, Any]
    parameters: dict[str, Any]
    approvals: dict[str, Any]
    report: dict[str, Any]
    runs: list[str]
    steps: list[dict[str, Any]]
    missing: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """For programs; fields may be added, never renamed."""
        return {
            "schema": schema_tag("audit_why", 1),
            **{name: getattr(self, name) for name in self.__dataclass_fields__},
        }


def why(home: Home, store: ContentStore, asked: str, registered: RegisteredModel | None = None) -> Why:
    """Answer for the id of a prediction, or for a version or digest of a champion (``champion``: the present one).

    Args:
        registered: what the registry says of the model, where the caller has asked it (:func:`model_of`).

    Raises:
        NotFoundError: there is no such prediction or champion.
        RecordError: a record is damaged.
    """
    history = History.read(home)
    event = _event(home, asked)
    champion = _champion(history, event, asked)
    facts, missing = champion.record, []
    challenger = history.find("challenger", facts["challenger"], before=champion.made_at)
    evaluation = history.find("evaluation", facts["evaluation"], before=champion.made_at)
    gate = _gate(history, challenger, champion)
    recalibration = _recalibration(history, champion)
    chain = [("challenger", challenger), ("evaluation", evaluation), ("gate", gate)]
    missing += [f"there is no record of the {name}" for name, made in chain if made is None]
    if facts["bases"] and recalibration is None:
        missing.append("there is no record of the recalibration")
    roots = [made for made in (challenger, evaluation, gate, recalibration) if made is not None]
    found = trace(history, *roots)
    read = _Reader(store, missing)
    steps = [champion, *roots, *found.steps.get("training_set", ())]
    return Why(
        question=asked,
        prediction=_prediction(event, history, store) if event else None,
        model=_model(champion, registered),
        reason=_reason(champion, read),
        data=_data(found, read),
        code=_code(found, champion),
        parameters=_parameters(challenger, recalibration, read),
        approvals=_approvals(champion, gate, registered, read),
        report=_report(evaluation, read),
        runs=list(dict.fromkeys(made.run_id for made in steps if made.run_id)),
        steps=[_step(made) for made in steps],
        missing=missing + found.missing,
    )


def model_of(home: Home, asked: str) -> str:
    """The digest of the model that a question is about; see :func:`why`."""
    history = History.read(home)
    return str(_champion(history, _event(home, asked), asked).record["model"])


class _Reader:
    """Reads artifacts; one that is gone becomes a line of ``missing``."""

    def __init__(self, store: ContentStore, missing: list[str]) -> None:
        self._store, self._missing = store, missing

    def json(self, digest: str | None, what: str) -> dict[str, Any]:
        if digest is None:
            return {}
        try:
            found: dict[str, Any] = self._store.read_json(digest)
        except ChurnError:
            self._missing.append(f"the artifact of {what} ({digest[:12]}) is not in the store any more")
            return {}
        return found


def _event(home: Home, asked: str) -> dict[str, Any] | None:
    from churn_platform.serving.prediction_log import find_event

    try:
        uuid.UUID(asked)
    except ValueError:
        return None
    event = find_event(home, asked)
    if event is None:
        raise NotFoundError(
            f"There is no record of the prediction {asked}.",
            mend="Give the prediction_id of an answer that a service of this home has given; the newest are on disk a "
            "moment after the answer.",
            field="prediction_id",
        )
    return event


def _champion(history: History, event: Mapping[str, Any] | None, asked: str) -> Made:
    """The record of the promotion that the question is about: the first of it, with the inputs of that moment."""
    champions = history.of("champion")
    if event is not None:
        chosen = [one for one in champions if one.record["model"] == event["model_digest"]]
        chosen = [one for one in chosen if one.made_at <= event["at"]] or chosen
    elif asked == "champion":
        chosen = champions[-1:]
    else:
        by_version = [one for one in champions if str(one.record["version"]) == asked]
        long_enough = len(asked) >= 8
        chosen = by_version or [one for one in champions if long_enough and one.record["model"].startswith(asked)]
    if not chosen:
        known = ", ".join(dict.fromkeys(str(one.record["version"]) for one in champions)) or "none"
        raise NotFoundError(
            f"There is no record of a champion {event['model_version'] if event else asked!r} in this home.",
            mend=f"Give the id of a prediction, a version ({known}), 8 or more digits of a model's digest, or "
            "champion.",
            field="model",
        )
    promoted = chosen[-1].record["promoted_at"]
    model = chosen[-1].record["model"]
    return next(one for one in champions if one.record["model"] == model and one.record["promoted_at"] == promoted)


def _gate(history: History, challenger: Made | None, champion: Made) -> Made | None:
    """The last decision about the challenger before the promotion."""
    if challenger is None:
        return None
    about = [one for one in history.of("gate") if one.record.get("model") == challenger.record["model"]]
    earlier = [one for one in about if one.made_at <= champion.made_at]
    return earlier[-1] if earlier else None


def _recalibration(history: History, champion: Made) -> Made | None:
    """What set the champion's probabilities right, if anything did."""
    if not champion.record["bases"]:
        return None
    model = champion.record["model"]
    found = [one for one in history.of("recalibration") if one.record.get("model") == model]
    return found[-1] if found else None


def _step(made: Made) -> dict[str, Any]:
    return {
        "asset": made.asset,
        "digest": made.digest,
        "made_at": made.made_at,
        "run_id": made.run_id,
        "inputs": dict(made.inputs),
    }


def _prediction(event: Mapping[str, Any], history: History, store: ContentStore) -> dict[str, Any]:
    answer = {name: value for name, value in event.items() if name != "schema"}
    return answer | {"vector": _vector(event, history, store)}


def _vector(event: Mapping[str, Any], history: History, store: ContentStore) -> dict[str, Any]:
    """Where the vector came from: the table of its month whose row gives the very digest that was recorded."""
    from churn_platform.governance.vectors import digest_in_table

    month, who = event["observation"], event["pseudonym"]
    if who is None:
        return {"source": "the caller", "confirmed": None}
    tables = [one for one in history.of("customer_features") if one.partition in (month, "snapshot")]
    for made in reversed(tables):
        if digest_in_table(made, who, event["model_digest"], history, store) == event["vector_digest"]:
            return {"source": made.name, "digest": made.digest, "made_at": made.made_at, "confirmed": True}
    return {"source": f"customer_features@{month}", "confirmed": False if tables else None}


def _model(champion: Made, registered: RegisteredModel | None) -> dict[str, Any]:
    facts = champion.record
    return {
        "name": facts["name"],
        "version": str(facts["version"]),
        "digest": facts["model"],
        "package": facts["package"],
        "tier": facts["tier"],
        "promoted_at": facts["promoted_at"],
        "recalibrated_from": list(facts["bases"]),
        "mlflow_run": facts["mlflow_run"],
        "registry_tags": dict(sorted(registered.tags.items())) if registered else None,
    }


def _reason(champion: Made, read: _Reader) -> dict[str, Any]:
    """Why it was made: what a sensor saw, or that nobody but a command asked for it."""
    cause: Mapping[str, str] = champion.record.get("cause") or {}
    if not cause:
        return {"asked_by": "a command or a person in the Dagster UI", "reason": None, "month": None, "report": None}
    report = cause.get("churn/report")
    diagnosis = read.json(report, "the diagnosis that asked for it")
    return {
        "asked_by": "a sensor",
        "reason": cause.get("churn/reason"),
        "month": cause.get("churn/month"),
        "report": report,
        "diagnosis": {name: diagnosis[name] for name in ("month", "kind", "response", "reason") if name in diagnosis},
    }


def _data(found: Trace, read: _Reader) -> dict[str, Any]:
    training = found.one("training_set")
    spec = read.json(str(training.record["spec"]) if training else None, "the training set's description")
    sources = {}
    for asset, steps in sorted(found.steps.items()):
        if asset.startswith("sources/"):
            table = asset.removeprefix("sources/")
            sources[table] = {
                "versions": {str(one.partition): one.digest for one in steps},
                "rows": max(int(one.record.get("rows", 0)) for one in steps),
                "files": sorted(found.outside.get(f"source:{table}", ())),
            }
    contracts = {name: sorted(found.outside[name]) for name in sorted(found.outside) if name.startswith("contract:")}
    return {
        "training_set": training.digest if training else None,
        "rows": spec.get("n_rows"),
        "leavers": spec.get("positives"),
        "features": len(spec.get("features", ())) or None,
        "horizon_days": spec.get("horizon_days"),
        "months": [one["observation"] for one in spec.get("observations", ()) if one["rows"]],
        "feature_tables": {str(one.partition): one.digest for one in found.steps.get("customer_features", ())},
        "label_tables": {str(one.partition): one.digest for one in found.steps.get("churn_labels", ())},
        "sources": sources,
        "contract": contracts,
    }


def _code(found: Trace, champion: Made) -> dict[str, Any]:
    versions: dict[str, list[str]] = {}
    for asset, steps in sorted({**found.steps, "champion": [champion]}.items()):
        versions[asset] = sorted({str(one.record.get("code_version")) for one in steps})
    return {"versions": versions}


def _parameters(challenger: Made | None, recalibration: Made | None, read: _Reader) -> dict[str, Any]:
    made = read.json(challenger.digest if challenger else None, "the challenger")
    shift = read.json(recalibration.digest if recalibration else None, "the recalibration")
    return {
        "search": dict(challenger.record.get("config", {})) if challenger else {},
        "model": made.get("params"),
        "split": made.get("split"),
        "protocol": made.get("protocol"),
        "recalibration": shift or None,
    }


def _approvals(champion: Made, gate: Made | None, registered: RegisteredModel | None, read: _Reader) -> dict[str, Any]:
    decision = read.json(gate.digest if gate else None, "the gate's decision")
    return {
        "by_people": [],
        "note": NO_APPROVALS,
        "gate": {
            "outcome": decision.get("outcome"),
            "decided_at": gate.made_at if gate else None,
            "checks": decision.get("checks", []),
        },
        "registry": {
            "version": str(champion.record["version"]),
            "alias": "champion",
            "set_at": champion.record["promoted_at"],
            "recorded": registered is not None,
        },
    }


def _report(evaluation: Made | None, read: _Reader) -> dict[str, Any]:
    found = read.json(evaluation.digest if evaluation else None, "the evaluation")
    names = (
        "protocol", "rows", "positives", "auc", "auc_low", "auc_high", "log_loss", "brier", "ece", "calibration_slope",
        "lift_at_10", "precision_at_capacity", "floors", "notes",
    )  # fmt: skip
    return {
        "evaluation": evaluation.digest if evaluation else None,
        "made_at": evaluation.made_at if evaluation else None,
        **{name: found[name] for name in names if name in found},
    }
