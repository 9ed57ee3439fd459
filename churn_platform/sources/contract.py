"""The source contract: which tables a company has, and which columns play which role. Nothing needs
renaming."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from churn_platform.errors import ContractError, SourceError, SourceMissingError
from churn_platform.sources.migrate_contract import VERSION, migrate
from churn_platform.sources.readers_url import parse_source
from churn_platform.sources.tables import LABEL_COLUMN, PASSED_COLUMNS

CONTRACT_VERSION = VERSION
EVENT_TABLES = (
    "subscriptions",
    "usage",
    "orders",
    "invoices",
    "tickets",
    "surveys",
    "marketing",
    "interventions",
    "churn_events",
)
RELATIONAL_TABLES = ("accounts", *EVENT_TABLES)
SNAPSHOT_TABLE = "snapshot"
NAMING_TABLES = ("usage", "orders", "invoices")
"""Tables that can say who the customers are, where there are no accounts."""
AHEAD_TABLES = {"subscriptions": 400, "churn_events": 400}
"""Contracts are signed and departures announced before they hold: days by which event_time may lead
ingested_at."""

LEAST_REVIEW = 10
"""Characters of a review: less says neither why nor who."""
ColumnType = Literal["number", "integer", "boolean", "category", "text", "timestamp"]
Name = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=120)]
Scalar = str | int | float | bool


def _text(value: Any) -> Any:
    # YAML reads a bare yes as true and 1 as a number; labels are compared as the company's text
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else value


Text = Annotated[str, BeforeValidator(_text)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class Column(_Model):
    """One canonical column of a table.

    Bounds and ``allowed`` are row rules; they hold for values that are there, ``nullable`` for those that
    are not.
    """

    type: ColumnType
    source: str | None = Field(default=None, description="The company's column name; default: the canonical name.")
    description: str | None = Field(default=None, description="What the column means, in the company's words.")
    temporality: Literal["immutable", "current_only"] | None = Field(
        default=None,
        description="immutable: never changes after the row is there. current_only: overwritten in place, "
        "so it is "
        "not used for the past.",
    )
    known_at: str | None = Field(
        default=None, description="The column that holds the time at which this value became known."
    )
    effective: tuple[str, str] | None = Field(
        default=None,
        description="Columns that hold from when and until when the value is true; an empty until: it still is.",
    )
    money: bool | None = Field(
        default=None,
        description="Is it an amount in the table's currency? Default: yes for numbers called amount, mrr, unit_price, "
        "cost, discount_amount, price, total.",
    )
    min: float | None = Field(default=None, description="The smallest value that may stand here.")
    max: float | None = Field(default=None, description="The largest value that may stand here.")
    nullable: bool = Field(default=True, description="May the value be missing?")
    allowed: tuple[Text, ...] | None = Field(default=None, description="The only values that may stand here.")
    missing: tuple[Text, ...] = Field(default=(), description="Texts that mean: no value. Blank always does.")
    format: str | None = Field(default=None, description="strptime format of a timestamp written as text.")
    leak_reviewed: str | None = Field(
        default=None,
        description="Lets what the leak gate finds in this column pass: why the value was known before one left, and "
        "who says so.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        stated = [n for n in ("temporality", "known_at", "effective") if getattr(self, n) is not None]
        if len(stated) > 1:
            raise ValueError(f"state only one of {' and '.join(stated)}: a column becomes known in one way")
        if self.money and self.type != "number":
            raise ValueError(f"money is for number, not for {self.type}")
        if (self.min is not None or self.max is not None) and self.type not in ("number", "integer"):
            raise ValueError(f"min and max are for number and integer, not for {self.type}")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is above max {self.max:g}")
        if self.allowed is not None and self.type not in ("category", "text", "integer"):
            raise ValueError(f"allowed is for category, text and integer, not for {self.type}")
        if self.format is not None and self.type != "timestamp":
            raise ValueError("format is for timestamp columns")
        if self.leak_reviewed is not None and len(" ".join(self.leak_reviewed.split())) < LEAST_REVIEW:
            raise ValueError(
                f"leak_reviewed needs {LEAST_REVIEW} characters or more: why the value was known before one left, and "
                "who says so"
            )
        return self


class Via(_Model):
    """The way to the customer of a table that names only a row of another table."""

    table: str = Field(description="The table that names the customer, such as subscriptions.")
    on: str = Field(
        min_length=1, description="The column, in both tables, by which its row is found, such as subscription_id."
    )

    @model_validator(mode="before")
    @classmethod
    def _on(cls, value: Any) -> Any:
        # YAML reads a bare on as true, also where it is a key
        return {"on" if k is True else k: v for k, v in value.items()} if isinstance(value, dict) else value


class Table(_Model):
    """One table. ``entity``, ``key``, ``event_time``, ``ingested_at`` and ``known_at`` name either a
    canonical column listed in ``columns`` or, where none has that name, a column of the company's."""

    path: str = Field(min_length=1, description="A file, a folder of part files, or a glob, relative to the source.")
    entity: str | None = Field(
        default=None,
        description="The customer's id. A snapshot without one gets a key made from each row's content.",
    )
    via: Via | None = Field(
        default=None, description="In place of entity, where the customer is named by another table only."
    )
    key: tuple[str, ...] = Field(
        default=(), description="The unique key of a row. Empty: the row's content and its occurrence number."
    )
    event_time: str | None = Field(default=None, description="When it happened (relational only).")
    ingested_at: str | None = Field(default=None, description="When the row arrived; absent: known at event time.")
    timezone: str = Field(default="UTC", description="The zone in which times without an offset are read.")
    currency: str | None = Field(
        default=None,
        min_length=1,
        description="The currency of the table's amounts: an ISO 4217 code, or the company's column that holds one; "
        "default: the contract's. Others are converted by rates.",
    )
    tolerance: float = Field(default=0.001, ge=0, lt=1, description="Share of rows that may break a rule.")
    cross_tolerance: float = Field(
        default=0.01, ge=0, le=1, description="Share of rows that may contradict another table; 1: any."
    )
    lead_days: int | None = Field(
        default=None,
        ge=0,
        description="Days by which event_time may lie after ingested_at; default 1, and 400 for "
        "subscriptions and churn_events.",
    )
    delimiter: str | None = Field(
        default=None,
        pattern=r'^(whitespace|[^"\r\n])$',
        description="CSV only: one character, or whitespace for any number of blanks; default: sniffed.",
    )
    header: bool = Field(default=True, description="CSV only: does the first line hold the columns' names?")
    names: tuple[str, ...] = Field(
        default=(), description="CSV without a header: the columns' names, in the file's order."
    )
    encoding: Literal["utf-8", "latin-1", "windows-1252", "utf-16"] | None = Field(
        default=None, description="CSV only; default: sniffed."
    )
    watermark: str | None = Field(
        default=None,
        description="Databases: the column that grows whenever a row is added or changed, so that only what changed "
        "is read.",
    )
    look_back_days: float = Field(
        default=1, ge=0, description="Databases: days before the newest watermark that are read again, for late rows."
    )
    deleted_at: str | None = Field(
        default=None, description="A column that is set when a row is deleted; such rows are not read."
    )
    decimal: Literal[".", ","] = Field(default=".", description="The decimal mark of numbers written as text.")
    columns: dict[Name, Column] = Field(
        default_factory=dict, description="Canonical name → column. Only these are read."
    )

    def source_of(self, name: str) -> str:
        """The company's column behind a canonical name or role."""
        column = self.columns.get(name)
        return column.source or name if column else name

    @property
    def helpers(self) -> tuple[str, ...]:
        """Columns that say when others became known, in order of first mention."""
        return tuple(dict.fromkeys(c.known_at for c in self.columns.values() if c.known_at))

    @property
    def spans(self) -> tuple[tuple[str, str], ...]:
        """The (from, until) columns of values with ``effective``, in order of first mention."""
        return tuple(dict.fromkeys(c.effective for c in self.columns.values() if c.effective))

    @property
    def passed(self) -> dict[str, Column]:
        """The columns that the door lets through: no current_only values, no bare known_at times, no raw
        id."""
        hidden = {*PASSED_COLUMNS, LABEL_COLUMN, self.entity}
        times = {self.source_of(helper) for helper in self.helpers}
        spans = {self.source_of(moment) for span in self.spans for moment in span}

        def bare_time(name: str, column: Column) -> bool:
            # a time that is known when it comes is a value like any other
            source = self.source_of(name)
            if source in spans:
                return True
            return source in times and (column.known_at is None or self.source_of(column.known_at) != source)

        return {
            name: column
            for name, column in self.columns.items()
            if name not in hidden and column.temporality != "current_only" and not bare_time(name, column)
        }


class Label(_Model):
    """Who counts as having left, and when that is known."""

    source: Literal["churn_events", "column", "inactivity", "subscription_end"]
    kind_column: str = Field(default="kind", description="Canonical column of churn_events that holds the kind.")
    voluntary: tuple[Text, ...] = Field(default=("voluntary",), description="Kinds that are the primary label.")
    involuntary: tuple[Text, ...] = Field(default=("involuntary",), description="Kinds that compete with it.")
    flag_column: str | None = Field(
        default=None,
        description="The company's column of accounts that says who has left by now: compared with churn_events, "
        "never a feature.",
    )
    column: str | None = Field(default=None, description="Snapshot: the company's label column.")
    positive: Text | None = Field(default=None, description="Snapshot: the value that means: has left.")
    activity: str | None = Field(
        default=None, description="Inactivity: the table whose rows are activity, such as orders."
    )
    active_within_days: int | None = Field(
        default=90,
        ge=1,
        description="Inactivity: a customer at t is who was active in this many days before; null: ever before.",
    )
    grace_days: int = Field(
        default=7,
        ge=0,
        description="Subscription end: who has another subscription within this many days has not left.",
    )
    horizon_days: int = Field(default=30, ge=1, description="Length of the window in which one leaves, days.")
    gap_days: int = Field(default=0, ge=0, description="Days between the observation date and the window.")
    delay_days: int = Field(default=7, ge=0, description="Days until a departure is sure to be recorded.")

    @property
    def mature_after_days(self) -> int:
        """A label is mature this many days after its observation date."""
        grace = self.grace_days if self.source == "subscription_end" else 0
        return self.gap_days + self.horizon_days + grace + self.delay_days


class Rates(_Model):
    """The dated exchange rates by which amounts are converted to the contract's currency."""

    path: str = Field(min_length=1, description="A file, relative to the source.")
    date: str = Field(default="date", description="The company's column with the day of a rate.")
    currency: str = Field(default="currency", description="The company's column with the currency's ISO code.")
    rate: str = Field(
        default="rate", description="The company's column: what one unit is worth in the contract's currency."
    )


class Contract(_Model):
    """The whole contract of one problem. See docs/reference/contract.md."""

    contract_version: Literal[1] = 1
    problem: str = Field(default="churn", pattern=r"^[a-z][a-z0-9_]{0,40}$")
    shape: Literal["relational", "snapshot"]
    currency: str = Field(default="USD", pattern=r"^[A-Z]{3}$")
    label: Label
    value_column: str | None = Field(default=None, description="Snapshot: canonical column with monthly revenue.")
    rates: Rates | None = Field(default=None, description="Where amounts are in other currencies: their rates.")
    source: str | None = Field(
        default=None, description="The URL of the database or bucket that paths are relative to. Never with a password."
    )
    tables: dict[str, Table] = Field(min_length=1)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problems = _relational(self) if self.shape == "relational" else _snapshot(self)
        for name, table in self.tables.items():
            problems += _table(name, table, self)
        if self.source is not None:
            problems += _source(self.source)
        if problems:
            raise ValueError("\n".join(problems))
        return self

    @property
    def snapshot(self) -> Table:
        """The flat table of the snapshot shape."""
        return self.tables[SNAPSHOT_TABLE]

    @property
    def activity(self) -> str | None:
        """The table whose customers are everybody's: that of an inactivity label, or, where neither accounts
        nor subscriptions say who is a customer, the first of :data:`NAMING_TABLES`."""
        if self.label.source == "inactivity":
            return self.label.activity
        if self.shape == "snapshot" or not {"accounts", "subscriptions"}.isdisjoint(self.tables):
            return None
        return next((name for name in NAMING_TABLES if name in self.tables), None)

    def lead_days(self, table: str) -> int:
        """Days by which event_time may lie after ingested_at in this table."""
        stated = self.tables[table].lead_days
        return AHEAD_TABLES.get(table, 1) if stated is None else stated


def _relational(contract: Contract) -> list[str]:
    problems = [
        f"tables.{name}: no such table in the relational shape; it has {', '.join(RELATIONAL_TABLES)}"
        for name in contract.tables
        if name not in RELATIONAL_TABLES
    ]
    if {"accounts", "subscriptions", *NAMING_TABLES}.isdisjoint(contract.tables):
        problems.append(
            "tables.accounts: the relational shape needs the table of customers, or one of subscriptions, "
            f"{', '.join(NAMING_TABLES)} that names them"
        )
    if contract.label.source == "inactivity":
        problems += _inactivity(contract)
    elif contract.label.source == "subscription_end":
        problems += _subscription_end(contract)
    elif contract.label.source != "churn_events":
        problems.append("label.source: the relational shape takes its label from churn_events, or from inactivity")
    elif (events := contract.tables.get("churn_events")) is None:
        problems.append("tables.churn_events: label.source says churn_events, so the table must be described")
    elif contract.label.kind_column not in events.columns:
        problems.append(
            f"label.kind_column: tables.churn_events.columns has no {contract.label.kind_column!r}; add "
            f"the column "
            "that says whether a departure was voluntary"
        )
    flag = contract.label.flag_column
    for name, column in contract.tables["accounts"].columns.items() if flag and "accounts" in contract.tables else ():
        if (column.source or name) == flag:
            problems.append(f"tables.accounts.columns.{name}: the flag may not be a feature; take the line out")
    if both := set(contract.label.voluntary) & set(contract.label.involuntary):
        problems.append(f"label: {sorted(both)} stands under voluntary and involuntary; each kind has one meaning")
    if contract.value_column is not None:
        problems.append("value_column: for the snapshot shape only; revenue comes from subscriptions.mrr here")
    for name, table in contract.tables.items():
        if table.entity is None and table.via is None:
            problems.append(f"tables.{name}.entity: name the column that holds the customer's id")
        problems += _way(name, table, contract)
        if table.event_time is None:
            problems.append(f"tables.{name}.event_time: name the column that says when the row happened")
    return problems


def _inactivity(contract: Contract) -> list[str]:
    """What is wrong with a label by inactivity."""
    event_tables = [name for name in contract.tables if name not in ("accounts", "churn_events")]
    problems = []
    if contract.label.activity not in event_tables:
        problems.append(
            "label.activity: name the table whose rows are activity, one of "
            f"{', '.join(event_tables) or 'none here'}, not {contract.label.activity!r}"
        )
    if "churn_events" in contract.tables:
        problems.append(
            "tables.churn_events: with label.source inactivity nobody reads it; take the table out, or set "
            "label.source to churn_events"
        )
    return problems


def _subscription_end(contract: Contract) -> list[str]:
    """What is wrong with a label by the end of subscriptions."""
    table = contract.tables.get("subscriptions")
    if table is None:
        return ["tables.subscriptions: label.source says subscription_end, so the table must be described"]
    problems = []
    ended = table.columns.get("ended_at")
    if ended is None or ended.type != "timestamp" or ended.known_at is None:
        problems.append(
            "tables.subscriptions.columns.ended_at: label.source says subscription_end, so give the time at which a "
            "subscription ended and when that was recorded: {type: timestamp, known_at: COLUMN}"
        )
    if "churn_events" in contract.tables:
        problems.append(
            "tables.churn_events: with label.source subscription_end nobody reads it; take the table out, or set "
            "label.source to churn_events"
        )
    return problems


def _way(name: str, table: Table, contract: Contract) -> list[str]:
    """What is wrong with the way to a table's customers through another."""
    if table.via is None:
        return []
    where, other = f"tables.{name}.via", contract.tables.get(table.via.table)
    if table.entity is not None:
        return [f"{where}: the table has an entity of its own; give one of the two"]
    if name == "accounts":
        return [f"{where}: accounts name their customers themselves; give entity"]
    if other is None or other.entity is None or table.via.table == name:
        named = ", ".join(other for other, spec in contract.tables.items() if spec.entity and other != name)
        return [f"{where}.table: {table.via.table!r} names no customer; choose of {named}"]
    return []


def _snapshot(contract: Contract) -> list[str]:
    problems = []
    if tuple(contract.tables) != (SNAPSHOT_TABLE,):
        return [f"tables: the snapshot shape has exactly one table, named {SNAPSHOT_TABLE}"]
    table, label = contract.snapshot, contract.label
    if label.source != "column":
        problems.append("label.source: the snapshot shape takes its label from a column")
    if label.column is None:
        problems.append("label.column: name the column that says who has left")
    if label.positive is None:
        problems.append("label.positive: give the value of the label column that means: has left")
    for name, column in table.columns.items():
        if (column.source or name) == label.column:
            problems.append(f"tables.snapshot.columns.{name}: the label may not be a feature; take the line out")
        if column.known_at or column.effective or column.temporality == "current_only":
            problems.append(f"tables.snapshot.columns.{name}: a flat file has no history; take out its temporality")
    for role in ("event_time", "ingested_at"):
        if getattr(table, role) is not None:
            problems.append(f"tables.snapshot.{role}: a flat file makes no claim about time; take it out")
    if (value := contract.value_column) is not None:
        if value not in table.columns:
            problems.append(f"value_column: {value!r} is not in tables.snapshot.columns")
        elif table.columns[value].type not in ("number", "integer"):
            problems.append(f"value_column: {value!r} must be a number, not {table.columns[value].type}")
    if not table.passed:
        problems.append("tables.snapshot.columns: list at least one column to learn from")
    return problems


def _table(name: str, table: Table, contract: Contract) -> list[str]:
    where = f"tables.{name}"
    problems = []
    try:
        ZoneInfo(table.timezone)
    except (KeyError, ValueError, OSError):
        problems.append(
            f"{where}.timezone: {table.timezone!r} is no zone of the IANA database; write e.g. Europe/Berlin"
        )
    if Path(table.path).is_absolute() or ".." in Path(table.path).parts:
        problems.append(f"{where}.path: must stay inside the source folder; write it relative to it")
    entity = (table.source_of(table.entity) if table.entity else "").strip().casefold()
    for column, spec in table.columns.items():
        if entity and column != table.entity and (spec.source or column).strip().casefold() == entity:
            problems.append(
                f"{where}.columns.{column}: is the customer's id, which never leaves the door; take the line out"
            )
    for column in table.columns:
        if column in (*PASSED_COLUMNS, LABEL_COLUMN) and column not in (
            table.entity,
            table.event_time,
            table.ingested_at,
        ):
            problems.append(
                f"{where}.columns.{column}: the name is the platform's own; choose another, keep the source"
            )
        elif column.startswith("__"):
            problems.append(f"{where}.columns.{column}: names that begin with two underscores are the platform's own")
    if table.names and table.header:
        problems.append(f"{where}.names: for files without a header only; state header: false as well")
    if duplicated := _repeated([given.casefold() for given in table.names]):
        problems.append(f"{where}.names: {', '.join(duplicated)} is listed twice; every column needs its own name")
    if duplicated := _repeated([column.lower() for column in table.columns]):
        problems.append(f"{where}.columns: {', '.join(duplicated)} differ only in case; names must differ without it")
    if contract.label.source == "churn_events" and table.entity is not None and table.entity in table.helpers:
        problems.append(f"{where}.entity: a known_at column cannot be the customer's id")
    if name == "accounts":
        problems += _undeclared(where, table)
    for role in ("event_time", "ingested_at"):
        target = getattr(table, role)
        if target in table.columns and table.columns[target].type != "timestamp":
            problems.append(f"{where}.{role}: column {target!r} must have type timestamp")
    for column, spec in table.columns.items():
        if spec.known_at in table.columns and table.columns[spec.known_at].type != "timestamp":
            problems.append(f"{where}.columns.{column}.known_at: column {spec.known_at!r} must have type timestamp")
        if (spec.known_at or spec.effective or spec.temporality == "current_only") and column in table.key:
            problems.append(f"{where}.key: {column!r} is known only later, so it cannot be part of the key")
        for moment in spec.effective or ():
            if moment in table.columns and table.columns[moment].type != "timestamp":
                problems.append(f"{where}.columns.{column}.effective: column {moment!r} must have type timestamp")
    if table.currency not in (None, contract.currency) and contract.rates is None and contract.shape == "relational":
        problems.append(
            f"{where}.currency: amounts in another currency than {contract.currency} are converted by a dated rate "
            "table; describe it: rates: {path: rates.csv, date: date, currency: currency, rate: rate}"
        )
    if table.currency is not None and contract.shape == "snapshot":
        problems.append(f"{where}.currency: a flat file has no dates to convert at; state the contract's currency")
    return problems


def _undeclared(where: str, table: Table) -> list[str]:
    """Columns of a table whose rows are overwritten in place that do not say how their values become known."""
    roles = (table.entity, table.event_time, table.ingested_at, *table.key)
    return [
        f"{where}.columns.{name}: say how its value becomes known, since rows of this table are overwritten in place: "
        "temporality: immutable (never changes after signup), temporality: current_only (overwritten; used from the "
        "first snapshot on), known_at: COLUMN or effective: [FROM, TO]"
        for name, column in table.passed.items()
        if name not in roles and column.temporality is None and column.known_at is None and column.effective is None
    ]


def _source(text: str) -> list[str]:
    try:
        found = parse_source(text)
    except SourceError as error:
        return [f"source: {error.message} {error.mend}"]
    if isinstance(found, Path):
        return ["source: write a URL such as postgresql://user@host/database; a folder is given by --source"]
    return []


def _repeated(values: list[str]) -> list[str]:
    return sorted({value for value in values if values.count(value) > 1})


def parse_contract(value: Any, *, name: str = "The contract") -> Contract:
    """A contract from plain values, such as YAML gives.

    Raises:
        ContractError: every rule that fails, each with its place and its mend.
    """
    if not isinstance(value, dict):
        raise ContractError(f"{name} is not a mapping of fields.", mend="See docs/reference/contract.md for its form.")
    value = migrate(value, name=name)
    try:
        return Contract.model_validate(value)
    except ValidationError as error:
        lines = [line for item in error.errors() for line in _explain(item["loc"], item["type"], item["msg"])]
        raise ContractError(
            f"{name} does not hold: {'; '.join(lines)}.",
            mend="Mend these lines; docs/reference/contract.md describes every field.",
            field=lines[0].split(":")[0],
        ) from error


def _explain(location: tuple[int | str, ...], kind: str, message: str) -> list[str]:
    place = ".".join(str(part) for part in location)
    text = re.sub(r"^(Value|Assertion) error, ", "", message)
    if kind == "extra_forbidden":
        text = "there is no such field; see the spelling, or take it out"
    elif kind == "missing":
        text = "is missing"
    lines = text.split("\n")
    return [f"{place}: {line}" if place else line for line in lines]


def load_contract(path: Path) -> Contract:
    """Read a contract from a YAML file.

    Raises:
        SourceMissingError: no such file.
        ContractError: not YAML, or it does not hold.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise SourceMissingError(
            f"There is no contract at {path}.",
            mend="Give --contract a YAML file; `churn contract infer` writes one.",
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ContractError(
            f"The contract {path} cannot be read: {error}.", mend="It must be a UTF-8 YAML file."
        ) from error
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ContractError(
            f"The contract {path} is not YAML: {' '.join(str(error).split())}.", mend="Mend the named line."
        ) from error
    return parse_contract(value, name=f"The contract {path.name}")


def plain(contract: Contract) -> dict[str, Any]:
    """The contract as plain values, its fields in the order of the documentation.

    Defaults of tables and columns are left out; those of the whole, such as the horizon, are decisions and
    stand there.
    """
    value: dict[str, Any] = contract.model_dump(mode="json", exclude_defaults=True)
    whole = contract.model_dump(mode="json", exclude={"tables"})
    whole["label"] = {
        name: item
        for name, item in whole["label"].items()
        if item is not None and name not in _OTHER_SHAPE[contract.shape]
    }
    if contract.label.source == "inactivity":
        given = value.get("label", {})
        whole["label"] = {name: item for name, item in whole["label"].items() if name not in _KINDS or name in given}
        whole["label"]["active_within_days"] = contract.label.active_within_days
    else:
        whole["label"].pop("active_within_days", None)
    if contract.label.source != "subscription_end":
        whole["label"].pop("grace_days", None)
    if contract.rates is None:
        whole.pop("rates")
    if contract.shape == "relational":
        whole.pop("value_column")
    if contract.source is None:
        whole.pop("source")
    return {**whole, "tables": value["tables"]}


_OTHER_SHAPE = {
    "relational": ("column", "positive"),
    "snapshot": ("flag_column", "kind_column", "voluntary", "involuntary"),
}
"""Fields of the label that the shape has no use for."""
_KINDS = ("kind_column", "voluntary", "involuntary")
"""Fields of the label that only departures have; their defaults say nothing about inactivity."""


def dump_contract(contract: Contract) -> str:
    """The contract as YAML that :func:`load_contract` reads back to an equal one."""
    return yaml.safe_dump(plain(contract), sort_keys=False, allow_unicode=True, width=110)


def json_schema() -> dict[str, Any]:
    """The JSON Schema of the YAML form, for editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Contract.model_json_schema()}
