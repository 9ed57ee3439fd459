"""What the package promises: pinned, locked with hashes, imports in one direction, no trace of a machine."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from churn_platform.settings import CHECKOUT

FIXED = (
    "dagster",
    "dagster-webserver",
    "dagster-mlflow",
    "dagster-postgres",
    "feast",
    "scikit-learn",
    "xgboost",
    "lightgbm",
    "h2o",
    "optuna",
    "shap",
    "evidently",
    "bentoml",
    "great-expectations",
)
LOCKS = ("requirements.lock", "requirements-spark.lock")


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((CHECKOUT / "pyproject.toml").read_text())


def locked(name: str) -> list[tuple[Requirement, int]]:
    """The requirements of a lock file, each with the number of its hashes."""
    text = (CHECKOUT / name).read_text().replace("\\\n", " ")
    found = []
    for line in text.splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            requirement, *hashes = re.split(r"\s+--hash=sha256:[0-9a-f]{64}", line)
            found.append((Requirement(requirement.strip()), len(hashes)))
    return found


def direct(project: dict[str, Any], group: str) -> list[Requirement]:
    """The direct requirements of a dependency group, included groups and all."""
    found = []
    for entry in project["dependency-groups"][group]:
        if isinstance(entry, str):
            found.append(Requirement(entry))
        else:
            found += direct(project, entry["include-group"])
    return found


def tracked() -> list[str]:
    """Files that are or would be committed."""
    done = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [name for name in done.stdout.split("\0") if name and (CHECKOUT / name).is_file()]


def test_the_fixed_packages_are_pinned_direct_dependencies(project: dict[str, Any]) -> None:
    pins = {canonicalize_name(r.name): r for r in map(Requirement, project["project"]["dependencies"])}
    assert [name for name in FIXED if name not in pins] == []
    assert [str(r) for n, r in pins.items() if n in FIXED and not re.fullmatch(r"==[\d.]+", str(r.specifier))] == []


@pytest.mark.parametrize("name", LOCKS)
def test_locks_are_pinned_hashed_and_free_of_addresses(name: str) -> None:
    assert "://" not in (CHECKOUT / name).read_text()
    assert "--index-url" not in (CHECKOUT / name).read_text()
    requirements = locked(name)
    assert requirements
    loose = [str(r) for r, _ in requirements if not re.fullmatch(r"==[^,*]+", str(r.specifier))]
    assert loose == []
    assert [str(r) for r, hashes in requirements if not hashes] == []


def satisfied(wanted: list[Requirement], name: str) -> list[str]:
    """The requirements that the lock does not hold, or holds in a version that does not fit."""
    environment = {"python_version": "3.11", "python_full_version": "3.11.9"}
    versions: dict[str, list[Version]] = {}
    for requirement, _ in locked(name):
        marker: Marker | None = requirement.marker
        if marker is None or marker.evaluate(environment):
            pin = next(iter(requirement.specifier)).version
            versions.setdefault(canonicalize_name(requirement.name), []).append(Version(pin))
    return [
        str(r)
        for r in wanted
        if not any(r.specifier.contains(v, prereleases=True) for v in versions.get(canonicalize_name(r.name), []))
    ]


def test_requirements_lock_fits_pyproject(project: dict[str, Any]) -> None:
    wanted = [Requirement(text) for text in project["project"]["dependencies"]]
    assert satisfied(wanted, "requirements.lock") == []
    assert satisfied(direct(project, "dev"), "requirements.lock") == []
    assert satisfied(direct(project, "serving"), "requirements.lock") == [], "a replica runs what was tested"


def test_spark_is_locked_apart(project: dict[str, Any]) -> None:
    assert satisfied(direct(project, "spark"), "requirements-spark.lock") == []
    apart = {canonicalize_name(r.name): str(r.specifier) for r, _ in locked("requirements-spark.lock")}
    assert apart.keys().isdisjoint({"great-expectations", "dagster"})
    together = {canonicalize_name(r.name): str(r.specifier) for r, _ in locked("requirements.lock")}
    assert together.keys().isdisjoint({"pyspark", "dvc"}), "either breaks the platform's environment"
    assert apart.keys() == {"pyspark", "py4j"}, "queries come compiled from our side: nothing else is needed there"


def test_no_file_names_a_machine_or_an_address_of_its_registry() -> None:
    # written in parts, so that this file does not hold what it looks for
    folders = "|".join(["wo" + "rk", "ho" + "me", "Us" + "ers"])
    machine = re.compile(rf"(^|[^a-zA-Z0-9._-])/({folders})/", re.MULTILINE)
    for name in tracked():
        text = (CHECKOUT / name).read_text(encoding="utf-8", errors="replace")
        found = machine.search(text)
        assert not found, f"{name} holds a path of one machine: …{text[found.start() : found.start() + 40]!r}"


def test_no_lock_of_uv_and_no_home_is_committed() -> None:
    names = tracked()
    assert len(names) > 50
    assert [n for n in names if Path(n).name == "uv.lock" or n.startswith((".churn/", ".venv/"))] == []
    assert [n for n in names if n.endswith((".pkl", ".pickle", ".joblib"))] == []


def test_imports_run_one_way() -> None:
    code = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    done = subprocess.run(
        [sys.executable, "-c", code, "--no-cache"], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert "0 broken" in done.stdout


def test_ci_runs_what_the_readme_names_for_tests() -> None:
    script = (CHECKOUT / ".ci" / "run").read_text()
    assert "set -euo pipefail" in script
    assert script.index("make lint") < script.index("make types") < script.index("\nmake test\n")
    assert "make test" in (CHECKOUT / "README.md").read_text()
    assert (CHECKOUT / ".ci" / "run").stat().st_mode & 0o111
    done = subprocess.run(["bash", "-n", CHECKOUT / ".ci" / "run"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_licence_is_whole(project: dict[str, Any]) -> None:
    text = (CHECKOUT / "LICENSE").read_text()
    assert project["project"]["license"] == "Apache-2.0"
    assert "Version 2.0, January 2004" in text
    assert "9. Accepting Warranty or Additional Liability" in text
    assert len(text) > 11_000
