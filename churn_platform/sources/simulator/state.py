"""The company's life, week by week: moods, champions, prices, payments, treatments, departures and newcomers.

Every slot holds one active account at any time; a leaver's slot is taken by a newcomer on the next day. Draws
of a week come from streams of that week, so that a longer history begins with exactly the rows of a shorter
one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from churn_platform.sources.simulator import population
from churn_platform.sources.simulator.hazard import State, drivers, survived_days, weekly_hazard
from churn_platform.sources.simulator.history import History, MonthState, Week
from churn_platform.sources.simulator.population import PLAN_PRICE, PLANS, Cohort
from churn_platform.sources.simulator.presets import (
    DIFFICULTIES,
    PRICE_CREEP,
    PRICE_SHOCK,
    Difficulty,
    Weights,
)
from churn_platform.sources.simulator.slots import (
    CHAMPION_LOSS,
    CHAMPION_RATE,
    DUNNING_DAYS,
    DUNNING_END,
    INVOLUNTARY,
    MOOD_DECAY,
    MOOD_SD,
    NEVER,
    ONBOARDING,
    ONBOARDING_WEEKS,
    PRESSURE_DECAY,
    TREATED_WEEKS,
    UNRECOVERED,
    VOLUNTARY,
    Slots,
    assign,
    assigns,
    has_anniversary,
)
from churn_platform.sources.simulator.spec import SimulationSpec
from churn_platform.sources.simulator.streams import Stream, stream
from churn_platform.sources.simulator.timeline import BURN_IN_WEEKS, Timeline


class Company:
    """Runs the weeks of a spec and keeps their :class:`History`."""

    def __init__(self, spec: SimulationSpec, timeline: Timeline, *, difficulty: Difficulty | None = None) -> None:
        self.spec, self.timeline = spec, timeline
        self.difficulty = difficulty or DIFFICULTIES[spec.difficulty]
        self.presets = spec.month_presets()
        self.index = 1.0  # of list prices
        self.history = History(spec, timeline)
        first = population.draw(
            stream(spec.seed, Stream.COHORT, -BURN_IN_WEEKS - 1),
            np.full(spec.accounts, -7 * BURN_IN_WEEKS, dtype=np.int64),
            established=True,
            annual_share=self.difficulty.annual,
        )
        self.cohorts = [first]
        self.accounts = len(first)
        n, rng = len(first), stream(spec.seed, Stream.STATE, -BURN_IN_WEEKS - 1)
        zeros = np.zeros(n)
        self.slots = Slots(
            serial=np.arange(n),
            who=first.copy(),
            mood=rng.normal(0.0, MOOD_SD, n),
            champion=zeros.copy(),
            champion_back=np.full(n, -NEVER),
            seats=first.seats.copy(),
            plan=first.plan.copy(),
            price=zeros.copy(),
            pressure=zeros.copy(),
            renewal=np.full(n, NEVER),
            paid_index=np.ones(n),
            anchor=np.ones(n, dtype=np.int64),
            dunning=np.full(n, NEVER),
            treated_until=np.full(n, -NEVER),
        )
        self._sign_up(np.arange(n), first, -7 * BURN_IN_WEEKS)

    def run(self, tell: Callable[[float], None] = lambda share: None) -> History:
        """Run all weeks; ``tell`` is called with the share done."""
        for week in range(-BURN_IN_WEEKS, self.timeline.weeks):
            self._week(week)
            tell((week + 1 + BURN_IN_WEEKS) / (self.timeline.weeks + BURN_IN_WEEKS))
        self.history.close(population.concatenate(self.cohorts))
        return self.history

    def weights(self, month: int) -> Weights:
        shifted = month >= 0 and self.presets[min(month, len(self.presets) - 1)] == "concept_shift"
        return self.difficulty.shifted if shifted else self.difficulty.usual

    def _week(self, week: int) -> None:
        slots, n = self.slots, self.spec.accounts
        day = 7 * week
        month = self.timeline.month_of(day)
        rng = stream(self.spec.seed, Stream.STATE, week)
        # Fixed numbers of draws first, in a fixed order: nothing that happens in the week shifts them.
        uniform = rng.random((8, n))
        normal = rng.standard_normal((3, n))

        self._list_prices(week, day, month)
        due = slots.renewal - day
        renewing = (due >= 0) & (due < 7)
        rise = np.where(renewing, self.index / slots.paid_index * (1.02 + 0.05 * uniform[0]), 1.0)
        self._charge(week, day, renewing, rng)

        state = self.state(week, np.where(renewing, np.log(rise), 0.0))
        weights = self.weights(month)
        hazard = weekly_hazard(weights, state)
        exposed = np.where(slots.who.annual, renewing, True)
        monthly_leave = survived_days(hazard, uniform[1])
        leave = np.where(slots.who.annual, np.where(renewing & (uniform[1] < hazard), due, 7), monthly_leave)
        unpaid = np.clip(slots.dunning - day, 0, 7)
        kind = np.where(unpaid <= leave, INVOLUNTARY, VOLUNTARY)
        leave = np.minimum(leave, unpaid)
        # nobody leaves on the day of signup
        leave += (leave < 7) & (day + leave <= slots.who.start)
        leavers = np.flatnonzero(leave < 7)

        # a champion who is gone is missing until a new one is found
        present = week >= slots.champion_back
        if week >= 0:
            self._remember(week, state, present, np.where(exposed, hazard, 0.0), leave)
        parts = drivers(weights, _take(state, leavers))
        self.history.departures.add(
            serial=slots.serial[leavers],
            day=day + leave[leavers],
            kind=kind[leavers],
            driver=np.where(kind[leavers] == INVOLUNTARY, parts.shape[1], parts.argmax(axis=1)),
            week=np.full(len(leavers), week),
        )
        stays = leave >= 7
        self._renew(week, day, stays, renewing & stays, due, rise)
        self._change_plans_and_seats(day, stays, state.health + state.champion, uniform[2:5])
        self._treat(week, day, stays, state, uniform[5:7], normal[0])
        # next week's moods and champions
        slots.mood = MOOD_DECAY * slots.mood + MOOD_SD * np.sqrt(1 - MOOD_DECAY**2) * normal[1]
        lost = (uniform[7] < CHAMPION_RATE) & present
        slots.champion = MOOD_DECAY * slots.champion - CHAMPION_LOSS * lost
        slots.champion_back = np.where(lost, week + 10 + (np.abs(normal[2]) * 12).astype(np.int64), slots.champion_back)
        slots.pressure *= PRESSURE_DECAY
        self._replace(week, month, leavers, day + leave[leavers] + 1)

    def _remember(
        self,
        week: int,
        state: State,
        present: NDArray[np.bool_],
        hazard: NDArray[np.floating[Any]],
        leave: NDArray[np.int64],
    ) -> None:
        slots = self.slots
        self.history.add_week(
            Week(
                serial=slots.serial.astype(np.int32),
                health=(state.health + state.champion).astype(np.float32),
                price=state.price.astype(np.float32),
                present=present,
                seats=slots.seats.astype(np.int32),
                leave=leave.astype(np.int8),
            )
        )
        if self.history.needs_state(week):
            self.history.states[week] = MonthState(
                serial=slots.serial.copy(),
                mood=slots.mood.copy(),
                champion=slots.champion.copy(),
                pressure=slots.pressure.copy(),
                renewal=slots.renewal.copy(),
                index_ratio=self.index / slots.paid_index,
                treatment=np.where(week < slots.treated_until, slots.who.tau, 0.0),
                treated_until=slots.treated_until.copy(),
                hazard=hazard.copy(),
            )

    def state(self, week: int, offered_rise: NDArray[np.float64]) -> State:
        """The state at the start of ``week``; ``offered_rise`` is the log price rise at a renewal."""
        slots = self.slots
        age = np.maximum(7 * week - slots.who.start, 0) / 7.0
        onboarding = ONBOARDING * np.exp(-age / ONBOARDING_WEEKS)
        return State(
            segment=slots.who.segment,
            health=slots.who.fit + slots.mood - onboarding,
            champion=slots.champion,
            price=(slots.pressure + offered_rise) * slots.who.sensitivity,
            depth=slots.who.depth,
            treatment=np.where(week < slots.treated_until, slots.who.tau, 0.0),
            annual=slots.who.annual,
        )

    def _list_prices(self, week: int, day: int, month: int) -> None:
        """A list price rise takes effect in the first week that starts in its month."""
        if month < 0 or self.timeline.month_of(day - 7) == month or day > self.timeline.days:
            return
        preset = self.presets[month]
        if preset == "price_shock" and (month == 0 or self.presets[month - 1] != "price_shock"):
            factor = PRICE_SHOCK
        elif preset == "price_creep":
            factor = PRICE_CREEP
        else:
            return
        self.index *= factor
        monthly = ~self.slots.who.annual
        self._raise_price(
            np.flatnonzero(monthly), np.full(int(monthly.sum()), factor), np.full(int(monthly.sum()), day)
        )

    def _raise_price(self, where: NDArray[np.int64], factor: NDArray[np.float64], days: NDArray[np.int64]) -> None:
        slots = self.slots
        slots.price[where] *= factor
        slots.pressure[where] += np.log(factor)
        slots.paid_index[where] = self.index
        self._version(where, days)

    def _charge(self, week: int, day: int, renewing: NDArray[np.bool_], rng: Generator) -> None:
        """Invoices of the week; failed charges are retried, and end the subscription where no retry helps."""
        slots = self.slots
        offset = np.full(32, 7)
        offset[self.timeline.day_of_month(np.arange(day, day + 7))] = np.arange(7)
        after = np.where(slots.who.annual, np.where(renewing, slots.renewal - day, 7), offset[slots.anchor])
        billed = np.flatnonzero((after < 7) & (day + after > slots.who.start))
        draws = rng.random((3, len(billed)))
        card = slots.who.card[billed]
        failed = draws[0] < np.where(card, slots.who.card_risk[billed], 0.01)
        lost = failed & (draws[1] < UNRECOVERED) & (slots.dunning[billed] == NEVER)
        retry = np.where(failed, 1 + np.searchsorted([0.5, 0.8], draws[2]), 0)
        slots.dunning[billed[lost]] = day + after[billed[lost]] + DUNNING_END
        months = np.where(slots.who.annual[billed], 12.0, 1.0)
        self.history.invoices.add(
            serial=slots.serial[billed],
            day=day + after[billed],
            amount=self.mrr()[billed] * months,
            card=card,
            retry=np.where(lost, len(DUNNING_DAYS) + 1, retry),
            unpaid=lost,
            health=(slots.who.fit + slots.mood + slots.champion)[billed],
            week=np.full(len(billed), week),
        )

    def mrr(self) -> NDArray[np.float64]:
        slots = self.slots
        return np.round(slots.seats * slots.price * (1.0 - slots.who.discount), 2)

    def _renew(
        self,
        week: int,
        day: int,
        stays: NDArray[np.bool_],
        renewed: NDArray[np.bool_],
        due: NDArray[np.int64],
        rise: NDArray[np.float64],
    ) -> None:
        """Annual contracts start their next year at the new price; monthly ones may see theirs rise in the
        week of their anniversary."""
        slots = self.slots
        where = np.flatnonzero(renewed)
        slots.renewal[where] += 365
        self._raise_price(where, rise[where], day + due[where])
        age = day - slots.who.start
        anniversary = stays & has_anniversary(slots.who.annual, age) & (slots.pressure < 0.15)
        where = np.flatnonzero(anniversary)
        factor = 1.0 + 0.02 * np.round(1 + 4 * stream(self.spec.seed, Stream.SUBSCRIPTIONS, week).random(len(where)))
        self._raise_price(where, factor, np.full(len(where), day + 7))

    def _change_plans_and_seats(
        self, day: int, stays: NDArray[np.bool_], health: NDArray[np.float64], uniform: NDArray[np.float64]
    ) -> None:
        """Healthy teams grow and upgrade, unhealthy ones shrink: a change holds from the next week on."""
        slots = self.slots
        moves = stays & (uniform[0] < 0.022)
        grows = uniform[1] < 1.0 / (1.0 + np.exp(-(0.25 + 1.5 * health)))
        step = np.maximum(np.rint(slots.seats * (0.06 + 0.22 * uniform[2])), 1).astype(np.int64)
        # growth has an end: nobody outgrows eight times the first size
        wanted = np.where(grows, np.minimum(slots.seats + step, 8 * slots.who.seats), slots.seats - step)
        wanted = np.where(moves, np.maximum(wanted, 1), slots.seats)
        upgrade = stays & (uniform[0] > 0.9985) & (health > 0) & (slots.plan < len(PLANS) - 1)
        changed = np.flatnonzero((wanted != slots.seats) | upgrade)
        slots.price = np.where(
            upgrade,
            slots.price * PLAN_PRICE[np.minimum(slots.plan + 1, 3)] / PLAN_PRICE[slots.plan],
            slots.price,
        )
        slots.plan = slots.plan + upgrade
        slots.seats = wanted
        self._version(changed, np.full(len(changed), day + 7))

    def _treat(
        self,
        week: int,
        day: int,
        stays: NDArray[np.bool_],
        state: State,
        uniform: NDArray[np.float64],
        noise: NDArray[np.float64],
    ) -> None:
        """Every fourth week: a random 5 % are assigned by a fair coin, the seemingly worst by a policy."""
        if not assigns(week):
            return
        slots = self.slots
        chosen_by, propensity = assign(-(state.health + state.champion) + noise, uniform[0])
        chosen = np.flatnonzero(stays & chosen_by)
        treated = uniform[1] < propensity
        self.history.interventions.add(
            serial=slots.serial[chosen],
            day=np.full(len(chosen), day),
            propensity=propensity[chosen],
            treated=treated[chosen],
            week=np.full(len(chosen), week),
        )
        chosen = chosen[treated[chosen]]
        slots.treated_until[chosen] = week + 1 + TREATED_WEEKS

    def _replace(self, week: int, month: int, leavers: NDArray[np.int64], days: NDArray[np.int64]) -> None:
        shifted = month >= 0 and self.presets[month] == "mix_shift"
        cohort = population.draw(
            stream(self.spec.seed, Stream.COHORT, week),
            days.astype(np.int64),
            established=False,
            shifted=shifted,
            annual_share=self.difficulty.annual,
        )
        self.cohorts.append(cohort)
        slots = self.slots
        slots.serial[leavers] = self.accounts + np.arange(len(cohort))
        self.accounts += len(cohort)
        slots.who.put(leavers, cohort)
        slots.mood[leavers] = stream(self.spec.seed, Stream.COHORT, week, part=1).normal(0.0, MOOD_SD, len(cohort))
        slots.champion[leavers] = 0.0
        slots.champion_back[leavers] = -NEVER
        slots.dunning[leavers] = NEVER
        slots.treated_until[leavers] = -NEVER
        self._sign_up(leavers, cohort, 7 * week)
        self._first_invoice(week, leavers, cohort)

    def _first_invoice(self, week: int, where: NDArray[np.int64], cohort: Cohort) -> None:
        """The first period is paid on the day of signup, or there is no contract."""
        n = len(where)
        self.history.invoices.add(
            serial=self.slots.serial[where],
            day=cohort.start,
            amount=self.mrr()[where] * np.where(cohort.annual, 12.0, 1.0),
            card=cohort.card,
            retry=np.zeros(n, dtype=np.int64),
            unpaid=np.zeros(n, dtype=bool),
            health=cohort.fit,
            week=np.full(n, week),
        )

    def _sign_up(self, where: NDArray[np.int64], cohort: Cohort, day: int) -> None:
        """Terms of new contracts; a contract older than ``day`` has renewed every year until then."""
        slots = self.slots
        slots.seats[where] = cohort.seats
        slots.plan[where] = cohort.plan
        slots.price[where] = PLAN_PRICE[cohort.plan] * self.index
        slots.pressure[where] = 0.0
        slots.paid_index[where] = self.index
        years = np.maximum(day - cohort.start, 0) // 365 + 1
        slots.renewal[where] = np.where(cohort.annual, cohort.start + 365 * years, NEVER)
        slots.anchor[where] = np.minimum(self.timeline.day_of_month(cohort.start), 28)
        self._version(where, cohort.start)

    def _version(self, where: NDArray[Any], days: NDArray[np.int64]) -> None:
        slots = self.slots
        self.history.versions.add(
            serial=slots.serial[where],
            day=days,
            seats=slots.seats[where],
            plan=slots.plan[where],
            mrr=self.mrr()[where],
            renewal=slots.renewal[where],
        )


def _take(state: State, where: NDArray[np.int64]) -> State:
    return State(**{name: getattr(state, name)[where] for name in State.__dataclass_fields__})
