from pathlib import Path

import pytest

from churn_platform.identity.keys import ApiKeys
from churn_platform.records.home import Home
from tests.records.conftest import postgres

__all__ = ["home", "keys", "postgres"]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.open(tmp_path / "home")


@pytest.fixture
def keys(home: Home) -> ApiKeys:
    return ApiKeys.open(home)
