"""The company's tables after the door: cleaned, pseudonymised, versioned by what was known at each month."""

from collections.abc import Iterator, Sequence
from typing import Any, cast

import dagster as dg

from assets.partitions import NEWEST, check, monthly, version_of
from resources.lineage import LineageResource
from resources.store import StoreResource

DESCRIPTIONS = {
    "accounts": "The customers: who they are and since when. Columns that are overwritten in place stay outside.",
    "subscriptions": "Versions of each subscription: plan, seats, monthly revenue, renewal date, end.",
    "usage": "Daily use of the product by each account.",
    "invoices": "Invoices, their payment and the attempts that failed.",
    "tickets": "Support tickets, their severity and what the customer thought of the answer.",
    "surveys": "Answers to satisfaction surveys (NPS).",
    "marketing": "What was sent to customers and whether they opened it.",
    "interventions": "What was done to keep a customer: play, arm, propensity, cost.",
    "churn_events": "Departures: when they took effect, when they were recorded, of which kind.",
    "snapshot": "One flat row for each customer. It makes no claim about time.",
}


def source_asset(table: str) -> dg.AssetsDefinition:
    """The asset of one table: partition t is the version known at t, and its data version that version's digest."""
    key = dg.AssetKey(["sources", table])

    @dg.asset(
        key=key,
        group_name="sources",
        kinds={"duckdb", "parquet"},
        owners=["team:data"],
        description=DESCRIPTIONS.get(table, "A table of the source contract."),
        code_version=version_of("sources", "assets/sources.py", but=("sources/simulator",)),
        check_specs=[
            dg.AssetCheckSpec(
                "row_rules",
                asset=key,
                description="Rows that break a rule go to quarantine; beyond the contract's tolerance the table stops.",
            )
        ],
        **monthly(),
    )
    def _table(context: dg.AssetExecutionContext, lineage: LineageResource, store: StoreResource) -> Iterator[Any]:
        from churn_platform.sources.door import admit

        location = store.location
        step = lineage.step(context, {f"source:{table}": location.fingerprint(table)})
        admitted = admit(
            location.contract,
            location.path,
            step.partitions,
            store=store.objects,
            vault=store.vault,
            home=store.home,
            tables=[table],
            calendar=location.calendar,
            expectations=False,
            progress=step.progress,
        )
        for month, version in admitted.versions[table].items():
            step.write(admitted.digests[table][month], into=month, rows=version.rows)
        held, rows = admitted.quarantined.get(table, 0), admitted.rows[table]
        yield from step.result(
            metadata={"raw_rows": rows, "repetitions_dropped": admitted.dropped.get(table, 0)},
            checks=[
                check(
                    "row_rules",
                    held == 0,
                    {
                        "quarantined": held,
                        "rows": rows,
                        "rules": dg.MetadataValue.json(admitted.faults.get(table, {})),
                    },
                    warn=True,
                )
            ],
        )

    return cast(dg.AssetsDefinition, _table)


def expectations(tables: Sequence[str]) -> dg.AssetsDefinition:
    """The asset of the Great Expectations pages, over all tables at once: their import costs seconds."""

    @dg.asset(
        name="expectations",
        group_name="sources",
        kinds={"great_expectations"},
        owners=["team:data"],
        description="A second, independent look: suites from the same contract, run on samples of the cleaned tables. "
        "The pages are in CHURN_HOME/reports/expectations.",
        code_version=version_of("sources/expectations.py", "assets/sources.py"),
        deps=[dg.AssetDep(dg.AssetKey(["sources", table]), partition_mapping=NEWEST) for table in tables],
        check_specs=[dg.AssetCheckSpec("samples_hold", asset="expectations")],
    )
    def _expectations(
        context: dg.AssetExecutionContext, lineage: LineageResource, store: StoreResource
    ) -> Iterator[Any]:
        from churn_platform.sources.expectations import FOLDER, expect
        from churn_platform.sources.tables import TableVersion

        step, objects, home = lineage.step(context), store.objects, store.home
        newest = {table: step.read_newest(f"sources/{table}")[1]["digest"] for table in tables}
        versions = {table: TableVersion.from_json(objects.read_json(digest)) for table, digest in newest.items()}
        found = expect(store.contract, versions, store=objects, home=home)
        failed = {table: summary["failed"] for table, summary in found.items() if summary["failed"]}
        step.write(objects.put_json({"schema": "expectations/1", "tables": found}))
        yield from step.result(
            metadata={
                "evaluated": sum(summary["evaluated"] for summary in found.values()),
                "pages": dg.MetadataValue.path(str(home.reports / FOLDER / "index.html")),
            },
            checks=[check("samples_hold", not failed, {"failed": dg.MetadataValue.json(failed)}, warn=True)],
        )

    return _expectations
