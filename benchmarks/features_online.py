"""The online part of the features benchmark: 400,000 customers × 30 features, on the product's own path.

The stock SQLite and Redis stores hold 20,000 customers (to their advantage: they take minutes to load more). Every
read is ``FeatureStore.get_online_features(service, rows).to_dict()``; HTTP goes through the service's front, in a
process of its own, with a key, at a fixed rate: a request that waits counts from when it was due.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.harness import Bench, Figure, Goal, metered

CUSTOMERS: Final = 400_000
STOCK: Final = 20_000
ASKABLE: Final = 2_000
MONTH: Final = "2025-01-01"
FAMILIES: Final = ("usage", "billing", "support")
RATE: Final = 1_000
SECONDS: Final = 5
CONNECTIONS: Final = 32
ROWS_GOALS: Final = {"lmdb": 20, "redis": 8}
PEERS: Final = {"lmdb": "feast_sqlite", "redis": "feast_redis"}
ONE_GOALS: Final = {"lmdb": 0.5, "redis": 1.0}

SERVER = """
import sys, threading
import prometheus_client, uvicorn
from churn_platform.features.online import OnlineReader
from churn_platform.identity.keys import ApiKeys
from churn_platform.records.home import Home
from churn_platform.records.vault import IdentityVault
from churn_platform.serving.api import build_app
from churn_platform.serving.metrics import ServingMetrics
from churn_platform.serving.runtime import Runtime

threading.Thread(target=lambda: (sys.stdin.read(), __import__("os")._exit(0)), daemon=True).start()
home = Home.open()
runtime = Runtime(metrics=ServingMetrics(prometheus_client), keys=ApiKeys.open(home))
runtime.identities, runtime.vectors = IdentityVault.open(home), OnlineReader(home)
uvicorn.run(build_app(runtime), host="127.0.0.1", port=int(sys.argv[1]), log_level="error", access_log=False)
"""


def figures(bench: Bench) -> Iterator[Figure]:
    """Every online figure. Redis is started on a free port; where it is not installed, that is an error."""
    with (
        tempfile.TemporaryDirectory(prefix="churn-bench-") as folder,
        _redis(Path(folder)) as url,
        _settings(Path(folder) / "home", url) as use,
    ):
        company = Company(Path(folder) / "home")
        seconds: dict[str, Figure] = {}
        for kind in ("lmdb", "redis"):
            use(kind)
            figure = bench.absolute(
                f"materialize_12m_{kind}_seconds", company.materialize, unit="s", goal=Goal("<=", 30)
            )
            seconds[kind] = figure
            yield figure
        yield bench.worst("materialize_12m_seconds", seconds, unit="s", goal=Goal("<=", 30))
        for kind in ("lmdb", "redis"):
            use(kind)
            yield from _reads(bench, company, kind, url)
        use("lmdb")
        yield bench.absolute("http_feature_p95_ms", company.http, unit="ms", goal=Goal("<=", 10))
        pushes: dict[str, Figure] = {}
        for kind in ("lmdb", "redis"):
            use(kind)
            figure = bench.absolute(f"push_{kind}_p95_ms", company.push, unit="ms", goal=Goal("<=", 100))
            pushes[kind] = figure
            yield figure
        yield bench.worst("push_p95_ms", pushes, unit="ms", goal=Goal("<=", 100))


def _reads(bench: Bench, company: Company, kind: str, url: str) -> Iterator[Figure]:
    ours, stock = company.reader(), company.stock(kind, url)
    for count, goal in ((1, ONE_GOALS[kind]), (100, 5.0)):
        repetitions = 1_000 if count == 1 else 300

        def p95(count: int = count, repetitions: int = repetitions) -> float:
            return float(np.percentile(_times(ours, count, repetitions, CUSTOMERS), 95))

        yield bench.absolute(f"online_{kind}_{count}_p95_ms", p95, unit="ms", goal=Goal("<=", goal))
    with metered() as meter:
        mine, theirs = [], []
        for _ in range(5):  # by turns, so that both meet the same load
            theirs += _times(stock, 100, 10, STOCK)
            mine += _times(ours, 100, 60, CUSTOMERS)
    rates = [100 / float(np.median(times)) * 1e3 for times in (mine, theirs)]
    ratio = rates[0] / rates[1]
    yield bench.ratio(
        f"online_{kind}_rows_ratio",
        ratio,
        unit="x",
        against={PEERS[kind]: rates[1], f"packed_{kind}": rates[0]},
        ratio=ratio,
        goal=Goal(">=", ROWS_GOALS[kind]),
        load=meter.load,
    )


def _times(read: Callable[[list[str]], Any], count: int, repetitions: int, among: int) -> list[float]:
    """Milliseconds of each read of ``count`` random customers."""
    draw = np.random.default_rng(count + repetitions)
    found = []
    for chosen in [[f"c{i:08d}" for i in draw.integers(ASKABLE, among, count)] for _ in range(repetitions + 5)]:
        began = time.perf_counter()
        answer = read(chosen)
        found.append((time.perf_counter() - began) * 1e3)
        assert answer["usage_0"][0] is not None
    return found[5:]


class Company:
    """A home with the features of 400,000 customers, of whom 2,000 are in the vault and can be asked for by id."""

    def __init__(self, path: Path) -> None:
        from churn_platform.features.catalogue import Feature, catalogue_to_json
        from churn_platform.features.feast_objects import CATALOGUE_REF
        from churn_platform.features.feast_store import sync_offline
        from churn_platform.identity.keys import ApiKeys
        from churn_platform.records.home import Home
        from churn_platform.records.refs import Refs
        from churn_platform.records.store import ContentStore
        from churn_platform.records.vault import IdentityVault

        self.home = Home.open(path)
        names = [f"{family}_{i}" for family in FAMILIES for i in range(10)]
        names[-1] = "mrr"
        self.features = [
            Feature(name, FAMILIES[i // 10], "number", name, "", name, "null where unknown", 1)
            for i, name in enumerate(names)
        ]
        store = ContentStore(self.home.store)
        digest = store.put_json(catalogue_to_json(self.features))
        Refs(self.home.refs).set(CATALOGUE_REF, None, {"digest": digest})
        self.raw = [f"raw-{i}" for i in range(ASKABLE)]
        self.pseudonyms = IdentityVault.open(self.home).pseudonymise(self.raw)
        self.key = ApiKeys.open(self.home).create("benchmark", "service")[0]
        self.table = self._table([*self.pseudonyms, *(f"c{i:08d}" for i in range(ASKABLE, CUSTOMERS))])
        with store.temporary() as file:
            _write(self.table, file)
            sync_offline(self.home, {MONTH: store.put_file(file)}, store=store)

    def _table(self, customers: list[str]) -> Any:
        import pyarrow as pa

        draw = np.random.default_rng(7)
        moment = pa.array([_month().replace(tzinfo=None)] * len(customers), pa.timestamp("us"))
        order = draw.permutation(len(customers))
        columns: dict[str, Any] = {
            "customer_id": [customers[i] for i in order],
            "event_timestamp": moment,
            "created_timestamp": moment,
        }
        for feature in self.features:
            values = draw.normal(size=len(customers)).round(6)
            columns[feature.name] = pa.array(
                values, mask=draw.random(len(customers)) < (feature.name == "usage_9") * 0.2
            )
        return pa.table(columns)

    def materialize(self) -> float:
        """Seconds to bring 12 million values online, through Feast, over what is online already."""
        from churn_platform.features.feast_store import apply, materialize

        apply(self.home, self.features)
        began = time.perf_counter()
        customers = materialize(self.home, MONTH)
        spent = time.perf_counter() - began
        assert customers == CUSTOMERS
        return spent

    def reader(self) -> Callable[[list[str]], Any]:
        """Customers → values, through Feast over the packed store."""
        from churn_platform.features.feast_store import open_feast

        feast = open_feast(self.home)
        service = feast.get_feature_service("churn")
        return lambda chosen: feast.get_online_features(service, {"customer_id": chosen}).to_dict()

    def stock(self, kind: str, url: str) -> Callable[[list[str]], Any]:
        """The same through one of Feast's own stores."""
        import feast

        from churn_platform.features.feast_objects import feast_objects
        from churn_platform.features.feast_store import repo_config

        folder = self.home.tmp / f"stock-{kind}"
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "offline").mkdir(parents=True)
        askable = {f"c{i:08d}" for i in range(ASKABLE, STOCK)}
        small = self.table.filter([one in askable for one in self.table["customer_id"].to_pylist()])
        _write(small, folder / "offline" / f"{MONTH}.parquet")
        online: dict[str, Any] = {"type": "sqlite", "path": str(folder / "online.db")}
        if kind == "redis":
            online = {"type": "redis", "connection_string": f"{url.removeprefix('redis://').partition('/')[0]},db=1"}
        config = {
            **repo_config(self.home),
            "registry": {
                "registry_type": "sql",
                "path": f"sqlite:///{folder / 'registry.db'}",
                "cache_ttl_seconds": 60,
            },
            "online_store": online,
            "batch_engine": {"type": "local"},
        }
        store = feast.FeatureStore(config=feast.RepoConfig(repo_path=folder, **config))
        objects = feast_objects(self.features, folder / "offline", "churn")
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            store.apply(objects.all())
            store.materialize(_month() - timedelta(seconds=1), _month())
        service = store.get_feature_service("churn")
        return lambda chosen: store.get_online_features(service, {"customer_id": chosen}).to_dict()

    def push(self) -> float:
        """p95 in ms, from the call to a read that shows the row, of 200 pushes of one view."""
        from churn_platform.features.online import OnlineReader, Vector
        from churn_platform.features.push import Pusher

        pusher, reader, times = Pusher(self.home), OnlineReader(self.home), []
        for i in range(205):
            at = (_month() + timedelta(hours=1, seconds=i)).isoformat()
            row = {"customer_id": self.raw[i], "event_timestamp": at}
            row |= {f"usage_{j}": float(i) for j in range(10)}
            began = time.perf_counter()
            pusher.push(row)
            vector = reader.get([self.pseudonyms[i]])[self.pseudonyms[i]]
            times.append((time.perf_counter() - began) * 1e3)
            assert isinstance(vector, Vector)
            assert vector["usage_0"] == float(i)
        return float(np.percentile(times[5:], 95))

    def http(self) -> float:
        """p95 in ms of GET /v1/features/{id} at 1,000 requests/s with a key."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        server = subprocess.Popen([sys.executable, "-c", SERVER, str(port)], stdin=subprocess.PIPE)
        try:
            return asyncio.run(_load(port, self.key, self.raw))
        finally:
            assert server.stdin is not None
            server.stdin.close()
            server.wait(10)


async def _load(port: int, key: str, customers: list[str]) -> float:
    for _ in range(600):
        try:
            (await asyncio.open_connection("127.0.0.1", port))[1].close()
            break
        except OSError:
            await asyncio.sleep(0.1)
    times: list[float] = []
    waiting: asyncio.Queue[tuple[float, str]] = asyncio.Queue()

    async def connection() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while True:
            due, customer = await waiting.get()
            head = f"GET /v1/features/{customer} HTTP/1.1\r\nHost: service\r\nAuthorization: Bearer {key}\r\n\r\n"
            writer.write(head.encode())
            answer = await reader.readuntil(b"\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 200"), answer
            size = int(answer.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
            body = await reader.readexactly(size)
            times.append((time.perf_counter() - due) * 1e3)
            assert b'"usage_0"' in body

    workers = [asyncio.create_task(connection()) for _ in range(CONNECTIONS)]
    began = time.perf_counter() + 0.5
    for i in range(RATE * (SECONDS + 1)):
        due = began + i / RATE
        if (pause := due - time.perf_counter()) > 0.0005:
            await asyncio.sleep(pause)
        waiting.put_nowait((due, customers[i * 7919 % len(customers)]))
    while len(times) < RATE * (SECONDS + 1):
        await asyncio.sleep(0.01)
        for worker in workers:
            if worker.done():
                worker.result()
    for worker in workers:
        worker.cancel()
    return float(np.percentile(times[RATE:], 95))  # the first second warms up


@contextmanager
def _settings(home: Path, url: str) -> Iterator[Callable[[str], None]]:
    """Chooses the store; this process's variables are put back at the end."""
    from churn_platform import settings

    names = ("CHURN_HOME", "CHURN_AS_OF", "CHURN_ONLINE_STORE", "CHURN_REDIS_URL", "CHURN_DATABASE_URL")
    before = {name: os.environ.get(name) for name in names}

    def use(kind: str) -> None:
        os.environ.pop("CHURN_DATABASE_URL", None)
        as_of = (_month() + timedelta(days=10)).isoformat()
        os.environ |= {"CHURN_HOME": str(home), "CHURN_AS_OF": as_of}
        os.environ |= {"CHURN_ONLINE_STORE": kind, "CHURN_REDIS_URL": url}
        settings.reload()

    use("lmdb")
    try:
        yield use
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        settings.reload()


@contextmanager
def _redis(folder: Path) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    with (folder / "redis.log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        server.terminate()
        server.wait(30)


def _month() -> Any:
    from churn_platform.features.observation import instant

    return instant(MONTH).replace(tzinfo=UTC)


def _write(table: Any, path: Path) -> None:
    import pyarrow.parquet as pq

    pq.write_table(table, path)
