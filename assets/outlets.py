"""What leaves the platform: the ranked list as a file that other programs read, and the message that it is there."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from assets.partitions import NEWEST, check, must_hold, version_of
from resources.lineage import LineageResource
from resources.store import StoreResource


@dg.asset(
    group_name="outlets",
    kinds={"parquet"},
    owners=["team:customer-success"],
    description="The ranked list as `outlets/scores/scores_current.parquet`, replaced as a whole, and under its "
    "digest; pseudonyms only. Published after its month is diagnosed: where that finds a data fault, the column "
    "`degraded` says so. What else gets the list (a table, another file, a webhook) is told through the outbox.",
    code_version=version_of("outlets", "assets/outlets.py"),
    deps=["scores_current", dg.AssetDep("diagnosis", partition_mapping=NEWEST)],
    check_specs=[
        must_hold(
            "scores_outlet",
            "file_is_the_list",
            "The published file has the rows of the list in the store, and the mark of its month.",
        )
    ],
)
def scores_outlet(context: dg.AssetExecutionContext, lineage: LineageResource, store: StoreResource) -> Iterator[Any]:
    """Publish the newest list and put its announcement into the outbox, after its month is diagnosed."""
    import pyarrow.parquet as pq

    from churn_platform.outlets.lists import ListFacts, table_of
    from churn_platform.outlets.notice import notice
    from churn_platform.outlets.published import default_folder, publish
    from churn_platform.settings import settings

    step, home, objects = lineage.step(context), store.home, store.objects
    ref = step.read("scores_current")
    diagnosed = step.read("diagnosis", str(ref["month"]))
    diagnosis, when = objects.read_json(diagnosed["digest"]), str(diagnosed["made_at"])
    facts = ListFacts.of(settings().problem, ref, diagnosis, diagnosed_at=when)
    folder = default_folder(home)
    said = publish(folder, objects, facts, "pseudonym", list, always=True)
    announced = notice(home, made=facts)
    step.write(objects.put_json(said), rows=said["rows"], month=said["month"], list=facts.to_json())
    file = pq.read_table(folder / "scores_current.parquet")
    yield from step.result(
        metadata={
            "month": said["month"],
            "file": dg.MetadataValue.path(str(folder / "scores_current.parquet")),
            "degraded": facts.degraded["reason"] if facts.degraded else "no",
            "announced": ", ".join(one.kind for one in announced) or "nothing new",
        },
        checks=[
            check(
                "file_is_the_list",
                file.equals(table_of(objects, facts, "pseudonym", list)),
                {"file": said["sha256"], "list": facts.digest},
            )
        ],
    )
