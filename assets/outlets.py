"""What leaves the platform: the ranked list as a file that other programs read, and the message that it is there."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from assets.partitions import check, must_hold, version_of
from resources.lineage import LineageResource
from resources.store import StoreResource


@dg.asset(
    group_name="outlets",
    kinds={"parquet"},
    owners=["team:customer-success"],
    description="The ranked list as `outlets/scores/scores_current.parquet`, replaced as a whole, and under its "
    "digest; pseudonyms only. What else gets the list (a table, another file, a webhook) is told through the outbox.",
    code_version=version_of("outlets", "assets/outlets.py"),
    deps=["scores_current"],
    check_specs=[
        must_hold(
            "scores_outlet",
            "file_is_the_list",
            "The published file has the same bytes, by their SHA-256, as the list in the store.",
        )
    ],
)
def scores_outlet(context: dg.AssetExecutionContext, lineage: LineageResource, store: StoreResource) -> Iterator[Any]:
    """Publish the newest list and put its announcement into the outbox."""
    from churn_platform.outlets.lists import ListFacts
    from churn_platform.outlets.notice import notice
    from churn_platform.outlets.published import default_folder, publish
    from churn_platform.settings import settings

    step, home, objects = lineage.step(context), store.home, store.objects
    facts = ListFacts.of(settings().problem, step.read("scores_current"))
    folder = default_folder(home)
    said = publish(folder, objects, facts, "pseudonym", list, always=True)
    announced = notice(home)
    step.write(objects.put_json(said), rows=said["rows"], month=said["month"])
    yield from step.result(
        metadata={
            "month": said["month"],
            "file": dg.MetadataValue.path(str(folder / "scores_current.parquet")),
            "announced": ", ".join(one.kind for one in announced) or "nothing new",
        },
        checks=[
            check("file_is_the_list", said["sha256"] == facts.digest, {"file": said["sha256"], "list": facts.digest})
        ],
    )
