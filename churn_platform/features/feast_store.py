"""Feast for a home: SQL registry, packed online store, history over monthly Parquet files."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from churn_platform.errors import FeatureError
from churn_platform.features import feast_postgres
from churn_platform.features.catalogue import Feature
from churn_platform.features.feast_objects import (
    JOIN_KEY,
    PROJECT,
    FeastObjects,
    current_catalogue,
    feast_objects,
    model_services,
    offline_folder,
    remember_model_service,
    service_name,
)
from churn_platform.features.observation import instant
from churn_platform.features.packed.opening import lmdb_path
from churn_platform.features.packed.store import leaving_out
from churn_platform.records.database import url_of
from churn_platform.settings import settings

if TYPE_CHECKING:
    import pandas as pd

    from churn_platform.records.home import Home
    from churn_platform.records.store import ContentStore

KEY_SERIALIZATION = 3
PACKED = "churn_platform.features.feast_packed"


def repo_config(home: Home) -> dict[str, Any]:
    """The configuration of Feast for a home; ``feature_repo/feature_store.yaml`` says the same."""
    return {
        "project": PROJECT,
        "provider": "local",
        "registry": {"registry_type": "sql", "path": url_of("feast", home), "cache_ttl_seconds": 60},
        "offline_store": feast_postgres.offline_config() if _in_postgres() else {"type": "duckdb"},
        "online_store": _online(home),
        "batch_engine": {"type": f"{PACKED}.PackedComputeEngine"},
        "entity_key_serialization_version": KEY_SERIALIZATION,
    }


def _in_postgres() -> bool:
    return settings().offline_store == "postgres"


def _online(home: Home) -> dict[str, Any]:
    if settings().online_store == "redis":  # address and namespace come from the settings, not from a file
        return {"type": f"{PACKED}.PackedRedisOnlineStore"}
    return {"type": f"{PACKED}.PackedLmdbOnlineStore", "path": str(lmdb_path(home))}


def open_feast(home: Home) -> Any:
    """Feast's ``FeatureStore`` of a home."""
    import feast

    return feast.FeatureStore(config=feast.RepoConfig(repo_path=home.feast, **repo_config(home)))


def sync_offline(home: Home, digests: Mapping[str, str], *, store: ContentStore) -> Path:
    """Make the offline store hold exactly these months: the folder, each file whole at every moment, and, where the
    settings say so, the table in PostgreSQL.

    Args:
        digests: observation → digest of its feature table. All must have the same columns.

    Returns:
        The folder. Files are hard links into the store (copies where the file system has none).

    Raises:
        FeatureError: where the months have different columns.
    """
    import pyarrow.parquet as pq

    columns = {key: pq.read_schema(store.path(digest)).names for key, digest in digests.items()}
    for key, names in columns.items():
        if names != columns[max(columns)]:
            raise FeatureError(
                f"The features of {key} have other columns than those of {max(columns)}.",
                mend="Materialize customer_features for all months with the current catalogue.",
                field=key,
            )
    folder = offline_folder(home)
    folder.mkdir(parents=True, exist_ok=True)
    for key, digest in digests.items():
        _link(store.path(digest), folder / f"{key}.parquet")
    for file in folder.glob("*.parquet"):
        if file.stem not in digests:
            file.unlink(missing_ok=True)
    if _in_postgres():
        feast_postgres.sync(digests, store=store)
    return folder


def apply(home: Home, features: Sequence[Feature], *, problem: str | None = None) -> FeastObjects:
    """Register a catalogue with Feast; views of families that are no longer there are removed.

    Raises:
        FeatureError: for an empty catalogue.
    """
    if not features:
        raise FeatureError("There are no features to register.", mend="Materialize customer_features first.")
    name = problem or settings().problem
    folder, offline = offline_folder(home), settings().offline_store
    objects = feast_objects(features, folder, name, model_services(home), offline)
    feast = open_feast(home)
    views = {view.name for view in objects.views}
    services = {one.name for one in objects.services}
    gone = [view for view in feast.list_feature_views() if view.name not in views]
    gone += [one for one in feast.list_feature_services() if one.name not in services]
    with _quiet():
        feast.apply(objects.all(), objects_to_delete=gone, partial=False)
    return objects


def register_model(home: Home, version: str, features: Sequence[str], *, problem: str | None = None) -> str:
    """Make a feature service of what one model version reads.

    Takes effect in Feast at once where the views are registered, else with the next :func:`apply`.

    Returns:
        The service's name.
    """
    name = problem or settings().problem
    remember_model_service(home, version, features)
    catalogue = current_catalogue(home)
    if catalogue:
        feast = open_feast(home)
        folder, offline = offline_folder(home), settings().offline_store
        objects = feast_objects(catalogue, folder, name, model_services(home), offline)
        registered = {view.name for view in feast.list_feature_views()}
        wanted = [one for one in objects.services if one.name == service_name(name, version)]
        if wanted and {one.name for one in wanted[0].feature_view_projections} <= registered:
            with _quiet():
                feast.apply(wanted)
    return service_name(name, version)


def materialize(home: Home, observation: str, *, but: Collection[str] = ()) -> int:
    """Bring one observation date, the newest, into the online store, through Feast.

    All views go online at one moment. Customers who are not in the table are taken off (``not_current``), unless a
    newer row of theirs was pushed.

    Args:
        but: customers who are known to have left since: no vector of them is served (``not_current``).

    Returns:
        Number of customers that went online.

    Raises:
        FeatureError: its file is not in the offline folder, or a newer one is (older values would overwrite
            newer).
    """
    import pyarrow.parquet as pq

    files = {file.stem: file for file in offline_folder(home).glob("*.parquet")}
    if observation not in files:
        raise FeatureError(
            f"The features of {observation} are not in Feast's offline store.",
            mend="Run sync_offline for it first.",
            field="observation",
        )
    if observation != max(files):
        raise FeatureError(
            f"{observation} is not the newest observation date; {max(files)} is.",
            mend="Materialize the newest: the online store holds one row for each customer.",
            field="observation",
        )
    moment = instant(observation).replace(tzinfo=UTC)
    present = pq.read_table(files[observation], columns=[JOIN_KEY])[JOIN_KEY].to_pylist()
    gone = frozenset(but) & frozenset(present)
    with _quiet(), leaving_out(gone):
        open_feast(home).materialize(start_date=moment - timedelta(seconds=1), end_date=moment)
    return len(present) - len(gone)


def historical(home: Home, entity_rows: Sequence[Mapping[str, Any]], *, problem: str | None = None) -> pd.DataFrame:
    """The features as of given instants, through Feast's point-in-time join.

    Args:
        entity_rows: each with ``customer_id`` and ``event_timestamp`` (naive UTC datetime).

    Returns:
        One row for each given row, in its order: customer_id, event_timestamp (aware UTC), features; missing
            where
        there was no row within the time to live.

    Raises:
        FeatureError: where Feast gives another number of rows.
    """
    import pandas as pd

    asked = pd.DataFrame(list(entity_rows), columns=[JOIN_KEY, "event_timestamp"])
    asked["event_timestamp"] = pd.to_datetime(asked["event_timestamp"], utc=True)
    feast = open_feast(home)
    service = feast.get_feature_service(service_name(problem or settings().problem))
    with _quiet():
        found = feast.get_historical_features(entity_df=asked.drop_duplicates(), features=service).to_df()
    found["event_timestamp"] = pd.to_datetime(found["event_timestamp"], utc=True)
    answer = asked.merge(found, on=[JOIN_KEY, "event_timestamp"], how="left", validate="many_to_one")
    if len(found) != len(asked.drop_duplicates()):
        raise FeatureError(
            f"Feast gave {len(found)} rows for {len(asked.drop_duplicates())}.",
            mend="Its offline store must be duckdb or postgres: others drop rows silently.",
        )
    return answer


def _link(source: Path, target: Path) -> None:
    """Put a hard link (or a copy) in place with one rename."""
    if target.exists() and target.samefile(source):
        return
    temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
    temporary.unlink(missing_ok=True)
    try:
        os.link(source, temporary)
    except OSError:
        shutil.copyfile(source, temporary)
    temporary.replace(target)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Feast prints progress to stdout, which belongs to the answers of our commands."""
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(),
    ):
        # Ibis calls DuckDB by an older name
        warnings.filterwarnings("ignore", "fetch_arrow_table", DeprecationWarning)
        yield
