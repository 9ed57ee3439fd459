"""Feast in the embedded profile: registry and online store in SQLite, history over monthly Parquet files."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import sqlite3
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from churn_platform.errors import FeatureError
from churn_platform.features.catalogue import Feature
from churn_platform.features.feast_objects import (
    JOIN_KEY,
    PROJECT,
    FeastObjects,
    feast_objects,
    offline_folder,
    service_name,
)
from churn_platform.features.observation import instant
from churn_platform.records.database import url_of
from churn_platform.settings import settings

if TYPE_CHECKING:
    import pandas as pd

    from churn_platform.records.home import Home
    from churn_platform.records.store import ContentStore

KEY_SERIALIZATION = 3


def repo_config(home: Home) -> dict[str, Any]:
    """The configuration of Feast for a home; ``feature_repo/feature_store.yaml`` says the same."""
    return {
        "project": PROJECT,
        "provider": "local",
        "registry": {
            "registry_type": "sql",
            "path": url_of("feast", home),
            "cache_ttl_seconds": 60,
        },
        "offline_store": {"type": "duckdb"},
        "online_store": {"type": "sqlite", "path": str(home.feast / "online.db")},
        "entity_key_serialization_version": KEY_SERIALIZATION,
    }


def open_feast(home: Home) -> Any:
    """Feast's ``FeatureStore`` of a home."""
    import feast

    return feast.FeatureStore(config=feast.RepoConfig(repo_path=home.feast, **repo_config(home)))


def sync_offline(home: Home, digests: Mapping[str, str], *, store: ContentStore) -> Path:
    """Make the offline folder hold exactly these months, each file whole at every moment.

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
    return folder


def apply(home: Home, features: Sequence[Feature], *, problem: str | None = None) -> FeastObjects:
    """Register a catalogue with Feast; views of families that are no longer there are removed.

    Raises:
        FeatureError: for an empty catalogue.
    """
    if not features:
        raise FeatureError("There are no features to register.", mend="Materialize customer_features first.")
    objects = feast_objects(features, offline_folder(home), problem or settings().problem)
    feast = open_feast(home)
    names = {view.name for view in objects.views}
    gone = [view for view in feast.list_feature_views() if view.name not in names]
    gone += [one for one in feast.list_feature_services() if one.name != objects.service.name]
    with _quiet():
        feast.apply(objects.all(), objects_to_delete=gone, partial=False)
    # Readers must not wait for a materialization (a rollback journal locked them for seconds).
    with contextlib.closing(sqlite3.connect(home.feast / "online.db")) as online:
        online.execute("PRAGMA journal_mode=WAL")
    return objects


def materialize(home: Home, observation: str, *, but: Collection[str] = ()) -> int:
    """Bring one observation date, the newest, into the online store, through Feast.

    Args:
        but: customers who are known to have left since: no vector of them is served as current.

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
    with _quiet():
        open_feast(home).materialize(start_date=moment - timedelta(seconds=1), end_date=moment)
    present = pq.read_table(files[observation], columns=[JOIN_KEY])[JOIN_KEY].to_pylist()
    gone = frozenset(but)
    return _forget_others(home, [customer for customer in present if customer not in gone])


def _forget_others(home: Home, customers: Sequence[str]) -> int:
    """Remove vectors of the newest instant whose customers are not in the table that has gone online.

    Feast only ever adds and overwrites: where the same date is delivered again without somebody, the vector of the
    first delivery would be served for ever. Vectors of earlier dates stay: readers answer that they are not current.

    Returns:
        Number of customers with a vector of the newest instant.
    """
    from feast.infra.key_encoding_utils import serialize_entity_key
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    from feast.protos.feast.types.Value_pb2 import Value

    keys = [
        (
            serialize_entity_key(
                EntityKey(join_keys=[JOIN_KEY], entity_values=[Value(string_val=customer)]), KEY_SERIALIZATION
            ),
        )
        for customer in customers
    ]
    left = 0
    with contextlib.closing(sqlite3.connect(home.feast / "online.db", timeout=30)) as online, online:
        online.execute("CREATE TEMP TABLE present (entity_key BLOB PRIMARY KEY)")
        online.executemany("INSERT OR IGNORE INTO present VALUES (?)", keys)
        tables = online.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            newest = f'event_ts = (SELECT max(event_ts) FROM "{table}")'
            online.execute(
                f'DELETE FROM "{table}" WHERE {newest} AND entity_key NOT IN (SELECT entity_key FROM present)'
            )
            (count,) = online.execute(f'SELECT count(DISTINCT entity_key) FROM "{table}" WHERE {newest}').fetchone()
            left = max(left, int(count))
    return left


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
            mend="Its offline store must be duckdb: others drop rows silently.",
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
