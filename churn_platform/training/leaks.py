"""The leak gate: columns that tell the outcome because they were written after it, and rows that are in two folds.

Three kinds of evidence: what a contract says (names and temporality), what the cleaned tables hold (times after their
row's arrival), and what the training rows show (:mod:`churn_platform.training.leak_rows`). Holdout rows are never
looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from churn_platform.evaluation.splits import SNAPSHOT
from churn_platform.features.origin import origins
from churn_platform.sources.check import CheckReport, Finding
from churn_platform.sources.outcome_names import meaning, planned
from churn_platform.training.leak import Leak, apply_reviews, refuse
from churn_platform.training.leak_rows import Array, column_leaks, duplicate_leaks, hashed, training_leaks

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from churn_platform.records.store import ContentStore
    from churn_platform.sources.contract import Column, Contract
    from churn_platform.sources.tables import TableVersion
    from churn_platform.training.dataset import TrainingRows

__all__ = ["Leak", "contract_leaks", "find_leaks", "flat_leaks", "leak_findings", "refuse", "table_leaks"]

LATE_SHARE = 0.01


# What the contract says


def contract_leaks(contract: Contract) -> tuple[Leak, ...]:
    """Columns whose names, and the lack of a time at which they became known, say that they hold the outcome.

    ``churn_events`` is the outcome itself and is left alone, as are columns with ``known_at`` or ``effective`` (used
    from that time on) and ``current_only`` ones (never used for the past).
    """
    found = []
    for table_name, table in contract.tables.items():
        if table_name == "churn_events":
            continue
        for name, column in table.passed.items():
            if column.known_at is not None or column.effective is not None:
                continue
            source = column.source or name
            if leak := _named(contract, f"{table_name}.{name}", name, source, column):
                found.append(leak)
    return tuple(found)


def _named(contract: Contract, place: str, name: str, source: str, column: Column) -> Leak | None:
    table = place.split(".", maxsplit=1)[0]
    later = "" if contract.shape == SNAPSHOT else "; if it became known before one left, say when (known_at)"
    out = f"Take it out of tables.{table}.columns{later}."
    if contract.label.column is not None and source == contract.label.column:
        return Leak("label", place, "it is the label itself.", f"Take it out of tables.{table}.columns.")
    meanings = {meaning(text) for text in (name, source)}
    dated = table in ("accounts", "subscriptions", SNAPSHOT) and column.type in ("timestamp", "category", "text")
    if "label" in meanings:
        return Leak("label", place, f"the name {source!r} is that of the label.", out)
    if "score" in meanings:
        return Leak("post_outcome", place, f"the name {source!r} is that of a score made from outcomes.", out)
    if "written" in meanings:
        return Leak("post_outcome", place, f"the name {source!r} is that of what is written when one leaves.", out)
    if "end" in meanings and dated:
        return Leak("post_outcome", place, f"the name {source!r} is that of the day on which one left.", out)
    return None


# What the cleaned tables hold


def table_leaks(contract: Contract, versions: Mapping[str, TableVersion], store: ContentStore) -> tuple[Leak, ...]:
    """Times that lie after the arrival of their own row: they were filled in later, so that they are in the future of
    every observation date before that.

    Args:
        versions: table → what is known of it; tables that are not there are passed over.
    """
    from churn_platform.sources.engine import engine, literal, quote

    found: list[Leak] = []
    with engine(store.root / "tmp") as duck:
        for table_name, table in contract.tables.items():
            if table_name not in versions or table_name == "churn_events" or contract.shape == SNAPSHOT:
                continue
            times = [
                name
                for name, column in table.passed.items()
                if column.type == "timestamp"
                and column.known_at is None
                and column.effective is None
                and not planned(f"{name}{column.source or ''}")
            ]
            if not times:
                continue
            paths = ", ".join(literal(str(path)) for path in versions[table_name].paths(store))
            counts = ", ".join(
                f"count({quote(n)}), count(*) FILTER ({quote(n)} > ingested_at + INTERVAL 1 DAY)" for n in times
            )
            row = duck.execute(f"SELECT {counts} FROM read_parquet([{paths}])").fetchone() or ()
            for position, name in enumerate(times):
                present, late = int(row[2 * position]), int(row[2 * position + 1])
                if late > LATE_SHARE * present:
                    place = f"{table_name}.{name}"
                    found.append(
                        Leak(
                            "future",
                            place,
                            f"{late:,} of its {present:,} times ({late / present:.1%}) lie after the arrival of their "
                            "row, so the row was overwritten later.",
                            f"Say when it became known (tables.{table_name}.columns.{name}.known_at: COLUMN), or take "
                            "it out.",
                        )
                    )
    return tuple(found)


# A flat file, before anything is stored


def flat_leaks(contract: Contract, source: Path) -> tuple[Leak, ...]:
    """Leaks of a flat file: by its contract and by its rows. Nothing is stored.

    Raises:
        SourceMissingError, ContractError: the file or a column is not there.
    """
    from churn_platform.sources.engine import engine
    from churn_platform.sources.readers import open_table
    from churn_platform.sources.staging import SALT, plan_table, stage

    table = contract.snapshot
    with engine() as connection:
        connection.execute(f"SET VARIABLE {SALT} = 'check'")
        plan = plan_table(contract, open_table(connection, contract, SNAPSHOT, source), None)
        stage(connection, plan, "flat", None)
        fields = {c.name: c for c in plan.columns if c.alias != "label"}
        chosen = {n: c for n, c in fields.items() if table.columns[n].type not in ("text", "timestamp")}
        made = connection.execute(
            f"SELECT {', '.join(['label', *(c.alias for c in chosen.values())])} FROM flat "
            "WHERE label IS NOT NULL ORDER BY rid"
        ).to_arrow_table()
    named = contract_leaks(contract)
    if not chosen or not made.num_rows:
        return apply_reviews(named, contract, origins(contract))
    positive = str(contract.label.positive).strip().lower()
    y = np.asarray([int(str(v).strip().lower() == positive) for v in made.column("label").to_pylist()], dtype=np.int8)
    columns: dict[str, Array] = {}
    for name, column in chosen.items():
        values = made.column(column.alias)
        if column.type == "VARCHAR":
            columns[name] = np.asarray(values.to_pylist(), dtype=object)
        else:
            columns[name] = np.asarray(values.to_numpy(zero_copy_only=False), dtype=np.float64)
    with np.errstate(over="ignore"):
        whole = np.sum(np.stack([hashed(n, v) for n, v in columns.items()]), axis=0, dtype=np.uint64)
    group = np.unique(whole, return_inverse=True)[1].astype(np.int64)
    observation = np.full(len(y), SNAPSHOT, dtype=object)
    found = (
        *named,
        *duplicate_leaks(columns, y, group, observation, shape=SNAPSHOT),
        *column_leaks(columns, y, group),
    )
    return _once(apply_reviews(found, contract, origins(contract)))


def _once(leaks: Iterable[Leak]) -> tuple[Leak, ...]:
    """The first leak of each column; what has not been reviewed comes before what has."""
    seen: dict[str, Leak] = {}
    for leak in sorted(leaks, key=lambda leak: leak.review is not None):
        seen.setdefault(leak.column.split(".")[-1], leak)
    return tuple(seen.values())


def find_leaks(
    contract: Contract,
    rows: TrainingRows,
    versions: Mapping[str, TableVersion],
    store: ContentStore,
    since: Mapping[str, datetime] | None = None,
) -> tuple[Leak, ...]:
    """Everything that the gate looks at, for a training set; those with a ``review`` may pass. See :func:`refuse`.

    Args:
        since: see :meth:`~churn_platform.features.available.Available.of`.
    """
    label = contract.label
    found = (
        *contract_leaks(contract),
        *table_leaks(contract, versions, store),
        *training_leaks(rows, shape=contract.shape, horizon_days=label.horizon_days, gap_days=label.gap_days),
    )
    return _once(apply_reviews(found, contract, origins(contract, since, rows.columns.keys())))


def leak_findings(report: CheckReport, source: Path) -> CheckReport:
    """A check's report with the leaks of its contract, and of a flat file's rows, as findings: they stop unless they
    have been reviewed."""
    found = apply_reviews(contract_leaks(report.contract), report.contract, {})
    if report.contract.shape == SNAPSHOT and not any(finding.fault is None for finding in report.findings):
        found = flat_leaks(report.contract, source)
    tables = {leak: leak.column.split(".")[0] if "." in leak.column else SNAPSHOT for leak in found}
    added = tuple(
        Finding(
            tables[leak],
            None,
            (),
            f"Table {tables[leak]}: {leak.column}: {leak.evidence}",
            "" if leak.review else leak.mend,
            rule="leak",
            reviewed=leak.review,
        )
        for leak in found
    )
    return replace(report, findings=(*added, *report.findings))
