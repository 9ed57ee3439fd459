"""MLflow as a Dagster resource: one run for each training, found again by its model's digest; the registry's alias.

dagster-mlflow's own resource leaves ad-hoc runs open and knows no registry, so the domain's registry is used instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg

from churn_platform.records.home import Home
from churn_platform.records.store import ContentStore
from churn_platform.settings import settings
from resources.lineage import cause_of

if TYPE_CHECKING:
    from churn_platform.champion.registry import ModelRegistry, RegisteredModel
    from churn_platform.monitoring.recalibrate import Recalibrated
    from churn_platform.training.challenger import Challenger


class MlflowResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Records trainings and promotions in the registry below CHURN_HOME."""

    def log_training(
        self, context: dg.AssetExecutionContext, home: Home, objects: ContentStore, made: Challenger
    ) -> str:
        """Record a training with its package; returns the id of its MLflow run."""
        from churn_platform.champion.package import exported

        with exported(objects, made.package) as package:
            return self._registry(home).log_training(
                made.digest,
                params=made.params,
                metrics={
                    "train_rows": made.split["train_rows"],
                    "train_churners": made.split["train_churners"],
                },
                tags={
                    **_tags(context),
                    "tier": made.tier,
                    "protocol": made.protocol,
                    "training_spec": made.training,
                },
                package=package,
            )

    def log_recalibration(
        self, context: dg.AssetExecutionContext, home: Home, objects: ContentStore, made: Recalibrated
    ) -> str:
        """Record a recalibrated champion with its package; returns the id of its MLflow run."""
        from churn_platform.champion.package import exported

        with exported(objects, made.package) as package:
            return self._registry(home).log_training(
                made.model,
                params={"recalibrated": made.base, "month": made.month, "shift": made.update.shift},
                metrics={"log_loss_before": made.update.loss_before, "log_loss_after": made.update.loss_after},
                tags=_tags(context),
                package=package,
            )

    def log_evaluation(self, home: Home, model: str, found: Mapping[str, Any]) -> str:
        """Add an evaluation's figures to the run of the model that was judged; where the MLflow UI shows that run."""
        figures = {name: value for name, value in found.items() if isinstance(value, int | float)}
        floors = {name: value for name, value in found["floors"].items() if value is not None}
        run = self._registry(home).log_training(model, params={}, metrics={**figures, "floor": floors}, tags={})
        return self.run_url(home, run)

    def run_url(self, home: Home, run_id: str) -> str:
        """Where the MLflow UI, if it runs, shows a run."""
        return f"{settings().mlflow_url.rstrip('/')}/{self._registry(home).run_path(run_id)}"

    def version_url(self, home: Home, version: str) -> str:
        """Where the MLflow UI, if it runs, shows a version of the registered model."""
        return f"{settings().mlflow_url.rstrip('/')}/{self._registry(home).version_path(version)}"

    def promote(
        self,
        context: dg.AssetExecutionContext,
        home: Home,
        challenger: Mapping[str, Any],
        digests: Mapping[str, str],
    ) -> RegisteredModel:
        """Register the challenger (the same model is the same version) and point the alias at it.

        Args:
            challenger: its reference: ``model`` and ``mlflow_run``.
            digests: what led to it (evaluation, gate, training set), as tags of the version.
        """
        registry = self._registry(home)
        version = registry.register(challenger["mlflow_run"], challenger["model"], {**_tags(context), **digests})
        registry.set_champion(version.version)
        return version

    def champion_version(self, home: Home) -> str | None:
        """The version that the alias points at now."""
        found = self._registry(home).current_champion()
        return found.version if found is not None else None

    def _registry(self, home: Home) -> ModelRegistry:
        from churn_platform.champion.registry import ModelRegistry

        return ModelRegistry(home, settings().problem)


def _tags(context: dg.AssetExecutionContext) -> dict[str, str]:
    """How an MLflow run or version names the Dagster run that made it, and why that was asked for."""
    return {
        **cause_of(context),
        "dagster.run_id": context.run.run_id,
        "dagster.asset_key": "/".join(context.asset_key.path),
        "dagster.run_url": f"/runs/{context.run.run_id}",
    }
