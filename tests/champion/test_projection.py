"""The champion's files beside the store: made again where they are not what was promoted."""

from __future__ import annotations

from pathlib import Path

import pytest

from churn_platform.champion.package import package_digest
from churn_platform.champion.projection import project
from churn_platform.records.home import Home
from churn_platform.records.store import ContentStore
from tests.serving.champion import make_package


@pytest.mark.parametrize("harm", ["altered", "half removed", "nothing"])
def test_a_folder_that_is_not_whole_is_written_anew(harm: str, tmp_path: Path) -> None:
    home = Home.open(tmp_path / "home")
    store = ContentStore(home.store)
    made = tmp_path / "package"
    digest = make_package(made)
    champion = {"name": "churn", "version": "1", "model": digest, "tier": "full", "promoted_at": "2025-01-01"}
    champion["package"] = store.put_tree(made)
    project(home, store, champion)
    folder = home.champion / digest
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    if harm == "altered":
        files[0].chmod(0o600)
        files[0].write_bytes(b"{}")
    elif harm == "half removed":
        for path in files[:-1]:
            path.unlink()
    project(home, store, champion)
    assert package_digest(folder) == digest
