import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from churn_platform.records.files import create_once, replace_folder, replacing, write_atomic


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_written_in_new_folders_and_replaced(tmp_path: Path):
    path = tmp_path / "a" / "b" / "file"
    write_atomic(path, b"one")
    write_atomic(path, b"two", mode=0o600)
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o600
    assert names(path.parent) == ["file"]


def test_after_an_error_the_old_file_is_there(tmp_path: Path):
    path = tmp_path / "file"
    write_atomic(path, b"old")

    def fail() -> None:
        with replacing(path) as temporary:
            temporary.write_bytes(b"half")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_a_file_is_created_once(tmp_path: Path):
    path = tmp_path / "key"
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda i: create_once(path, str(i).encode()), range(32)))
    assert sum(won) == 1
    assert path.read_bytes() == str(won.index(True)).encode()
    assert path.stat().st_mode & 0o777 == 0o600
    assert names(tmp_path) == ["key"]


@pytest.mark.parametrize("there", ["nothing", "empty", "folder", "file"])
def test_a_folder_takes_the_place_of_what_is_there(tmp_path: Path, there: str):
    target = tmp_path / "target"
    if there == "file":
        target.write_text("old")
    elif there != "nothing":
        target.mkdir()
    if there == "folder":
        (target / "old").write_text("")
    prepared = tmp_path / "prepared"
    prepared.mkdir()
    (prepared / "new").write_text("")
    replace_folder(prepared, target)
    assert names(tmp_path) == ["target"]
    assert names(target) == ["new"]


def test_a_folder_that_cannot_be_moved_is_an_error(tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        replace_folder(tmp_path / "absent", tmp_path / "target")


WRITER = """
import sys
from pathlib import Path
from churn_platform.records.files import write_atomic
path = Path(sys.argv[1])
print("ready", flush=True)
while True:
    for letter in b"ab":
        write_atomic(path, bytes([letter]) * 200_000, durable=False)
"""


def test_a_killed_writer_leaves_a_whole_file(tmp_path: Path):
    path = tmp_path / "file"
    for wait in (0.01, 0.02, 0.03):
        write_atomic(path, b"a" * 200_000)
        with subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            time.sleep(wait)
            os.kill(writer.pid, signal.SIGKILL)
        assert path.read_bytes() in (b"a" * 200_000, b"b" * 200_000)
