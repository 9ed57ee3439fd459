"""The model registry: MLflow on SQLite under CHURN_HOME, or on PostgreSQL, with one run for each training and an
alias for the champion.

Models are logged as the plain files of their package, never as an MLflow flavour: nothing here writes or
reads a pickle. The client talks to the database itself; no MLflow server is needed to read or write, only to
look at it (``eval "$(churn env)"; mlflow ui --backend-store-uri "$MLFLOW_TRACKING_URI"``).
"""

from __future__ import annotations

import logging
import math
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from churn_platform import clock
from churn_platform.champion.package import package_digest
from churn_platform.errors import ChampionError
from churn_platform.records.database import configured, prepare, url_of
from churn_platform.records.files import remove, sync_file, temporary_name

if TYPE_CHECKING:
    from churn_platform.records.home import Home

ALIAS = "champion"
KEY_TAG, DIGEST_TAG = "churn.training_key", "churn.package_digest"
PACKAGE_ARTIFACTS = "package"
_BATCH = 90  # MLflow takes 100 params or tags at a time
_LONGEST = 500


@dataclass(frozen=True)
class RegisteredModel:
    """One version in the registry.

    Attributes:
        name: of the registered model: the problem's.
        version: counted by the registry from "1".
        digest: of the package.
        run_id: of the training's MLflow run.
        tags: all tags of the version.
    """

    name: str
    version: str
    digest: str
    run_id: str
    tags: Mapping[str, str]


class ModelRegistry:
    """Runs and versions of one problem.

    Args:
        home: ``home.mlflow`` gets the database and the artifacts.
        problem: name of the experiment and of the registered model.
    """

    def __init__(self, home: Home, problem: str) -> None:
        self._home, self._folder, self.name = home, home.mlflow, problem

    @property
    def uri(self) -> str:
        """What MLflow's own tools take as backend store."""
        return url_of("mlflow", self._home)

    def log_training(
        self,
        key: str,
        *,
        params: Mapping[str, Any],
        metrics: Mapping[str, Any],
        tags: Mapping[str, Any],
        package: Path | None = None,
    ) -> str:
        """Record a training as one run; the run's id.

        The run of this key is found again by its tag: a retry, or metrics that come later, continue it.

        Args:
            key: what makes the training this one, such as the package's digest.
            params: nested mappings are flattened with dots; long values are cut.
            metrics: nested mappings likewise; what is no finite number is left out.
            tags: such as ``dagster.run_id``, ``asset_key``, ``code_version``, ``run_url``.
            package: the package's folder, whose files become artifacts.

        Raises:
            ChampionError: where a param of the run has another value: it was another training.
            PackageError: the package does not match its manifest.
        """
        from mlflow.entities import Metric, Param, RunTag
        from mlflow.exceptions import MlflowException

        texts = {KEY_TAG: key, **{name: str(value) for name, value in tags.items()}}
        if package is not None:
            texts[DIGEST_TAG] = package_digest(package)
        run_id = self.find_run(key) or self._client.create_run(self._experiment, tags={KEY_TAG: key}).info.run_id
        moment = int(clock.wall().timestamp() * 1000)
        numbers = [
            Metric(name, float(value), moment, 0)
            for name, value in _flat(metrics)
            if isinstance(value, int | float) and math.isfinite(value)
        ]
        settings = [Param(name, str(value)[:_LONGEST]) for name, value in _flat(params)]
        labels = [RunTag(name, value[:_LONGEST]) for name, value in texts.items()]
        try:
            for start in range(0, max(len(settings), len(labels), len(numbers)), _BATCH):
                part = slice(start, start + _BATCH)
                self._client.log_batch(run_id, metrics=numbers[part], params=settings[part], tags=labels[part])
        except MlflowException as error:
            raise ChampionError(
                f"The training {key[:12]} is recorded with other parameters: {str(error).splitlines()[0]}.",
                mend="Give another training another key.",
            ) from error
        if package is not None:
            self._client.log_artifacts(run_id, str(package), PACKAGE_ARTIFACTS)
        self._client.set_terminated(run_id)
        return str(run_id)

    def find_run(self, key: str) -> str | None:
        """The run of a training, or None."""
        found = self._client.search_runs(
            [self._experiment], filter_string=f"tags.`{KEY_TAG}` = '{_quoted(key)}'", max_results=1
        )
        return str(found[0].info.run_id) if found else None

    def register(self, run_id: str, digest: str, tags: Mapping[str, Any] | None = None) -> RegisteredModel:
        """Make the package of a run a version of the registered model. The same digest is the same version.

        Args:
            digest: of the package that the run holds.
            tags: of the version, such as digests of data and evaluation.

        Raises:
            ChampionError: where the run holds no package, or another one.
        """
        run = self._client.get_run(run_id)
        held = run.data.tags.get(DIGEST_TAG)
        if held != digest:
            raise ChampionError(
                f"The run {run_id} holds the package {held}, not {digest}.",
                mend="Log the package with log_training first.",
            )
        texts = {DIGEST_TAG: digest, **{name: str(value)[:_LONGEST] for name, value in (tags or {}).items()}}
        if (known := self.find_version(digest)) is not None:
            for name, value in texts.items():
                self._client.set_model_version_tag(self.name, known.version, name, value)
            return self._version(self._client.get_model_version(self.name, known.version))
        self._ensure_model()
        made = self._client.create_model_version(
            self.name, source=f"{run.info.artifact_uri}/{PACKAGE_ARTIFACTS}", run_id=run_id, tags=texts
        )
        return self._version(made)

    def run_path(self, run_id: str) -> str:
        """The page of a run in the MLflow UI, relative to its address."""
        return f"#/experiments/{self._experiment}/runs/{run_id}"

    def version_path(self, version: str) -> str:
        """The page of a version in the MLflow UI, relative to its address."""
        return f"#/models/{self.name}/versions/{version}"

    def find_version(self, digest: str) -> RegisteredModel | None:
        """The version of a package, or None."""
        found = self._client.search_model_versions(
            f"name = '{_quoted(self.name)}' AND tags.`{DIGEST_TAG}` = '{_quoted(digest)}'"
        )
        return self._version(found[0]) if found else None

    def set_champion(self, version: str) -> None:
        """Point the alias "champion" at a version."""
        self._client.set_registered_model_alias(self.name, ALIAS, version)

    def current_champion(self) -> RegisteredModel | None:
        """The version that the alias points at, or None."""
        from mlflow.exceptions import MlflowException

        try:
            return self._version(self._client.get_model_version_by_alias(self.name, ALIAS))
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise

    @cached_property
    def _client(self) -> Any:
        if configured() is None:
            _prepare_database(self._folder)
        else:
            prepare()
        from mlflow import MlflowClient

        _store_class()  # before the client's first call imports it aloud
        with _quiet("mlflow.store.db.utils", "alembic"):  # a new PostgreSQL schema gets its tables here
            client = MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)
            client.search_experiments(max_results=1)
        return client

    @cached_property
    def _experiment(self) -> str:
        from mlflow.exceptions import MlflowException

        found = self._client.get_experiment_by_name(self.name)
        if found is not None:
            return str(found.experiment_id)
        try:
            return str(self._client.create_experiment(self.name, str(self._folder / "artifacts")))
        except MlflowException:  # another process was first
            return str(self._client.get_experiment_by_name(self.name).experiment_id)

    def _ensure_model(self) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self._client.create_registered_model(self.name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def _version(self, made: Any) -> RegisteredModel:
        tags = dict(made.tags)
        return RegisteredModel(self.name, str(made.version), tags.get(DIGEST_TAG, ""), made.run_id, tags)


def _store_class() -> Any:
    """MLflow's SQL store. Its mappers, set up by this import, warn of a loader that SQLAlchemy 2.1 retires."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The ``noload`` loader strategy")
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
    return SqlAlchemyStore


def _prepare_database(folder: Path) -> None:
    """Make MLflow's database where there is none: under another name, without a sync for each of its
    migrations.

    MLflow builds its tables by some seventy migrations, each of which waits for the disk: 2 to 11 s. Without
    the waiting it is about 2 s, and since the file gets its name only when it is whole, nothing is risked.
    """
    database = folder / "mlflow.db"
    if database.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    prepared = temporary_name(folder)
    try:
        with _unsynced(), _quiet("mlflow.store.db.utils", "alembic"):
            store = _store_class()(f"sqlite:///{prepared}", str(folder / "artifacts"))
            store.engine.dispose()
        sync_file(prepared)
        # Where another process was first, and may have written already, its file stays.
        with suppress(FileExistsError):
            os.link(prepared, database)
    finally:
        remove(prepared)


@contextmanager
def _unsynced() -> Iterator[None]:
    """SQLite connections opened inside do not wait for the disk."""
    from sqlalchemy import Engine, event

    def relax(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA journal_mode = MEMORY")

    event.listen(Engine, "connect", relax)
    try:
        yield
    finally:
        event.remove(Engine, "connect", relax)


@contextmanager
def _quiet(*names: str) -> Iterator[None]:
    """Without the chatter of these loggers."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.WARNING)
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _quoted(text: str) -> str:
    if "'" in text:
        raise ChampionError(f"{text!r} holds a quote.", mend="Use keys and names without quotes.")
    return text
