"""The champion on the rows of a challenger that learns from other columns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from churn_platform.champion.rivals import champion_margins
from churn_platform.evaluation.predictions import Predictions
from churn_platform.evaluation.splits import temporal_split
from churn_platform.training.dataset import TrainingSet, build_training_set
from tests.champion.conftest import Trained
from tests.training import synthetic


def held_out(found: TrainingSet, trained: Trained) -> Predictions:
    rows = found.load(trained.store)
    months = temporal_split(found.observations, 30, 0).holdout
    here = np.flatnonzero(np.isin(rows.observation, months))
    nothing = np.zeros(len(here))
    return Predictions(here, rows.observation[here], rows.group[here], rows.label[here], rows.mrr[here], nothing)


def margins(found: TrainingSet, trained: Trained) -> dict[tuple[str, str], float] | None:
    judged = held_out(found, trained)
    made = champion_margins(trained.challenger.package, trained.challenger.digest, judged, found, trained.store)
    if made is None:
        return None
    who = found.customers(trained.store)[judged.row]
    return {(name, month): float(m) for name, month, m in zip(who, judged.observation, made, strict=True)}


def narrower(trained: Trained, without: str) -> TrainingSet:
    kept = [feature for feature in synthetic.FEATURES if feature.name != without]
    inputs = trained.set.inputs
    return build_training_set(inputs["features"], inputs["labels"], kept, synthetic.contract(), store=trained.store)


def test_a_column_that_the_challenger_has_no_more_is_read_from_the_months(trained: Trained) -> None:
    whole = margins(trained.set, trained)
    assert whole
    for name in ("plan", "logins_30d", "nps"):
        assert margins(narrower(trained, name), trained) == whole, name


def test_where_the_months_lack_it_there_is_no_comparison(trained: Trained) -> None:
    import pyarrow.parquet as pq

    lacking = narrower(trained, "nps")
    months = {}
    for month, digest in lacking.inputs["features"].items():
        table = pq.read_table(trained.store.path(digest))
        months[month] = synthetic.put(trained.store, {n: table[n] for n in table.column_names if n != "nps"})
    assert margins(replace(lacking, inputs={**lacking.inputs, "features": months}), trained) is None
