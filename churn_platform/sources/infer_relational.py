"""Inference for a folder of tables. What names and values cannot tell is said as a doubt, never silently
assumed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from churn_platform.errors import ContractError, SourceMissingError
from churn_platform.sources.contract import parse_contract
from churn_platform.sources.cross_rules import INSIDE, SUBSCRIPTION
from churn_platform.sources.decimal_mark import Marked, read_by_mark
from churn_platform.sources.infer_links import find_flag, find_way
from churn_platform.sources.infer_names import left_out, oddity
from churn_platform.sources.inference import (
    ARRIVAL_DOUBT,
    CURRENCY,
    HORIZON,
    NO_ARRIVAL,
    NOT_READ,
    Decision,
    Inference,
    canonical_names,
    column_plain,
)
from churn_platform.sources.outcome_names import meaning
from churn_platform.sources.profile import Profile
from churn_platform.sources.readers import CSV_SUFFIXES, PARQUET_SUFFIXES, RawTable, read_files
from churn_platform.sources.tables import RESERVED
from churn_platform.sources.vocabulary import (
    CANONICAL,
    CHANGING,
    CONSTANT,
    ENTITY_NAMES,
    EVENT_TIMES,
    HELPERS,
    INGESTED_NAMES,
    INVOLUNTARY,
    KIND_NAMES,
    OUTCOME,
    TABLE_NAMES,
)

if TYPE_CHECKING:
    import duckdb

SAMPLE = 200_000
FREE_TEXT = 0.5
NEARLY = 0.99
"""An id that is different in this share of rows is meant to be the key."""
MANY_TEXTS = 1_000
OUTCOME_WHY = (
    "its name says that it holds the outcome",
    "was it known before one left? Then fill in the next line; better, say since when (known_at)",
)
LINKS = (SUBSCRIPTION, "order_id", "product_id")
"""Ids that features and rules follow from row to row."""


@dataclass(frozen=True)
class Found:
    """What a folder holds: tables by their names, and what was not recognised."""

    tables: dict[str, Path] = field(default_factory=dict)
    others: tuple[Path, ...] = ()

    def single(self, folder: Path) -> Path:
        """The one file of a folder without recognised tables.

        Raises:
            SourceMissingError, ContractError: there is none, or there are several.
        """
        if not self.others:
            raise SourceMissingError(f"{folder} holds no CSV or Parquet file.", mend="Give the folder of the tables.")
        if len(self.others) > 1 or self.others[0].is_dir():
            names = ", ".join(path.name for path in self.others[:8])
            raise ContractError(
                f"No table is recognised by its name in {folder}: {names}.",
                mend=f"Name files after the tables ({', '.join(TABLE_NAMES)}), or write a contract with their paths.",
                field="tables",
            )
        return self.others[0]


def recognise(folder: Path) -> Found:
    """Match the files and subfolders of a folder with the names of tables. A folder of accounts alone is
    none."""
    tables: dict[str, Path] = {}
    others: list[Path] = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith((".", "_")) or path.name == "truth":
            continue
        stem = _stem(path)
        if stem is None:
            continue
        name = _table_name(stem)
        if name is None or name in tables:
            others.append(path)
        else:
            tables[name] = path
    if "accounts" not in tables or len(tables) < 2:
        return Found({}, tuple(sorted([*tables.values(), *others])))
    return Found({name: tables[name] for name in TABLE_NAMES if name in tables}, tuple(others))


def _stem(path: Path) -> str | None:
    if path.is_dir():
        inside = any(p.name.lower().endswith((*CSV_SUFFIXES, *PARQUET_SUFFIXES)) for p in path.iterdir())
        return path.name if inside else None
    lowered = path.name.lower()
    suffix = next((s for s in (*CSV_SUFFIXES, *PARQUET_SUFFIXES) if lowered.endswith(s)), None)
    return path.name[: -len(suffix)] if suffix else None


def _table_name(stem: str) -> str | None:
    words = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", stem).lower()
    words = re.sub(r"[^a-z]+", "_", words).strip("_")
    best: tuple[int, str] | None = None
    for table, names in TABLE_NAMES.items():
        for name in names:
            if (words == name or words.endswith(f"_{name}")) and (best is None or len(name) > best[0]):
                best = (len(name), table)
    return best[1] if best else None


def infer_relational(
    connection: duckdb.DuckDBPyConnection, folder: Path, found: Found, *, problem: str, id: str | None = None
) -> Inference:
    """Propose the contract of a folder. See :func:`churn_platform.sources.infer.infer_contract`.

    Raises:
        ContractError: a role that every contract needs cannot be filled.
    """
    decisions: list[Decision] = []
    for path in found.others:
        decisions.append(Decision(NOT_READ, path.name, "its name is not that of a table"))
    tables: dict[str, dict[str, Any]] = {}
    kinds: Profile | None = None
    flag: str | None = None
    ways: dict[str, dict[str, Any]] = {}
    raws = {name: _open(connection, name, path) for name, path in found.tables.items()}
    builders = [
        TableInference(name, raw, read_by_mark(connection, raw, table=name, limit=SAMPLE), decisions, id)
        for name, raw in raws.items()
    ]
    for builder in sorted(builders, key=lambda b: b.entity is None):
        name = builder.name
        way = None
        if builder.entity is None:
            way = find_way(connection, name, raws[name], tables, raws, decisions)
        table = builder.build(_relative(folder, found.tables[name]), way)
        if table is None:
            continue
        if way is None:
            tables[name] = table
        else:
            ways[name] = table
        if name == "churn_events":
            kinds = builder.kind
        if name == "accounts" and "churn_events" in raws:
            flag = find_flag(builder.profiles, decisions)
    tables = {name: {**tables, **ways}[name] for name in raws if name in tables or name in ways}
    if "orders" in tables and "churn_events" not in tables:
        from churn_platform.sources.infer_purchases import inactive

        orders = next(builder for builder in builders if builder.name == "orders")
        missing = orders.profiles[orders.entity] if orders.entity else None
        share = missing.missing / missing.rows if missing and missing.rows else 0.0
        return inactive(tables, (str(orders.entity), share), decisions, problem=problem)
    if {"accounts", "subscriptions", "usage", "invoices"}.isdisjoint(tables) or "churn_events" not in tables:
        lacking = [name for name in ("accounts", "churn_events") if name not in tables]
        raise ContractError(
            f"{folder} gives no usable table for {' and '.join(lacking)}.",
            mend="Deliver one row per customer (accounts) and one per departure (churn_events), each with "
            "the "
            "customer's id and a time; or write the contract by hand.",
            field=f"tables.{lacking[0]}",
        )
    if kinds is None:
        raise ContractError(
            "churn_events has no column that says how a customer left.",
            mend="Add a column kind with voluntary or involuntary (payment failed).",
            field="label.kind_column",
        )
    label = _label(tables["churn_events"], kinds, decisions)
    if flag:
        label["flag_column"] = flag
    decisions += [CURRENCY, HORIZON]
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


def _open(connection: duckdb.DuckDBPyConnection, name: str, path: Path) -> RawTable:
    if path.is_file():
        return read_files(connection, (path,), name=name)
    files = tuple(p for p in sorted(path.rglob("*")) if p.name.lower().endswith((*CSV_SUFFIXES, *PARQUET_SUFFIXES)))
    return read_files(connection, files, name=name)


def _label(table: Mapping[str, Any], kinds: Profile, decisions: list[Decision]) -> dict[str, Any]:
    canonical = next(n for n, spec in table["columns"].items() if spec.get("source", n) == kinds.name)
    values = [value for value, _ in kinds.values]
    involuntary = [value for value in values if INVOLUNTARY.search(value)]
    voluntary = [value for value in values if value not in involuntary] or ["voluntary"]
    known = set(values) <= {"voluntary", "involuntary"}
    doubt = None if known else "which of these does the customer decide, and which are failed payments?"
    if not involuntary:
        why = "no kind is named like a failed payment"
        decisions.append(Decision("label.involuntary", None, why, "which kinds are? List them here, not above"))
    decisions.append(
        Decision("label.kind_column", kinds.name, f"it says how a customer left: {', '.join(values)}", doubt)
    )
    return {
        "source": "churn_events",
        "kind_column": canonical,
        "voluntary": voluntary,
        "involuntary": involuntary or ["involuntary"],
        "horizon_days": 30,
        "gap_days": 0,
        "delay_days": 7,
    }


def _relative(folder: Path, path: Path) -> str:
    return path.relative_to(folder).as_posix()


class TableInference:
    """The roles of one table."""

    def __init__(
        self,
        name: str,
        raw: RawTable,
        marked: Marked,
        decisions: list[Decision],
        id: str | None = None,
    ) -> None:
        self.name, self.raw, self.marked, self.decisions = name, raw, marked, decisions
        self.profiles = marked.profiles
        self.kind: Profile | None = None
        self.event: str | None = None
        self.entity = self._named((id.casefold(),)) if id else None
        self.entity = self.entity or self._only_customer()
        if self.entity is None and name == "accounts":
            self.entity = self._named(("id", "uuid"))

    def _only_customer(self) -> str | None:
        """The column named like the customer's id.

        Raises:
            ContractError: accounts have several that tell customers apart.
        """
        by_name = {p.name.casefold(): p for p in self.profiles.values()}
        named = [by_name[name] for name in ENTITY_NAMES if name in by_name]
        apart = [p.name for p in named if p.unique == 1]
        if self.name == "accounts" and len(apart) > 1:
            raise ContractError(
                f"Several columns of accounts may be the customer's id: {', '.join(apart)}.",
                mend="Say which one it is with --id COLUMN.",
                field="tables.accounts.entity",
            )
        return named[0].name if named else None

    def build(self, path: str, way: Mapping[str, str] | None = None) -> dict[str, Any] | None:
        """The plain contract of the table; None where it has no customer or no time.

        Args:
            path: as the contract names it.
            way: how its customers are found through another table, where it has no entity.
        """
        entity, event = self.entity, self._event_time()
        if (entity is None and way is None) or event is None:
            what = "time" if event is None else "customer's id"
            reason = f"table {self.name} has no column that is recognised as the {what}"
            self._say(
                NOT_READ,
                self.raw.files[0].name,
                reason,
                "add the table to the contract by hand if there is one",
            )
            return None
        if entity is not None:
            self._say("entity", entity, "its name is that of the customer's id")
        ingested = self._named(INGESTED_NAMES + (("recorded_at",) if self.name == "churn_events" else ()))
        if ingested:
            self._say("ingested_at", ingested, "its name says when the row arrived")
        key = self._key(entity, event)
        named = {"entity": entity} if way is None else {"via": dict(way)}
        table: dict[str, Any] = {"path": path, **named, "key": key, "event_time": event}
        if self.marked.decimal != ".":
            table["decimal"] = self.marked.decimal
        self.decisions += self.marked.decisions
        if ingested:
            table["ingested_at"] = ingested
        else:
            place = f"tables.{self.name}.event_time"
            self.decisions.append(Decision(place, None, NO_ARRIVAL, ARRIVAL_DOUBT, line="ingested_at: COLUMN"))
        self._say("event_time", event, self.event_reason, self.event_doubt)
        table["columns"] = self._columns({entity, event, ingested, *key})
        return table

    def _say(self, role: str, column: str, reason: str, doubt: str | None = None) -> None:
        place = role if role == NOT_READ else f"tables.{self.name}.{role}"
        self.decisions.append(Decision(place, column, reason, doubt))

    def _named(self, names: tuple[str, ...]) -> str | None:
        by_name = {p.name.casefold(): p.name for p in self.profiles.values()}
        return next((by_name[name] for name in names if name in by_name), None)

    def _event_time(self) -> str | None:
        self.event_reason, self.event_doubt = "its name says when it happened", None
        if self.event is not None:
            return self.event
        if (found := self._named(EVENT_TIMES[self.name])) is not None:
            return found
        times = [p.name for p in self.profiles.values() if p.times > 0.95 and p.name not in self._helpers()]
        self.event_reason, self.event_doubt = "the first column of times", "is it when the row happened?"
        return times[0] if times else None

    def _helpers(self) -> dict[str, str]:
        """Columns known only later → the column that says when."""
        found: dict[str, str] = {}
        for helper, dependants in HELPERS.get(self.name, {}).items():
            column = self._named((helper,))
            if column is None:
                continue
            for dependant in dependants:
                if (later := self._named((dependant,))) is not None and later not in found:
                    found[later] = column
        return found

    def _key(self, entity: str | None, event: str) -> list[str]:
        if self.name == "accounts" and entity is not None:
            self._say("key", entity, "one row per customer")
            return [entity]
        ids = [p for p in self.profiles.values() if p.words[-1:] in (("id",), ("uuid",)) and p.name != entity]
        for p in sorted(ids, key=lambda p: -p.unique)[:1]:
            if p.unique == 1:
                self._say("key", p.name, "an id that is different in each row")
                return [p.name]
            if p.unique > NEARLY:
                again = f"{p.rows - p.distinct:,} rows repeat it: is it meant to be different in each row?"
                self._say("key", p.name, "an id that is different in nearly every row", again)
                return [p.name]
        if self.name == "usage" and entity is not None and not ids:
            self._say(
                "key",
                event,
                "one row per customer and day",
                "is there at most one row per customer and time?",
            )
            return [entity, event]
        self._say("key", event, "no unique id; a row is known by its content", "name the unique key if there is one")
        return []

    def _columns(self, roles: set[str | None]) -> dict[str, dict[str, Any]]:
        helpers = self._helpers()
        hidden = {*roles, *helpers.values()} - {column for column, helper in helpers.items() if helper == column}
        if self.name in ("subscriptions", *INSIDE):  # features and rules follow a subscription
            hidden -= {self._named((SUBSCRIPTION,))}
        canonical = CANONICAL.get(self.name, {})
        chosen: list[tuple[Profile, str]] = []
        taken: set[str] = set()
        for p in self.profiles.values():
            if p.name in hidden:
                continue
            if why := self._useless(p):
                self._say(NOT_READ, f"{self.name}.{p.name}", *why)
                continue
            name = canonical.get(p.name.casefold(), p.name)
            name = p.name if name in taken else name
            taken.add(name)
            chosen.append((p, name))
        names = canonical_names([name for _, name in chosen], RESERVED)
        columns: dict[str, dict[str, Any]] = {}
        for p, wanted in chosen:
            name = names[wanted]
            fields, reason, doubt = self._typed(p, helpers.get(p.name))
            fields["type"] = "text" if name in LINKS else fields["type"]
            if self._is_outcome(p):
                if self.name == "accounts":
                    fields["temporality"] = "immutable"
                left = left_out(self.name, p.name, name, fields, OUTCOME_WHY, review=True)
                self.decisions.append(replace(left, column=f"{self.name}.{p.name}"))
                continue
            columns[name] = column_plain(name, p.name, **fields)
            place = f"tables.{self.name}.columns.{name}"
            self.decisions += oddity(self.raw, p.name, name).decisions(place, reason, doubt)
            if self.name == "churn_events" and self.kind is None and p.name.casefold() in KIND_NAMES:
                self.kind = p
        return columns

    def _is_outcome(self, p: Profile) -> bool:
        if self.name == "churn_events":
            return False
        return OUTCOME.search(p.joined) is not None or meaning(self.raw.header(p.name)) in ("label", "score", "written")

    def _is_link(self, p: Profile) -> bool:
        return CANONICAL.get(self.name, {}).get(p.name.casefold(), p.name.casefold()) in LINKS

    def _useless(self, p: Profile) -> tuple[str, str | None] | None:
        if p.present == 0:
            return "it is empty", None
        if p.kind == "other":
            return "it holds nested values", None
        if self._is_outcome(p):
            return None  # said with the line that takes it in
        if p.name in self.marked.unclear:
            return self.marked.unclear[p.name]
        texts = p.kind == "text" and p.numbers < 1 and p.times < 0.95 and not self._is_link(p)
        if texts and p.unique > FREE_TEXT and p.rows > 20:
            return "free text, or a name", None
        if texts and p.distinct > MANY_TEXTS:
            return f"it has {p.distinct:,} different texts, too many to learn from", "group them if they mean something"
        return None

    def _typed(self, p: Profile, helper: str | None) -> tuple[dict[str, Any], str, str | None]:
        fields: dict[str, Any] = {"type": _type(p)}
        reason, doubt = f"{fields['type']}: by its values", None
        if helper is not None:
            fields["known_at"] = helper
            reason += f"; known since {helper}"
            if helper == p.name:
                doubt = "is it really recorded at that very time, and not later?"
        elif self.name == "accounts":
            if p.joined in CONSTANT or p.joined.startswith("initial"):
                fields["temporality"] = "immutable"
                doubt = "does it never change?"
            else:
                fields["temporality"] = "current_only"
                sure = p.joined in CHANGING
                doubt = None if sure else "if it never changes after signup, say temporality: immutable to use it"
                reason += "; it may have been overwritten since, so it is not used for the past"
        return fields, reason, doubt


def _type(p: Profile) -> str:
    texts = {value.casefold() for value, _ in p.values}
    if p.kind == "boolean" or (p.values and texts <= {"true", "false"}):
        return "boolean"
    if p.words[-1:] == ("id",):
        return "text"
    if p.times > 0.95 and not (p.kind == "text" and p.numbers == 1):
        return "timestamp"
    if p.numbers == 1 and not p.padded:
        return "integer" if p.integers == 1 else "number"
    return "category"
