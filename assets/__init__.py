"""Thin Dagster assets, one module for each stage. They read, call the domain, and record what came of it."""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg


def all_assets(tables: Sequence[str], label_tables: Sequence[str]) -> list[dg.AssetsDefinition]:
    """All assets of a problem whose contract has these tables, and makes its labels from some of them."""
    from assets.bento import champion_bento, scores_current
    from assets.champion import champion
    from assets.diagnosis import diagnosis
    from assets.evaluation import evaluation, gate
    from assets.features import churn_labels, customer_features, customers, feature_skew, online_features
    from assets.monitoring import business_report, drift_report
    from assets.outlets import scores_outlet
    from assets.recalibration import recalibration
    from assets.selection import candidate_features, customer_profile, feature_selection
    from assets.sources import cross_rules, expectations, source_asset
    from assets.training import challenger, training_set

    return [
        *[source_asset(table) for table in tables],
        cross_rules(tables),
        expectations(tables),
        customers(tables),
        churn_labels(label_tables),
        candidate_features(tables),
        customer_profile,
        feature_selection,
        customer_features(tables),
        online_features,
        feature_skew,
        training_set,
        challenger,
        evaluation,
        gate,
        recalibration,
        champion,
        champion_bento,
        scores_current,
        scores_outlet,
        drift_report,
        diagnosis(tables),
        business_report,
    ]
