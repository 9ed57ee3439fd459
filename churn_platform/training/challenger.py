"""A challenger: search, calibration out of fold, final fit, predictions on rows it has not seen, and its
package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from churn_platform.errors import NotEnoughDataError
from churn_platform.evaluation.floors import recency_feature, recency_score
from churn_platform.evaluation.predictions import Predictions
from churn_platform.evaluation.splits import (
    Split,
    Tier,
    churners,
    evidence_tier,
    split_without,
    stratified_groups,
)
from churn_platform.training.calibration import Platt, fit_platt
from churn_platform.training.encode import FeatureEncoder, Floats
from churn_platform.training.learners import ForestLearner, Learner, LinearLearner, Model
from churn_platform.training.logistic import search_logistic
from churn_platform.training.packaging import REFERENCE_ROWS, Parts, profile_features, write_package
from churn_platform.training.search import BudgetName, Fold, Progress, search
from churn_platform.training.selection_months import check_months

if TYPE_CHECKING:
    from churn_platform.records.store import ContentStore
    from churn_platform.training.dataset import TrainingRows, TrainingSet

SEARCH_FOLDS = 3
EVALUATION_FOLDS = 5
LEAST_POSITIVES = 10  # in each part of a forward fold; below it a fold says nothing


@dataclass(frozen=True)
class Challenger:
    """A trained model that has not been judged yet.

    Attributes:
        package: tree digest of the package in the store (``store.export_tree(package, folder)``).
        digest: digest of the package itself (its manifest), by which a model is known.
        predictions: digest of :class:`Predictions` on rows the model has not learned from.
        tier: how much evidence there was.
        protocol: how the predictions were made; ``tuned_on`` says on which folds the search ran.
        training: spec digest of the training set.
        params: everything that, with the training set, gives the same package again.
        split: observation keys by role, and numbers of rows and churners.
        search: what was tried.
        notes: what a reader should know, such as why there is no recency rule.
    """

    package: str
    digest: str
    predictions: str
    tier: Tier
    protocol: str
    tuned_on: str
    training: str
    params: Mapping[str, Any]
    split: Mapping[str, Any]
    search: Mapping[str, Any]
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As JSON, without anything that differs between two runs of the same training."""
        return {"schema": "challenger/1", **asdict(self), "notes": list(self.notes)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Challenger:
        """What :meth:`to_json` wrote."""
        fields = {k: v for k, v in value.items() if k != "schema"}
        return cls(**{**fields, "notes": tuple(fields["notes"])})


@dataclass(frozen=True)
class _Material:
    """Encoded rows with everything that is known about them."""

    rows: TrainingRows
    encoder: FeatureEncoder
    encoded: Floats
    train: Any  # row numbers
    holdout: Any
    folds: list[Fold]
    tuned_on: str


def train(
    training_set: TrainingSet,
    *,
    budget: BudgetName = "quick",
    seed: int = 0,
    threads: int = 1,
    store: ContentStore,
    progress: Progress | None = None,
) -> Challenger:
    """Train a challenger and package it.

    The same training set, budget and seed give the same package digest, whatever ``threads`` is.

    Args:
        budget: how long the search may be.
        threads: for LightGBM.
        progress: called with a text and the share done, in [0, 1].

    Raises:
        NotEnoughDataError: below 50 churners.
        TrainingError: where held-out rows show that nothing was learned.
    """
    say = progress or (lambda text, share: None)
    say("reading the training set", 0.0)
    rows = training_set.load(store)
    spec = training_set.spec
    split = split_without(_months_with_rows(rows), rows.left_out, spec["horizon_days"], spec["gap_days"])
    check_months(spec.get("chosen_on", ()), split)
    y = rows.label
    learned = np.isin(rows.observation, split.train)
    seen = churners(y[learned], rows.customer[learned])
    tier = evidence_tier(seen)
    if tier == "rules":
        raise _too_few(seen, training_set.spec["shape"])
    material = _prepare(training_set, rows, split, seed)
    learner, logistic, searched = _choose(material, tier, budget, seed, threads, say)

    say("fitting the final model", 0.75)
    model = learner.fit(material.encoded[material.train], y[material.train])
    say("predicting held-out rows", 0.8)
    if split.holdout:
        platt, predicted, floor = _temporal(material, model, learner, logistic)
        judged = material.holdout
    else:
        platt, predicted, floor = _out_of_fold(material, learner, logistic, seed)
        judged = np.arange(len(rows))

    floors: dict[str, Floats] = {"logistic_regression": floor}
    notes = list(split.notes)
    notes += [
        f"{leak['column']} passed the leak gate after a review ({leak['review']}): {leak['evidence']}".rstrip(".")
        for leak in training_set.reviewed
    ]
    if not split.holdout:
        notes.append(
            "out of fold, not nested: search and calibration have seen the rows of every fold, which flatters slightly"
        )
    recency, missing = recency_feature(training_set.features)
    if recency is None:
        notes.append(f"no recency rule: {missing}")
    else:
        floors["recency_rule"] = recency_score(rows.columns, recency)[judged]
    if material.tuned_on == "grouped" and split.protocol == "temporal":
        notes.append("history is too short for a fold that moves forward: tuned on folds by customer")
    predictions = Predictions(
        row=judged.astype(np.int64),
        observation=rows.observation[judged],
        group=rows.customer[judged],
        label=y[judged],
        mrr=rows.mrr[judged],
        margin=predicted,
        floors=floors,
    )
    params = {"learner": learner.describe(), "budget": budget, "seed": seed}
    say("writing the package", 0.95)
    parts = _parts(training_set, material, split, tier, model, platt, params)
    with store.temporary() as folder:
        digest = write_package(folder, parts)
        package = store.put_tree(folder)
    say("done", 1.0)
    return Challenger(
        package=package,
        digest=digest,
        predictions=predictions.write(store),
        tier=tier,
        protocol=split.protocol,
        tuned_on=material.tuned_on,
        training=training_set.spec_digest,
        params=params,
        split={
            "train": list(split.train),
            "embargoed": list(split.embargoed),
            "holdout": list(split.holdout),
            "train_rows": len(material.train),
            "train_churners": seen,
        },
        search=searched,
        notes=tuple(notes),
    )


def _too_few(seen: int, shape: str) -> NotEnoughDataError:
    """The error below the smallest tier, with what the owner of such data can do."""
    mend = "Bring more months or more customers, in a new CHURN_HOME where the source is another one"
    if shape == "snapshot":
        mend = "Bring a file with more customers who have left, in a new CHURN_HOME"
    else:
        mend += "; until then call those first who have been inactive longest"
    return NotEnoughDataError(
        f"{seen} customers left among the rows to learn from; below 50 no probability can be learned.",
        mend=f"{mend}.",
    )


def _months_with_rows(rows: TrainingRows) -> list[str]:
    return sorted(set(rows.observation.tolist()))


def _prepare(training_set: TrainingSet, rows: TrainingRows, split: Split, seed: int) -> _Material:
    """Encode by the training months alone, and lay out the folds as row numbers."""
    train = np.flatnonzero(np.isin(rows.observation, split.train))
    holdout = np.flatnonzero(np.isin(rows.observation, split.holdout))
    encoder = FeatureEncoder.fit(training_set.features, {name: values[train] for name, values in rows.columns.items()})
    encoded = encoder.transform(rows.columns)
    forward = [
        (np.flatnonzero(np.isin(rows.observation, learn)), np.flatnonzero(np.isin(rows.observation, judge)))
        for learn, judge in split.folds
    ]
    folds = [fold for fold in forward if min(int(rows.label[part].sum()) for part in fold) >= LEAST_POSITIVES]
    tuned_on = "forward"
    if not folds:
        tuned_on = "grouped"
        folds = _customer_folds(rows, train, SEARCH_FOLDS, seed)
    return _Material(rows, encoder, encoded, train, holdout, folds, tuned_on)


def _customer_folds(rows: TrainingRows, among: Any, count: int, seed: int) -> list[Fold]:
    fold = stratified_groups(rows.label[among], rows.group[among], count, seed)
    return [(among[fold != k], among[fold == k]) for k in range(count)]


def _choose(
    material: _Material, tier: Tier, budget: BudgetName, seed: int, threads: int, say: Progress
) -> tuple[Learner, Learner, dict[str, Any]]:
    """The learner for this much evidence, the logistic regression as floor, and the record of the search."""
    y = material.rows.label
    say("searching the logistic regression", 0.05)
    strength = search_logistic(
        material.encoder,
        material.encoded,
        y,
        material.folds,
        groups=material.rows.customer,
        cautious=material.tuned_on == "grouped" and len(material.holdout) > 0,
    )
    logistic = LinearLearner(material.encoder, strength.c)
    record: dict[str, Any] = {
        "logistic": {f"{c:g}": loss for c, loss in strength.losses.items()},
        "logistic_se": strength.se,
    }
    if tier == "small":
        return logistic, logistic, record
    found = search(
        material.encoded,
        y,
        material.folds,
        categorical=material.encoder.categorical,
        budget=budget,
        seed=seed,
        threads=threads,
        progress=lambda text, share: say(text, 0.1 + 0.65 * share),
    )
    record |= {"trials": list(found.trials), "loss": found.loss}
    forest = ForestLearner(tuple(material.encoder.categorical), found.params, found.rounds, seed, threads)
    return forest, logistic, record


def _temporal(material: _Material, model: Model, learner: Learner, logistic: Learner) -> tuple[Platt, Floats, Floats]:
    """Platt from folds inside the training months; predictions of the final model on the holdout."""
    y, x = material.rows.label, material.encoded
    judged = [(validate, learner.fit(x[learn], y[learn]).margin(x[validate])) for learn, validate in material.folds]
    platt = fit_platt(np.concatenate([y[validate] for validate, _ in judged]), np.concatenate([m for _, m in judged]))
    floor = logistic.fit(x[material.train], y[material.train])
    return platt, platt(model.margin(x[material.holdout])), floor.margin(x[material.holdout])


def _out_of_fold(material: _Material, learner: Learner, logistic: Learner, seed: int) -> tuple[Platt, Floats, Floats]:
    """Predictions of every row by models that saw neither it nor its fold's calibration.

    The folds are drawn with another seed than the search's, so that parameters chosen on folds are judged on
    others.
    """
    y, x = material.rows.label, material.encoded
    folds = _customer_folds(material.rows, np.arange(len(y)), EVALUATION_FOLDS, seed + 1_000_003)
    raw, floor, predicted = np.empty(len(y)), np.empty(len(y)), np.empty(len(y))
    for learn, validate in folds:
        raw[validate] = learner.fit(x[learn], y[learn]).margin(x[validate])
        floor[validate] = logistic.fit(x[learn], y[learn]).margin(x[validate])
    for learn, validate in folds:
        predicted[validate] = fit_platt(y[learn], raw[learn])(raw[validate])
    return fit_platt(y, raw), predicted, floor


def _parts(
    training_set: TrainingSet,
    material: _Material,
    split: Split,
    tier: Tier,
    model: Model,
    platt: Platt,
    params: Mapping[str, Any],
) -> Parts:
    """What the package of the final model is made of."""
    rows, train = material.rows, material.train
    y, x = rows.label[train], material.encoded[train]
    reference = x[_spread(len(x), REFERENCE_ROWS)]
    forest, linear = model.forest_text(), model.linear_member()
    return Parts(
        features=training_set.features,
        encoder=material.encoder,
        calibration=platt,
        forest=forest,
        linear=linear,
        weights={"linear" if forest is None else "forest": 1.0},
        profile=profile_features(training_set.features, {name: values[train] for name, values in rows.columns.items()}),
        reference=reference,
        reference_margins=platt(model.margin(reference)),
        metadata={
            "problem": training_set.spec["problem"],
            "currency": training_set.spec["currency"],
            "horizon_days": training_set.spec["horizon_days"],
            "gap_days": training_set.spec["gap_days"],
            "training": training_set.spec_digest,
            "observations": list(split.train),
            "rows": len(train),
            "churners": churners(y, rows.customer[train]),
            "base_rate": float(np.mean(y)),
            "tier": tier,
            "params": dict(params),
            "libraries": _libraries(),
        },
    )


def _spread(rows: int, count: int) -> Any:
    return np.unique(np.linspace(0, rows - 1, count).astype(np.int64))


def _libraries() -> dict[str, str]:
    from importlib.metadata import version

    return {name: version(name) for name in ("lightgbm", "numpy", "scikit-learn")}


__all__: Sequence[str] = ["BudgetName", "Challenger", "train"]
