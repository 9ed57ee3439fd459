"""Homes, stores and made-up companies for the tests of the door."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from churn_platform.records.home import Home
from churn_platform.records.store import ContentStore
from churn_platform.records.vault import IdentityVault
from churn_platform.sources.contract import Contract
from churn_platform.sources.door import Admission, admit


@dataclass(frozen=True)
class Door:
    """A home with its store and vault, and the door in front of them."""

    home: Home
    store: ContentStore
    vault: IdentityVault

    def admit(self, contract: Contract, source: Path, observations: Sequence[str], **options: Any) -> Admission:
        """As :func:`churn_platform.sources.door.admit`, without Great Expectations unless asked for."""
        options.setdefault("expectations", False)
        return admit(contract, source, observations, store=self.store, vault=self.vault, home=self.home, **options)

    def rows(self, version: Any, where: str = "true") -> list[dict[str, Any]]:
        """The rows of a table version, in order."""
        import duckdb

        paths = [str(path) for path in version.paths(self.store)]
        query = duckdb.connect().execute(
            f"SELECT * FROM read_parquet(?) WHERE {where} ORDER BY ingested_at, row_id", [paths]
        )
        names = [column[0] for column in query.description or ()]
        return [dict(zip(names, row, strict=True)) for row in query.fetchall()]


def open_door(root: Path) -> Door:
    """A door to a home at ``root``."""
    home = Home.open(root)
    return Door(home, ContentStore(home.store), IdentityVault.open(home))


@pytest.fixture
def door(tmp_path: Path) -> Door:
    return open_door(tmp_path / "home")
