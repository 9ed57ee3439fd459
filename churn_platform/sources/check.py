"""Run the rules of a contract over a source without storing anything: ``churn contract check``."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from churn_platform.errors import ContractError, SourceError
from churn_platform.sources import duplicates, quarantine
from churn_platform.sources.calendar import Calendar, calendar_of
from churn_platform.sources.contract import Contract
from churn_platform.sources.cross import check_staged, keep, mend, other_form
from churn_platform.sources.cross_rules import Relation
from churn_platform.sources.cross_via import prepare_way
from churn_platform.sources.engine import engine
from churn_platform.sources.faults import Fault, count_faults, examples, mend_of
from churn_platform.sources.infer import Decision, infer_contract
from churn_platform.sources.label import check_categories, check_label
from churn_platform.sources.rates import load_rates
from churn_platform.sources.readers import RawTable, open_table, rejected_lines, rejected_places, scans_so_far
from churn_platform.sources.staging import SALT, Plan, plan_table, stage

if TYPE_CHECKING:
    import duckdb


@dataclass(frozen=True)
class Finding:
    """One broken rule, or one reason why a table cannot be read at all.

    Args:
        fault: the rule, with rows and share; None where the table cannot be read.
        examples: keys of failing rows as the company writes them: for the terminal, never to be stored.
        message: what to tell people.
        mend: what they can do.
        rule: what was looked at, where there is no fault.
        reviewed: why it may pass and who says so, where people have let it.
    """

    table: str
    fault: Fault | None
    examples: tuple[str, ...]
    message: str
    mend: str = ""
    rule: str = "readable"
    reviewed: str | None = None

    @property
    def stops(self) -> bool:
        """Whether the door would refuse the table."""
        if self.fault is None:
            return self.reviewed is None
        return self.fault.stops

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        fault = self.fault
        return {
            "table": self.table,
            "column": fault.column if fault else None,
            "rule": fault.rule if fault else self.rule,
            "effect": fault.effect if fault else "row",
            "rows": fault.rows if fault else None,
            "total": fault.total if fault else None,
            "share": fault.share if fault else None,
            "tolerance": fault.tolerance if fault else None,
            "examples": list(self.examples),
            "stops": self.stops,
            "reviewed": self.reviewed,
            "message": self.message,
            "mend": self.mend,
        }


@dataclass(frozen=True)
class CheckReport:
    """What a check has found.

    Args:
        contract: the contract that was checked.
        decisions: how it came about, where it was inferred.
        calendar: the time that the source covers; None where no table could be read.
        rows: table → raw rows.
        repeated: table → rows that repeat another exactly (the door drops them).
        findings: every broken rule, worst first.
    """

    contract: Contract
    decisions: tuple[Decision, ...]
    calendar: Calendar | None
    rows: dict[str, int]
    repeated: dict[str, int]
    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """Whether the door would let every table pass."""
        return not any(finding.stops for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "passed": self.passed,
            "shape": self.contract.shape,
            "observations": list(self.calendar.observations) if self.calendar else [],
            "rows": self.rows,
            "repeated": self.repeated,
            "findings": [finding.to_json() for finding in self.findings],
        }

    def to_text(self) -> str:
        """For people: a line for every table, a paragraph for every finding with its example keys."""
        lines = []
        for name, rows in self.rows.items():
            repeated = f", of which {self.repeated[name]:,} repeat another" if self.repeated.get(name) else ""
            lines.append(f"{name}: {rows:,} rows{repeated}")
        if self.calendar and self.calendar.first_event:
            dates = self.calendar.observations
            span = f", {dates[0]} to {dates[-1]}" if dates else ""
            lines.append(f"observation dates: {len(dates)}{span}; known until {self.calendar.as_of:%Y-%m-%d}")
        for finding in self.findings:
            mark = "STOPS" if finding.stops else "passes"
            below = f"Reviewed: {finding.reviewed}" if finding.reviewed else finding.mend
            lines += ["", f"[{mark}] {finding.message}", *([f"  {below}"] if below else [])]
        stopping = sum(finding.stops for finding in self.findings)
        verdict = "Every table passes." if self.passed else f"{stopping} of {len(self.findings)} findings stop a table."
        return "\n".join([*lines, "", verdict])


def check_source(
    source: Path,
    contract: Contract | None = None,
    *,
    label: str | None = None,
    positive: str | None = None,
    id: str | None = None,
) -> CheckReport:
    """Check a source against its contract; without one, against what inference proposes. Nothing is stored.

    Args:
        label, positive, id: help for inference, where there is no contract.

    Raises:
        SourceMissingError: no such source.
        ContractError: inference finds several candidates, or none.
    """
    decisions: tuple[Decision, ...] = ()
    if contract is None:
        inference = infer_contract(source, label=label, positive=positive, id=id)
        contract, decisions = inference.contract, inference.decisions
    findings: list[Finding] = []
    rows: dict[str, int] = {}
    repeated: dict[str, int] = {}
    calendar: Calendar | None = None
    with engine() as connection:
        connection.execute(f"SET VARIABLE {SALT} = ?", [secrets.token_hex(32)])
        raws: dict[str, RawTable] = {}
        for name in contract.tables:
            try:
                raws[name] = open_table(connection, contract, name, source)
            except SourceError as error:
                findings.append(Finding(name, None, (), error.message, error.mend))
        try:
            calendar = calendar_of(connection, contract, raws)
        except SourceError as error:
            findings.append(Finding("calendar", None, (), error.message, error.mend))
        plans: dict[str, Plan] = {}
        relations: dict[str, Relation] = {}
        for name, raw in raws.items():
            try:
                way = contract.tables[name].via
                if way and way.table not in raws:
                    continue  # said already: the table that names its customers cannot be read
                prepare_way(connection, contract, name, raws)
                load_rates(connection, contract, name, source)
                as_of = calendar.as_of if calendar and contract.shape == "relational" else None
                plan = plan_table(contract, raw, as_of)
                found, rows[name], repeated[name] = _check_table(connection, contract, plan)
                findings += found
                relations[name], plans[name] = keep(connection, contract, plan, "checked"), plan
            except SourceError as error:
                findings.append(Finding(name, None, (), error.message, error.mend))
            finally:
                connection.execute("DROP TABLE IF EXISTS checked")
        if contract.shape == "relational":
            findings += _check_between(connection, contract, relations, plans)
    findings.sort(key=lambda f: (not f.stops, -(f.fault.share if f.fault else 2.0), f.table))
    return CheckReport(contract, decisions, calendar, rows, repeated, tuple(findings))


def _check_between(
    connection: duckdb.DuckDBPyConnection,
    contract: Contract,
    relations: dict[str, Relation],
    plans: dict[str, Plan],
) -> list[Finding]:
    try:
        found = check_staged(connection, contract, relations, plans)
    except ContractError as error:
        return [Finding("accounts", None, (), error.message, error.mend)]
    findings = []
    for one, keys in found:
        hint = other_form(connection, plans, one.fault)
        message = one.fault.describe(keys) + one.note + hint
        findings.append(Finding(one.fault.table, one.fault, keys, message, mend(one.fault)))
    return findings


def _check_table(
    connection: duckdb.DuckDBPyConnection, contract: Contract, plan: Plan
) -> tuple[list[Finding], int, int]:
    mark = scans_so_far(connection)
    stage(connection, plan, "checked", None)
    lost = rejected_lines(connection, mark, plan.raw)
    places = rejected_places(connection, mark, plan.raw) if lost else ()
    faults, total = count_faults(connection, plan, "checked", lost=lost, places=places)
    check_categories(connection, plan, "checked")
    if contract.shape == "snapshot":
        check_label(connection, contract, "checked")
    quarantine.hold(connection, plan, "checked")
    doubled = duplicates.resolve(connection, plan, "checked")
    if doubled.conflicting:
        faults.append(Fault.unique(plan, doubled.conflicting, total))
    findings = []
    for fault in faults:
        if fault.rows:
            keys = examples(connection, plan, fault)
            findings.append(Finding(fault.table, fault, keys, fault.describe(keys), mend_of(fault)))
    return findings, total, doubled.dropped
