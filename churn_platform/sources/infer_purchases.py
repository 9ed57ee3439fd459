"""Inference for a company that has purchases and nobody who says goodbye: daily files, or a log without a header."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from churn_platform.errors import ContractError
from churn_platform.sources.contract import parse_contract
from churn_platform.sources.decimal_mark import read_by_mark
from churn_platform.sources.engine import quote
from churn_platform.sources.infer_relational import SAMPLE, TableInference
from churn_platform.sources.inference import CURRENCY, Decision, Inference
from churn_platform.sources.parsing import as_text
from churn_platform.sources.profile import Profile
from churn_platform.sources.readers import RawTable, read_files
from churn_platform.sources.vocabulary import ENTITY_NAMES, EVENT_TIMES

if TYPE_CHECKING:
    import duckdb

ORDERS = "orders"
CUSTOMER = re.compile(
    r"(customer|cust|client|account|buyer|shopper|user|member|household|subscriber)s?(id|no|nr|number|key|code)?"
)
PROSE = re.compile(r"read.?me|licen[cs]e|change.?log|notice", re.IGNORECASE)
HEADLESS = ("customer_id", "date", "quantity", "amount")
COMPACT = "%Y%m%d"
INACTIVE_DAYS = 90


def one_table(connection: duckdb.DuckDBPyConnection, files: Sequence[Path]) -> RawTable | None:
    """The table that files of one form make together; None where there are several, or none.

    A readme beside them is no table.
    """
    groups: dict[tuple[str, ...], list[Path]] = {}
    for file in files:
        if PROSE.search(file.name):
            continue
        raw = read_files(connection, (file,), name=ORDERS)
        if len(raw.columns) > 1:
            groups.setdefault(tuple(sorted(raw.columns)), []).append(file)
    if len(groups) != 1:
        return None
    ((_, parts),) = groups.items()
    return read_files(connection, tuple(parts), name=ORDERS)


def looks_like_purchases(profiles: Mapping[str, Profile]) -> bool:
    """Whether there is a customer who comes again, a time, and a quantity or an amount."""
    customer, moment = _customer(profiles), _moment(profiles)
    numbers = [p for p in profiles.values() if p.numbers > 0.9 and p.name not in (customer, moment)]
    return customer is not None and moment is not None and bool(numbers)


def infer_purchases(
    connection: duckdb.DuckDBPyConnection, raw: RawTable, folder: Path, *, problem: str, id: str | None = None
) -> Inference:
    """Propose the contract of a log of purchases, whose customers leave by not coming again.

    Raises:
        ContractError: several columns may be the customer's id or the time, or none may.
    """
    decisions: list[Decision] = []
    headless = raw.layout is not None and not raw.layout.header
    names: dict[str, str] = {}
    marked = read_by_mark(connection, raw, table=ORDERS, limit=SAMPLE)
    if headless:
        names = _names_by_values(marked.profiles, raw.files[0], decisions)
        raw = _renamed(raw, names)
        marked = read_by_mark(connection, raw, table=ORDERS, limit=SAMPLE)
    profiles = marked.profiles
    entity = id or _customer(profiles)
    if entity is None or entity not in profiles:
        raise ContractError(
            f"{raw.files[0].name} has no column that is recognised as the customer's id.",
            mend=f"Name it with --id COLUMN. It has: {', '.join(profiles)}.",
            field="id",
        )
    builder = TableInference(ORDERS, raw, marked, decisions)
    builder.entity = entity
    if builder._event_time() is None and (moment := _moment(profiles)) is not None:
        builder.event = moment
    table = builder.build(_path(raw, folder))
    if table is None:
        raise ContractError(
            f"{raw.files[0].name} has no column that is recognised as the time of a purchase.",
            mend=f"Write a contract that names it. It has: {', '.join(profiles)}.",
            field="tables.orders.event_time",
        )
    if headless and raw.layout is not None:
        table = {"path": table.pop("path"), "header": False, "names": list(names.values()), **table}
        if len(raw.layout.delimiter) > 1:
            table["delimiter"] = raw.layout.delimiter
        decisions.append(
            Decision(
                "tables.orders.names",
                None,
                "the file has no header; the names are guesses from the values",
                "are the columns what the names say?",
            )
        )
    event = profiles[table["event_time"]]
    if _compact(event) and event.times < 0.95:
        table["columns"] = {event.name: {"type": "timestamp", "format": COMPACT}, **table["columns"]}
        decisions.append(
            Decision(f"tables.orders.columns.{event.name}", event.name, "eight digits that are year, month and day")
        )
    return inactive({ORDERS: table}, (entity, _missing(connection, raw, entity)), decisions, problem=problem)


def inactive(
    tables: dict[str, dict[str, Any]], customer: tuple[str, float], decisions: list[Decision], *, problem: str
) -> Inference:
    """The contract of a company whose customers leave by not buying any more.

    Args:
        customer: the column of who bought, and the share of rows without a value there.
    """
    column, missing = customer
    if missing:
        tolerance = round(min(missing * 1.2 + 0.01, 0.99), 2)
        tables[ORDERS]["tolerance"] = tolerance
        decisions.append(
            Decision(
                "tables.orders.tolerance",
                column,
                f"{missing:.1%} of the rows have no {column} and are held back",
                "may so many purchases be nobody's?",
            )
        )
    label = {
        "source": "inactivity",
        "activity": ORDERS,
        "active_within_days": INACTIVE_DAYS,
        "horizon_days": INACTIVE_DAYS,
        "delay_days": 0,
    }
    decisions += [
        Decision("label.source", None, "there are purchases and no departures: who does not come again has left"),
        Decision(
            "label.active_within_days",
            None,
            f"assumed: a customer is who bought within {INACTIVE_DAYS} days",
            "how long ago may the last purchase of a customer lie? null: any time",
        ),
        Decision(
            "label.horizon_days",
            None,
            f"assumed: who buys nothing for {INACTIVE_DAYS} days has left",
            "how long a silence means that a customer has left?",
        ),
        CURRENCY,
    ]
    contract = parse_contract(
        {
            "contract_version": 1,
            "problem": problem,
            "shape": "relational",
            "currency": "USD",
            "label": label,
            "tables": tables,
        }
    )
    return Inference(contract, tuple(decisions))


def _missing(connection: duckdb.DuckDBPyConnection, raw: RawTable, column: str) -> float:
    text = as_text(quote(column), raw.columns[column])
    row = connection.execute(f"SELECT avg(({text} IS NULL)::INTEGER) FROM {raw.relation}").fetchone()
    return float(row[0] or 0.0) if row else 0.0


def _customer(profiles: Mapping[str, Profile]) -> str | None:
    """The column of who bought: by its name, or (without names) the one of the most values that come again."""
    by_name = {p.name.casefold(): p for p in profiles.values()}
    named = [by_name[name] for name in ENTITY_NAMES if name in by_name]
    named += [p for p in profiles.values() if CUSTOMER.fullmatch(p.joined)]
    for p in named:
        if p.distinct < 0.99 * max(p.present, 1):
            return p.name
    if any(not re.fullmatch(r"column\d+", p.name) for p in profiles.values()):
        return None
    codes = [p for p in profiles.values() if not _compact(p) and p.times < 0.5 and _codes(p)]
    found = max(codes, key=lambda p: p.distinct, default=None)
    return found.name if found and 1 < found.distinct < 0.99 * found.present else None


def _codes(p: Profile) -> bool:
    return p.padded > 0 or p.numbers < 0.5 or p.integers == 1


def _moment(profiles: Mapping[str, Profile]) -> str | None:
    by_name = {p.name.casefold(): p for p in profiles.values()}
    named = [by_name[name] for name in EVENT_TIMES[ORDERS] if name in by_name]
    return next((p.name for p in (*named, *profiles.values()) if p.times > 0.95 or _compact(p)), None)


def _compact(p: Profile) -> bool:
    """Dates of eight digits, such as 19970112."""
    return p.compact > 0.99


def _names_by_values(profiles: Mapping[str, Profile], file: Path, decisions: list[Decision]) -> dict[str, str]:
    """A name for every column of a file without a header."""
    customer, moment = _customer(profiles), _moment(profiles)
    rest = [p for p in profiles.values() if p.name not in (customer, moment) and p.numbers == 1]
    whole = [p for p in rest if p.integers == 1]
    broken = [p for p in rest if p.integers < 1]
    if customer is None or moment is None or len(whole) > 1 or len(broken) > 1:
        shown = "; ".join(f"{p.name} (such as {p.sample})" for p in profiles.values())
        raise ContractError(
            f"{file.name} has no header, and several columns may be the customer, the time or the amount: {shown}.",
            mend="Write a contract with header: false and the names of the columns in their order.",
            field="tables.orders.names",
        )
    guesses = {customer: HEADLESS[0], moment: HEADLESS[1]}
    guesses |= {p.name: HEADLESS[2] for p in whole} | {p.name: HEADLESS[3] for p in broken}
    reasons = {
        HEADLESS[0]: "codes of which most come again",
        HEADLESS[1]: "dates",
        HEADLESS[2]: "small whole numbers",
        HEADLESS[3]: "numbers with decimals",
    }
    for column, name in guesses.items():
        p = profiles[column]
        decisions.append(
            Decision(f"tables.orders.names.{name}", column, f"{reasons[name]}, such as {p.sample}", "is it?")
        )
    return {name: guesses.get(name, name) for name in profiles}


def _renamed(raw: RawTable, names: Mapping[str, str]) -> RawTable:
    fields = ", ".join(f"{quote(old)} AS {quote(new)}" for old, new in names.items())
    columns = {names[old]: kind for old, kind in raw.columns.items()}
    return replace(raw, relation=f"(SELECT {fields} FROM {raw.relation})", columns=columns, marked=None)


def _path(raw: RawTable, folder: Path) -> str:
    """The file; or a glob, where daily files lie side by side and more will come."""
    first = raw.files[0]
    if len(raw.files) == 1:
        return first.relative_to(folder).as_posix() if folder.is_dir() else first.name
    parent = first.parent.relative_to(folder).as_posix()
    suffixes = {"".join(re.findall(r"\.[a-z]+[0-9]?", file.name.lower())[-2:]) for file in raw.files}
    glob = f"*{suffixes.pop()}" if len(suffixes) == 1 else "*"
    return glob if parent == "." else f"{parent}/{glob}"
