"""Drift of several months against the months a model learned from, and the diagnosis of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from churn_platform.features.catalogue import Feature, catalogue_for
from churn_platform.features.labels import outcome_table
from churn_platform.monitoring.diagnosis import Diagnosis, Outcome, Ranking, Signals, Untrusted, diagnose
from churn_platform.monitoring.report import DriftReport, drift_report
from churn_platform.monitoring.signals import MonthScores, feeds_of, untrusted_columns
from churn_platform.sources.contract import Contract
from churn_platform.sources.tables import TableVersion

if TYPE_CHECKING:
    from churn_platform.champion.model import ChampionModel
    from churn_platform.records.store import ContentStore


def drift_of_months(
    learned: Mapping[str, Path],
    current: Mapping[str, Path],
    *,
    contract: Contract,
    catalogue: Sequence[Feature] | None = None,
    out_dir: Path,
    progress: Callable[[str, float], None] | None = None,
) -> dict[str, DriftReport]:
    """A report for each month of ``current``, below ``out_dir/<month>``.

    Args:
        learned: observation → feature table that the model learned from: the reference, fitted once.
        catalogue: the features to look at; default: the hand-made ones of the contract. Those that came later than the
            training are left out: there is nothing to compare them with.
        current: observation → feature table to look at. Evidently's page costs seconds, so only the newest has one.
    """
    catalogue = catalogue_for(contract) if catalogue is None else catalogue
    catalogue = _known_then(catalogue, list(learned.values()))
    newest = max(current)
    reports: dict[str, DriftReport] = {}
    # The newest first: its reference, fitted from the files, then serves all others.
    for done, month in enumerate(sorted(current, reverse=True), start=1):
        reference = list(learned.values()) if month == newest else reports[newest].reference
        reports[month] = drift_report(
            reference, current[month], catalogue, out_dir=out_dir / month, evidently=month == newest
        )
        if progress is not None:
            progress(month, done / len(current))
    return reports


def _known_then(catalogue: Sequence[Feature], learned: Sequence[Path]) -> list[Feature]:
    import pyarrow.parquet as pq

    known = set.intersection(*(set(pq.read_schema(path).names) for path in learned)) if learned else set[str]()
    return [feature for feature in catalogue if feature.name in known]


@dataclass(frozen=True)
class Examined:
    """What a diagnosis of one month reads. ``features`` and ``labels`` are asked for the months that are needed, so
    that the caller records those and no others.

    Attributes:
        months: all observation months, in order.
        drift: digest of the month's drift report.
        tables: table → the reference of what was known of it by the month.
        features: month → the reference of its feature table.
        labels: month → the reference of its labels.
        blocked: the month's features that are blank because of a column that cannot be trusted, and why.
    """

    month: str
    months: Sequence[str]
    drift: str
    tables: Mapping[str, Mapping[str, Any]]
    features: Callable[[str], Mapping[str, Any]]
    labels: Callable[[str], Mapping[str, Any]]
    blocked: Mapping[str, str] = field(default_factory=dict)


def examine(examined: Examined, champion: Mapping[str, Any], contract: Contract, *, store: ContentStore) -> Diagnosis:
    """Gather the signals of a month and diagnose it.

    Args:
        champion: its reference: ``package``, ``model``, ``challenger``, ``evaluation``.
    """
    from churn_platform.champion.package import exported, load_package

    month = examined.month
    drift = store.read_json(examined.drift)
    versions = {t: TableVersion.from_json(store.read_json(str(ref["digest"]))) for t, ref in examined.tables.items()}
    outcome = earlier = ranking = None
    untrusted: tuple[Untrusted, ...] = ()
    if contract.shape == "relational":
        with exported(store, champion["package"]) as folder:
            model = load_package(folder, digest=champion["model"])
        untrusted = untrusted_columns(versions, examined.blocked, {feature.name for feature in model.features})
        outcome, earlier, ranking = _outcomes(examined, champion, contract, model, store)
    return diagnose(
        Signals(
            month=month,
            feeds=feeds_of(versions, examined.months, month) if contract.shape == "relational" else (),
            share_drifted=drift["share_drifted"],
            drifted=drift["drifted"],
            shifted=tuple(c["name"] for c in drift["columns"] if c["verdict"] in ("shifted", "empty")),
            outcome=outcome,
            ranking=ranking,
            earlier=earlier,
            untrusted=untrusted,
        )
    )


def _outcomes(
    examined: Examined, champion: Mapping[str, Any], contract: Contract, model: ChampionModel, store: ContentStore
) -> tuple[Outcome | None, Outcome | None, Ranking | None]:
    """Departures after the two months before, and the AUC on the newest month with certain labels, as far as the
    champion has neither learned from them nor been judged on them: those the gate has answered."""
    split = store.read_json(champion["challenger"])["split"]
    learned = {*model.metadata.get("observations", ()), *split["train"], *split["holdout"]}
    # A champion that was set right by a month answers for what came after it, not for what was before.
    since = str((model.metadata.get("recalibrated") or {}).get("month", ""))
    fresh = [m for m in examined.months if since < m < examined.month and m not in learned]
    label = contract.label

    def scores(month: str) -> MonthScores:
        features, labels = examined.features(month)["digest"], examined.labels(month)["digest"]
        return MonthScores(model, store.path(features), store.path(labels))

    newest: list[Outcome | None] = [None, None]
    if label.source in ("churn_events", "subscription_end"):
        ends = datetime.fromisoformat(examined.tables[outcome_table(contract)]["current"]["as_of"])
        for back, month in enumerate(reversed(fresh[-2:])):
            mature = bool(examined.labels(month)["mature"])
            newest[back] = scores(month).outcome_so_far(
                month, as_of=ends, gap=label.gap_days, horizon=label.horizon_days, mature=mature
            )
    judged = store.read_json(champion["evaluation"]).get("auc")
    mature_months = [m for m in fresh if examined.labels(m)["mature"]] if judged is not None else []
    ranking = scores(mature_months[-1]).ranking(mature_months[-1], float(judged)) if mature_months else None
    return newest[0], newest[1], ranking
