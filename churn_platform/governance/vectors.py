"""The digest of a customer's row in a feature table, computed as the service computes that of a vector."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from churn_platform.champion.package import exported, load_package
from churn_platform.serving.prediction_log import vector_digest

if TYPE_CHECKING:
    from churn_platform.champion.model import ChampionModel
    from churn_platform.records.history import History, Made
    from churn_platform.records.store import ContentStore


def digest_in_table(made: Made, pseudonym: str, model: str, history: History, store: ContentStore) -> str | None:
    """The digest; None where the table has no such row, or the table or the model is not there any more."""
    import pyarrow.parquet as pq

    package = next((str(one.record["package"]) for one in history.of("champion") if one.record["model"] == model), None)
    if package is None or not (store.has(made.digest) and store.has(package)):
        return None
    rows = pq.read_table(store.path(made.digest), filters=[("customer_id", "=", pseudonym)]).to_pylist()
    return vector_digest(_model(store, package, model), rows[0]) if rows else None


@lru_cache(maxsize=4)
def _model(store: ContentStore, package: str, digest: str) -> ChampionModel:
    with exported(store, package) as folder:
        return load_package(folder, digest=digest)
