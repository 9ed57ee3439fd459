import json
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from churn_platform.errors import HomeError
from churn_platform.records.home import FOLDERS, Home
from churn_platform.settings import reload


def test_a_new_home_has_every_folder_private_to_the_user(tmp_path: Path):
    home = Home.open(tmp_path / "a" / "home")
    for name in FOLDERS:
        folder = getattr(home, name)
        assert folder == home.root / name
        assert folder.is_dir()
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(home.root.stat().st_mode) == 0o700
    assert home.identity_db == home.root / "identity.db"
    assert not home.identity_db.exists()
    assert json.loads((home.root / "VERSION").read_text()) == {"home": 1}


def test_opening_again_changes_nothing_and_makes_what_is_missing(tmp_path: Path):
    home = Home.open(tmp_path)
    before = (tmp_path / "VERSION").stat().st_mtime_ns
    home.logs.rmdir()
    assert Home.open(tmp_path) == home
    assert home.logs.is_dir()
    assert (tmp_path / "VERSION").stat().st_mtime_ns == before
    assert {path.name for path in tmp_path.iterdir()} == {*FOLDERS, "VERSION"}


def test_the_default_is_the_setting(tmp_path: Path, embedded: pytest.MonkeyPatch):
    embedded.setenv("CHURN_HOME", str(tmp_path / "set"))
    reload()
    assert Home.open().root == tmp_path / "set"


def test_a_relative_home_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert Home.open(Path("here")).root == tmp_path / "here"


def test_the_home_of_a_newer_release_is_refused_and_left_alone(tmp_path: Path):
    (tmp_path / "VERSION").write_text('{"home": 2}')
    with pytest.raises(HomeError, match="layout 2") as caught:
        Home.open(tmp_path)
    assert "newer" in caught.value.mend
    assert [path.name for path in tmp_path.iterdir()] == ["VERSION"]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"home": "1"}', '{"home": true}', '{"home": 0}', "\udc80"])
def test_a_version_that_cannot_be_read_is_refused(tmp_path: Path, text: str):
    (tmp_path / "VERSION").write_text(text, errors="surrogateescape")
    with pytest.raises(HomeError, match="VERSION") as caught:
        Home.open(tmp_path)
    assert caught.value.mend


def test_a_home_that_cannot_be_written_is_refused(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(HomeError, match="cannot be written") as caught:
        Home.open(tmp_path / "file" / "home")
    assert caught.value.field == "home"
    with pytest.raises(HomeError, match="cannot be written"):
        Home.open(tmp_path / "file")


def test_many_may_make_the_same_home_at_once(tmp_path: Path):
    with ThreadPoolExecutor(8) as pool:
        homes = list(pool.map(lambda _: Home.open(tmp_path / "home"), range(32)))
    assert len(set(homes)) == 1
    assert {path.name for path in homes[0].root.iterdir()} == {*FOLDERS, "VERSION"}


def test_a_home_does_not_change(home: Home):
    with pytest.raises(FrozenInstanceError):
        home.root = Path("/")  # type: ignore[misc]
