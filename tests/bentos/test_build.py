from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bentos.churn_service.build import BuiltBento, build_bento
from bentos.churn_service.serve import bento_path, serve_command
from churn_platform.champion.package import load_package
from churn_platform.errors import ArtifactCorruptError, ArtifactMissingError, PackageError
from churn_platform.records.home import Home

REGISTERED = {"name": "churn", "version": 3}


def test_what_is_in_a_bento(bento: BuiltBento, package: Path) -> None:
    source = bento.path / "src"
    for file in ("churn_platform/clock.py", "bentos/churn_service/service.py"):
        assert (source / file).is_file()
    assert list((source / "churn_platform" / "records" / "migrations").rglob("*.py"))
    inside = load_package(source / "champion")
    assert inside.version_digest == load_package(package).version_digest
    names = [file.name for file in bento.path.rglob("*") if file.is_file()]
    assert not [name for name in names if name.endswith((".pkl", ".pickle", ".joblib"))]
    manifest = json.loads((source / "bento-manifest.json").read_text())
    assert manifest["model"] == {"name": "churn", "version": "3"}
    assert manifest["digest"] == bento.digest
    assert bento.tag == f"churn_service:{bento.digest[:16]}"


def test_a_bento_names_no_index_and_no_machine(bento: BuiltBento, home: Home) -> None:
    own = [*bento.path.glob("*.*"), *(bento.path / "env").rglob("*"), bento.path / "src" / "bentofile.yaml"]
    for file in own:
        if file.is_file():
            text = file.read_text()
            assert str(home.root) not in text
            assert str(Path(sys.prefix).parent) not in text
            assert "index-url http" not in text
    requirements = (bento.path / "env" / "python" / "requirements.txt").read_text().split()
    assert "bentoml==1.4.39" in requirements
    assert all("==" in line for line in requirements)


def test_the_same_package_is_the_same_bento(bento: BuiltBento, home: Home, package: Path) -> None:
    again = build_bento(package, {**REGISTERED, "tier": "another word for people"}, home=home)
    assert again.reused
    assert (again.tag, again.digest, again.path) == (bento.tag, bento.digest, bento.path)
    assert not list(home.tmp.glob("bento-*"))


def test_another_version_is_another_bento(bento: BuiltBento, home: Home, package: Path) -> None:
    other = build_bento(package, {**REGISTERED, "version": 4}, home=home)
    assert not other.reused
    assert other.tag != bento.tag


def test_an_altered_bento_is_noticed(home: Home, package: Path) -> None:
    built = build_bento(package, {**REGISTERED, "version": 5}, home=home)
    (built.path / "src" / "churn_platform" / "clock.py").write_text("def now(): return None\n")
    with pytest.raises(ArtifactCorruptError, match=r"clock\.py"):
        build_bento(package, {**REGISTERED, "version": 5}, home=home)


def test_no_package_no_bento(home: Home, tmp_path: Path) -> None:
    with pytest.raises(PackageError, match=r"manifest\.json"):
        build_bento(tmp_path, REGISTERED, home=home)


def test_a_pickle_does_not_travel(home: Home, package: Path, tmp_path: Path) -> None:
    folder = tmp_path / "package"
    shutil.copytree(package, folder)
    (folder / "model.PKL").write_bytes(b"\x80\x04.")
    with pytest.raises(PackageError, match="pickle"):
        build_bento(folder, REGISTERED, home=home)


def test_no_such_bento(home: Home) -> None:
    for tag in ("churn_service:0000000000000000", "churn_service", "other:1", "churn_service:../../x", ""):
        with pytest.raises(ArtifactMissingError):
            bento_path(home, tag)


def test_each_service_has_metrics_of_its_own(bento: BuiltBento, home: Home) -> None:
    (_, one), (command, two) = serve_command(home, bento.tag, 4001), serve_command(home, bento.tag, 4002)
    assert one["BENTOML_HOME"] != two["BENTOML_HOME"]
    assert two["CHURN_HOME"] == str(home.root)
    assert command[-4:] == ["--host", "127.0.0.1", "--port", "4002"]


def test_building_does_not_import_bentoml() -> None:
    code = (
        "import sys, bentos.churn_service.build, bentos.churn_service.serve;"
        "print([m for m in sys.modules if m.split('.')[0] in ('bentoml', 'feast', 'lightgbm', 'fastapi')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
