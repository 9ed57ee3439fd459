from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from churn_platform.records.store import ContentStore
from churn_platform.training.challenger import Challenger, train
from churn_platform.training.dataset import TrainingRows, TrainingSet, build_training_set
from tests.training import synthetic


class Trained:
    """A challenger with its training set, in a store of its own."""

    def __init__(self, root: Path) -> None:
        self.store = ContentStore(root)
        world = synthetic.world(self.store, customers=600, count=9, base=-2.8)
        self.set: TrainingSet = build_training_set(
            world.features, world.labels, synthetic.FEATURES, world.contract, store=self.store
        )
        self.challenger: Challenger = train(self.set, store=self.store)
        self.rows: TrainingRows = self.set.load(self.store)

    def package(self, target: Path) -> Path:
        """A copy of the package that a test may spoil."""
        self.store.export_tree(self.challenger.package, target, copy=True)
        for path in target.iterdir():
            path.chmod(0o644)
        return target


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return Trained(tmp_path_factory.mktemp("trained"))


@pytest.fixture
def package(trained: Trained, tmp_path: Path) -> Path:
    return trained.package(tmp_path / "package")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
