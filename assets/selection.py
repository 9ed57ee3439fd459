"""Generated features: all candidates of early training months, and the choice among them; the profile of customers."""

from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg

from assets.partitions import EVERY, check, table_versions, version_of
from churn_platform.settings import settings
from churn_platform.sources.mutable import mutable_digests
from resources.lineage import LineageResource
from resources.links import page_link
from resources.selection import champion_features, months_input, months_to_choose_on
from resources.store import StoreResource


def candidate_features(tables: Sequence[str]) -> dg.AssetsDefinition:
    """The asset of the candidates, over the tables of the contract."""

    @dg.asset(
        name="candidate_features",
        group_name="selection",
        kinds={"duckdb", "parquet"},
        owners=["team:ml"],
        description="Every affordable window × aggregate × column, trend, ratio and interaction, for the months that "
        "features are chosen on only. Made again when the history reaches its next step, not with every month.",
        code_version=version_of("features", "training/candidate_tables.py", "assets/selection.py"),
        deps=[
            *[dg.AssetDep(dg.AssetKey(["sources", table]), partition_mapping=EVERY) for table in tables],
            dg.AssetDep("churn_labels", partition_mapping=EVERY),
        ],
        check_specs=[
            dg.AssetCheckSpec(
                "history_is_long_enough",
                asset="candidate_features",
                description="There are months to choose features on and others to judge a model on.",
            )
        ],
    )
    def _candidates(context: dg.AssetExecutionContext, lineage: LineageResource, store: StoreResource) -> Iterator[Any]:
        from churn_platform.training.candidate_tables import make_tables

        months, since = months_to_choose_on(store.refs, store.contract), store.mutable_since
        step, objects = lineage.step(context, {**months_input(months), **mutable_digests(since)}), store.objects
        versions = table_versions(step, store, tables, months, each=False)
        made = make_tables(
            store.contract,
            versions,
            months,
            store=objects,
            snapshots=store.snapshots,
            since=since,
            progress=lambda month, done, total: step.progress(month, done / total),
        )
        step.write(objects.put_json(made.to_json()), months=list(made.months))
        yield from step.result(
            metadata={"candidates": len(made.offered), "too_costly": len(made.costly), "note": made.note or "none"},
            checks=[
                check(
                    "history_is_long_enough",
                    bool(made.months) or store.contract.shape == "snapshot",
                    {"months": ", ".join(made.months) or made.note},
                    warn=True,
                )
            ],
        )

    return _candidates


@dg.asset(
    group_name="selection",
    kinds={"sklearn", "numpy"},
    owners=["team:ml"],
    description="An isolation forest and a few segments of customers, fitted on training months only, as arrays. Kept "
    "as it is while the champion reads what it makes.",
    code_version=version_of(
        "training/profile.py", "training/candidate_tables.py", "features/profile.py", "assets/selection.py"
    ),
    deps=["candidate_features"],
    check_specs=[
        dg.AssetCheckSpec(
            "segments_are_told_apart",
            asset="customer_profile",
            description="Every segment has a name of its own, said by what sets it apart.",
        )
    ],
)
def customer_profile(
    context: dg.AssetExecutionContext, lineage: LineageResource, store: StoreResource
) -> Iterator[Any]:
    """Fit the profile."""
    from churn_platform.features.profile import PROFILE_FEATURES
    from churn_platform.training.candidate_tables import CandidateTables, fit_profile_of

    step, objects = lineage.step(context), store.objects
    tables = CandidateTables.from_json(objects.read_json(step.read("candidate_features")["digest"]))
    before = store.profile
    read = {feature.name for feature in PROFILE_FEATURES} & set(champion_features(store.refs, objects))
    # what it reads may be gone: then nothing can be made with it any more
    whole = before is not None and {feature.name for feature in tables.features}.issuperset(before.scaling.names)
    kept = before if read and whole else None
    made = kept or fit_profile_of(tables, objects)
    step.write(objects.put_json(made.to_json() if made else {"schema": "customer_profile/none"}))
    yield from step.result(
        metadata={
            "segments": dg.MetadataValue.json(list(made.segments) if made else []),
            "features": len(made.scaling.names) if made else 0,
            "kept_for_the_champion": kept is not None,
        },
        checks=[
            check(
                "segments_are_told_apart",
                made is None or len(set(made.segments)) == len(made.segments) > 1,
                {"segments": len(made.segments) if made else 0},
                warn=True,
            )
        ],
    )


@dg.asset(
    group_name="selection",
    kinds={"lightgbm"},
    owners=["team:ml"],
    description="Which generated features are made and learnt from, and why not the others: cost, nulls, redundancy, "
    "stability over months, importance inside forward folds of training months.",
    code_version=version_of(
        "training/selection.py",
        "training/selection_rows.py",
        "training/selection_page.py",
        "training/candidate_tables.py",
        "training/boosting.py",
        "training/encode.py",
        "training/sampling.py",
        "evaluation/metrics.py",
        "assets/selection.py",
    ),
    deps=["candidate_features", "customer_profile"],
    check_specs=[
        dg.AssetCheckSpec(
            "every_candidate_has_a_reason",
            asset="feature_selection",
            description="Each generated feature says why it was kept, or where and why it fell.",
        )
    ],
)
def feature_selection(
    context: dg.AssetExecutionContext, lineage: LineageResource, store: StoreResource
) -> Iterator[Any]:
    """Choose, and write the page."""
    from churn_platform.records.files import write_atomic
    from churn_platform.training.candidate_tables import CandidateTables, choose
    from churn_platform.training.selection_page import page

    step, objects, refs = lineage.step(context), store.objects, store.refs
    tables = CandidateTables.from_json(objects.read_json(step.read("candidate_features")["digest"]))
    step.read("customer_profile")
    # Labels of mature months move when a departure is recorded late. That alone is no reason to choose anew, so they
    # are kept as facts and not as inputs.
    labels = {month: refs.get("churn_labels", month)["digest"] for month in tables.months}
    made = choose(
        tables,
        labels,
        store.contract,
        store=objects,
        profile=store.profile,
        in_force=champion_features(refs, objects),
        threads=settings().threads,
    )
    text = page(made)
    path = store.home.reports / "feature_selection.md"
    write_atomic(path, text.encode())
    reasons = all(one.reason for one in made.verdicts)
    # What lies below is made anew by another set, not by other figures.
    named = {"chosen": list(made.chosen), "carried": list(made.carried), "months": list(made.judging)}
    step.write(objects.put_json(named), verdicts=objects.put_json(made.to_json()), labels=labels)
    yield from step.result(
        metadata={
            "chosen": ", ".join(made.chosen) or "none",
            "carried": ", ".join(made.carried) or "none",
            "candidates": len(made.verdicts),
            "months": ", ".join(made.months) or "none",
            "page": page_link(store.home, path),
            "report": dg.MetadataValue.md(text),
        },
        checks=[check("every_candidate_has_a_reason", reasons, {"candidates": len(made.verdicts)})],
    )
