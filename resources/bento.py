"""Building and serving bentos, as a resource and for the commands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg

from churn_platform.records.home import Home
from churn_platform.records.store import ContentStore
from churn_platform.settings import settings

if TYPE_CHECKING:
    from bentos.churn_service.build import BuiltBento


class BentoResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Builds the champion's bento."""

    def build(self, home: Home, objects: ContentStore, champion: Mapping[str, Any]) -> tuple[BuiltBento, str]:
        """Build from the champion's reference; returns the bento and the digest of the model inside it."""
        from bentos.churn_service.build import build_bento
        from churn_platform.champion.package import exported, load_package

        with exported(objects, champion["package"]) as package:
            built = build_bento(package, {k: champion[k] for k in ("name", "version", "model", "tier")}, home=home)
        inside = load_package(built.path / "src" / "champion", digest=champion["model"])
        return built, inside.version_digest


def bento_exists(home: Home, tag: str) -> bool:
    """Whether a bento is in the home's store."""
    name, _, version = tag.partition(":")
    return (home.bentoml / "bentos" / name / version / "bento.yaml").is_file()


def service_command(home: Home, tag: str, port: int) -> tuple[list[str], dict[str, str]]:
    """The command and environment that serve a bento on a loopback port."""
    from bentos.churn_service.serve import serve_command

    return serve_command(home, tag, port, workers=settings().service_workers)
