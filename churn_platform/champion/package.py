"""Reading a model package: every byte is verified before any of it is parsed. The writer is re-exported.

A package is what :mod:`churn_platform.training.packaging` describes: text files, no pickle, nothing executed.
"""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from churn_platform.champion.model import ChampionModel
from churn_platform.champion.native import NativeForest
from churn_platform.errors import ChurnError, PackageError, RecordError
from churn_platform.features.catalogue import catalogue_from_json
from churn_platform.training.calibration import Platt
from churn_platform.training.encode import FeatureEncoder
from churn_platform.training.linear import LinearMember
from churn_platform.training.packaging import (
    CALIBRATION,
    ENCODER,
    FEATURES,
    LINEAR,
    MANIFEST,
    METADATA,
    MODEL,
    OPTIONAL,
    REFERENCE,
    REQUIRED,
    Parts,
    write_package,
)

if TYPE_CHECKING:
    from churn_platform.records.store import ContentStore

TOLERANCE = 1e-9
_MEND = "Restore the package from the store by its digest, or train again."


def load_package(path: Path, *, digest: str | None = None) -> ChampionModel:
    """Load a package after verifying it.

    Args:
        path: the package's folder.
        digest: the digest that is expected, where it is known from elsewhere (a registry, a pointer).

    Raises:
        PackageError: a file is missing, extra, altered or of another form; ``field`` names it. Also where the
            model does not give its reference margins, or its contributions do not add up to them, within
            1e-9.
    """
    found, contents = _verified(path)
    if digest is not None and found != digest:
        raise PackageError(
            f"{MANIFEST}: the package has the digest {found}, and {digest} was expected.",
            mend=_MEND,
            field=MANIFEST,
        )
    try:
        model, reference = _parse(found, contents)
        _self_test(model, reference)
    except PackageError:
        raise
    except (ChurnError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise PackageError(
            f"The package {found[:12]} has its digests, but not the form that this release reads: "
            f"{type(error).__name__}: {error}.",
            mend="Load it with the release that wrote it, or train again.",
        ) from error
    return model


def package_digest(path: Path) -> str:
    """The digest of a package whose files all match its manifest (see :func:`load_package` for errors)."""
    return _verified(path)[0]


@contextmanager
def exported(store: ContentStore, package: str) -> Iterator[Path]:
    """The folder of a package of the store, for the block: hard links where the file system has them.

    Args:
        package: tree digest.
    """
    with store.temporary() as folder:
        store.export_tree(package, folder)
        yield folder


def verify_package(store: ContentStore, package: str) -> bool:
    """Whether the package under a tree digest of the store loads here: digests, form, and its self-test."""
    try:
        with exported(store, package) as folder:
            load_package(folder)
    except (PackageError, RecordError):
        return False
    return True


def _verified(path: Path) -> tuple[str, dict[str, bytes]]:
    """Read every file once, compare with the manifest, and hand out those very bytes."""
    data = _read(path, MANIFEST)
    try:
        manifest = json.loads(data)
        stated = {name: (entry["sha256"], entry["bytes"]) for name, entry in manifest["files"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PackageError(f"{MANIFEST} is not a package's manifest.", mend=_MEND, field=MANIFEST) from error
    if manifest.get("schema") != "model_package/1":
        raise PackageError(
            f"{MANIFEST}: the form {manifest.get('schema')!r} is not one that this release reads.",
            mend="Load it with the release that wrote it, or train again.",
            field=MANIFEST,
        )
    names = set(stated)
    wrong = (REQUIRED - names) | (names - REQUIRED - OPTIONAL)
    if wrong or not names & OPTIONAL:
        name = min(wrong) if wrong else MODEL
        verb = "lists" if name in names else "does not list"
        raise PackageError(f"{MANIFEST} {verb} {name}.", mend=_MEND, field=name)
    if extra := {entry.name for entry in path.iterdir()} - names - {MANIFEST}:
        raise PackageError(
            f"{min(extra)} is in the package, and its manifest does not know it.",
            mend=_MEND,
            field=min(extra),
        )
    contents = {}
    for name, (sha256, size) in sorted(stated.items()):
        contents[name] = _read(path, name)
        if len(contents[name]) != size or hashlib.sha256(contents[name]).hexdigest() != sha256:
            raise PackageError(
                f"{name} does not match its digest in the manifest: it was altered.", mend=_MEND, field=name
            )
    return hashlib.sha256(data).hexdigest(), contents


def _read(path: Path, name: str) -> bytes:
    try:
        if not stat.S_ISREG((path / name).lstat().st_mode):
            raise PackageError(f"{name} is not a regular file.", mend=_MEND, field=name)
        return (path / name).read_bytes()
    except OSError as error:
        raise PackageError(
            f"{name} is missing from the package {path.name}, or cannot be read.", mend=_MEND, field=name
        ) from error


def _parse(digest: str, contents: Mapping[str, bytes]) -> tuple[ChampionModel, Mapping[str, Any]]:
    listed = json.loads(contents[FEATURES])
    metadata = json.loads(contents[METADATA])
    features = catalogue_from_json(listed)
    weights = {name: float(weight) for name, weight in metadata.pop("weights").items()}
    members = {"forest": MODEL in contents, "linear": LINEAR in contents}
    if set(weights) != {name for name, there in members.items() if there}:
        raise PackageError(
            f"{METADATA}: the weights name {sorted(weights)}, which are not the members of the package.",
            mend=_MEND,
            field=METADATA,
        )
    if not 0.0 < float(metadata["base_rate"]) < 1.0:
        raise PackageError(f"{METADATA}: base_rate must lie in (0, 1).", mend=_MEND, field=METADATA)
    model = ChampionModel(
        version_digest=digest,
        features=features,
        encoder=FeatureEncoder.from_json(json.loads(contents[ENCODER]), features),
        calibration=Platt.from_json(json.loads(contents[CALIBRATION])),
        forest=NativeForest(contents[MODEL].decode(), len(features)) if members["forest"] else None,
        linear=LinearMember.from_json(json.loads(contents[LINEAR])) if members["linear"] else None,
        weights=weights,
        profile=listed["profile"],
        metadata={name: value for name, value in metadata.items() if name != "schema"},
    )
    return model, json.loads(contents[REFERENCE])


def _self_test(model: ChampionModel, reference: Mapping[str, Any]) -> None:
    """The model must give on this machine what it gave where it was trained, and explain it fully."""
    rows = np.array([[np.nan if v is None else v for v in row] for row in reference["rows"]], dtype=np.float64)
    expected = np.array(reference["margins"], dtype=np.float64)
    if not len(expected) or rows.shape != (len(expected), len(model.features)):
        raise PackageError(f"{REFERENCE} has no rows of {len(model.features)} features.", mend=_MEND, field=REFERENCE)
    margins = model.margins(rows)
    explained = model.base_value + model.contributions(rows).sum(axis=1)
    for what, off in (
        ("margins differ from those of the training", np.abs(margins - expected)),
        ("contributions do not add up to the margin", np.abs(explained - margins)),
    ):
        # written so that NaN fails too
        if not float(off.max()) <= TOLERANCE:
            raise PackageError(
                f"{REFERENCE}: on this machine the {what}, by up to {float(off.max()):.3g}.",
                mend="Use the LightGBM release named in metadata.json, or train again.",
                field=REFERENCE,
            )


__all__ = ["Parts", "exported", "load_package", "package_digest", "verify_package", "write_package"]
