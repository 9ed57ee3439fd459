"""Files are read once for as long as they look the same, and recognised by their content."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from churn_platform.sources.file_digests import FileDigests


def _aged(path: Path, text: str, seconds: int = 1_000_000_000) -> Path:
    path.write_text(text)
    os.utime(path, (seconds, seconds))
    return path


def test_content_decides(tmp_path: Path) -> None:
    file = _aged(tmp_path / "a.csv", "id\n1\n")
    memory = tmp_path / "digests.json"
    (digest,) = FileDigests(memory).of([file])
    assert digest == hashlib.sha256(b"id\n1\n").hexdigest()
    _aged(file, "id\n1\n", 1_100_000_000)
    assert FileDigests(memory).of([file]) == [digest]
    _aged(file, "id\n2\n", 1_200_000_000)
    assert FileDigests(memory).of([file]) != [digest]


def test_what_looks_the_same_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = _aged(tmp_path / "a.csv", "id\n1\n")
    memory = tmp_path / "digests.json"
    before = FileDigests(memory).of([file])

    def unreadable(*_: object) -> None:
        raise AssertionError("read again")

    monkeypatch.setattr(hashlib, "file_digest", unreadable)
    assert FileDigests(memory).of([file]) == before


def test_a_file_written_just_now_is_not_trusted(tmp_path: Path) -> None:
    """It could change again within one tick of the clock, and look the same."""
    file = tmp_path / "a.csv"
    file.write_text("id\n1\n")
    memory = tmp_path / "digests.json"
    FileDigests(memory).of([file])
    assert not memory.exists()


def test_a_broken_memory_costs_a_reading_and_no_more(tmp_path: Path) -> None:
    file = _aged(tmp_path / "a.csv", "id\n1\n")
    memory = tmp_path / "digests.json"
    memory.write_text("{")
    assert len(FileDigests(memory).of([file])) == 1
