"""Feast over the packed store: two online stores and a compute engine, named in feature_store.yaml by dotted path.

Feast finds ``<Class>Config`` beside each class. One text join key; numbers are Float64 (or whole numbers up to 2^53),
categories String. What the stock stores do not do: rows past their time to live come back as OUTSIDE_MAX_AGE, late
rows never overwrite newer ones, and all views of a read are of one materialization.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from feast.infra.common.materialization_job import MaterializationJob, MaterializationJobStatus, MaterializationTask
from feast.infra.compute_engines.base import ComputeEngine
from feast.infra.online_stores.online_store import OnlineStore
from feast.infra.supported_async_methods import SupportedAsyncMethods
from feast.repo_config import FeastConfigBaseModel
from feast.types import Bool, Float32, Float64, Int32, Int64, String
from pydantic import SecretStr

from churn_platform import clock
from churn_platform.errors import FeatureError
from churn_platform.features.feast_response import PackedResponse, ViewColumns, value_proto
from churn_platform.features.packed.layout import Column, Layout, Value, ViewSpec, from_micros, micros, unpack
from churn_platform.features.packed.opening import lmdb_store, redis_store
from churn_platform.features.packed.store import PackedStore, Row

if TYPE_CHECKING:
    import pyarrow as pa

_NUMBERS = (Float64, Float32, Int64, Int32, Bool)
_MICROSECOND = timedelta(microseconds=1)


class PackedLmdbOnlineStoreConfig(FeastConfigBaseModel):
    """``path``: the folder of the LMDB environment."""

    type: Literal["churn_platform.features.feast_packed.PackedLmdbOnlineStore"] = (
        "churn_platform.features.feast_packed.PackedLmdbOnlineStore"
    )
    path: str


class PackedRedisOnlineStoreConfig(FeastConfigBaseModel):
    """Address and namespace; by default those of ``CHURN_REDIS_URL`` and ``CHURN_PROBLEM``."""

    type: Literal["churn_platform.features.feast_packed.PackedRedisOnlineStore"] = (
        "churn_platform.features.feast_packed.PackedRedisOnlineStore"
    )
    url: SecretStr | None = None
    namespace: str | None = None


class PackedComputeEngineConfig(FeastConfigBaseModel):
    """Nothing to configure."""

    type: Literal["churn_platform.features.feast_packed.PackedComputeEngine"] = (
        "churn_platform.features.feast_packed.PackedComputeEngine"
    )


class _PackedOnlineStore(OnlineStore):
    """What both stores share; they differ in where the records lie."""

    def packed(self, config: Any) -> PackedStore:
        """The packed store that a configuration names."""
        raise NotImplementedError

    @property
    def async_supported(self) -> SupportedAsyncMethods:
        return SupportedAsyncMethods(read=True, write=True)

    def update(
        self,
        config: Any,
        tables_to_delete: Sequence[Any],
        tables_to_keep: Sequence[Any],
        entities_to_delete: Sequence[Any],
        entities_to_keep: Sequence[Any],
        partial: bool,
    ) -> None:
        """Declare the views of ``feast apply``; FeatureError for a type or an entity that cannot be packed."""
        specs = {view.name: spec_of(view) for view in tables_to_keep}
        gone = [view.name for view in tables_to_delete if view.name not in specs]
        self.packed(config).declare(specs, gone)

    def teardown(self, config: Any, tables: Sequence[Any], entities: Sequence[Any]) -> None:
        """Remove everything."""
        self.packed(config).clear()

    def online_write_batch(
        self, config: Any, table: Any, data: Sequence[Any], progress: Callable[[int], Any] | None
    ) -> None:
        """Write rows, except where the store has a newer one. All features of the view are in each row."""
        spec = spec_of(table)
        rows = [_row(spec.layout, *one) for one in data]
        self.packed(config).push(table.name, spec.layout, rows)
        if progress:
            progress(len(rows))

    async def online_write_batch_async(
        self, config: Any, table: Any, data: Sequence[Any], progress: Callable[[int], Any] | None
    ) -> None:
        """The same in a thread."""
        await asyncio.to_thread(self.online_write_batch, config, table, data, progress)

    def online_read(
        self, config: Any, table: Any, entity_keys: Sequence[Any], requested_features: Sequence[str] | None = None
    ) -> list[tuple[datetime | None, dict[str, Any] | None]]:
        """Time and values (protocol buffers) of each entity; ``(None, None)`` where there is none or it is stale."""
        customers = [key.entity_values[0].string_val for key in entity_keys]
        reading = self.packed(config).read(customers, [table.name])
        (view,) = reading.views
        oldest = _oldest(view.ttl)
        answers: list[tuple[datetime | None, dict[str, Any] | None]] = []
        for record in reading.records[0]:
            if record is None:
                answers.append((None, None))
                continue
            dictionary = reading.dictionaries.get(view.layout.digest, {})
            event, _, values = unpack(view.layout, record, dictionary)
            if event < oldest or (view.observed is not None and event < view.observed):
                answers.append((None, None))
                continue
            wanted = set(requested_features or view.layout.names)
            answers.append(
                (
                    from_micros(event),
                    {
                        name: value_proto(value)
                        for name, value in zip(view.layout.names, values, strict=True)
                        if name in wanted
                    },
                )
            )
        return answers

    async def online_read_async(
        self, config: Any, table: Any, entity_keys: Sequence[Any], requested_features: Sequence[str] | None = None
    ) -> list[tuple[datetime | None, dict[str, Any] | None]]:
        """The same in a thread."""
        return await asyncio.to_thread(self.online_read, config, table, entity_keys, requested_features)

    def get_online_features(
        self,
        config: Any,
        features: Any,
        entity_rows: Any,
        registry: Any,
        project: str,
        full_feature_names: bool = False,
        include_feature_view_version_metadata: bool = False,
    ) -> Any:
        """All views of a request in one read; the protocol buffers are only built where somebody asks for them."""
        from feast import utils

        context = utils._get_cached_request_context(registry, project, features, full_feature_names)
        on_demand, grouped, entityless = context[1], context[5], context[8]
        customers = _customers(entity_rows, context[4])
        if on_demand or entityless or customers is None or include_feature_view_version_metadata:
            return super().get_online_features(
                config,
                features,
                entity_rows,
                registry,
                project,
                full_feature_names,
                include_feature_view_version_metadata,
            )
        key, ids = customers
        reading = self.packed(config).read(ids, [table.name for table, _ in grouped])
        columns = [
            ViewColumns.read(
                view,
                records,
                reading.dictionaries.get(view.layout.digest, {}),
                [
                    (f"{table.projection.name_to_use()}__{name}" if full_feature_names else name, name)
                    for name in requested
                ],
                oldest=_oldest(view.ttl),
            )
            for view, records, (table, requested) in zip(reading.views, reading.records, grouped, strict=True)
        ]
        return PackedResponse(key, ids, columns)

    async def get_online_features_async(self, *args: Any, **options: Any) -> Any:
        """The same in a thread."""
        return await asyncio.to_thread(self.get_online_features, *args, **options)


class PackedLmdbOnlineStore(_PackedOnlineStore):
    """The packed store in an LMDB environment."""

    def packed(self, config: Any) -> PackedStore:
        """The store in the folder that the configuration names."""
        return lmdb_store(Path(config.online_store.path))


class PackedRedisOnlineStore(_PackedOnlineStore):
    """The packed store on a Redis server."""

    def packed(self, config: Any) -> PackedStore:
        """The store at the configured address."""
        url = config.online_store.url
        return redis_store(url.get_secret_value() if url else None, config.online_store.namespace)


class PackedJob(MaterializationJob):
    """A job that is over when it is returned."""

    def __init__(self, task: MaterializationTask, problem: Exception | None = None) -> None:
        self.task, self._problem = task, problem

    def status(self) -> MaterializationJobStatus:
        return MaterializationJobStatus.ERROR if self._problem else MaterializationJobStatus.SUCCEEDED

    def error(self) -> BaseException | None:
        return self._problem

    def should_be_retried(self) -> bool:
        return False

    def job_id(self) -> str:
        return f"{self.task.feature_view.name}-{self.task.start_time}-{self.task.end_time}"

    def url(self) -> str | None:
        return None


class PackedComputeEngine(ComputeEngine):
    """Materializes all views of a call as one generation of the packed store, over Arrow, without pandas.

    Views that share a source are read from it once. History is Feast's own (the offline store's).
    """

    def update(self, *_: Any, **__: Any) -> None:
        """Nothing to prepare."""

    def teardown_infra(self, *_: Any, **__: Any) -> None:
        """Nothing to remove."""

    @property
    def supports_batch(self) -> bool:
        return True

    def materialize(self, registry: Any, tasks: Any, **_: Any) -> list[MaterializationJob]:
        """All tasks or none: a job for each, all with the same error where one failed."""
        tasks = [tasks] if isinstance(tasks, MaterializationTask) else list(tasks)
        if not isinstance(self.online_store, _PackedOnlineStore):
            raise FeatureError(
                "The packed compute engine writes to the packed online stores only.",
                mend="Set online_store.type to one of churn_platform.features.feast_packed.",
            )
        specs = {task.feature_view.name: spec_of(task.feature_view) for task in tasks}
        building = self.online_store.packed(self.repo_config).begin(specs)
        try:
            for task, table in self._tables(registry, tasks):
                source = task.feature_view.batch_source
                building.load(
                    task.feature_view.name,
                    table,
                    key=task.feature_view.entity_columns[0].name,
                    event=source.timestamp_field,
                    created=source.created_timestamp_column or None,
                )
            building.commit()
        except Exception as error:
            building.abort()
            return [PackedJob(task, error) for task in tasks]
        except BaseException:
            building.abort()
            raise
        return [PackedJob(task) for task in tasks]

    def _tables(
        self, registry: Any, tasks: Sequence[MaterializationTask]
    ) -> list[tuple[MaterializationTask, pa.Table]]:
        """Each task with the newest rows of its source, one read for each source and span of time."""
        groups: dict[tuple[Any, ...], list[MaterializationTask]] = {}
        for task in tasks:
            view = task.feature_view
            key = (view.batch_source.name, view.entity_columns[0].name, task.start_time, task.end_time)
            groups.setdefault(key, []).append(task)
        found: list[tuple[MaterializationTask, pa.Table]] = []
        for (_, join_key, start, end), members in groups.items():
            source = members[0].feature_view.batch_source
            names = dict.fromkeys(field.name for task in members for field in task.feature_view.features)
            if source.field_mapping:
                raise FeatureError(
                    f"The source {source.name} renames columns, which the packed engine does not.",
                    mend="Let the source have the features' names.",
                )
            if members[0].disable_event_timestamp:
                start, end = datetime(1970, 1, 1, tzinfo=UTC), clock.now()
            job = self.offline_store.pull_latest_from_table_or_query(
                config=self.repo_config,
                data_source=source,
                join_key_columns=[join_key],
                feature_name_columns=list(names),
                timestamp_field=source.timestamp_field,
                created_timestamp_column=source.created_timestamp_column or None,
                start_date=start,
                end_date=end,
            )
            table = job.to_arrow()
            found += [(task, table) for task in members]
        return found


def spec_of(view: Any) -> ViewSpec:
    """The packed form of a Feast feature view.

    Raises:
        FeatureError: a feature of another type than number or text, or an entity that is not one text key.
    """
    entities = tuple((field.name, field.dtype) for field in view.entity_columns)
    return _spec(view.name, entities, tuple((field.name, field.dtype) for field in view.features), view.ttl)


@lru_cache(maxsize=256)
def _spec(
    name: str, entities: tuple[tuple[str, Any], ...], fields: tuple[tuple[str, Any], ...], ttl: timedelta | None
) -> ViewSpec:
    if len(entities) != 1 or entities[0][1] != String:
        raise FeatureError(
            f"The view {name} has the keys {', '.join(key for key, _ in entities) or 'none'}; the packed store takes "
            "one key of text.",
            mend="Give the view one entity whose value type is STRING.",
            field=name,
        )
    columns = []
    for field, kind in fields:
        if kind != String and kind not in _NUMBERS:
            raise FeatureError(
                f"{field} of the view {name} is {kind}; the packed store takes numbers and text.",
                mend="Make it Float64 or String.",
                field=field,
            )
        columns.append(Column(field, "category" if kind == String else "number"))
    return ViewSpec(Layout(tuple(columns)), ttl)


def _row(layout: Layout, key: Any, values: Mapping[str, Any], event: datetime, created: datetime | None) -> Row:
    """One of Feast's rows as one of ours."""
    missing = [name for name in layout.names if name not in values]
    if missing:
        raise FeatureError(
            f"A row lacks {missing[0]}: a view is written as a whole.",
            mend="Send every feature of the view; null is a value.",
            field=missing[0],
        )
    plain: list[Value] = []
    for column in layout.columns:
        which = values[column.name].WhichOneof("val")
        value = getattr(values[column.name], which) if which else None
        text = isinstance(value, str)
        if value is not None and text != (column.kind == "category"):
            raise FeatureError(
                f"{column.name} is a {column.kind}, not {value!r:.40}.",
                mend="Send a number for a number and text for a category.",
                field=column.name,
            )
        plain.append(value if text or value is None or math.isnan(value) else float(value))
    stamp = micros(event)
    return key.entity_values[0].string_val, stamp, micros(created) if created else stamp, plain


def _oldest(ttl: timedelta) -> int:
    """The oldest event time (µs) that still counts now."""
    return micros(clock.now()) - ttl // _MICROSECOND if ttl else -(2**63)


def _customers(entity_rows: Any, join_keys: Any) -> tuple[str, list[str]] | None:
    """The join key and the customers of a request; None where it is not one key with plain texts."""
    if isinstance(entity_rows, Mapping):
        if len(entity_rows) != 1:
            return None
        ((name, ids),) = entity_rows.items()
        ids = list(ids) if isinstance(ids, list | tuple) else None
    else:
        name = next(iter(entity_rows[0]), None) if entity_rows else None
        if name is None or any(len(row) != 1 or name not in row for row in entity_rows):
            return None
        ids = [row[name] for row in entity_rows]
    if name not in join_keys or ids is None or not ids:
        return None
    if any(type(one) is not str for one in ids):
        if any(isinstance(one, int | float) for one in ids):
            raise FeatureError(
                f"{name} is text; {next(one for one in ids if type(one) is not str)!r} is not.",
                mend="Send the pseudonym as a string.",
                field=str(name),
            )
        return None
    return str(name), ids
