from __future__ import annotations

from pathlib import Path

import pytest

from churn_platform.records.store import ContentStore


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ContentStore:
    return ContentStore(Path(tmp_path_factory.mktemp("store")))
