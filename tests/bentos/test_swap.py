"""The champion changes while a real service answers: no request is dropped, none waits long, and it says so."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections import Counter
from pathlib import Path

import httpx
import pytest

from churn_platform.champion.projection import POINTER
from churn_platform.records.files import write_atomic
from churn_platform.records.home import Home
from churn_platform.serving.degraded import clear, mark
from tests.bentos.conftest import CUSTOMERS, NOW, Prepared, start, stop
from tests.serving.champion import make_package

pytestmark = pytest.mark.servers

CLIENTS = 6


class Clients:
    """Programs that ask without pause, each over a connection of its own that is kept."""

    def __init__(self, url: str, key: str) -> None:
        self.versions: Counter[str] = Counter()
        self.failed: list[str] = []
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(url, key, n)) for n in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def _ask(self, url: str, key: str, n: int) -> None:
        with httpx.Client(base_url=url, headers={"x-api-key": key}, timeout=30) as client:
            while not self._over.is_set():
                try:
                    answer = client.post("/v1/predict", json={"customer_id": CUSTOMERS[n]})
                    if answer.status_code == 200:
                        self.versions[answer.json()["model_version"]] += 1
                    else:
                        self.failed.append(f"{answer.status_code} {answer.text}")
                except httpx.HTTPError as error:
                    self.failed.append(repr(error))

    def stop(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()


def point(home: Home, package: Path, digest: str, version: int) -> None:
    """As a promotion does it: the package, whole, then the pointer by one rename, then earlier packages go."""
    target = home.champion / digest
    if not target.exists():
        shutil.copytree(package, home.champion / "new")
        (home.champion / "new").rename(target)
    write_atomic(
        home.champion / POINTER,
        json.dumps({"name": "churn", "version": str(version), "model": digest}).encode(),
    )
    for other in home.champion.iterdir():
        if other.is_dir() and other != target:
            shutil.rmtree(other)


def test_clients_notice_nothing_but_the_version(prepared: Prepared, tmp_path: Path) -> None:
    home = Home.open(Path(shutil.copytree(prepared.home.root, tmp_path / "home", symlinks=True)))
    packages = [(tmp_path / str(seed), make_package(tmp_path / str(seed), seed=seed)) for seed in (1, 2)]
    service = start(home, prepared.bento.tag, tmp_path / "service.log", CHURN_AS_OF=NOW)
    try:
        service.wait("/readyz", 200)

        def version() -> str:
            answer = service.get("/v1/models", headers={"x-api-key": prepared.key}).json()
            return str(answer["models"][0]["version"])

        def becomes(expected: str) -> None:
            until = time.monotonic() + 30
            while version() != expected:
                assert time.monotonic() < until, service.log.read_text()[-3000:]
                time.sleep(0.1)

        assert version() == "3", "until there is a pointer, the model of the bento answers"
        clients = Clients(service.url, prepared.key)
        try:
            for number in range(4, 8):
                package, digest = packages[number % 2]
                point(home, package, digest, number)
                becomes(str(number))
                time.sleep(0.3)
            write_atomic(home.champion / POINTER, b'{"name": "churn", "version": "8", "model": "../elsewhere"}')
            time.sleep(1.5)
            assert version() == "7", "a bad pointer keeps the present one"
            mark(home, month="2026-03-01", reason="A feed has dried up: usage.", feeds=["usage"])
            time.sleep(1.5)
            headers = {"x-api-key": prepared.key}
            asked = {"json": {"customer_id": CUSTOMERS[0]}, "headers": headers, "timeout": 30}
            answer = httpx.post(f"{service.url}/v1/predict", **asked).json()  # type: ignore[arg-type]
            assert answer["degraded"]["feeds"] == ["usage"]
            clear(home)
        finally:
            clients.stop()
        assert clients.failed == []
        assert {"3", "4", "5", "6", "7"} <= set(clients.versions)
        assert "8" not in clients.versions
        log = service.log.read_text()
        assert "version 7 goes on" in log
        assert log.count("cannot be loaded") == 1, "tried again and again, but said once"
    finally:
        assert stop(service) == 0
