"""A child of a process that reads LMDB does not disturb it, whatever it does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from churn_platform.features.packed.lmdb_store import LmdbStore
from tests.features.packed.conftest import materialize


@pytest.fixture
def store(tmp_path: Path) -> LmdbStore:
    made = LmdbStore(tmp_path / "online.lmdb")
    materialize(made, {})
    made.generation()  # a transaction is kept for reuse, with a slot in the table of readers
    return made


def test_a_child_that_runs_another_program(store: LmdbStore) -> None:
    subprocess.run([sys.executable, "-c", "pass"], preexec_fn=lambda: None, check=True)
    assert store.generation().number >= 1


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_child_that_reads_the_same_store(store: LmdbStore) -> None:
    number = store.generation().number
    child = os.fork()
    if child == 0:
        os._exit(0 if store.generation().number == number else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert store.generation().number == number
