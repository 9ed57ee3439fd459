"""Hidden health shows in what the company can see, and nothing hidden stands in its tables."""

from __future__ import annotations

import pytest

from churn_platform.sources.contract import load_contract
from churn_platform.sources.simulator.contract import HELPERS, TABLES
from churn_platform.sources.simulator.simulate import Simulation, simulate
from churn_platform.sources.simulator.spec import SimulationSpec
from tests.sources.simulator.conftest import Query


def test_the_contract_holds_and_describes_every_column_of_every_file(company: Simulation, query: Query) -> None:
    contract = load_contract(company.out / "contract.yaml")
    assert set(contract.tables) == set(TABLES)
    for name, table in contract.tables.items():
        columns = {str(row[0]) for row in query.rows(f"describe {name}")}
        said = {
            *table.columns,
            *table.key,
            *HELPERS.get(name, ()),
            table.event_time,
            "account_id",
            "ingested_at",
        }
        assert columns == said, name
        assert all(column.description for column in table.columns.values())


def test_the_contract_does_not_know_the_truth(company: Simulation) -> None:
    text = (company.out / "contract.yaml").read_text()
    assert "truth" not in text
    hidden = {
        "health",
        "mood",
        "hazard",
        "fit",
        "tau",
        "driver",
        "price_sensitivity",
        "p_voluntary",
        "segment",
    }
    for name, table in load_contract(company.out / "contract.yaml").tables.items():
        assert not hidden & set(table.columns), name


@pytest.mark.parametrize("name", list(TABLES))
def test_row_rules_of_the_contract_hold(name: str, query: Query) -> None:
    for column, spec in TABLES[name].columns.items():
        broken = []
        if "min" in spec.rules:
            broken.append(f"{column} < {spec.rules['min']}")
        if "max" in spec.rules:
            broken.append(f"{column} > {spec.rules['max']}")
        if "allowed" in spec.rules:
            broken.append(f"{column} not in ({', '.join(repr(value) for value in spec.rules['allowed'])})")
        if not spec.rules.get("nullable", False):
            broken.append(f"{column} is null")
        for rule in broken:
            assert query.value(f"select count(*) from {name} where {rule}") == 0, (column, rule)


@pytest.mark.parametrize(
    ("seen", "least"),
    [
        (
            "select account_id, avg(active_seats / seats) as value from usage join paid using (account_id)",
            0.4,
        ),
        ("select account_id, sum(core_actions) / sum(active_seats) as value from usage", 0.3),
        ("select account_id, -sum(errors) / sum(core_actions) as value from usage", 0.2),
        ("select account_id, avg(nps) as value from surveys", 0.4),
        ("select account_id, avg(csat) as value from tickets", 0.2),
        (
            "select account_id, -count(*) as value from tickets join paid using (account_id) where seats < 6",
            0.1,
        ),
        ("select account_id, avg(opened::int) as value from marketing", 0.05),
        (
            "select account_id, last(seats order by started_at) / first(seats order by started_at) as value "
            "from subscriptions",
            0.2,
        ),
    ],
)
def test_health_shows(seen: str, least: float, query: Query) -> None:
    """Each observable correlates with the mean of hidden health, over accounts."""
    sql = f"""
        with paid as (select account_id, max(seats) as seats from subscriptions group by all),
        health as (select account_id, avg(health) as health from truth_states group by all),
        seen as ({seen} group by account_id)
        select corr(value, health) from seen join health using (account_id) where isfinite(value)
    """
    assert least < query.value(sql) < 1


def test_a_lost_champion_shows_in_reports(query: Query) -> None:
    sql = """
        select avg(reports / (active_seats + 2.0)) from usage join truth_states
        on usage.account_id = truth_states.account_id and observation_date = '2024-06-01'
        where usage_date between date '2024-06-01' and date '2024-06-10' and champion {}
    """
    assert query.value(sql.format("< -0.9")) < 0.6 * query.value(sql.format("= 0"))


def test_company_size_is_overwritten_and_leavers_are_marked(query: Query) -> None:
    assert 0.05 < query.value("select avg((company_size <> initial_size)::int) from accounts") < 0.6
    known = "select count(*) from accounts join churn_events using (account_id) where owner <> 'offboarding'"
    assert query.value(known) == 0


def test_a_missing_feed_stops_and_the_others_go_on(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("missing")
    for feed in ("usage", "tickets"):
        made = simulate(SimulationSpec(200, 3, preset="missing_feed", drift_month=2, feed=feed), folder / feed)
        query = Query(made.out)
        for name in ("usage", "tickets", "surveys"):
            late = query.value(f"select count(*) from {name} where {TABLES[name].event_time} >= '2024-03-01'")
            assert (late == 0) == (name == feed), (feed, name)
        assert query.value(f"select count(*) from {feed}") > 0


def test_region_bias_degrades_one_region_and_nobody_leaves_for_it(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("bias")
    tables = {
        preset: Query(simulate(SimulationSpec(300, 3, preset=preset, drift_month=2), folder / preset).out)
        for preset in ("none", "region_bias")
    }
    sql = """
        select count(*) from usage join accounts using (account_id)
        where (region = 'emea') = {} and usage_date between '2024-03-01' and '2024-03-20'
    """
    same = [query.value(sql.format("false")) for query in tables.values()]
    assert same[0] == same[1]
    usual, degraded = (query.value(sql.format("true")) for query in tables.values())
    assert degraded < 0.65 * usual
    events = [query.rows("select * from churn_events order by all") for query in tables.values()]
    assert events[0] == events[1]
