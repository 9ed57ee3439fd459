"""Features at each observation month, labels as they mature, and the newest features in the online store."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, cast

import dagster as dg

from assets.partitions import NEWEST, SAME, check, monthly, must_hold, table_versions, version_of
from churn_platform.settings import settings
from churn_platform.sources.mutable import mutable_digests
from churn_platform.sources.tables import TableVersion
from resources.feast import FeastResource, history_input
from resources.lineage import LineageResource
from resources.store import StoreResource

# What the population does not need: a change there makes no label anew.
LATER = ("features/profile.py", "features/online.py", "features/skew.py", "features/page.py", "features/quality.py")


def _source(table: str) -> dg.AssetKey:
    return dg.AssetKey(["sources", table])


def customers(tables: Sequence[str]) -> dg.AssetsDefinition:
    """The asset of who is a customer at each month, over the tables of the contract that say so."""

    @dg.asset(
        name="customers",
        group_name="customers",
        kinds={"duckdb", "parquet"},
        owners=["team:data"],
        description="Who is a customer at the month's date, and the monthly revenue, as known by then: those whom "
        "labels and features are made for.",
        code_version=version_of("features", "assets/features.py", but=LATER),
        deps=[dg.AssetDep(_source(table), partition_mapping=SAME) for table in tables],
        check_specs=[
            must_hold("customers", "somebody_is_a_customer", "The newest month of the run has at least one customer.")
        ],
        **monthly(),
    )
    def _customers(context: dg.AssetExecutionContext, lineage: LineageResource, store: StoreResource) -> Iterator[Any]:
        from churn_platform.features.assemble import assemble

        step = lineage.step(context)
        made = assemble(
            store.contract,
            table_versions(step, store, tables, step.partitions),
            step.partitions,
            store=store.objects,
            people_only=True,
        )
        for month, table in made.items():
            step.write(table.digest, into=month, rows=table.rows)
        yield from step.result(
            per_partition={month: {"customers": table.rows} for month, table in made.items()},
            checks=[
                check("somebody_is_a_customer", made[max(made)].rows > 0, {"month": max(made)}),
            ],
        )

    return cast(dg.AssetsDefinition, _customers)


def customer_features(tables: Sequence[str]) -> dg.AssetsDefinition:
    """The asset of the feature tables, over the tables of the contract."""

    @dg.asset(
        name="customer_features",
        group_name="features",
        kinds={settings().feature_engine, "parquet"},
        owners=["team:data"],
        description="One row for each customer active at the month's date, made only from what was known by then: the "
        "hand-made features, the generated ones that were chosen, the anomaly score and the segment.",
        code_version=version_of("features", "assets/features.py"),
        deps=[
            *[dg.AssetDep(_source(table), partition_mapping=SAME) for table in tables],
            dg.AssetDep("feature_selection"),
            dg.AssetDep("customer_profile"),
        ],
        check_specs=[
            must_hold(
                "customer_features", "one_row_per_customer", "No customer has two rows in the newest month of the run."
            ),
            dg.AssetCheckSpec("known_values", asset="customer_features", description="No feature is empty for all."),
            dg.AssetCheckSpec(
                "usable_columns",
                asset="customer_features",
                description="No feature is left out because a column that it reads cannot be trusted.",
            ),
        ],
        **monthly(),
    )
    def _features(context: dg.AssetExecutionContext, lineage: LineageResource, store: StoreResource) -> Iterator[Any]:
        from churn_platform.features.assemble import assemble
        from churn_platform.features.catalogue import catalogue_to_json
        from churn_platform.features.quality import quality_of

        since = store.mutable_since
        step, objects = lineage.step(context, mutable_digests(since)), store.objects
        for month in step.partitions:
            step.read("feature_selection", into=month)
            step.read("customer_profile", into=month)
        made = assemble(
            store.contract,
            table_versions(step, store, tables, step.partitions),
            step.partitions,
            store=objects,
            progress=lambda month, done, total: step.progress(month, done / total),
            snapshots=store.snapshots,
            since=since,
            generated=store.generated,
            profile=store.profile,
        )
        catalogue = store.catalogue
        store.refs.set("feature_catalogue", None, {"digest": objects.put_json(catalogue_to_json(catalogue))})
        for month, table in made.items():
            step.write(table.digest, into=month, rows=table.rows, blocked=dict(table.blocked))
        newest = made[max(made)]
        quality = quality_of(objects.path(newest.digest), catalogue)
        empty = [name for name in quality.empty if name not in newest.blocked]
        yield from step.result(
            metadata={
                "features": len(catalogue),
                "dagster/column_schema": dg.TableSchema(
                    [dg.TableColumn(f.name, f.kind, f"{f.label}. {f.description}") for f in catalogue]
                ),
            },
            per_partition={
                month: {"customers": table.rows, "blocked": dg.MetadataValue.json(dict(table.blocked))}
                for month, table in made.items()
            },
            checks=[
                check("one_row_per_customer", quality.unique, {"customers": quality.rows, "month": max(made)}),
                check("known_values", not empty, {"empty": ", ".join(empty) or "none"}, warn=True),
                check(
                    "usable_columns",
                    not newest.blocked,
                    {"blocked": dg.MetadataValue.json(dict(newest.blocked)), "month": max(made)},
                    warn=True,
                ),
            ],
        )

    return cast(dg.AssetsDefinition, _features)


def churn_labels(needed: Sequence[str]) -> dg.AssetsDefinition:
    """The asset of the labels, over the tables that they are made from; they read what is known now (``current``), so
    they depend on the newest table versions."""

    @dg.asset(
        name="churn_labels",
        group_name="customers",
        kinds={"duckdb", "parquet"},
        owners=["team:data"],
        description="Who left voluntarily in the window after the month's date (or was not active in it, where the "
        "contract says so). Involuntary departures are censored; what is not mature yet says so.",
        code_version=version_of(
            "features/labels.py", "features/purchase.py", "sources/episodes.py", "assets/features.py"
        ),
        deps=[
            dg.AssetDep("customers", partition_mapping=SAME),
            *[dg.AssetDep(_source(table), partition_mapping=NEWEST) for table in needed],
        ],
        check_specs=[
            dg.AssetCheckSpec(
                "both_classes",
                asset="churn_labels",
                description="In the months of the run whose outcome is certain some have left, and some have stayed.",
            )
        ],
        **monthly(),
    )
    def _labels(context: dg.AssetExecutionContext, lineage: LineageResource, store: StoreResource) -> Iterator[Any]:
        from churn_platform.features.labels import label_months, outcome_table

        step, objects = lineage.step(context), store.objects
        known, ends = {}, {}
        populations = {}
        for month in step.partitions:
            populations[month] = step.read("customers", month, into=month)["digest"]
            for table in needed:
                current = step.read_newest(f"sources/{table}", into=month)[1]["current"]
                known[table] = TableVersion.from_json(objects.read_json(current["digest"]))
                ends[table] = datetime.fromisoformat(current["as_of"])
        made = label_months(
            store.contract,
            known,
            step.partitions,
            as_of=ends[outcome_table(store.contract)],
            populations=populations,
            store=objects,
        )
        for month, labelled in made.items():
            step.write(
                labelled.digest,
                into=month,
                rows=labelled.rows,
                positives=labelled.positives,
                censored=labelled.censored,
                mature=labelled.mature,
            )
        mature = [table for table in made.values() if table.mature]
        positives = sum(table.positives for table in mature)
        rows = sum(table.rows for table in mature)
        yield from step.result(
            per_partition={
                month: {"leavers": table.positives, "censored": table.censored, "mature": table.mature}
                for month, table in made.items()
            },
            checks=[
                check(
                    "both_classes",
                    not mature or 0 < positives < rows,
                    {"leavers": positives, "rows": rows, "mature_months": len(mature)},
                    warn=True,
                )
            ],
        )

    return cast(dg.AssetsDefinition, _labels)


@dg.asset(
    group_name="features",
    kinds={"feast"},
    owners=["team:data"],
    description="The newest month's features in the packed online store, written through Feast as one generation, one "
    "view for each family; without those who are known to have left since.",
    code_version=version_of(
        "features/feast_store.py",
        "features/feast_objects.py",
        "features/feast_packed.py",
        "features/online.py",
        "features/packed",
        "assets/features.py",
    ),
    deps=[
        dg.AssetDep("customer_features", partition_mapping=NEWEST),
        dg.AssetDep("churn_labels", partition_mapping=NEWEST),
        dg.AssetDep("cross_rules"),
    ],
    check_specs=[
        must_hold(
            "online_features",
            "online_equals_offline",
            "For a sample of customers the online vector, the offline table and Feast's point-in-time join are equal, "
            "value by value.",
        )
    ],
)
def online_features(
    context: dg.AssetExecutionContext, lineage: LineageResource, store: StoreResource, feast: FeastResource
) -> Iterator[Any]:
    """Apply the feature views, materialize the newest month, and compare a sample of what can be read."""
    step = lineage.step(context, history_input())
    month, ref = step.read_newest("customer_features")
    _, labels = step.read_newest("churn_labels")
    made = feast.publish(store, month, ref["digest"], labels["digest"], step.progress)
    step.write(made.digest, rows=made.customers, month=month, service=made.service, views=list(made.views))
    yield from step.result(
        metadata={
            "month": month,
            "customers": made.customers,
            "service": made.service,
            "views": ", ".join(made.views),
        },
        checks=[check("online_equals_offline", made.equal, {"compared": made.compared, "different": made.different})],
    )


@dg.asset(
    group_name="features",
    kinds={"feast"},
    owners=["team:data"],
    description="A sample of the customers online now: packed record, Feast's online API, Feast's history and the "
    "table must agree exactly; with availability, freshness and drift since the month before. Each night.",
    code_version=version_of(
        "features/skew.py",
        "features/health.py",
        "monitoring/month_drift.py",
        "monitoring/drift.py",
        "assets/features.py",
    ),
    deps=[
        "online_features",
        dg.AssetDep("customer_features", partition_mapping=NEWEST),
        dg.AssetDep("churn_labels", partition_mapping=NEWEST),
    ],
    check_specs=[
        must_hold(
            "feature_skew",
            "served_equals_history",
            "What is online now, read by the codec and by Feast, is what history and the table say.",
        ),
        dg.AssetCheckSpec(
            "features_available",
            asset="feature_skew",
            description="Each feature is there online for more than 99 % of the customers for whom the table has it.",
        ),
        dg.AssetCheckSpec(
            "features_fresh",
            asset="feature_skew",
            description="The vectors that are served are younger than their time to live.",
        ),
        dg.AssetCheckSpec(
            "features_stable",
            asset="feature_skew",
            description="No feature has shifted against the month before, by its PSI.",
        ),
    ],
)
def feature_skew(
    context: dg.AssetExecutionContext, lineage: LineageResource, store: StoreResource, feast: FeastResource
) -> Iterator[Any]:
    """Compare what is served with what was assembled, and look after what is online."""
    step = lineage.step(context)
    online = step.read("online_features")
    month, ref = step.read_newest("customer_features")
    _, labels = step.read_newest("churn_labels")
    found = feast.health(store, month, ref["digest"], labels["digest"])
    step.write(found.digest, rows=found.customers, month=month)
    yield from step.result(
        metadata={
            "online": online["month"],
            "customers": found.customers,
            "values": found.values,
            "pushed": found.pushed,
        },
        checks=[
            check("served_equals_history", found.equal, {"compared": found.values, "different": found.different}),
            check("features_available", not found.low, {"low": found.low or "none"}, warn=True),
            check("features_fresh", found.fresh, {"age_days": found.age_days}, warn=True),
            check("features_stable", not found.shifted, {"shifted": found.shifted or "none"}, warn=True),
        ],
    )
