"""The door: raw tables in; clean, pseudonymised, bitemporal tables out, as immutable parts in the content
store.

Downstream, what was known at ``t`` is: the rows of ``TableVersion`` at ``t`` with ``event_time <= t``; of
each ``row_id`` the revision with the greatest ``ingested_at``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from churn_platform.errors import ContractError, SourceMissingError
from churn_platform.records.home import Home
from churn_platform.records.refs import Refs
from churn_platform.records.store import ContentStore
from churn_platform.records.vault import IdentityVault
from churn_platform.sources import blocking, duplicates, identities, quarantine
from churn_platform.sources.calendar import Calendar, calendar_of
from churn_platform.sources.contract import Contract
from churn_platform.sources.cross_via import needed_tables, prepare_way
from churn_platform.sources.engine import engine
from churn_platform.sources.faults import Fault, count_faults, stop_beyond_tolerance
from churn_platform.sources.label import check_categories, check_label
from churn_platform.sources.mutable import SnapshotLog, take_snapshot
from churn_platform.sources.parts import empty_part, revise, version_at, write_parts
from churn_platform.sources.rates import load_rates
from churn_platform.sources.readers import RawTable, open_table, rejected_lines, rejected_places, scans_so_far
from churn_platform.sources.staging import plan_table, stage
from churn_platform.sources.tables import SNAPSHOT, TablePart, TableVersion, observation_time

if TYPE_CHECKING:
    import duckdb

Progress = Callable[[str, float], None]
"""Called with the stage in words and its share done, in [0, 1]."""
STAGED = "staged"


@dataclass(frozen=True)
class Admission:
    """What came through the door.

    Args:
        calendar: the time that the source covers.
        versions: table → observation → what was known by it.
        digests: the same shape → digest of the version's record in the store: the data version.
        current: table → everything that is known by ``calendar.as_of``, also after the last observation date.
        current_digests: the same for ``current``.
        rows: table → raw rows read.
        dropped: table → rows dropped as repetitions of another.
        corrected: table → deliveries that correct an earlier one of the same row.
        faults: table → ``"column: rule"`` → rows that broke it (rows held back, values blanked and notes
            alike).
        quarantined: table → rows held back.
        blocked: table → month by whose end rows were known → column → why it is unusable in them.
        quarantine_files: table → the file with the held rows, where there are any.
        expectations: table → summary of the Great Expectations suite; empty where it was not asked for.
    """

    calendar: Calendar
    versions: dict[str, dict[str, TableVersion]] = field(default_factory=dict)
    digests: dict[str, dict[str, str]] = field(default_factory=dict)
    current: dict[str, TableVersion] = field(default_factory=dict)
    current_digests: dict[str, str] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)
    corrected: dict[str, int] = field(default_factory=dict)
    faults: dict[str, dict[str, int]] = field(default_factory=dict)
    quarantined: dict[str, int] = field(default_factory=dict)
    quarantine_files: dict[str, Path] = field(default_factory=dict)
    blocked: dict[str, dict[str, dict[str, str]]] = field(default_factory=dict)
    expectations: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def admit(
    contract: Contract,
    source: Path,
    observations: Sequence[str],
    *,
    store: ContentStore,
    vault: IdentityVault,
    home: Home,
    tables: Sequence[str] | None = None,
    calendar: Calendar | None = None,
    expectations: bool = True,
    block: bool = False,
    progress: Progress | None = None,
) -> Admission:
    """Read, check and clean tables, and store what was known of each by every observation date.

    Memory stays within ``settings().memory_limit`` (and the parts' footers); DuckDB spills below
    ``home.tmp``. The same input gives the same digests, whichever observation dates are asked for.

    Args:
        source: the folder that the contract's paths are relative to, or the file of a snapshot.
        observations: ``YYYY-MM-01`` keys, or ``("snapshot",)``.
        tables: those to admit; all of the contract by default.
        calendar: what :func:`~churn_platform.sources.calendar.observe_dates` has found, to read the times
            once only.
        expectations: also run the Great Expectations suites on samples and write their docs.
        block: a column that only features read, and that breaks its rule beyond the tolerance, is blanked in the months
            in which it does (see :mod:`~churn_platform.sources.blocking`) and stops nothing.
        progress: see :data:`Progress`.

    Raises:
        SourceMissingError: a file is not there.
        ContractError: the contract does not fit the data, or an observation date or table that cannot be.
        DataFaultError: more rows break a rule than the contract tolerates; what broke it is in quarantine.
    """
    chosen = list(contract.tables) if tables is None else list(tables)
    _check_request(contract, chosen, observations)
    with engine(home.tmp) as connection:
        needed = contract.tables if calendar is None else needed_tables(contract, chosen)
        raws = {name: open_table(connection, contract, name, source) for name in needed}
        calendar = calendar or calendar_of(connection, contract, raws)
        admission = Admission(calendar)
        identities.prepare(connection, vault)
        for done, name in enumerate(chosen):
            if progress:
                progress(f"admitting {name}", done / len(chosen))
            prepare_way(connection, contract, name, raws)
            load_rates(connection, contract, name, source)
            _admit_table(connection, contract, raws[name], observations, admission, store, vault, home, block)
    if not expectations:
        return admission
    from churn_platform.sources.expectations import expect

    if progress:
        progress("running the expectations on samples", 1.0)
    summary = expect(contract, admission.current, store=store, home=home)
    return Admission(**{**vars(admission), "expectations": summary})


def _check_request(contract: Contract, tables: Sequence[str], observations: Sequence[str]) -> None:
    if unknown := [name for name in tables if name not in contract.tables]:
        raise ContractError(
            f"The contract has no table {', '.join(unknown)}; it has {', '.join(contract.tables)}.",
            mend="Describe it in the contract, or leave it out.",
            field="tables",
        )
    snapshot = contract.shape == "snapshot"
    for observation in observations:
        try:
            good = (observation == SNAPSHOT) == snapshot and (snapshot or observation_time(observation).day == 1)
        except ValueError:
            good = False
        if not good:
            wanted = "'snapshot'" if snapshot else "a month start such as 2024-03-01"
            raise ContractError(
                f"{observation!r} is no observation date of the {contract.shape} shape.",
                mend=f"Ask for {wanted}.",
                field="observations",
            )


def _admit_table(
    connection: duckdb.DuckDBPyConnection,
    contract: Contract,
    raw: RawTable,
    observations: Sequence[str],
    admission: Admission,
    store: ContentStore,
    vault: IdentityVault,
    home: Home,
    block: bool,
) -> None:
    name = raw.name
    as_of = None if contract.shape == "snapshot" else admission.calendar.as_of
    plan = plan_table(contract, raw, as_of)
    identities.learn(connection, vault, plan)
    mark = scans_so_far(connection)
    stage(connection, plan, STAGED, identities.IDENTITIES)
    lost = rejected_lines(connection, mark, raw)
    places = rejected_places(connection, mark, raw) if lost else ()
    faults, total = count_faults(connection, plan, STAGED, lost=lost, places=places)
    blocked = blocking.block(connection, plan, STAGED, faults, contract) if block else {}
    if blocked:
        admission.blocked[name] = blocked
        faults, total = count_faults(connection, plan, STAGED, lost=lost, places=places)
    check_categories(connection, plan, STAGED)
    taken = quarantine.hold(connection, plan, STAGED)
    repeated = duplicates.resolve(connection, plan, STAGED)
    if repeated.conflicting:
        faults.append(Fault.unique(plan, repeated.conflicting, total))
    if file := quarantine.write(connection, plan, home):
        admission.quarantine_files[name] = file
    stop_beyond_tolerance(connection, plan, faults)
    if total == 0 and contract.shape == "snapshot":
        raise SourceMissingError(f"{raw.files[0].name} has a header but no row.", mend="Deliver the file again.")
    if contract.shape == "snapshot":
        check_label(connection, contract, STAGED)

    if as_of is not None:
        # what a row says now is its newest revision
        each = f"(SELECT DISTINCT ON (rid) * FROM {STAGED} ORDER BY rid, known DESC)" if repeated.several else STAGED
        take_snapshot(connection, plan, each, store=store, log=SnapshotLog(Refs(home.refs)), as_of=as_of)
    rows = revise(connection, plan, STAGED)
    parts = write_parts(
        connection, plan, rows, store, corrections=duplicates.CORRECTED if repeated.revised else None, blocked=blocked
    )
    empty = empty_part(connection, plan, rows, store, SNAPSHOT if as_of is None else f"{as_of:%Y-%m-%d}")
    connection.execute(f"DROP TABLE {rows}")

    versions = {key: version_at(name, key, parts, empty) for key in observations}
    current = _current(name, admission.calendar, parts, empty)
    admission.versions[name] = versions
    admission.digests[name] = {key: store.put_json(version.to_json()) for key, version in versions.items()}
    admission.current[name] = current
    admission.current_digests[name] = store.put_json(current.to_json())
    admission.rows[name] = total
    admission.dropped[name] = repeated.dropped
    admission.corrected[name] = repeated.revised
    admission.faults[name] = {fault.label: fault.rows for fault in faults if fault.rows}
    admission.quarantined[name] = taken + repeated.conflicting


def _current(name: str, calendar: Calendar, parts: Sequence[TablePart], empty: TablePart) -> TableVersion:
    key = SNAPSHOT if calendar.first_event is None else _day(calendar.as_of)
    return TableVersion(name, key, tuple(parts) or (empty,))


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d}"
