"""Bring the parts of a serving process into being; what fails stays missing, with its reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from churn_platform.errors import ChurnError
from churn_platform.records.home import Home
from churn_platform.serving.ports import Identities, Keys, Vectors
from churn_platform.serving.prediction_log import PredictionLog
from churn_platform.serving.runtime import Runtime
from churn_platform.serving.scorer import Scorer

Part = TypeVar("Part")

# Beside the package in a bento: what was put in, and the model's name and version in the registry.
BENTO_MANIFEST: Final = "bento-manifest.json"
# A pseudonym that the vault cannot hand out: reading it warms the store without meaning anybody.
NOBODY: Final = "-"


def complete(runtime: Runtime, package: Path, home: Home | None = None) -> None:
    """Open every part that is not there yet.

    Args:
        runtime: gets the parts, each as a whole, and the reasons of those that are missing.
        package: folder of the champion's package.
        home: by default the one that the settings name.

    Takes a second the first time; call it in a thread of its own. Raises nothing: a part that
    cannot be opened leaves its reason in ``runtime.missing``.
    """
    runtime.keys = runtime.keys or _try(runtime, "keys", lambda: _keys(home or Home.open()))
    runtime.identities = runtime.identities or _try(runtime, "identities", lambda: _identities(home or Home.open()))
    runtime.predictions = runtime.predictions or _try(runtime, "predictions", lambda: _log(home or Home.open()))
    runtime.scorer = runtime.scorer or _try(runtime, "scorer", lambda: _scorer(package))
    runtime.vectors = runtime.vectors or _try(runtime, "vectors", lambda: _vectors(home or Home.open()))


def _try(runtime: Runtime, part: str, make: Callable[[], Part]) -> Part | None:
    try:
        made = make()
    except Exception as error:  # the process stays alive and says that it is not ready
        runtime.missing[part] = str(error) if isinstance(error, ChurnError) else repr(error)[:500]
        return None
    runtime.missing.pop(part, None)
    return made


def _keys(home: Home) -> Keys:
    from churn_platform.identity.keys import ApiKeys

    return ApiKeys.open(home)


def _identities(home: Home) -> Identities:
    from churn_platform.records.vault import IdentityVault

    return IdentityVault.open(home)


def _log(home: Home) -> PredictionLog:
    return PredictionLog.open(home)


def _scorer(package: Path) -> Scorer:
    manifest = package.parent / BENTO_MANIFEST
    known: dict[str, object] = json.loads(manifest.read_bytes()) if manifest.is_file() else {}
    model = known.get("model")
    facts: dict[str, object] = model if isinstance(model, dict) else {}
    name, version = facts.get("name"), facts.get("version")
    return Scorer.load(package, name=str(name) if name else None, version=str(version) if version else None)


def _vectors(home: Home) -> Vectors:
    from churn_platform.features.online import OnlineReader

    reader = OnlineReader(home)
    reader.get([NOBODY])
    return reader
