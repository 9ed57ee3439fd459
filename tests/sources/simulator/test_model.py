"""The company behaves like one: rates, steady state, what drives departures, what the state oracle knows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from churn_platform.sources.simulator.calibration import monthly_rates
from churn_platform.sources.simulator.history import History
from churn_platform.sources.simulator.oracle import HORIZON_DAYS, month_oracle
from churn_platform.sources.simulator.presets import ACTIVE_MIX, SEGMENTS
from churn_platform.sources.simulator.slots import VOLUNTARY
from churn_platform.sources.simulator.spec import SimulationSpec
from churn_platform.sources.simulator.state import Company
from churn_platform.sources.simulator.timeline import Timeline
from tests.sources.simulator.conftest import Query

SPEC = SimulationSpec(accounts=12_000, months=12, seed=23)


@dataclass(frozen=True)
class Judged:
    """The oracle's chances and the outcomes (1 left voluntarily, 0 stayed), month by month."""

    chance: list[NDArray[np.float64]]
    outcome: list[NDArray[np.bool_]]

    def mean(self, first: int, last: int) -> tuple[float, float]:
        return (
            float(np.concatenate(self.chance[first:last]).mean()),
            float(np.concatenate(self.outcome[first:last]).mean()),
        )

    def auc(self, first: int = 0, last: int = 99) -> float:
        from sklearn.metrics import roc_auc_score

        return float(roc_auc_score(np.concatenate(self.outcome[first:last]), np.concatenate(self.chance[first:last])))


def lived(spec: SimulationSpec) -> tuple[Company, History]:
    company = Company(spec, Timeline(spec.start, spec.months))
    return company, company.run()


def judge(company: Company, history: History) -> Judged:
    kind = np.full(len(history.accounts), -1)
    gone = history.departures.table()
    kind[gone["serial"]] = gone["kind"]
    judged = Judged([], [])
    for month in range(company.spec.months - 1):
        state = month_oracle(history, company.weights(month), month)
        serial, day = state["serial"], int(history.timeline.month_starts[month])
        left = (history.end_day[serial] >= day) & (history.end_day[serial] < day + HORIZON_DAYS)
        counted = ~left | (kind[serial] == VOLUNTARY)
        judged.chance.append(state["p_voluntary"][counted])
        judged.outcome.append(left[counted])
    return judged


@pytest.fixture(scope="module")
def usual() -> tuple[Company, History]:
    return lived(SPEC)


def test_rates_are_those_of_real_companies(usual: tuple[Company, History]) -> None:
    rates = monthly_rates(usual[1])
    bands = {
        "self_serve": (0.03, 0.057),
        "smb": (0.014, 0.024),
        "mid_market": (0.007, 0.01),
        "enterprise": (0.003, 0.006),
    }
    for segment, (low, high) in bands.items():
        # a tenth for the noise of the smallest segments
        assert low * 0.9 < rates[SEGMENTS.index(segment)].sum() < high * 1.1, segment
    voluntary, involuntary = np.asarray(ACTIVE_MIX) @ rates
    assert 0.022 < voluntary < 0.026
    assert 0.0075 < involuntary < 0.0095
    assert 0.20 < involuntary / (voluntary + involuntary) < 0.29


def test_every_slot_is_taken_every_day_and_the_mix_is_steady(usual: tuple[Company, History]) -> None:
    history = usual[1]
    for day in (1, 100, 300):
        active = history.on(day)
        assert active.there.mean() > 0.99  # the others leave or sign up on this day
        assert len(np.unique(active.serial)) == SPEC.accounts
    first, last = (history.accounts.segment[history.weeks[week].serial] for week in (0, -1))
    assert np.bincount(first) / len(first) == pytest.approx(np.bincount(last) / len(last), abs=0.015)
    annual = [float(history.accounts.annual[history.weeks[week].serial].mean()) for week in (0, -1)]
    assert annual[0] == pytest.approx(annual[1], abs=0.02)


def test_annual_contracts_end_at_a_renewal_or_by_payment(usual: tuple[Company, History]) -> None:
    history = usual[1]
    gone = history.departures.table()
    who, serial = history.accounts, gone["serial"]
    decided = who.annual[serial] & (gone["kind"] == VOLUNTARY)
    age = gone["day"][decided] - who.start[serial[decided]]
    assert decided.sum() > 100
    assert set(age % 365) == {0}


def test_the_state_oracle_is_calibrated_and_as_good_as_the_preset_says(
    usual: tuple[Company, History],
) -> None:
    judged = judge(*usual)
    expected, observed = judged.mean(0, 11)
    assert expected == pytest.approx(observed, rel=0.06)
    assert 0.87 < judged.auc() < 0.91
    chance, outcome = np.concatenate(judged.chance), np.concatenate(judged.outcome)
    worst = chance >= np.quantile(chance, 0.95)
    assert chance[worst].mean() == pytest.approx(outcome[worst].mean(), rel=0.08)


@pytest.mark.parametrize(("difficulty", "aim"), [("medium", 0.80), ("hard", 0.72)])
def test_difficulties_lower_the_oracle(difficulty: str, aim: float) -> None:
    judged = judge(*lived(SimulationSpec(8_000, 10, seed=31, difficulty=difficulty)))
    assert judged.auc() == pytest.approx(aim, abs=0.025)


def test_a_price_shock_raises_departures_and_leaves_the_ranking() -> None:
    judged = judge(*lived(SimulationSpec(8_000, 10, seed=23, preset="price_shock", drift_month=6)))
    before, after = judged.mean(2, 5)[1], judged.mean(6, 8)[1]
    assert after > 1.25 * before
    assert judged.auc(6, 8) > judged.auc(2, 5) - 0.03


def test_a_price_creep_raises_departures_little_by_little() -> None:
    judged = judge(*lived(SimulationSpec(8_000, 12, seed=23, preset="price_creep", drift_month=4)))
    first, last = judged.mean(4, 6)[0], judged.mean(9, 11)[0]
    assert judged.mean(1, 4)[0] < first < last


def test_a_mix_shift_leaves_the_hazard_function(usual: tuple[Company, History]) -> None:
    company, history = lived(SimulationSpec(8_000, 10, seed=23, preset="mix_shift", drift_month=4))
    assert company.weights(9) == usual[0].weights(9)
    came = history.accounts.start >= history.timeline.month_starts[5]
    before = (history.accounts.start < history.timeline.month_starts[4]) & (history.accounts.start > 0)
    apac = history.accounts.region == 2
    assert apac[came].mean() > 1.5 * apac[before].mean()
    judged = judge(company, history)
    expected, observed = judged.mean(5, 9)
    assert expected == pytest.approx(observed, rel=0.1)


def test_a_concept_shift_makes_the_old_ranking_worse() -> None:
    from sklearn.metrics import roc_auc_score

    company, history = lived(SimulationSpec(8_000, 10, seed=23, preset="concept_shift", drift_month=5))
    judged = judge(company, history)
    kind = np.full(len(history.accounts), -1)
    gone = history.departures.table()
    kind[gone["serial"]] = gone["kind"]
    month = 7
    state = month_oracle(history, company.weights(0), month)  # what the old weights say of the new month
    day = int(history.timeline.month_starts[month])
    left = (history.end_day[state["serial"]] >= day) & (history.end_day[state["serial"]] < day + HORIZON_DAYS)
    counted = ~left | (kind[state["serial"]] == VOLUNTARY)
    old = roc_auc_score(left[counted], state["p_voluntary"][counted])
    assert judged.auc(month, month + 1) - old > 0.03


def test_truth_names_the_drivers(query: Query) -> None:
    found = dict(query.rows("select driver, count(*) from truth_departures group by all"))
    assert {"health", "champion_lost", "renewal", "payment"} <= set(found)
    sql = "select count(*) from truth_departures where (driver = 'payment') <> (kind = 'involuntary')"
    assert query.value(sql) == 0


def test_the_random_arm_is_a_fair_coin_and_treatment_helps(query: Query) -> None:
    assert query.value("select avg(propensity) from interventions where arm = 'treated' and propensity <> .5") > 0.54
    share = "select avg((arm = 'treated')::int) from interventions where propensity = .5"
    assert query.value(share) == pytest.approx(0.5, abs=0.06)
    assert query.value("select avg(tau) from truth_accounts") == pytest.approx(0.6, abs=0.05)
    assert query.value("select count(*) from interventions where (arm = 'treated') <> (delivered_at is not null)") == 0
