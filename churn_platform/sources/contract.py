"""The source contract: which tables a company has, and which columns play which role. Nothing needs
renaming."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from churn_platform.errors import ContractError, SourceMissingError
from churn_platform.sources.tables import LABEL_COLUMN, PASSED_COLUMNS

CONTRACT_VERSION = 1
EVENT_TABLES = (
    "subscriptions",
    "usage",
    "invoices",
    "tickets",
    "surveys",
    "marketing",
    "interventions",
    "churn_events",
)
RELATIONAL_TABLES = ("accounts", *EVENT_TABLES)
SNAPSHOT_TABLE = "snapshot"
AHEAD_TABLES = {"subscriptions": 400, "churn_events": 400}
"""Contracts are signed and departures announced before they hold: days by which event_time may lead
ingested_at."""

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
        description="Columns that hold from when and until when the value is true (not read yet).",
    )
    min: float | None = Field(default=None, description="The smallest value that may stand here.")
    max: float | None = Field(default=None, description="The largest value that may stand here.")
    nullable: bool = Field(default=True, description="May the value be missing?")
    allowed: tuple[Text, ...] | None = Field(default=None, description="The only values that may stand here.")
    missing: tuple[Text, ...] = Field(default=(), description="Texts that mean: no value. Blank always does.")
    format: str | None = Field(default=None, description="strptime format of a timestamp written as text.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        stated = [n for n in ("temporality", "known_at", "effective") if getattr(self, n) is not None]
        if len(stated) > 1:
            raise ValueError(f"state only one of {' and '.join(stated)}: a column becomes known in one way")
        if self.effective is not None:
            raise ValueError(
                "effective is not read yet: give known_at the column that holds when the value was recorded"
            )
        if (self.min is not None or self.max is not None) and self.type not in ("number", "integer"):
            raise ValueError(f"min and max are for number and integer, not for {self.type}")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is above max {self.max:g}")
        if self.allowed is not None and self.type not in ("category", "text", "integer"):
            raise ValueError(f"allowed is for category, text and integer, not for {self.type}")
        if self.format is not None and self.type != "timestamp":
            raise ValueError("format is for timestamp columns")
        return self


class Table(_Model):
    """One table. ``entity``, ``key``, ``event_time``, ``ingested_at`` and ``known_at`` name either a
    canonical column listed in ``columns`` or, where none has that name, a column of the company's."""

    path: str = Field(min_length=1, description="A file, a folder of part files, or a glob, relative to the source.")
    entity: str | None = Field(
        default=None,
        description="The customer's id. A snapshot without one gets a key made from each row's content.",
    )
    key: tuple[str, ...] = Field(
        default=(), description="The unique key of a row. Empty: the row's content and its occurrence number."
    )
    event_time: str | None = Field(default=None, description="When it happened (relational only).")
    ingested_at: str | None = Field(default=None, description="When the row arrived; absent: known at event time.")
    timezone: str = Field(default="UTC", description="The zone in which times without an offset are read.")
    tolerance: float = Field(default=0.001, ge=0, lt=1, description="Share of rows that may break a rule.")
    lead_days: int | None = Field(
        default=None,
        ge=0,
        description="Days by which event_time may lie after ingested_at; default 1, and 400 for "
        "subscriptions and churn_events.",
    )
    delimiter: str | None = Field(default=None, min_length=1, max_length=1, description="CSV only; default: sniffed.")
    encoding: Literal["utf-8", "latin-1"] | None = Field(default=None, description="CSV only; default: sniffed.")
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
    def passed(self) -> dict[str, Column]:
        """The columns that the door lets through: no current_only values, no bare known_at times, no raw
        id."""
        hidden = {*PASSED_COLUMNS, LABEL_COLUMN, self.entity}
        times = {self.source_of(helper) for helper in self.helpers}

        def bare_time(name: str, column: Column) -> bool:
            # a time that is known when it comes is a value like any other
            source = self.source_of(name)
            return source in times and (column.known_at is None or self.source_of(column.known_at) != source)

        return {
            name: column
            for name, column in self.columns.items()
            if name not in hidden and column.temporality != "current_only" and not bare_time(name, column)
        }


class Label(_Model):
    """Who counts as having left, and when that is known."""

    source: Literal["churn_events", "column"]
    kind_column: str = Field(default="kind", description="Canonical column of churn_events that holds the kind.")
    voluntary: tuple[Text, ...] = Field(default=("voluntary",), description="Kinds that are the primary label.")
    involuntary: tuple[Text, ...] = Field(default=("involuntary",), description="Kinds that compete with it.")
    column: str | None = Field(default=None, description="Snapshot: the company's label column.")
    positive: Text | None = Field(default=None, description="Snapshot: the value that means: has left.")
    horizon_days: int = Field(default=30, ge=1, description="Length of the window in which one leaves, days.")
    gap_days: int = Field(default=0, ge=0, description="Days between the observation date and the window.")
    delay_days: int = Field(default=7, ge=0, description="Days until a departure is sure to be recorded.")

    @property
    def mature_after_days(self) -> int:
        """A label is mature this many days after its observation date."""
        return self.gap_days + self.horizon_days + self.delay_days


class Contract(_Model):
    """The whole contract of one problem. See docs/reference/contract.md."""

    contract_version: Literal[1] = 1
    problem: str = Field(default="churn", pattern=r"^[a-z][a-z0-9_]{0,40}$")
    shape: Literal["relational", "snapshot"]
    currency: str = Field(default="USD", pattern=r"^[A-Z]{3}$")
    label: Label
    value_column: str | None = Field(default=None, description="Snapshot: canonical column with monthly revenue.")
    tables: dict[str, Table] = Field(min_length=1)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problems = _relational(self) if self.shape == "relational" else _snapshot(self)
        for name, table in self.tables.items():
            problems += _table(name, table, self)
        if problems:
            raise ValueError("\n".join(problems))
        return self

    @property
    def snapshot(self) -> Table:
        """The flat table of the snapshot shape."""
        return self.tables[SNAPSHOT_TABLE]

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
    if "accounts" not in contract.tables:
        problems.append("tables.accounts: the relational shape needs the table of customers")
    if contract.label.source != "churn_events":
        problems.append("label.source: the relational shape takes its label from churn_events")
    elif (events := contract.tables.get("churn_events")) is None:
        problems.append("tables.churn_events: label.source says churn_events, so the table must be described")
    elif contract.label.kind_column not in events.columns:
        problems.append(
            f"label.kind_column: tables.churn_events.columns has no {contract.label.kind_column!r}; add "
            f"the column "
            "that says whether a departure was voluntary"
        )
    if both := set(contract.label.voluntary) & set(contract.label.involuntary):
        problems.append(f"label: {sorted(both)} stands under voluntary and involuntary; each kind has one meaning")
    if contract.value_column is not None:
        problems.append("value_column: for the snapshot shape only; revenue comes from subscriptions.mrr here")
    for name, table in contract.tables.items():
        if table.entity is None:
            problems.append(f"tables.{name}.entity: name the column that holds the customer's id")
        if table.event_time is None:
            problems.append(f"tables.{name}.event_time: name the column that says when the row happened")
    return problems


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
        if column.known_at or column.temporality == "current_only":
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
    if duplicated := _repeated([column.lower() for column in table.columns]):
        problems.append(f"{where}.columns: {', '.join(duplicated)} differ only in case; names must differ without it")
    if contract.label.source == "churn_events" and table.entity is not None and table.entity in table.helpers:
        problems.append(f"{where}.entity: a known_at column cannot be the customer's id")
    for role in ("event_time", "ingested_at"):
        target = getattr(table, role)
        if target in table.columns and table.columns[target].type != "timestamp":
            problems.append(f"{where}.{role}: column {target!r} must have type timestamp")
    for column, spec in table.columns.items():
        if spec.known_at in table.columns and table.columns[spec.known_at].type != "timestamp":
            problems.append(f"{where}.columns.{column}.known_at: column {spec.known_at!r} must have type timestamp")
        if spec.known_at and column in table.key:
            problems.append(f"{where}.key: {column!r} is known only later, so it cannot be part of the key")
    return problems


def _repeated(values: list[str]) -> list[str]:
    return sorted({value for value in values if values.count(value) > 1})


def parse_contract(value: Any, *, name: str = "The contract") -> Contract:
    """A contract from plain values, such as YAML gives.

    Raises:
        ContractError: every rule that fails, each with its place and its mend.
    """
    if not isinstance(value, dict):
        raise ContractError(f"{name} is not a mapping of fields.", mend="See docs/reference/contract.md for its form.")
    version = value.get("contract_version", CONTRACT_VERSION)
    if version != CONTRACT_VERSION:
        raise ContractError(
            f"{name} has contract_version {version!r}; this release reads {CONTRACT_VERSION}.",
            mend="Use the release that wrote it, or rewrite it by docs/reference/contract.md.",
            field="contract_version",
        )
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
    if contract.shape == "relational":
        whole.pop("value_column")
    return {**whole, "tables": value["tables"]}


_OTHER_SHAPE = {
    "relational": ("column", "positive"),
    "snapshot": ("kind_column", "voluntary", "involuntary"),
}
"""Fields of the label that the shape has no use for."""


def dump_contract(contract: Contract) -> str:
    """The contract as YAML that :func:`load_contract` reads back to an equal one."""
    return yaml.safe_dump(plain(contract), sort_keys=False, allow_unicode=True, width=110)


def json_schema() -> dict[str, Any]:
    """The JSON Schema of the YAML form, for editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Contract.model_json_schema()}
