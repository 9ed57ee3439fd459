"""Signals of a month, read from tables, features and labels whose departures are known."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from churn_platform.champion.model import ChampionModel
from churn_platform.champion.package import load_package
from churn_platform.evaluation.metrics import sigmoid
from churn_platform.monitoring.months import Examined, examine
from churn_platform.monitoring.response import respond
from churn_platform.monitoring.signals import LEAST_EACH, MonthScores, feeds_of
from churn_platform.records.store import ContentStore
from churn_platform.sources.tables import TablePart, TableVersion
from churn_platform.training.recalibration import Update, shifted_package
from tests.serving.champion import make_columns, make_package

MONTHS = [f"2024-{m:02d}-01" for m in range(1, 11)]
HORIZON = 30


# Feeds


def table(name: str, rows: dict[str, int]) -> TableVersion:
    parts = tuple(TablePart(month, "0" * 64, count) for month, count in rows.items())
    return TableVersion(name, max(rows), parts)


def test_a_feed_is_compared_with_what_it_usually_brings() -> None:
    """The median of at most six months before; never with the first, which holds the whole past."""
    rows = {"2024-01-01": 90_000, "2024-02-01": 10, **dict.fromkeys(MONTHS[2:8], 1000), "2024-09-01": 120}
    (feed,) = feeds_of({"usage": table("usage", rows)}, MONTHS, "2024-09-01")
    assert (feed.rows, feed.usual, feed.dried_up) == (120, 1000.0, True)
    (feed,) = feeds_of({"usage": table("usage", rows)}, MONTHS, "2024-10-01")
    assert (feed.rows, feed.dried_up) == (0, True)
    (feed,) = feeds_of({"usage": table("usage", rows)}, MONTHS, "2024-08-01")
    assert not feed.dried_up


def test_one_bad_month_is_not_what_is_usual() -> None:
    rows = {"2024-01-01": 9000, **dict.fromkeys(MONTHS[1:9], 1000), "2024-06-01": 0, "2024-10-01": 900}
    (feed,) = feeds_of({"usage": table("usage", rows)}, MONTHS, "2024-10-01")
    assert (feed.usual, feed.dried_up) == (1000.0, False)


def test_a_feed_that_stays_away_is_not_forgotten() -> None:
    rows = {"2024-01-01": 9000, **dict.fromkeys(MONTHS[1:4], 1000), **dict.fromkeys(MONTHS[4:], 0)}
    for month in MONTHS[4:]:
        (feed,) = feeds_of({"usage": table("usage", rows)}, MONTHS, month)
        assert (feed.usual, feed.dried_up) == (1000.0, True)
    (feed,) = feeds_of({"usage": table("usage", rows | {"2024-10-01": 800})}, MONTHS, "2024-10-01")
    assert not feed.dried_up, "it is back"


def test_without_a_past_nothing_is_usual() -> None:
    version = {"usage": table("usage", {"2024-01-01": 1000, "2024-02-01": 0})}
    assert feeds_of(version, MONTHS, "2024-01-01") == ()
    assert feeds_of(version, MONTHS, "2024-02-01") == ()


# Departures and ranking


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("package") / "champion"
    make_package(folder)
    return folder


@pytest.fixture(scope="module")
def model(package: Path) -> ChampionModel:
    return load_package(package)


@dataclass(frozen=True)
class Files:
    """A month's tables, and what each customer did."""

    features: Path
    labels: Path
    probability: np.ndarray
    left: np.ndarray


def write_month(
    folder: Path, model: ChampionModel, *, rows: int = 2000, seed: int = 0, times: float = 1.0, mature: bool = True
) -> Files:
    """Customers who leave ``times`` as often as the model says; their labels in another order than their features."""
    columns, rng = make_columns(rows, seed), np.random.default_rng(seed + 100)
    ids = np.array([f"p{seed}-{i:05d}" for i in range(rows)], dtype=object)
    probability = sigmoid(np.asarray(model.score(columns, explain=False).margin))
    left = rng.random(rows) < np.minimum(times * probability, 0.999)
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"customer_id": ids, **columns}), folder / "features.parquet")
    order = rng.permutation(rows)
    outcome = np.where(left, "voluntary", "retained") if mature else np.full(rows, "immature", dtype=object)
    told = {
        "customer_id": ids[order],
        "label": pa.array([int(left[i]) if mature else None for i in order], pa.int8()),
        "so_far": pa.array(["voluntary" if left[i] else None for i in order], pa.string()),
        "outcome": pa.array([str(outcome[i]) for i in order], pa.string()),
    }
    pq.write_table(pa.table(told), folder / "labels.parquet")
    return Files(folder / "features.parquet", folder / "labels.parquet", probability, left)


def edit(path: Path, change: Any) -> None:
    rows = pq.read_table(path)
    values = rows.to_pylist()
    change(values)
    pq.write_table(pa.Table.from_pylist(values, schema=rows.schema), path)


def outcome_of(files: Files, model: ChampionModel, as_of: str, *, mature: bool = False) -> Any:
    scores = MonthScores(model, files.features, files.labels)
    return scores.outcome_so_far(
        "2024-06-01", as_of=datetime.fromisoformat(as_of), gap=0, horizon=HORIZON, mature=mature
    )


def test_departures_known_so_far_against_the_part_of_the_window_that_has_passed(
    model: ChampionModel, tmp_path: Path
) -> None:
    files = write_month(tmp_path, model)
    whole = outcome_of(files, model, "2024-07-15")
    assert whole.observed == files.left.sum()
    assert whole.expected == pytest.approx(files.probability.sum())
    assert outcome_of(files, model, "2024-06-22").expected == pytest.approx(0.7 * files.probability.sum())
    assert outcome_of(files, model, "2024-06-10") is None, "before half of it there is nothing to say"
    assert outcome_of(files, model, "2024-05-10") is None


def test_who_left_otherwise_is_not_counted(model: ChampionModel, tmp_path: Path) -> None:
    """Involuntary departures, and those before the window, are set aside as they are in the label."""
    files = write_month(tmp_path, model, rows=300)
    before = outcome_of(files, model, "2024-07-15")

    def otherwise(rows: list[dict[str, Any]]) -> None:
        rows[0] |= {"so_far": "involuntary", "outcome": "involuntary", "label": None}
        rows[1] |= {"so_far": None, "outcome": "left_before", "label": None}
        rows[2] |= {"so_far": None, "outcome": "merged", "label": None}

    edit(files.labels, otherwise)
    ids = pq.read_table(files.labels)["customer_id"].to_pylist()[:3]
    gone = [int(one.split("-")[1]) for one in ids]
    after = outcome_of(files, model, "2024-07-15")
    assert after.expected == pytest.approx(before.expected - files.probability[gone].sum())
    assert after.observed == before.observed - files.left[gone].sum()


def test_the_ranking_is_that_of_the_labels(model: ChampionModel, tmp_path: Path) -> None:
    from sklearn.metrics import roc_auc_score

    files = write_month(tmp_path, model)
    found = MonthScores(model, files.features, files.labels).ranking("2024-06-01", judged=0.8)
    assert found is not None
    assert found.auc == pytest.approx(roc_auc_score(files.left, files.probability))
    assert 0 < found.deviation < 0.05

    def hardly_anybody(rows: list[dict[str, Any]]) -> None:
        leavers = [row for row in rows if row["label"] == 1]
        for row in leavers[LEAST_EACH - 1 :]:
            row["label"] = 0

    edit(files.labels, hardly_anybody)
    assert MonthScores(model, files.features, files.labels).ranking("2024-06-01", judged=0.8) is None


# A month as a whole


class Place:
    """A store with a champion, who learned from the first three months and was judged on the next two."""

    def __init__(self, root: Path, package: Path, model: ChampionModel) -> None:
        self.store, self.model, self.root = ContentStore(root / "store"), model, root
        self.champion = {
            "package": self.store.put_tree(package),
            "model": model.version_digest,
            "challenger": self.store.put_json(
                {"split": {"train": MONTHS[:3], "embargoed": [], "holdout": MONTHS[3:5]}}
            ),
            "evaluation": self.store.put_json({"auc": 0.65}),
        }
        self.asked: set[str] = set()
        self.times: dict[str, float] = {}
        self.usage = dict.fromkeys(MONTHS, 1000)
        self.blocked: dict[str, str] = {}
        self.bad: tuple[tuple[str, str], ...] = ()
        self.contract: Any = SimpleNamespace(
            shape="relational",
            label=SimpleNamespace(source="churn_events", gap_days=0, horizon_days=HORIZON),
            tables={"churn_events": None, "usage": None},
        )

    def examine(self, month: str) -> Any:
        """The diagnosis of a month at which the labels of the newest one before are not certain yet."""
        newest = [one for one in MONTHS if one < month][-1]

        def digests(key: str) -> dict[str, Any]:
            self.asked.add(key)
            files = write_month(
                self.root / key, self.model, seed=MONTHS.index(key), times=self.times.get(key, 1.0),
                mature=key != newest,
            )  # fmt: skip
            return {
                "features": self.store.put_file(files.features),
                "labels": self.store.put_file(files.labels),
                "mature": key != newest,
            }

        def features(key: str) -> dict[str, Any]:
            return {"digest": digests(key)["features"]}

        def labels(key: str) -> dict[str, Any]:
            found = digests(key)
            return {"digest": found["labels"], "mature": found["mature"]}

        rows = {key: count for key, count in self.usage.items() if key <= month}
        versions = {"usage": table("usage", rows), "churn_events": table("churn_events", dict.fromkeys(rows, 60))}
        parts = versions["usage"].parts
        versions["usage"] = replace(versions["usage"], parts=(*parts[:-1], replace(parts[-1], blocked=self.bad)))
        drift = self.store.put_json(
            {"share_drifted": 0.4, "drifted": True, "columns": [{"name": "mrr", "verdict": "shifted"}]}
        )
        examined = Examined(
            month,
            MONTHS,
            drift=drift,
            tables={
                name: {"digest": self.store.put_json(one.to_json()), "current": {"as_of": f"{month}T00:00:00"}}
                for name, one in versions.items()
            },
            features=features,
            labels=labels,
            blocked=self.blocked,
        )
        return examine(examined, self.champion, self.contract, store=self.store)


@pytest.fixture
def place(tmp_path: Path, package: Path, model: ChampionModel) -> Place:
    return Place(tmp_path, package, model)


def test_other_customers_alone_are_a_record(place: Place) -> None:
    found = place.examine("2024-09-01")
    assert (found.kind, found.response) == ("covariate_shift", "none")
    assert found.signals.shifted == ("mrr",)
    assert found.signals.outcome.month == "2024-08-01"
    assert found.signals.earlier.month == "2024-07-01"
    assert found.signals.ranking.month == "2024-07-01", "the newest with certain labels"


def test_a_month_that_loses_more_is_found_before_its_labels_are_certain(place: Place) -> None:
    place.times = {"2024-08-01": 1.5}
    found = place.examine("2024-09-01")
    assert (found.kind, found.response) == ("calibration_lost", "recalibrate")
    assert found.signals.outcome.ratio == pytest.approx(1.5, abs=0.2)
    assert not found.signals.outcome.mature


def test_what_a_champion_has_learned_from_or_was_judged_on_says_nothing_about_it(place: Place) -> None:
    """The gate has answered those months: the first that speaks is the one after the holdout."""
    place.times = dict.fromkeys(MONTHS[:5], 3.0)
    for month in MONTHS[1:6]:
        found = place.examine(month)
        assert (found.signals.outcome, found.signals.ranking, found.kind) == (None, None, "covariate_shift")
    assert place.asked == set()
    assert place.examine(MONTHS[6]).signals.outcome.month == MONTHS[5]


def test_a_champion_that_was_set_right_answers_for_what_came_after(place: Place, package: Path) -> None:
    digest = shifted_package(package, place.root / "shifted", Update(0.5, 10.0, 15, 0.2, 0.1), month="2024-07-01")
    place.champion |= {"package": place.store.put_tree(place.root / "shifted"), "model": digest}
    found = place.examine("2024-09-01")
    assert found.signals.outcome.month == "2024-08-01"
    assert found.signals.earlier is None
    assert place.examine("2024-08-01").signals.outcome is None


def test_a_dry_feed_comes_first(place: Place) -> None:
    place.times, place.usage["2024-09-01"] = {"2024-08-01": 2.0}, 0
    found = place.examine("2024-09-01")
    assert (found.kind, found.response, found.feeds) == ("data_fault", "mark", ("usage",))


def test_a_flat_file_has_no_months_to_answer_for(place: Place) -> None:
    place.contract.shape = "snapshot"
    found = place.examine("2024-09-01")
    assert (found.signals.outcome, found.signals.ranking, found.signals.feeds) == (None, None, ())


def test_a_column_that_cannot_be_trusted_and_that_the_champion_reads(place: Place, model: ChampionModel) -> None:
    why = "usage.logins must be at least 0, but 90 of 100 rows break this"
    place.bad = (("logins", why), ("errors", "usage.errors must be a number"))
    read = model.features[0].name
    place.blocked = {"not_read": f"{why} (rows known by 2024-09-01)"}
    assert place.examine("2024-09-01").kind == "covariate_shift", "the champion does without"
    place.blocked[read] = f"{why} (rows known by 2024-09-01)"
    found = place.examine("2024-09-01")
    assert (found.kind, found.response, found.feeds) == ("data_fault", "mark", ("usage",))
    assert "usage.logins" in found.reason
    assert "errors" not in found.reason
    (told,) = found.to_json()["signals"]["untrusted"]
    assert told == {"table": "usage", "column": "logins", "why": why, "features": [read]}
    (alert,) = respond([found.to_json()], ())
    assert (alert.action, alert.subject, alert.columns) == ("alert", "usage", ("logins",))
    place.usage["2024-09-01"] = 0
    assert "dried up" in place.examine("2024-09-01").reason
