"""Rules between tables, generated from the contract as DuckDB SQL over cleaned rows.

They compare days in the zone of each table, since one table may give days and the other hours. A row that
breaks one stays where it is: what another table says becomes known later, and may not change what was known
before. Too many of them stop the source.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from churn_platform.sources.contract import Contract
from churn_platform.sources.engine import literal, quote

INSIDE = ("usage", "orders")
"""Tables whose rows lie inside a subscription, where there are subscriptions."""
AFTER_SIGNUP = ("usage", "orders", "invoices", "tickets", "surveys", "churn_events")
"""Tables whose rows cannot lie before their customer's signup. Marketing may, and so may a contract."""
SUBSCRIPTION = "subscription_id"
MERGED = "merged_into"


@dataclass(frozen=True)
class Relation:
    """One cleaned table: SQL after FROM, with ``customer_id``, ``row``, ``event``, and the passed columns."""

    name: str
    sql: str
    columns: frozenset[str]


@dataclass(frozen=True)
class CrossRule:
    """One rule between tables.

    Args:
        table, column: what it is about.
        name: its short name.
        sentence: what must hold, for people.
        fails: SELECT of ``row`` and ``customer_id`` of the rows that break it.
        total: SELECT of the number of rows that it judges.
    """

    table: str
    column: str
    name: str
    sentence: str
    fails: str
    total: str


def cross_rules(
    contract: Contract,
    relations: Mapping[str, Relation],
    *,
    customers: str | None = None,
    flags: str | None = None,
    as_of: datetime | None = None,
) -> list[CrossRule]:
    """The rules between the tables that are there.

    Args:
        relations: table → its cleaned rows.
        customers: SELECT of ``customer_id`` of all customers that accounts name; by default those of its
            cleaned rows.
        flags: SELECT of ``row``, ``customer_id`` and ``flag``: who has left, as accounts say it.
        as_of: departures after it are announced only and do not count against the flags.
    """
    if "accounts" not in relations:
        return [rule for name in INSIDE for rule in _inside(contract, relations, name)]
    known = customers or f"SELECT customer_id FROM {relations['accounts'].sql}"
    rules = []
    for name in relations:
        if name != "accounts":
            rules.append(_known(contract, relations[name], known))
    for name in INSIDE:
        rules += _inside(contract, relations, name)
    for name in AFTER_SIGNUP:
        if name in relations:
            rules.append(_after_signup(contract, relations, name))
    if MERGED in relations["accounts"].columns:
        rules.append(_survives(relations["accounts"]))
    if flags and "churn_events" in relations:
        rules.append(_agree(contract, relations["churn_events"], flags, as_of))
    return rules


def _day(contract: Contract, table: str, moment: str) -> str:
    zone = contract.tables[table].timezone
    return f"{moment}::DATE" if zone == "UTC" else f"timezone({literal(zone)}, timezone('UTC', {moment}))::DATE"


def _count(relation: Relation) -> str:
    return f"SELECT count(*) FROM {relation.sql}"


def _known(contract: Contract, relation: Relation, customers: str) -> CrossRule:
    table = contract.tables[relation.name]
    return CrossRule(
        table=relation.name,
        column=table.entity or (table.via.on if table.via else "customer"),
        name="unknown_customer",
        sentence="must name a customer of accounts",
        fails=f"SELECT row, customer_id FROM {relation.sql} WHERE customer_id NOT IN ({customers})",
        total=_count(relation),
    )


def _after_signup(contract: Contract, relations: Mapping[str, Relation], name: str) -> CrossRule:
    signup = _day(contract, "accounts", "min(event)")
    fails = (
        f"SELECT r.row, r.customer_id FROM {relations[name].sql} AS r JOIN "
        f"(SELECT customer_id, {signup} AS signup FROM {relations['accounts'].sql} GROUP BY customer_id) AS a "
        f"ON r.customer_id = a.customer_id WHERE {_day(contract, name, 'r.event')} < a.signup"
    )
    event = contract.tables[name].event_time or "event_time"
    sentence = "must not lie before its customer's signup"
    return CrossRule(name, event, "before_signup", sentence, fails, _count(relations[name]))


def _inside(contract: Contract, relations: Mapping[str, Relation], name: str) -> list[CrossRule]:
    """Not before its subscription and not after its end; without a subscription's id, not after the last end."""
    subscriptions, rows = relations.get("subscriptions"), relations.get(name)
    if subscriptions is None or rows is None:
        return []
    own = SUBSCRIPTION in rows.columns and SUBSCRIPTION in subscriptions.columns
    owner = SUBSCRIPTION if own else "customer_id"
    ends = "ended_at" in subscriptions.columns
    # the newest version says whether a subscription has ended; where several ended, the last end counts
    ended = "max_by(struct_pack(e := ended_at), event).e" if ends else "NULL"
    by_subscription = SUBSCRIPTION if SUBSCRIPTION in subscriptions.columns else "row"
    spans = (
        f"SELECT owner, {_day(contract, 'subscriptions', 'min(started)')} AS started, CASE WHEN "
        f"count(*) = count(ended) THEN {_day(contract, 'subscriptions', 'max(ended)')} END AS ended FROM "
        f"(SELECT any_value({owner}) AS owner, min(event) AS started, {ended} AS ended "
        f"FROM {subscriptions.sql} GROUP BY {by_subscription}) GROUP BY owner"
    )
    day = _day(contract, name, "r.event")
    joined = f"SELECT r.row, r.customer_id FROM {rows.sql} AS r JOIN ({spans}) AS s ON r.{owner} = s.owner WHERE"
    event = contract.tables[name].event_time or "event_time"
    total = _count(rows)
    rules = []
    if own:  # a trial may come before a customer's first subscription, but not before this very one
        sentence = "must not lie before the start of its subscription"
        rules.append(CrossRule(name, event, "before_subscription", sentence, f"{joined} {day} < s.started", total))
    if ends:
        which = "the end of its subscription" if own else "the end of its customer's last subscription"
        sentence = f"must not lie after {which}"
        rules.append(CrossRule(name, event, "after_subscription", sentence, f"{joined} {day} > s.ended", total))
    return rules


def _survives(accounts: Relation) -> CrossRule:
    """A merged account whose survivor is not there takes its history out of sight, and so does a circle of them."""
    merges = f"SELECT row, customer_id, {MERGED} AS survivor FROM {accounts.sql} WHERE {MERGED} IS NOT NULL"
    alive = (
        f"WITH RECURSIVE merges AS ({merges}), alive AS (SELECT customer_id FROM {accounts.sql} WHERE {MERGED} IS NULL "
        "UNION SELECT merges.customer_id FROM merges JOIN alive ON merges.survivor = alive.customer_id) "
    )
    return CrossRule(
        table="accounts",
        column=MERGED,
        name="no_survivor",
        sentence="must lead to an account that is there and was not merged itself, at most in a chain",
        fails=f"{alive} SELECT row, customer_id FROM merges WHERE customer_id NOT IN (SELECT customer_id FROM alive)",
        total=f"SELECT count(*) FROM ({merges})",
    )


def _agree(contract: Contract, events: Relation, flags: str, as_of: datetime | None) -> CrossRule:
    until = f" WHERE event <= TIMESTAMP '{as_of:%Y-%m-%d %H:%M:%S}'" if as_of else ""
    gone = f"customer_id IN (SELECT customer_id FROM {events.sql}{until})"
    return CrossRule(
        table="accounts",
        column=contract.label.flag_column or "flag",
        name="flag_agrees",
        sentence="must be true for the customers that churn_events name, and for no others",
        fails=f"SELECT row, customer_id FROM ({flags}) WHERE coalesce(flag, false) <> ({gone})",
        total=f"SELECT count(*) FROM ({flags})",
    )


def columns_needed(contract: Contract, table: str) -> tuple[str, ...]:
    """The passed columns of a table that the rules look at."""
    wanted = {
        "accounts": (MERGED,),
        "subscriptions": (SUBSCRIPTION, "ended_at"),
        **dict.fromkeys(INSIDE, (SUBSCRIPTION,)),
    }
    return tuple(name for name in wanted.get(table, ()) if name in contract.tables[table].passed)


def select(customer: str, row: str, event: str, columns: Mapping[str, str], relation: str) -> str:
    """A SELECT in the form of :class:`Relation`. ``columns``: canonical name → SQL."""
    extra = "".join(f", {sql} AS {quote(name)}" for name, sql in columns.items())
    return f"SELECT {customer} AS customer_id, {row} AS row, {event} AS event{extra} FROM {relation}"
