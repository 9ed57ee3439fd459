"""A column that cannot be trusted takes with it what reads it, of the customers whom it concerns, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from churn_platform.features.assemble import assemble
from churn_platform.features.available import Available
from churn_platform.features.blocked import Broken, blocked_features, broken_columns
from churn_platform.features.definitions import definitions_for
from churn_platform.features.month import FeatureMonth
from churn_platform.features.profile import ProfileModel
from churn_platform.records.store import ContentStore
from churn_platform.sources.tables import TablePart, TableVersion
from churn_platform.training.profile import fit_profile
from tests.features.data import Tables, relational
from tests.features.random_tables import random_tables

CONTRACT = relational()
WHY = "usage.errors must be a number, but 90 of 100 rows break this"
GENERATED = ("usage_errors_mean_30d", "usage_errors_sum_trend_30d", "usage_logins_mean_30d")
AT = "2024-08-01"


def versions(store: ContentStore, table: str, column: str, known_by: str) -> dict[str, dict[str, TableVersion]]:
    """What is known at :data:`AT`, with a column blocked in one month's part."""
    made = Tables(CONTRACT, store, random_tables(2)).versions([AT])
    if table:
        found = made[AT][table]
        parts = tuple(replace(p, blocked=((column, WHY),)) if p.known_by == known_by else p for p in found.parts)
        assert parts != found.parts, "no part of that month"
        made[AT][table] = TableVersion(table, found.observation, parts)
    return made


def month(
    store: ContentStore,
    table: str = "",
    column: str = "",
    known_by: str = "2024-07-01",
    profile: ProfileModel | None = None,
) -> FeatureMonth:
    """The features at :data:`AT`."""
    given = versions(store, table, column, known_by)
    return assemble(CONTRACT, given, [AT], store=store, generated=GENERATED, profile=profile)[AT]


def concerned(store: ContentStore, table: str, known_by: str) -> set[str]:
    """Who has a row in that month's part."""
    found = versions(store, "", "", "")[AT][table]
    (part,) = (part for part in found.parts if part.known_by == known_by)
    return set(pq.read_table(store.path(part.digest))["customer_id"].to_pylist())


def blocked_by(table: str, column: str, known_by: str = "2024-07-01", contract: object = CONTRACT) -> set[str]:
    """The features at :data:`AT` that a column broken in one part takes with it."""
    available = Available.of(contract)  # type: ignore[arg-type]
    broken = [Broken(table, column, known_by, "0" * 64, WHY)]
    return set(blocked_features(definitions_for(available), available, AT, broken))


@pytest.mark.parametrize(
    ("table", "column", "features", "some"),
    [
        ("usage", "errors", {"errors_90d", "usage_errors_sum_trend_30d"}, False),
        ("tickets", "severity", {"high_severity_tickets_90d"}, True),
    ],
)
def test_only_what_reads_the_column_is_null_of_those_whom_it_concerns(
    store: ContentStore, table: str, column: str, features: set[str], some: bool
) -> None:
    whole, hurt = month(store), month(store, table, column)
    assert whole.blocked == {}
    assert set(hurt.blocked) == features
    assert all(WHY in reason and "2024-07-01" in reason for reason in hurt.blocked.values())
    before, after = (pq.read_table(store.path(made.digest)) for made in (whole, hurt))
    theirs = pc.is_in(before["customer_id"], value_set=_array(concerned(store, table, "2024-07-01")))
    assert 0 < pc.sum(theirs).as_py() <= before.num_rows - some
    for name in before.column_names:
        mine, others = after.column(name).filter(theirs), after.column(name).filter(pc.invert(theirs))
        assert others.equals(before.column(name).filter(pc.invert(theirs))), name
        if name in hurt.blocked:
            assert mine.null_count == len(mine)
        else:
            assert mine.equals(before.column(name).filter(theirs)), name


def test_once_the_broken_rows_are_out_of_reach_nothing_is_blocked(store: ContentStore) -> None:
    assert month(store, "usage", "errors", known_by="2024-03-01").blocked == {}


@pytest.mark.parametrize(
    ("table", "column", "hurt", "unhurt"),
    [
        ("subscriptions", "seats", {"seats", "seat_utilisation_30d", "logins_per_seat_30d", "seats_change_90d"}, "mrr"),
        ("subscriptions", "mrr", {"mrr", "mrr_change_90d", "price_per_seat", "plan"}, "seats"),
        ("invoices", "amount", {"overdue_amount"}, "overdue_invoices"),
        ("tickets", "csat", {"csat_mean_180d", "last_csat"}, "tickets_30d"),
        ("interventions", "arm", {"interventions_90d"}, "tickets_30d"),
        ("accounts", "region", {"region"}, "industry"),
    ],
)
def test_what_depends_on_what(table: str, column: str, hurt: set[str], unhurt: str) -> None:
    found = blocked_by(table, column, AT)
    assert hurt <= found
    assert unhurt not in found
    assert "tenure_days" not in found


@pytest.mark.parametrize("column", ["quantity", "order_id"])
def test_a_purchase_column_blocks_all_of_the_purchases(column: str) -> None:
    from tests.features.shop import shop

    definitions = definitions_for(Available.of(shop()))
    purchases = {one.name for one in definitions if one.table == "orders" and not one.hidden}
    assert purchases <= blocked_by("orders", column, AT, shop())
    assert blocked_features(definitions, Available.of(shop()), AT, []) == {}


def test_a_window_forgets_and_what_looks_at_all_rows_does_not() -> None:
    assert {"csat_mean_180d", "last_csat"} <= blocked_by("tickets", "csat", "2024-07-01")
    found = blocked_by("tickets", "csat", "2023-12-01")
    assert "last_csat" in found
    assert "csat_mean_180d" not in found


def test_only_parts_that_are_read_count(store: ContentStore) -> None:
    made = versions(store, "tickets", "csat", "2024-06-01")[AT]
    found = broken_columns(Available.of(CONTRACT), [made["tickets"], made["usage"]])
    assert [(one.table, one.column, one.known_by) for one in found] == [("tickets", "csat", "2024-06-01")]


def test_the_profile_is_null_where_it_reads_what_is_blocked(store: ContentStore) -> None:
    whole = pq.read_table(store.path(month(store).digest))
    features = [one.feature for one in definitions_for(Available.of(CONTRACT)) if one.feature.kind == "number"]
    features = [feature for feature in features if feature.name in whole.column_names]
    values = np.column_stack([np.asarray(whole.column(f.name).to_numpy(zero_copy_only=False), float) for f in features])
    profile = fit_profile(features, np.tile(values, (40, 1)))
    assert profile is not None
    assert "errors_90d" in profile.scaling.names
    hurt = month(store, "usage", "errors", profile=profile)
    assert {"anomaly_score", "segment"} <= set(hurt.blocked)
    table = pq.read_table(store.path(hurt.digest))
    theirs = pc.is_in(table["customer_id"], value_set=_array(concerned(store, "usage", "2024-07-01")))
    for name in ("anomaly_score", "segment"):
        assert table[name].filter(theirs).null_count == pc.sum(theirs).as_py() > 0
        assert table[name].filter(pc.invert(theirs)).null_count == 0


def test_who_took_over_a_merged_account_is_concerned(store: ContentStore) -> None:
    from churn_platform.features.blocked import _survivors

    def part(into: dict[str, str]) -> TablePart:
        import pyarrow as pa

        sink = pa.BufferOutputStream()
        pq.write_table(pa.table({"customer_id": list(into), "merged_into": list(into.values())}), sink)
        return TablePart(AT, store.put_bytes(sink.getvalue().to_pybytes()), len(into))

    version = TableVersion("accounts", AT, (part({"a": "b", "b": "c"}), part({"x": "y", "y": "x"})))
    assert _survivors([version], store) == {"a": "c", "b": "c", "x": "x", "y": "y"}


def _array(values: set[str]) -> object:
    import pyarrow as pa

    return pa.array(sorted(values), pa.string())
