"""Fixtures of the feature tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from churn_platform.features.assemble import assemble
from churn_platform.records.store import ContentStore
from churn_platform.sources.contract import Contract
from tests.features.data import Row, Tables, relational

Assemble = Callable[..., dict[str, dict[str, Any]]]


@pytest.fixture
def store(tmp_path: Path) -> ContentStore:
    return ContentStore(tmp_path / "store")


@pytest.fixture(scope="module")
def shared_store(tmp_path_factory: pytest.TempPathFactory) -> ContentStore:
    """One store for all examples of a property test: content-addressed, so they do not meet."""
    return ContentStore(tmp_path_factory.mktemp("shared") / "store")


def rows_at(
    tables: Mapping[str, Sequence[Row]],
    observation: str,
    store: ContentStore,
    contract: Contract | None = None,
) -> dict[str, dict[str, Any]]:
    """customer → features at an observation date, through the real assembly."""
    contract = contract or relational()
    versions = Tables(contract, store, tables).versions([observation])
    month = assemble(contract, versions, [observation], store=store)[observation]
    return {row["customer_id"]: row for row in pq.read_table(store.path(month.digest)).to_pylist()}
