"""A longer history begins with exactly the rows of a shorter one, so that a company can be continued."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from churn_platform.sources.simulator.contract import HELPERS, TABLES
from churn_platform.sources.simulator.simulate import Simulation, simulate
from tests.sources.simulator.conftest import Query


@pytest.fixture(scope="module", params=["longer", "advanced", "advanced_shock"])
def later(request: pytest.FixtureRequest, company: Simulation, tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    spec = {
        "longer": dataclasses.replace(company.spec, months=company.spec.months + 1),
        "advanced": company.spec.advanced_by(1),
        "advanced_shock": company.spec.advanced_by(1, "price_shock"),
    }[request.param]
    return simulate(spec, tmp_path_factory.mktemp("later") / "out")


def test_files_of_past_months_do_not_change(company: Simulation, later: Simulation) -> None:
    old = sorted(path.name for path in (company.out / "usage").iterdir())
    new = sorted(path.name for path in (later.out / "usage").iterdir())
    assert new == [*old, "2024-09.parquet"]
    for name in old:
        assert (company.out / "usage" / name).read_bytes() == (later.out / "usage" / name).read_bytes()


@pytest.mark.parametrize("name", [name for name in TABLES if name != "usage"])
def test_rows_known_by_the_old_end_are_the_same(
    name: str, query: Query, company: Simulation, later: Simulation
) -> None:
    after = Query(later.out)
    end = f"timestamp '{company.as_of.isoformat()}'"
    columns = ["account_id", *TABLES[name].key, "ingested_at", TABLES[name].event_time]
    for column, spec in TABLES[name].columns.items():
        if spec.rules.get("temporality") == "current_only":
            continue
        # what became known later was not known then
        helper = spec.rules.get("known_at")
        columns.append(f"case when {helper} < {end} then {column} end" if helper else column)
    columns += [f"case when {helper} < {end} then {helper} end" for helper in HELPERS.get(name, ())]
    sql = f"select {', '.join(columns)} from {name} where ingested_at < {end} order by all"
    before = query.rows(sql)
    assert before == after.rows(sql)
    assert len(before) == company.rows[name]
    assert later.rows[name] > len(before)


def test_the_truth_of_past_months_is_the_same(query: Query, company: Simulation, later: Simulation) -> None:
    sql = "select * from truth_state_oracle where observation_date < '2024-09-01' order by all"
    assert query.rows(sql) == Query(later.out).rows(sql)


def test_the_new_month_is_there(later: Simulation, company: Simulation) -> None:
    after = Query(later.out)
    assert later.as_of.isoformat() == "2024-10-01T00:00:00"
    assert after.value(f"select count(*) from churn_events where effective_at > '{company.as_of}'") > 10


def test_current_only_columns_were_overwritten(query: Query, later: Simulation, tmp_path: Path) -> None:
    before = dict(query.rows("select account_id, (plan, owner, company_size) from accounts"))
    after = dict(Query(later.out).rows("select account_id, (plan, owner, company_size) from accounts"))
    changed = sum(before[account] != after[account] for account in before)
    assert 10 < changed < len(before) / 2
