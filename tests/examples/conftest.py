"""The real data sets, unpacked; tests skip where they are not there."""

from __future__ import annotations

import os
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from churn_platform.settings import CHECKOUT
from churn_platform.sources.contract import Contract, load_contract

EXAMPLES = CHECKOUT / "docs" / "examples"


def real_data(*parts: str) -> Path:
    """A file of the real data sets.

    Skips where ``CHURN_TEST_DATA`` (by default ``../shared/data`` beside the checkout) does not have it.
    """
    root = os.environ.get("CHURN_TEST_DATA")
    found = (Path(root) if root else CHECKOUT.parent / "shared" / "data").joinpath(*parts)
    if not found.exists():
        pytest.skip(f"the real data set {'/'.join(parts)} is not here; set CHURN_TEST_DATA to its folder")
    return found


@pytest.fixture(scope="session")
def online_retail(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the shop's daily files."""
    packed = real_data("online_retail", "by-day.tar.gz")
    root = tmp_path_factory.mktemp("online_retail")
    with tarfile.open(packed) as archive:
        archive.extractall(root, filter="data")
    return root / "by-day"


@pytest.fixture(scope="session")
def cdnow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with CDNOW_master.txt."""
    root = tmp_path_factory.mktemp("cdnow")
    with zipfile.ZipFile(real_data("cdnow", "CDNOW_master.zip")) as archive:
        archive.extract("CDNOW_master.txt", root)
    return root


@dataclass(frozen=True)
class Learned:
    """What came of a source without Dagster: labels by month, the evaluation, what the door held back."""

    contract: Contract
    calendar: Any
    months: dict[str, Any]
    evaluation: dict[str, Any]
    challenger: Any
    admission: Any
    gate: Any


@pytest.fixture(scope="session")
def learn(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path, str], Learned]:
    """Learn from a source under one of the example contracts, straight through the library."""

    def run(source: Path, example: str) -> Learned:
        from churn_platform.champion.gates import decide
        from churn_platform.evaluation.predictions import Predictions
        from churn_platform.evaluation.report import evaluate
        from churn_platform.evaluation.splits import Protocol
        from churn_platform.features.assemble import assemble
        from churn_platform.features.catalogue import catalogue_for
        from churn_platform.features.labels import label_months, label_tables
        from churn_platform.features.observation import instant
        from churn_platform.records.home import Home
        from churn_platform.records.store import ContentStore
        from churn_platform.records.vault import IdentityVault
        from churn_platform.sources.calendar import observe_dates
        from churn_platform.sources.door import admit
        from churn_platform.training.challenger import train
        from churn_platform.training.dataset import build_training_set

        contract = load_contract(EXAMPLES / example)
        home = Home.open(tmp_path_factory.mktemp("learned") / "home")
        store = ContentStore(home.store)
        calendar = observe_dates(contract, source, tmp=home.tmp)
        keys = calendar.observations
        admission = admit(
            contract,
            source,
            keys,
            store=store,
            vault=IdentityVault.open(home),
            home=home,
            calendar=calendar,
            expectations=False,
        )
        versions = {key: {name: found[key] for name, found in admission.versions.items()} for key in keys}
        features = assemble(contract, versions, keys, store=store)
        labels = label_months(
            contract,
            {name: versions[keys[-1]][name] for name in label_tables(contract)},
            keys,
            as_of=instant(keys[-1]),
            populations={key: month.digest for key, month in features.items()},
            store=store,
        )
        rows = build_training_set(
            {key: month.digest for key, month in features.items()},
            {key: month.digest for key, month in labels.items()},
            catalogue_for(contract),
            contract,
            store=store,
        )
        made = train(rows, budget="quick", seed=7, threads=2, store=store)
        found = evaluate(
            Predictions.read(store, made.predictions),
            protocol=cast(Protocol, made.protocol),
            tier=made.tier,
            tuned_on=made.tuned_on,
            notes=made.notes,
        )
        return Learned(contract, calendar, labels, found, made, admission, decide(found, None, made.tier))

    return run
