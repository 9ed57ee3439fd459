"""The company's tables after the door: cleaned, pseudonymised, versioned by what was known at each month."""

from collections.abc import Iterator, Sequence
from typing import Any, cast

import dagster as dg

from assets.partitions import NEWEST, check, monthly, version_of
from resources.lineage import LineageResource
from resources.links import page_link
from resources.store import StoreResource

DESCRIPTIONS = {
    "accounts": "The customers: who they are and since when. Columns that are overwritten in place stay outside.",
    "subscriptions": "Versions of each subscription: plan, seats, monthly revenue, renewal date, end.",
    "usage": "Daily use of the product by each account.",
    "orders": "Purchases and returns: a row for each order or for each line of one.",
    "invoices": "Invoices, their payment and the attempts that failed.",
    "tickets": "Support tickets, their severity and what the customer thought of the answer.",
    "surveys": "Answers to satisfaction surveys (NPS): who gave which score, and when.",
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
                description="Rows that break a rule go to quarantine. Beyond the contract's tolerance a column that "
                "only features read is unusable in that month; any other stops the table.",
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
            block=True,
            progress=step.progress,
        )
        # What is known of the table now, also after the last month's date: labels and lists go by it.
        current = {"digest": admitted.current_digests[table], "as_of": admitted.calendar.as_of.isoformat()}
        for month, version in admitted.versions[table].items():
            step.write(admitted.digests[table][month], into=month, rows=version.rows, current=current)
        held, rows = admitted.quarantined.get(table, 0), admitted.rows[table]
        yield from step.result(
            metadata={
                "raw_rows": rows,
                "repetitions_dropped": admitted.dropped.get(table, 0),
                "blocked_columns": dg.MetadataValue.json(admitted.blocked.get(table, {})),
            },
            checks=[
                check(
                    "row_rules",
                    held == 0 and table not in admitted.blocked,
                    {
                        "quarantined": held,
                        "blocked_columns": dg.MetadataValue.json(admitted.blocked.get(table, {})),
                        "rows": rows,
                        "rules": dg.MetadataValue.json(admitted.faults.get(table, {})),
                    },
                    warn=True,
                )
            ],
        )

    return cast(dg.AssetsDefinition, _table)


def cross_rules(tables: Sequence[str]) -> dg.AssetsDefinition:
    """The asset of the rules between tables, over all that is known of them: each table is admitted on its own."""

    @dg.asset(
        name="cross_rules",
        group_name="sources",
        kinds={"duckdb"},
        owners=["team:data"],
        description="Do the tables agree? Use lies inside its subscription, tickets after signup, every customer is in "
        "accounts, the flags of accounts agree with the departures. Beyond the contract's tolerance nothing is learnt.",
        code_version=version_of("sources/cross.py", "sources/cross_rules.py"),
        deps=[dg.AssetDep(dg.AssetKey(["sources", table]), partition_mapping=NEWEST) for table in tables],
        check_specs=[
            dg.AssetCheckSpec(
                "tables_agree",
                asset="cross_rules",
                blocking=True,
                description="No rule between tables is broken beyond the contract's tolerance.",
            )
        ],
    )
    def _cross_rules(
        context: dg.AssetExecutionContext, lineage: LineageResource, store: StoreResource
    ) -> Iterator[Any]:
        from churn_platform.sources.cross import check_cleaned, stop_where_they_contradict
        from churn_platform.sources.tables import TableVersion

        step, objects, contract = lineage.step(context), store.objects, store.contract
        found = []
        # by now, not by the newest date: a flag of today does not agree with the departures of a month ago
        newest = {table: step.read_newest(f"sources/{table}")[1]["current"]["digest"] for table in tables}
        if contract.shape == "relational":
            versions = {table: TableVersion.from_json(objects.read_json(digest)) for table, digest in newest.items()}
            found = check_cleaned(
                contract, versions, source=store.location.path, store=objects, vault=store.vault, home=store.home
            )
        broken = {f"{one.fault.table}: {one.fault.rule}": one.fault.share for one in found}
        passed = not any(one.fault.stops for one in found)
        agree = check("tables_agree", passed, {"broken": dg.MetadataValue.json(broken)})
        if not agree.passed:
            yield agree
        stop_where_they_contradict(found, store.vault)
        step.write(objects.put_json({"schema": "cross_rules/1", "broken": broken}))
        yield from step.result(metadata={"broken_rules": len(broken)}, checks=[agree])

    return _cross_rules


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
        check_specs=[
            dg.AssetCheckSpec(
                "samples_hold", asset="expectations", description="Every expectation holds on the samples."
            )
        ],
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
                "pages": page_link(home, home.reports / FOLDER / "index.html"),
            },
            checks=[check("samples_hold", not failed, {"failed": dg.MetadataValue.json(failed)}, warn=True)],
        )

    return _expectations
