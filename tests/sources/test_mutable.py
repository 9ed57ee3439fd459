"""What is overwritten in place: nothing of it reaches the past, and from the first snapshot on it is known."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from churn_platform import clock
from churn_platform.features.assemble import assemble
from churn_platform.features.catalogue import catalogue_for
from churn_platform.records.refs import Refs
from churn_platform.sources.contract import Contract
from churn_platform.sources.door import Admission
from churn_platform.sources.mutable import Snapshot, SnapshotLog, mutable_digests, usable_since
from tests.sources import company
from tests.sources.company import at
from tests.sources.conftest import Door, open_door

MONTHS = ("2024-04-01", "2024-05-01", "2024-06-01")
DIGEST = "0" * 64


def by_month(admission: Admission) -> dict[str, dict[str, Any]]:
    return {month: {t: v[month] for t, v in admission.versions.items()} for month in MONTHS}


def log_of(door: Door) -> SnapshotLog:
    return SnapshotLog(Refs(door.home.refs))


def features(
    door: Door, contract: Contract, admission: Admission, months: Sequence[str] = MONTHS, **options: Any
) -> dict[str, pd.DataFrame]:
    made = assemble(contract, by_month(admission), months, store=door.store, **options)
    return {month: pq.read_table(door.store.path(table.digest)).to_pandas() for month, table in made.items()}


def overwrite(frames: company.Frames) -> company.Frames:
    """The company's source in its own later words: plan, owner and (for those still there) an end."""
    changed = {name: frame.copy() for name, frame in frames.items()}
    changed["accounts"] = changed["accounts"].assign(plan="enterprise", owner="csm-new")
    still = changed["subscriptions"]["ended_at"].isna()
    changed["subscriptions"].loc[still, "ended_at"] = at(2024, 6, 10)
    changed["subscriptions"].loc[still, "ended_recorded_at"] = at(2024, 6, 12)
    return changed


def test_overwriting_plan_owner_and_end_after_t_moves_no_feature_at_t(door: Door, tmp_path: Path) -> None:
    frames = company.frames(accounts=60, days=170)
    contract = company.contract()
    before = door.admit(contract, company.write(frames, tmp_path / "before"), MONTHS)
    first = {t: m.digest for t, m in assemble(contract, by_month(before), MONTHS, store=door.store).items()}
    after = door.admit(contract, company.write(overwrite(frames), tmp_path / "after"), MONTHS)
    second = {t: m.digest for t, m in assemble(contract, by_month(after), MONTHS, store=door.store).items()}
    assert first == second
    # and with snapshots: those of now say nothing about then
    since = {"accounts": at(2024, 3, 1)}
    with_log = {"snapshots": log_of(door), "since": since}
    third = features(door, contract, after, **with_log)
    assert all(table["owner"].isna().all() for table in third.values())
    earlier = clock.as_of(datetime(2024, 6, 25, tzinfo=UTC))
    with earlier:
        assert log_of(door).at("accounts", at(2024, 6, 1)) is None


def test_a_changed_end_before_t_would_move_them(door: Door, tmp_path: Path) -> None:
    frames = company.frames(accounts=60, days=170)
    contract = company.contract()
    before = door.admit(contract, company.write(frames, tmp_path / "before"), MONTHS)
    changed = overwrite(frames)
    changed["subscriptions"]["ended_at"] -= timedelta(days=40)
    changed["subscriptions"]["ended_recorded_at"] -= timedelta(days=40)
    after = door.admit(contract, company.write(changed, tmp_path / "after"), MONTHS)
    first, second = (assemble(contract, by_month(a), MONTHS, store=door.store) for a in (before, after))
    assert first["2024-05-01"].digest != second["2024-05-01"].digest


def load(door: Door, frames: company.Frames, folder: Path, until: datetime, **values: Any) -> Admission:
    """Load what the source held at a time, its mutable columns as given."""
    cut = company.truncate(frames, until)
    cut["accounts"] = cut["accounts"].assign(**values)
    with clock.as_of(until.replace(tzinfo=UTC)):
        months = [m for m in MONTHS if pd.Timestamp(m) <= until]
        return door.admit(company.contract(), company.write(cut, folder), months)


def test_values_are_known_from_the_first_snapshot_on(door: Door, tmp_path: Path) -> None:
    frames = company.frames(accounts=60, days=170)
    load(door, frames, tmp_path / "a", at(2024, 4, 20), owner="ann", plan="basic")
    load(door, frames, tmp_path / "b", at(2024, 5, 20), owner="bob", plan="pro")
    last = load(door, frames, tmp_path / "c", at(2024, 6, 15), owner="cid", plan="gone")
    log = log_of(door)
    assert [entry.taken_at for entry in log.entries("accounts")] == [at(2024, 4, 20), at(2024, 5, 20), at(2024, 6, 15)]

    since = usable_since(company.contract(), log, MONTHS)
    assert since == {}, "two of these dates have a snapshot: too few to learn from"
    dates = [*MONTHS, "2024-07-01"]
    since = usable_since(company.contract(), log, dates)
    assert since == {"accounts": at(2024, 4, 20)}
    assert set(mutable_digests(since)) == {"snapshots:accounts"}

    made = features(door, company.contract(), last, snapshots=log, since=since)
    owners = {month: set(table["owner"].dropna()) for month, table in made.items()}
    assert owners == {"2024-04-01": set(), "2024-05-01": {"ann"}, "2024-06-01": {"bob"}}
    assert all(len(table) for table in made.values())
    # the subscriptions' own plan is another column
    assert set(made["2024-06-01"]["plan"]) == {"pro"}
    assert set(made["2024-05-01"]["account_plan"].dropna()) == {"basic"}
    assert made["2024-06-01"]["owner"].notna().mean() > 0.9


def test_the_catalogue_says_from_when_it_exists() -> None:
    contract = company.contract()
    assert not {"owner", "account_plan"} & {f.name for f in catalogue_for(contract)}
    found = {f.name: f for f in catalogue_for(contract, {"accounts": at(2024, 4, 21)})}
    assert "snapshots exist since 2024-04-21" in found["owner"].description
    assert found["owner"].null_policy == "null before the first snapshot"
    assert {f.name for f in catalogue_for(contract)} == set(found) - {"owner", "account_plan"}


def test_a_snapshot_holds_pseudonyms_only_and_the_same_one_adds_nothing(door: Door, tmp_path: Path) -> None:
    source = company.write(company.frames(accounts=30), tmp_path / "source")
    for _ in range(2):
        door.admit(company.contract(), source, MONTHS, tables=["accounts"])
    (entry,) = log_of(door).entries("accounts")
    table = pq.read_table(door.store.path(entry.digest))
    assert table.column_names == ["row_id", "customer_id", "plan", "owner"]
    assert entry.columns == ("plan", "owner")
    assert entry.rows == table.num_rows == 30
    assert not [v for v in table["customer_id"].to_pylist() if v.startswith("ACME")]
    assert b"ACME" not in door.store.read_bytes(entry.digest)
    assert log_of(door).entries("usage") == ()


def test_the_same_tables_give_the_same_snapshot_in_any_order(tmp_path: Path) -> None:
    frames = company.frames(accounts=30)
    door = open_door(tmp_path / "home")
    shuffled = {**frames, "accounts": frames["accounts"].sample(frac=1, random_state=1)}
    for name, content in (("a", frames), ("b", shuffled)):
        door.admit(company.contract(), company.write(content, tmp_path / name), MONTHS, tables=["accounts"])
    assert len(log_of(door).entries("accounts")) == 1


@pytest.fixture
def log(tmp_path: Path) -> SnapshotLog:
    return SnapshotLog(Refs(tmp_path))


def snapshot(day: int, digit: str) -> Snapshot:
    return Snapshot("accounts", at(2024, 1, day), digit * 64, 3, ("plan",))


def test_the_log_grows_and_never_into_the_past(log: SnapshotLog) -> None:
    assert log.first("accounts") is None
    assert log.add(snapshot(2, "a"))
    assert log.add(snapshot(5, "a")) is None, "it says the same"
    assert log.add(snapshot(5, "b"))
    assert log.add(snapshot(4, "c")) is None, "today's values were not known then"
    again = log.add(snapshot(5, "c"))
    assert again is not None
    assert again.number == 1
    assert log.add(snapshot(6, "a")), "back to what it was before is news"
    assert [e.digest[0] for e in log.entries("accounts")] == ["a", "b", "c", "a"]
    assert log.at("accounts", at(2024, 1, 1)) is None
    assert [log.at("accounts", at(2024, 1, day)).digest[0] for day in (2, 4, 5, 9)] == ["a", "a", "c", "a"]  # type: ignore[union-attr]
    assert log.entries("accounts")[0] == Snapshot.from_json(log.entries("accounts")[0].to_json())


def test_a_present_set_to_before_the_data_claims_nothing(door: Door, tmp_path: Path) -> None:
    source = company.write(company.frames(accounts=30), tmp_path / "source")
    with clock.as_of(datetime(2020, 1, 1, tzinfo=UTC)):
        admission = door.admit(company.contract(), source, MONTHS)
    (entry,) = log_of(door).entries("accounts")
    assert entry.taken_at == admission.calendar.as_of
