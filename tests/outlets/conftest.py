"""A home with a ranked list, as ``scores_current`` leaves it, and an outbox."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from churn_platform import settings
from churn_platform.outlets.deliver import Deliverer
from churn_platform.outlets.lists import ListFacts
from churn_platform.records.home import Home
from churn_platform.records.refs import Refs
from churn_platform.records.store import ContentStore
from churn_platform.records.vault import IdentityVault
from tests.outlets.receiver import Receiver, receiver
from tests.records.servers import postgres_server

CUSTOMERS = [f"ACME-{i}" for i in range(5)]


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Home:
    """An empty home that lets webhooks go to this machine."""
    monkeypatch.setenv("CHURN_OUTLET_PRIVATE_ADDRESSES", "true")
    settings.reload()
    return Home.open()


@pytest.fixture
def deliverer(home: Home) -> Deliverer:
    return Deliverer(home)


@pytest.fixture
def hook() -> Iterator[Receiver]:
    with receiver() as found:
        yield found


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    with postgres_server() as url:
        yield url


def make_list(
    home: Home,
    month: str = "2024-05-01",
    *,
    count: int = 4,
    shift: float = 0.0,
    made: str = "2024-06-01T00:00:00+00:00",
    fault: str | None = None,
    diagnosed: str = "",
) -> ListFacts:
    """A list of the first ``count`` customers, as the assets would leave it.

    Args:
        fault: why the diagnosis of the month finds a data fault.
        diagnosed: when that was made.
    """
    pseudonyms = IdentityVault.open(home).pseudonymise(CUSTOMERS[:count])
    table = pa.table(
        {
            "customer_id": pseudonyms,
            "rank": pa.array(range(1, count + 1), pa.int64()),
            "probability": [0.9 - shift - 0.1 * i for i in range(count)],
            "margin": [2.0 - i for i in range(count)],
            "base_value": [-2.0] * count,
            "risk_band": ["high"] * count,
            "mrr": pa.array([100.0, None, 50.0, 20.0, 10.0][:count], pa.float64()),
            "expected_loss": pa.array([90.0, None, 30.0, 5.0, 1.0][:count], pa.float64()),
            "reasons": [["Logins have fallen by 40 %", 'A tab\tand "quotes"']] * count,
            "contributions": [{"logins": 1.5, "tenure": -0.25}] * count,
            "model_version": ["3"] * count,
            "model_digest": ["m" * 64] * count,
            "observation": [month] * count,
        }
    )
    store = ContentStore(home.store)
    with store.temporary() as path:
        pq.write_table(table, path)
        digest = store.put_file(path, move=True)
    ref: dict[str, Any] = {
        "digest": digest,
        "month": month,
        "rows": count,
        "made_at": made,
        "version": "3",
        "model": "m" * 64,
        "revenue_at_risk": 125.0,
    }
    Refs(home.refs).set("scores_current", None, ref)
    diagnosis = {
        "kind": "data_fault" if fault else "stable",
        "reason": fault or "",
        "feeds": ["usage"] if fault else [],
    }
    facts = ListFacts.of(settings.settings().problem, ref, diagnosis, diagnosed_at=diagnosed)
    Refs(home.refs).set("scores_outlet", None, {"digest": digest, "list": facts.to_json()})
    return facts
