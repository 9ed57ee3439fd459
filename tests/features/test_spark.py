"""The two engines agree: every hand-made feature and every candidate template, on real local Spark."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from churn_platform.errors import FeatureError, MissingDependencyError
from churn_platform.features.assemble import assemble
from churn_platform.features.available import Available
from churn_platform.features.candidates import candidates
from churn_platform.features.catalogue import catalogue_for
from churn_platform.features.definitions import definitions_for
from churn_platform.features.engine import engine_of_settings
from churn_platform.features.engine_duckdb import DuckEngine
from churn_platform.features.engine_spark import SparkEngine, missing
from churn_platform.records.store import ContentStore
from churn_platform.settings import CHECKOUT, reload
from churn_platform.sources.contract import Contract, parse_contract
from tests.features.data import Row, Tables, relational
from tests.features.random_tables import random_tables
from tests.features.shop import COLUMNS, random_orders

OBSERVATION = "2024-08-01"
PYTHON = Path(os.environ.get("CHURN_SPARK_PYTHON", CHECKOUT / ".venv-spark" / "bin" / "python"))


def everything() -> Contract:
    """The contract of all tables, those of a shop as well: one Spark plan covers every family."""
    value = relational().model_dump(exclude_none=True, exclude_defaults=True, mode="json")
    value["tables"]["orders"] = {
        "path": "orders.csv",
        "entity": "customer",
        "event_time": "ordered_at",
        "ingested_at": "loaded_at",
        "columns": COLUMNS,
    }
    return parse_contract(value)


@pytest.mark.timeout(1200)
def test_spark_equals_duckdb_on_every_column(tmp_path: Path) -> None:
    lacking = missing(PYTHON)
    if lacking is not None:
        if os.environ.get("CHURN_REQUIRE_SERVERS") == "1":
            pytest.fail(f"Spark is required here: {lacking}")
        pytest.skip(str(lacking))
    contract, store = everything(), ContentStore(tmp_path / "store")
    tables: dict[str, list[Row]] = {**random_tables(3, customers=70), **random_orders(3, customers=70)}
    versions = Tables(contract, store, tables).versions([OBSERVATION])
    available = Available.of(contract)
    made = definitions_for(available)
    found = [one for one in candidates(available, made) if not one.definition.hidden]
    names = [one.name for one in found]
    assert {one.template for one in found} == {"rows", "aggregate", "trend", "ratio", "interaction"}
    assert {one.feature.family for one in made} == {
        "usage", "purchases", "lifecycle", "billing", "support", "engagement", "attributes"
    }  # fmt: skip

    def at(engine: Any) -> dict[str, Any]:
        month = assemble(contract, versions, [OBSERVATION], store=store, generated=names, engine=engine)[OBSERVATION]
        table = pq.read_table(store.path(month.digest))
        return {name: table.column(name).to_pylist() for name in table.column_names}

    duck, spark = at(DuckEngine()), at(SparkEngine(PYTHON, os.environ.get("JAVA_HOME"), memory="1g"))
    columns = {feature.name for feature in catalogue_for(contract, generated=names)}
    assert columns <= set(duck) == set(spark)
    assert duck["customer_id"] == spark["customer_id"]
    assert len(duck["customer_id"]) > 15
    differing = [name for name in duck if not _equal(duck[name], spark[name])]
    assert differing == []
    # equal because nothing is there would be no proof
    empty = {name for name in columns if all(value is None for value in duck[name])}
    assert len(empty) < 0.1 * len(columns), sorted(empty)


def _equal(one: list[Any], other: list[Any]) -> bool:
    """Within 1e-9 of each other, null where the other is."""
    if not all((a is None) == (b is None) for a, b in zip(one, other, strict=True)):
        return False
    pairs = [(a, b) for a, b in zip(one, other, strict=True) if a is not None]
    if not pairs or not isinstance(pairs[0][0], float):
        return all(a == b for a, b in pairs)
    left, right = (np.array(side) for side in zip(*pairs, strict=True))
    return bool(np.allclose(left, right, rtol=1e-9, atol=1e-9))


# What goes wrong, without Spark


def test_the_engine_is_chosen_by_one_setting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert isinstance(engine_of_settings(), DuckEngine)
    monkeypatch.setenv("CHURN_FEATURE_ENGINE", "spark")
    monkeypatch.setenv("CHURN_SPARK_PYTHON", str(tmp_path / "bin" / "python"))
    reload()
    with pytest.raises(MissingDependencyError, match="no Spark environment") as raised:
        engine_of_settings()
    assert "make spark-env" in raised.value.mend
    monkeypatch.setenv("CHURN_SPARK_PYTHON", sys.executable)
    monkeypatch.setenv("CHURN_SPARK_MASTER", "spark://cluster:7077")
    reload()
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(MissingDependencyError, match="no Java"):
        engine_of_settings()
    java = tmp_path / "bin" / "java"
    java.write_text("#!/bin/sh\n")
    java.chmod(0o755)
    made = engine_of_settings()
    assert isinstance(made, SparkEngine)
    assert (made.master, made.python, made.memory) == ("spark://cluster:7077", Path(sys.executable), "2g")


def test_what_spark_says_last_is_in_the_error(tmp_path: Path) -> None:
    contract, store = relational(), ContentStore(tmp_path / "store")
    versions = Tables(contract, store, random_tables(3, customers=3)).versions([OBSERVATION])
    fake = tmp_path / "python"
    fake.write_text("#!/bin/sh\necho 'java.lang.OutOfMemoryError: heap' >&2\nexit 3\n")
    fake.chmod(0o755)
    with pytest.raises(FeatureError, match=r"0 of 1 months and ended with 3: java\.lang\.OutOfMemoryError"):
        assemble(contract, versions, [OBSERVATION], store=store, engine=SparkEngine(fake))
    assert not list((tmp_path / "store" / "tmp").glob("*")), "nothing is left behind"


def test_the_runner_imports_nothing_of_ours_that_needs_more_than_spark() -> None:
    code = (
        "import sys; import churn_platform.features.spark; "
        "print([m for m in sys.modules if m.split('.')[0] in ('pydantic', 'ibis', 'duckdb', 'pyarrow', 'numpy')])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
