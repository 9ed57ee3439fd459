from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from churn_platform.champion.package import load_package, package_digest, verify_package
from churn_platform.errors import PackageError
from churn_platform.records.jsontext import canonical
from tests.champion.conftest import Trained

FILES = [
    "calibration.json",
    "encoder.json",
    "features.json",
    "manifest.json",
    "metadata.json",
    "model.txt",
    "reference.json",
]


def sign(package: Path) -> None:
    """Make the manifest fit what is there: what an attacker who can write would do."""
    manifest = json.loads((package / "manifest.json").read_bytes())
    for name, entry in manifest["files"].items():
        data = (package / name).read_bytes()
        entry.update(sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))
    (package / "manifest.json").write_bytes(canonical(manifest))


def change(package: Path, name: str, **values: Any) -> None:
    content = json.loads((package / name).read_bytes())
    (package / name).write_bytes(canonical(content | values))


def test_a_package_is_text_and_loads_by_its_digest(trained: Trained, package: Path) -> None:
    assert sorted(path.name for path in package.iterdir()) == FILES
    for path in package.iterdir():
        path.read_bytes().decode()
    model = load_package(package, digest=trained.challenger.digest)
    assert model.version_digest == trained.challenger.digest == package_digest(package)
    assert model.features == trained.set.features
    assert model.metadata["training"] == trained.set.spec_digest
    assert verify_package(trained.store, trained.challenger.package)


def test_nothing_in_it_says_when_or_where_it_was_made(package: Path) -> None:
    text = " ".join(path.read_text() for path in package.iterdir())
    assert not any(word in text for word in ("/tmp", str(Path.home()), "created_at", "abcd0"))  # noqa: S108


@pytest.mark.parametrize("name", FILES[:3] + FILES[4:])
def test_an_altered_file_is_refused_by_name(package: Path, name: str) -> None:
    data = bytearray((package / name).read_bytes())
    data[len(data) // 2] ^= 1
    (package / name).write_bytes(bytes(data))
    with pytest.raises(PackageError, match="altered") as caught:
        load_package(package)
    assert caught.value.field == name


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_refused_by_name(package: Path, name: str) -> None:
    (package / name).unlink()
    with pytest.raises(PackageError, match="missing") as caught:
        load_package(package)
    assert caught.value.field == name


@pytest.mark.parametrize("extra", ["model.pkl", "notes.txt", ".hidden"])
def test_an_extra_file_is_refused_by_name(package: Path, extra: str) -> None:
    (package / extra).write_text("hello")
    with pytest.raises(PackageError, match="does not know") as caught:
        load_package(package)
    assert caught.value.field == extra


def test_a_link_is_no_file_of_a_package(package: Path, tmp_path: Path) -> None:
    shutil.move(package / "model.txt", tmp_path / "elsewhere.txt")
    (package / "model.txt").symlink_to(tmp_path / "elsewhere.txt")
    with pytest.raises(PackageError, match="regular file"):
        load_package(package)


def test_a_package_with_another_digest_than_expected_is_refused(package: Path) -> None:
    with pytest.raises(PackageError, match="was expected"):
        load_package(package, digest="0" * 64)


def test_a_manifest_that_lists_other_files_is_refused(package: Path) -> None:
    manifest = json.loads((package / "manifest.json").read_bytes())
    manifest["files"]["model.pkl"] = manifest["files"]["model.txt"]
    (package / "manifest.json").write_bytes(canonical(manifest))
    with pytest.raises(PackageError, match=r"lists model\.pkl"):
        load_package(package)
    del manifest["files"]["model.pkl"], manifest["files"]["encoder.json"]
    (package / "manifest.json").write_bytes(canonical(manifest))
    with pytest.raises(PackageError, match=r"does not list encoder\.json"):
        load_package(package)
    (package / "manifest.json").write_text("[]")
    with pytest.raises(PackageError, match="not a package's manifest"):
        load_package(package)


@pytest.mark.parametrize("path", ["../outside.txt", "/etc/passwd"])
def test_a_manifest_cannot_point_out_of_its_folder(package: Path, path: str) -> None:
    manifest = json.loads((package / "manifest.json").read_bytes())
    manifest["files"][path] = manifest["files"]["model.txt"]
    (package / "manifest.json").write_bytes(canonical(manifest))
    with pytest.raises(PackageError, match="lists"):
        load_package(package)


def test_a_newer_form_is_refused(package: Path) -> None:
    change(package, "manifest.json", schema="model_package/2")
    with pytest.raises(PackageError, match="model_package/2"):
        load_package(package)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("calibration.json", {"slope": 0.5}, "margins differ"),
        ("metadata.json", {"weights": {"linear": 1.0}}, "not the members"),
        ("metadata.json", {"weights": {"forest": 2.0}}, "margins differ"),
        ("metadata.json", {"base_rate": 1.0}, "base_rate"),
        ("encoder.json", {"features": ["a"]}, "other features"),
        ("features.json", {"features": [{"name": "a"}]}, "incomplete"),
        ("reference.json", {"rows": [], "margins": []}, "no rows"),
        ("reference.json", {"margins": ["x"] * 16}, "not the form|could not convert"),
    ],
)
def test_a_signed_package_must_still_hold_together(
    package: Path, name: str, values: dict[str, Any], message: str
) -> None:
    change(package, name, **values)
    sign(package)
    with pytest.raises(PackageError, match=message):
        load_package(package)


def test_a_model_that_lightgbm_cannot_read_is_refused(package: Path) -> None:
    (package / "model.txt").write_text("tree\nversion=v4\n")
    sign(package)
    with pytest.raises(PackageError) as caught:
        load_package(package)
    assert caught.value.field == "model.txt"


def test_a_model_of_other_features_is_refused(package: Path) -> None:
    listed = json.loads((package / "features.json").read_bytes())["features"]
    encoder = json.loads((package / "encoder.json").read_bytes())
    change(package, "features.json", features=listed[:-1])
    levels = {name: known for name, known in encoder["levels"].items() if name != "region"}
    change(package, "encoder.json", features=encoder["features"][:-1], levels=levels)
    sign(package)
    with pytest.raises(PackageError, match="expects 8 features"):
        load_package(package)
