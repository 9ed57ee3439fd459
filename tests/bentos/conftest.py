"""A home with everything that a service reads: a bento, keys, a vault, and features online through Feast."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from bentos.churn_service.build import BuiltBento, build_bento
from bentos.churn_service.serve import serve_command
from churn_platform.identity.keys import ApiKeys
from churn_platform.records.home import Home
from churn_platform.records.store import ContentStore
from churn_platform.records.vault import IdentityVault
from tests.serving.champion import FEATURES, NAMES, make_columns, make_package

OBSERVATION = "2026-03-01"
NOW = "2026-03-10T00:00:00+00:00"
CUSTOMERS = [f"raw-customer-{i:03d}" for i in range(50)]
READY_SECONDS = 90


@dataclass(frozen=True)
class Prepared:
    """A home that can be served."""

    home: Home
    bento: BuiltBento
    key: str
    rows: list[dict[str, Any]]


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("package") / "champion"
    make_package(folder)
    return folder


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home.open(tmp_path_factory.mktemp("a home") / "churn")


@pytest.fixture(scope="session")
def bento(home: Home, package: Path) -> BuiltBento:
    return build_bento(package, {"name": "churn", "version": 3, "tier": "full"}, home=home)


@pytest.fixture(scope="session")
def prepared(home: Home, bento: BuiltBento) -> Prepared:
    pseudonyms = IdentityVault.open(home).pseudonymise([*CUSTOMERS, "raw-customer-left"])[:-1]
    columns = make_columns(len(CUSTOMERS), seed=9)
    rows = [{name: _known(columns[name][i]) for name in NAMES} | {"mrr": 10.0 * i} for i in range(len(CUSTOMERS))]
    _materialize(home, pseudonyms, rows)
    return Prepared(home, bento, ApiKeys.open(home).create("tests", "service")[0], rows)


def _known(value: Any) -> Any:
    return None if isinstance(value, float) and value != value else value


def _materialize(home: Home, pseudonyms: list[str], rows: list[dict[str, Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from churn_platform.features.feast_store import apply, materialize, sync_offline

    moment = pa.array([datetime.fromisoformat(OBSERVATION)] * len(rows), pa.timestamp("us"))
    table = pa.table(
        {
            "customer_id": pseudonyms,
            "event_timestamp": moment,
            "created_timestamp": moment,
            **{name: [row[name] for row in rows] for name in ("mrr", *NAMES)},
        }
    )
    store = ContentStore(home.store)
    with store.temporary() as path:
        pq.write_table(table, path)
        digest = store.put_file(path)
    sync_offline(home, {OBSERVATION: digest}, store=store)
    apply(home, FEATURES)
    assert materialize(home, OBSERVATION) == len(rows)


@dataclass
class Served:
    """A running service."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def get(self, path: str, **options: Any) -> httpx.Response:
        return httpx.get(self.url + path, timeout=30, **options)

    def wait(self, path: str, status: int) -> float:
        """Seconds until a path answers with a status."""
        began = time.monotonic()
        while time.monotonic() - began < READY_SECONDS:
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            try:
                if self.get(path).status_code == status:
                    return time.monotonic() - began
            except httpx.TransportError:
                pass
            time.sleep(0.05)
        raise AssertionError(f"{path} did not answer {status}: {self.log.read_text()[-3000:]}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(home: Home, tag: str, log: Path, **variables: str) -> Served:
    """Start ``bentoml serve`` as the platform does, in a session of its own."""
    port = free_port()
    command, env = serve_command(home, tag, port)
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command, env={**env, **variables}, stdout=stream, stderr=subprocess.STDOUT, start_new_session=True
        )
    return Served(f"http://127.0.0.1:{port}", process, log)


def stop(served: Served) -> int:
    """End a service by its id, in order; the session only where it does not end."""
    served.process.send_signal(signal.SIGTERM)
    try:
        return served.process.wait(timeout=15)
    except subprocess.TimeoutExpired:
        os.killpg(served.process.pid, signal.SIGKILL)
        served.process.wait(timeout=5)
        raise


@pytest.fixture(scope="session")
def served(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    log = tmp_path_factory.mktemp("logs") / "service.log"
    service = start(prepared.home, prepared.bento.tag, log, CHURN_AS_OF=NOW)
    try:
        service.wait("/readyz", 200)
        yield service
    finally:
        stop(service)
