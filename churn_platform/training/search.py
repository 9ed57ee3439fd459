"""A short search for LightGBM's parameters: Optuna's TPE on folds, from a regularised default, pruned by the
median."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from churn_platform.evaluation.metrics import Array, log_loss, sigmoid
from churn_platform.training import boosting
from churn_platform.training.encode import Floats
from churn_platform.training.sampling import sample_negatives

BudgetName = Literal["quick", "standard", "full"]
Progress = Callable[[str, float], None]
Fold = tuple[Array, Array]


@dataclass(frozen=True)
class Budget:
    """How much a search may cost.

    Attributes:
        trials: parameter sets tried.
        rounds: most trees of one model.
        patience: trees without a better validation loss before a fit stops.
        rows: most rows a fold learns from; beyond it, negatives are sampled and weighted up.
        learning_rate: smallest and largest step.
    """

    trials: int
    rounds: int
    patience: int
    rows: int
    learning_rate: tuple[float, float]


BUDGETS: dict[BudgetName, Budget] = {
    "quick": Budget(trials=8, rounds=400, patience=15, rows=60_000, learning_rate=(0.05, 0.12)),
    "standard": Budget(trials=30, rounds=800, patience=30, rows=200_000, learning_rate=(0.02, 0.1)),
    "full": Budget(trials=80, rounds=2_000, patience=50, rows=1_000_000, learning_rate=(0.01, 0.1)),
}

# What wins on small event data more often than not; every search starts here. Random thresholds (extra_trees,
# Geurts et al. 2006) and shallow trees vary less where there are few departures.
REGULARISED: dict[str, Any] = {
    "max_depth": 3,
    "num_leaves": 8,
    "extra_trees": True,
    "learning_rate": 0.06,
    "min_data_in_leaf": 60,
    "lambda_l2": 10.0,
    "feature_fraction": 0.3,
    "bagging_fraction": 0.8,
}


@dataclass(frozen=True)
class SearchResult:
    """The best parameters, the number of trees they want, and the record of every trial."""

    params: dict[str, Any]
    rounds: int
    loss: float
    trials: tuple[dict[str, Any], ...]


def search(
    encoded: Floats,
    y: Array,
    folds: Sequence[Fold],
    *,
    categorical: Sequence[int],
    budget: BudgetName,
    seed: int,
    threads: int,
    progress: Progress | None = None,
) -> SearchResult:
    """Choose parameters by mean validation log loss over folds.

    Log loss rather than AUC: with a hundred churners in a fold the AUC is too coarse to tell two models
    apart.

    Args:
        encoded, y: rows (n, d) and outcomes (n).
        folds: (learn, validate) row numbers; the last one, which is the latest, is tried first and decides on
            pruning.
        categorical: positions of category columns.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    limits = BUDGETS[budget]
    # Binned once, used by all trials.
    data = [
        (_learning_data(encoded, y, learn, limits.rows, categorical, seed), encoded[validate], y[validate])
        for learn, validate in reversed(folds)
    ]
    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=min(10, max(4, limits.trials // 3))),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=2, n_warmup_steps=0),
    )
    study.enqueue_trial(dict(REGULARISED.items()))

    def objective(trial: Any) -> float:
        params = _suggest(trial, limits)
        losses, rounds = [], []
        for step, (learning, judged, outcome) in enumerate(data):
            loss, best = _validated(learning, judged, outcome, params, limits, seed, threads)
            losses.append(loss)
            rounds.append(best)
            trial.report(float(np.mean(losses)), step)
            if step + 1 < len(data) and trial.should_prune():
                raise optuna.TrialPruned
        trial.set_user_attr("rounds", rounds)
        return float(np.mean(losses))

    def report(study: Any, trial: Any) -> None:
        if progress is not None:
            progress(f"trial {trial.number + 1} of {limits.trials}", (trial.number + 1) / limits.trials)

    study.optimize(objective, n_trials=limits.trials, callbacks=[report])
    best = study.best_trial
    return SearchResult(
        params=_complete(best.params),
        rounds=max(10, int(np.median(best.user_attrs["rounds"]))),
        loss=float(best.value),
        trials=tuple(
            {
                "number": trial.number,
                "state": trial.state.name.lower(),
                "loss": trial.value if trial.state.name == "COMPLETE" else None,
                "rounds": trial.user_attrs.get("rounds", []),
                "params": _complete(trial.params),
            }
            for trial in study.trials
        ),
    )


def _suggest(trial: Any, limits: Budget) -> dict[str, Any]:
    low, high = limits.learning_rate
    return _complete(
        {
            "max_depth": trial.suggest_int("max_depth", 2, 6),
            "num_leaves": trial.suggest_int("num_leaves", 4, 32, log=True),
            "extra_trees": trial.suggest_categorical("extra_trees", [True, False]),
            "learning_rate": trial.suggest_float("learning_rate", low, high, log=True),
            "min_data_in_leaf": trial.suggest_int("min_data_in_leaf", 15, 300, log=True),
            "lambda_l2": trial.suggest_float("lambda_l2", 0.3, 100.0, log=True),
            "feature_fraction": trial.suggest_float("feature_fraction", 0.2, 0.9),
            "bagging_fraction": trial.suggest_float("bagging_fraction", 0.6, 1.0),
        }
    )


def _complete(params: dict[str, Any]) -> dict[str, Any]:
    return {**params, "num_leaves": min(params["num_leaves"], 2 ** params["max_depth"])}


def _learning_data(encoded: Floats, y: Array, learn: Array, most: int, categorical: Sequence[int], seed: int) -> Any:
    """The dataset of a fold's rows, sampled where there are too many."""
    rows, weight = sample_negatives(y, learn, most, seed)
    return boosting.dataset(encoded[rows], y[rows], categorical, weight=weight)


def _validated(
    learning: Any,
    judged: Floats,
    outcome: Array,
    params: dict[str, Any],
    limits: Budget,
    seed: int,
    threads: int,
) -> tuple[float, int]:
    """Validation log loss at the best number of trees, and that number."""
    import lightgbm as lgb

    validation = learning.create_valid(judged, np.asarray(outcome, dtype=np.float64))
    booster = boosting.fit(
        learning,
        params,
        limits.rounds,
        seed=seed,
        threads=threads,
        valid_sets=[validation],
        callbacks=[lgb.early_stopping(limits.patience, first_metric_only=True, verbose=False)],
    )
    rounds = booster.best_iteration or booster.current_iteration()
    margins = boosting.raw_margin(booster, judged, rounds=rounds, threads=threads)
    return log_loss(outcome, sigmoid(margins)), int(rounds)
