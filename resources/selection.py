"""What the references say about generated features: on which months they are chosen, which the champion reads."""

from __future__ import annotations

from churn_platform.records.provenance import digest_of
from churn_platform.records.refs import Refs
from churn_platform.records.store import ContentStore
from churn_platform.sources.contract import Contract
from churn_platform.training.selection_months import selection_months


def months_to_choose_on(refs: Refs, contract: Contract) -> tuple[str, ...]:
    """The months of the choice, as the labels are now."""
    labels = {month: refs.get("churn_labels", month) for month in refs.partitions("churn_labels")}
    return selection_months(labels, contract.label.horizon_days, contract.label.gap_days)


def months_input(months: tuple[str, ...]) -> dict[str, str]:
    """The months as an input from outside the graph: another step of the history makes candidates anew."""
    return {"months:candidate_features": digest_of(list(months))}


def champion_features(refs: Refs, store: ContentStore) -> tuple[str, ...]:
    """The features that the champion in force reads; none before the first."""
    champion = refs.find("champion")
    if champion is None or "challenger" not in champion:
        return ()
    spec = store.read_json(store.read_json(str(champion["challenger"]))["training"])
    return tuple(feature["name"] for feature in spec["features"])
