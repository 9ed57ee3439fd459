import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from churn_platform.errors import ArtifactCorruptError, ArtifactMissingError, RecordError
from churn_platform.records.home import Home
from churn_platform.records.store import ContentStore

ABSENT = "0" * 64


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def objects(store: ContentStore) -> list[Path]:
    return [path for path in (store.root / "objects").rglob("*") if path.is_file()]


def leftovers(store: ContentStore) -> list[Path]:
    return list((store.root / "tmp").iterdir())


def alter(store: ContentStore, digest: str) -> None:
    path = store.path(digest)
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.chmod(0o600)
    path.write_bytes(data)


@given(st.lists(st.binary(max_size=2000), max_size=8))
@settings(max_examples=20, deadline=None)
def test_what_is_stored_is_read_back_under_its_digest(contents: list[bytes]):
    with tempfile.TemporaryDirectory() as folder:
        store = ContentStore(Path(folder) / "store")
        for data in contents:
            digest = store.put_bytes(data)
            assert digest == sha256(data)
            assert store.read_bytes(digest) == store.path(digest).read_bytes() == data
            assert store.has(digest)
            store.verify(digest)
        assert len(objects(store)) == len(set(contents))
        assert leftovers(store) == []


file_names = st.text("abc.-ä", min_size=1, max_size=5).filter(lambda name: name not in (".", ".."))
trees = st.dictionaries(
    st.lists(file_names, min_size=1, max_size=3).map(
        lambda parts: "/".join([*(f"{p}.d" for p in parts[:-1]), parts[-1]])
    ),
    st.binary(max_size=50),
    max_size=6,
).filter(lambda tree: not any(one.startswith(other + "/") for one in tree for other in tree))


def lay_out(folder: Path, tree: dict[str, bytes]) -> None:
    folder.mkdir()
    for relative, data in tree.items():
        (folder / relative).parent.mkdir(parents=True, exist_ok=True)
        (folder / relative).write_bytes(data)


def read_tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@given(trees, st.booleans())
@settings(max_examples=20, deadline=None)
def test_a_tree_is_exported_as_it_was_stored(tree: dict[str, bytes], copy: bool):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = ContentStore(folder / "store")
        lay_out(folder / "one", tree)
        lay_out(folder / "two", dict(reversed(tree.items())))
        digest = store.put_tree(folder / "one")
        assert store.put_tree(folder / "two") == digest
        assert store.tree(digest) == {relative: sha256(data) for relative, data in tree.items()}
        store.export_tree(digest, folder / "out" / "here", copy=copy)
        assert read_tree(folder / "out" / "here") == tree
        assert [path.name for path in (folder / "out").iterdir()] == ["here"]


def test_json_is_stored_canonically(store: ContentStore):
    digest = store.put_json({"b": 1, "a": [True, None, "ü"]})
    assert digest == store.put_json({"a": [True, None, "ü"], "b": 1})
    assert digest == sha256('{"a":[true,null,"ü"],"b":1}'.encode())
    assert store.read_json(digest) == {"a": [True, None, "ü"], "b": 1}
    with pytest.raises(RecordError, match="not JSON"):
        store.read_json(store.put_bytes(b"\xff"))


def test_a_file_is_copied_or_given_away(store: ContentStore, tmp_path: Path):
    kept, given_away, again = tmp_path / "kept", tmp_path / "given", tmp_path / "again"
    for path, data in ((kept, b"kept"), (given_away, b"given"), (again, b"given")):
        path.write_bytes(data)
    assert store.put_file(kept) == sha256(b"kept")
    assert store.put_file(given_away, move=True) == sha256(b"given")
    assert store.put_file(again, move=True) == sha256(b"given")
    assert kept.exists()
    assert not given_away.exists()
    assert not again.exists()
    kept.write_bytes(b"changed")
    assert store.read_bytes(sha256(b"kept")) == b"kept"
    assert store.read_bytes(sha256(b"given")) == b"given"
    assert leftovers(store) == []


def test_a_file_with_a_second_name_is_not_shared_with_the_store(store: ContentStore, tmp_path: Path):
    path, other = tmp_path / "path", tmp_path / "other"
    path.write_bytes(b"shared")
    other.hardlink_to(path)
    digest = store.put_file(path, move=True)
    other.write_bytes(b"change")
    assert store.read_bytes(digest) == b"shared"
    assert not path.exists()


def test_only_files_and_folders_are_stored(store: ContentStore, tmp_path: Path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "link").symlink_to("/etc/hostname")
    for put in (lambda: store.put_file(folder), lambda: store.put_tree(folder)):
        with pytest.raises(RecordError, match="not a regular file"):
            put()
    with pytest.raises(ArtifactMissingError, match="no file"):
        store.put_file(tmp_path / "absent")
    with pytest.raises(ArtifactMissingError, match="no folder"):
        store.put_tree(tmp_path / "absent")


def test_what_is_not_there_is_missing(store: ContentStore, tmp_path: Path):
    assert not store.has(ABSENT)
    for use in (store.path, store.read_bytes, store.read_json, store.verify, store.tree):
        with pytest.raises(ArtifactMissingError, match=ABSENT) as caught:
            use(ABSENT)
        assert caught.value.mend
    with pytest.raises(ArtifactMissingError):
        store.export_tree(ABSENT, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("digest", ["", "ab", "../" * 21 + "x", "A" * 64, "0" * 65, "0" * 64 + "\n"])
def test_what_is_no_digest_is_refused(store: ContentStore, digest: str):
    for use in (store.path, store.has, store.read_bytes, store.verify):
        with pytest.raises(RecordError, match="not a digest"):
            use(digest)


def test_altered_bytes_are_found(store: ContentStore):
    digest = store.put_json({"a": 1})
    alter(store, digest)
    assert store.has(digest)
    for use in (store.verify, store.read_bytes, store.read_json):
        with pytest.raises(ArtifactCorruptError, match=digest) as caught:
            use(digest)
        assert str(store.path(digest)) in caught.value.mend
    # The mend: delete it, and make it again.
    store.path(digest).unlink()
    assert store.put_json({"a": 1}) == digest
    store.verify(digest)


def test_objects_are_read_only_and_exports_are_links_to_them(store: ContentStore, tmp_path: Path):
    lay_out(tmp_path / "tree", {"a/b": b"data"})
    digest = store.put_tree(tmp_path / "tree")
    store.export_tree(digest, tmp_path / "links")
    store.export_tree(digest, tmp_path / "copies", copy=True)
    place = store.path(sha256(b"data"))
    assert place.stat().st_mode & 0o777 == 0o444
    assert (tmp_path / "links" / "a" / "b").samefile(place)
    copied = tmp_path / "copies" / "a" / "b"
    copied.write_bytes(b"other")
    store.verify(sha256(b"data"))


def test_an_export_replaces_what_is_there_as_a_whole(store: ContentStore, tmp_path: Path):
    lay_out(tmp_path / "tree", {"new": b"new"})
    lay_out(tmp_path / "out", {"old": b"old"})
    digest = store.put_tree(tmp_path / "tree")
    store.export_tree(digest, tmp_path / "out")
    assert read_tree(tmp_path / "out") == {"new": b"new"}
    store.path(sha256(b"new")).unlink()
    lay_out(tmp_path / "kept", {"old": b"old"})
    with pytest.raises(ArtifactMissingError):
        store.export_tree(digest, tmp_path / "kept")
    assert read_tree(tmp_path / "kept") == {"old": b"old"}
    assert not list(tmp_path.glob(".tmp-*"))


@pytest.mark.parametrize("relative", ["../out", "/etc/x", "a/../../b", ""])
def test_a_tree_that_leads_out_of_itself_is_refused(store: ContentStore, tmp_path: Path, relative: str):
    digest = store.put_json({"schema": "tree/1", "files": {relative: store.put_bytes(b"x")}})
    with pytest.raises(RecordError, match="leads out"):
        store.export_tree(digest, tmp_path / "target")
    assert not (tmp_path / "target").exists()


def test_an_object_that_is_not_a_tree_is_refused(store: ContentStore):
    for value in ({"files": {}}, {"schema": "tree/2", "files": {}}, {"schema": "tree/1"}, [1]):
        with pytest.raises(RecordError):
            store.tree(store.put_json(value))


def test_a_temporary_path_is_gone_after(store: ContentStore):
    with store.temporary() as path:
        assert not path.exists()
        assert path.is_relative_to(store.root)
        path.write_bytes(b"x")
    assert not path.exists()

    def fail() -> None:
        with store.temporary() as path:
            (path / "deep").mkdir(parents=True)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert leftovers(store) == []


def test_threads_may_store_and_read_the_same_objects(store: ContentStore):
    contents = [bytes([n]) * 50_000 for n in range(8)]

    def work(_: int) -> None:
        for data in contents:
            assert store.read_bytes(store.put_bytes(data)) == data

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(8)))
    assert len(objects(store)) == len(contents)
    assert leftovers(store) == []


def _store_all(root: Path) -> list[str]:
    store = ContentStore(root)
    return [store.put_bytes(f"{n}".encode() * 1000) for n in range(60)]


def test_processes_may_store_the_same_objects(home: Home, store: ContentStore):
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        one, two = pool.map(_store_all, [home.store, home.store])
    assert one == two
    for digest in one:
        store.verify(digest)
    assert leftovers(store) == []


WRITER = """
import os, sys
from pathlib import Path
from churn_platform.records.store import ContentStore
store = ContentStore(Path(sys.argv[1]))
print("ready", flush=True)
while True:
    store.put_bytes(os.urandom(500_000))
"""


def test_a_killed_writer_leaves_only_whole_objects(store: ContentStore):
    for wait in (0.02, 0.05, 0.11):
        with subprocess.Popen([sys.executable, "-c", WRITER, store.root], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            time.sleep(wait)
            os.kill(writer.pid, signal.SIGKILL)
    stored = objects(store)
    assert stored
    for path in stored:
        store.verify(path.name)
