"""One small company, simulated once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from churn_platform.sources.simulator.contract import TABLES
from churn_platform.sources.simulator.simulate import Simulation, simulate
from churn_platform.sources.simulator.spec import SimulationSpec

SPEC = SimulationSpec(accounts=1500, months=8, seed=11)


@pytest.fixture(scope="session")
def company(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    return simulate(SPEC, tmp_path_factory.mktemp("simulated") / "company")


class Query:
    """SQL over the tables of a folder, as views of their names (``truth_…`` for the truth)."""

    def __init__(self, folder: Path) -> None:
        import duckdb

        self.connection = duckdb.connect(config={"threads": 2})
        for name, table in TABLES.items():
            self.connection.execute(f"create view {name} as select * from read_parquet('{folder / table.path}')")
        for path in (folder / "truth").glob("*.parquet"):
            self.connection.execute(f"create view truth_{path.stem} as select * from read_parquet('{path}')")

    def rows(self, sql: str) -> list[tuple[object, ...]]:
        return self.connection.execute(sql).fetchall()

    def value(self, sql: str) -> float:
        found = self.connection.execute(sql).fetchone()
        assert found is not None
        return float(found[0])


@pytest.fixture(scope="session")
def query(company: Simulation) -> Iterator[Query]:
    made = Query(company.out)
    yield made
    made.connection.close()
