"""What is wrong with a month, and what it asks for."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, cast

import dagster as dg

from assets.partitions import EVERY, SAME, check, monthly, version_of
from resources.lineage import LineageResource
from resources.store import StoreResource


def diagnosis(tables: Sequence[str]) -> dg.AssetsDefinition:
    """The asset of the diagnoses, over the tables of the contract (its feeds)."""

    @dg.asset(
        name="diagnosis",
        group_name="monitoring",
        kinds={"python"},
        owners=["team:ml"],
        description="What is wrong with a month, if anything: a feed that has dried up, reasons to leave that have "
        "changed, probabilities that are off, or only other customers. The sensors respond to it.",
        code_version=version_of("monitoring/diagnosis.py", "monitoring/signals.py", "assets/diagnosis.py"),
        deps=[
            dg.AssetDep("drift_report", partition_mapping=SAME),
            "champion",
            dg.AssetDep("customer_features", partition_mapping=EVERY),
            dg.AssetDep("churn_labels", partition_mapping=EVERY),
            *[dg.AssetDep(dg.AssetKey(["sources", table]), partition_mapping=SAME) for table in tables],
        ],
        check_specs=[
            dg.AssetCheckSpec(
                "nothing_to_respond_to",
                asset="diagnosis",
                description="The newest month of the run needs no response.",
            )
        ],
        **monthly(),
    )
    def _diagnosis(context: dg.AssetExecutionContext, lineage: LineageResource, store: StoreResource) -> Iterator[Any]:
        from churn_platform.monitoring.alerts import resolve
        from churn_platform.monitoring.months import Examined, examine
        from churn_platform.serving.degraded import clear, mark

        step = lineage.step(context)
        found = {}
        for month in step.partitions:
            champion = step.read("champion", into=month)
            examined = Examined(
                month,
                store.refs.partitions("customer_features"),
                drift=step.read("drift_report", month, into=month)["digest"],
                tables={table: step.read(f"sources/{table}", month, into=month) for table in tables},
                features=partial(step.read, "customer_features", into=month),
                labels=partial(step.read, "churn_labels", into=month),
                blocked=step.read("customer_features", month, into=month).get("blocked", {}),
            )
            found[month] = examine(examined, champion, store.contract, store=store.objects)
            made = found[month]
            digest = store.objects.put_json(made.to_json())
            step.write(digest, into=month, kind=made.kind, response=made.response, feeds=list(made.feeds))
        newest = found[max(found)]
        if newest.month == max(store.refs.partitions("drift_report")):
            if newest.kind == "data_fault":
                mark(store.home, month=newest.month, reason=newest.reason, feeds=newest.feeds)
            else:
                clear(store.home)
                resolve(store.home, lambda alert: alert.kind == "data_fault")
        yield from step.result(
            per_partition={
                month: {
                    "kind": made.kind,
                    "response": made.response,
                    "reason": made.reason,
                    "report": dg.MetadataValue.md(made.markdown()),
                }
                for month, made in found.items()
            },
            checks=[
                check(
                    "nothing_to_respond_to",
                    newest.response == "none",
                    {"month": newest.month, "kind": newest.kind, "reason": newest.reason},
                    warn=True,
                )
            ],
        )

    return cast(dg.AssetsDefinition, _diagnosis)
