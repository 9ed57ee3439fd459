"""A flat file's label, and what its errors may say."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from churn_platform.errors import ContractError
from churn_platform.sources.label import check_label


def _check(values: Sequence[str], positive: str) -> None:
    import duckdb

    contract: Any = SimpleNamespace(label=SimpleNamespace(column="who", positive=positive))
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE staged (label VARCHAR)")
        connection.executemany("INSERT INTO staged VALUES (?)", [[value] for value in values])
        check_label(connection, contract, "staged")


def test_few_values_are_listed() -> None:
    with pytest.raises(ContractError, match="never has the value 'gone'; it has 'no', 'yes'"):
        _check(["yes", "no"], "gone")


@pytest.mark.parametrize("values", [[f"CUST-{i}" for i in range(15)], ["a very long text about one person" * 3, "x"]])
def test_values_that_may_be_people_are_not(values: list[str]) -> None:
    with pytest.raises(ContractError) as caught:
        _check(values, "gone")
    assert "different values" in str(caught.value)
    assert not any(value in str(caught.value) for value in values)
