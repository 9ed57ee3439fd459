"""Build the bento of a champion: package and code, under a version that is their digest.

Needs no Docker, no network and no index. The build runs in a process of its own, so that the caller never
imports BentoML.
"""

from __future__ import annotations

import fnmatch
import hashlib
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from churn_platform._environment import TELEMETRY_OFF
from churn_platform.errors import ArtifactCorruptError, MissingDependencyError, PackageError
from churn_platform.records.files import remove
from churn_platform.records.home import Home
from churn_platform.serving.loading import BENTO_MANIFEST
from churn_platform.settings import CHECKOUT

NAME: Final = "churn_service"
SERVICE: Final = "bentos.churn_service.service:ChurnService"
CODE: Final = ("churn_platform", "bentos")
BUILD_SECONDS: Final = 120
# What the service imports, pinned to the versions that this environment was tested with.
PACKAGES: Final = (
    "alembic",
    "bentoml",
    "cryptography",
    "fastapi",
    "httptools",
    "lightgbm",
    "lmdb",
    "msgspec",
    "numpy",
    "prometheus-client",
    "psycopg2-binary",
    "pydantic",
    "pydantic-settings",
    "pyyaml",
    "redis",
    "sqlalchemy",
    "uvloop",
)
# A pickle runs code when it is read: none may travel in a bento.
PICKLES: Final = ("*.pkl", "*.pickle", "*.joblib", "*.cloudpickle", "*.dill")


@dataclass(frozen=True)
class BuiltBento:
    """A bento in the home's store.

    Attributes:
        tag: ``churn_service:<version>``.
        path: its folder, below ``home.bentoml``.
        digest: SHA-256 over all that was put in: files, pins, the model's name. The version is its beginning.
        reused: whether an identical one was already there.
    """

    tag: str
    path: Path
    digest: str
    reused: bool


def build_bento(package_dir: Path, metadata: Mapping[str, Any], *, home: Home, root: Path = CHECKOUT) -> BuiltBento:
    """Build a bento, or find the identical one that is there already.

    Args:
        package_dir: the champion's package, with its manifest.
        metadata: ``name`` and ``version`` as in the model registry go into every answer and into the bento's
            version; whatever else is there is kept for people alone.
        home: the bento goes to ``home.bentoml``.
        root: the folder that holds ``churn_platform`` and ``bentos``.

    Raises:
        PackageError: the package has no manifest, or holds a pickle.
        MissingDependencyError: BentoML cannot be started.
        ArtifactCorruptError: a bento of this version is there, but its files were changed since.
    """
    with tempfile.TemporaryDirectory(dir=home.tmp, prefix="bento-") as folder:
        staging = Path(folder)
        files = _stage(staging, package_dir, root)
        facts = _facts(files, metadata)
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
        version = digest[:16]
        path = home.bentoml / "bentos" / NAME / version
        if (path / "bento.yaml").is_file():
            _verify(path, files, version)
            return BuiltBento(f"{NAME}:{version}", path, digest, reused=True)
        remove(path)  # left by a build that was interrupted
        _write_build_files(staging, facts, digest, metadata)
        _run_build(staging, version, home)
    return BuiltBento(f"{NAME}:{version}", path, digest, reused=False)


def _stage(staging: Path, package_dir: Path, root: Path) -> dict[str, str]:
    """Copy everything that travels; returns relative path → SHA-256."""
    if not (package_dir / "manifest.json").is_file():
        raise PackageError(
            f"{package_dir} holds no model package: manifest.json is missing.",
            mend="Materialize the champion again.",
        )
    files: dict[str, str] = {}
    for source, target in _travelling(package_dir, root):
        if any(fnmatch.fnmatch(target.lower(), pattern) for pattern in PICKLES):
            raise PackageError(
                f"{target} is a pickle; reading one runs code.",
                mend="Keep models as arrays, text and JSON, as champion/package.py writes them.",
            )
        copy = staging / target
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, copy)
        files[target] = hashlib.sha256(copy.read_bytes()).hexdigest()
    return files


def _travelling(package_dir: Path, root: Path) -> Iterator[tuple[Path, str]]:
    """The files that go into the bento, with their paths there."""
    for part in CODE:
        for file in sorted((root / part).rglob("*")):
            relative = file.relative_to(root)
            hidden = any(name.startswith(".") or name == "__pycache__" for name in relative.parts)
            if file.is_file() and not hidden:
                yield file, relative.as_posix()
    for file in sorted(package_dir.rglob("*")):
        if file.is_file():
            yield file, f"champion/{file.relative_to(package_dir).as_posix()}"


def _facts(files: Mapping[str, str], metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that makes two bentos the same one."""
    return {
        "schema": "bento/1",
        "files": dict(files),
        "packages": _pins(),
        "model": {key: str(metadata[key]) for key in ("name", "version") if metadata.get(key) is not None},
    }


def _pins() -> list[str]:
    try:
        return [f"{name}=={importlib.metadata.version(name)}" for name in PACKAGES]
    except importlib.metadata.PackageNotFoundError as error:
        raise MissingDependencyError(
            f"The package {error.name} is not installed; the service needs it.", mend="Run `make setup`."
        ) from error


def _verify(path: Path, files: Mapping[str, str], version: str) -> None:
    """Compare a bento that is there with what would be put in now."""
    for target, digest in files.items():
        file = path / "src" / target
        if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != digest:
            raise ArtifactCorruptError(
                f"The bento {NAME}:{version} was altered: {target} is not what was put in.",
                mend=f"Delete it with `bentoml delete {NAME}:{version}` and build again.",
            )


def _write_build_files(staging: Path, facts: Mapping[str, Any], digest: str, metadata: Mapping[str, Any]) -> None:
    import yaml

    manifest = {**facts, "digest": digest, "metadata": dict(metadata)}
    (staging / BENTO_MANIFEST).write_text(json.dumps(manifest, indent=1, default=str))
    build = {
        "service": SERVICE,
        "name": NAME,
        "description": f"The churn champion as a service. Content {digest}.",
        "include": ["*"],
        # Locking would ask an index and write its address into the bento. BentoML adds its own pin.
        "python": {
            "lock_packages": False,
            "packages": [pin for pin in facts["packages"] if not pin.startswith("bentoml==")],
        },
    }
    (staging / "bentofile.yaml").write_text(yaml.safe_dump(build))


def _run_build(staging: Path, version: str, home: Home) -> None:
    command = [
        sys.executable,
        "-m",
        "bentoml",
        "build",
        "--version",
        version,
        "--output",
        "tag",
        str(staging),
    ]
    env = {
        **os.environ,
        **TELEMETRY_OFF,
        "BENTOML_HOME": str(home.bentoml),
        # BentoML's newer image format wants uv, and installs it, even where nothing is locked.
        "BENTOML_ENABLE_FEATURES": "no_image",
        # The staged code must be the one that is imported, without leaving bytecode behind.
        "PYTHONPATH": str(staging),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    try:
        done = subprocess.run(
            command, cwd=staging, env=env, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MissingDependencyError(
            f"BentoML could not build the bento: {error}.",
            mend="Run `make setup`, or try again on a quieter machine.",
        ) from error
    if done.returncode != 0 or f"{NAME}:{version}" not in done.stdout:
        tail = " / ".join((done.stderr or done.stdout).strip().splitlines()[-3:])
        raise PackageError(f"BentoML could not build the bento: {tail}", mend="Mend what it names, and build again.")
