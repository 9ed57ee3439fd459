"""The BentoML service: the platform's own ASGI front, with BentoML's health and metrics behind it."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any, Final

import bentoml

from churn_platform.errors import ConfigurationError
from churn_platform.records.home import Home
from churn_platform.serving.api import DOCS_ASSETS, build_api
from churn_platform.serving.follow import Follower
from churn_platform.serving.front import Front
from churn_platform.serving.loading import complete
from churn_platform.serving.metrics import ServingMetrics
from churn_platform.serving.runtime import Runtime

# In a bento this is <bento>/src/champion; in a checkout CHURN_CHAMPION names the package.
PACKAGE: Final = Path(__file__).resolve().parents[2] / "champion"
RETRY_SECONDS: Final = 1.0
FOLLOW_SECONDS: Final = 0.25

# BentoML answers these itself. Exact paths: its metrics keep a label for every path that it sees.
SYSTEM_PATHS: Final = frozenset({"/livez", "/readyz", "/healthz", "/metrics", *DOCS_ASSETS})

log = logging.getLogger("bentoml.churn_service")


def _workers() -> int:
    text = os.environ.get("CHURN_SERVICE_WORKERS", "1")
    if not text.isdigit() or not 1 <= int(text) <= 64:
        raise ConfigurationError(
            f"CHURN_SERVICE_WORKERS is {text!r}; it must be a number from 1 to 64.",
            mend="Set it to the processes that should answer, at most one per core.",
            field="CHURN_SERVICE_WORKERS",
        )
    return int(text)


def _end_with_arbiter() -> None:
    """Ask the kernel for SIGTERM when the process that started this worker ends, however it ends (Linux)."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None, use_errno=True).prctl(pr_set_pdeathsig, signal.SIGTERM)


class FrontService(bentoml.Service):
    """A BentoML service whose ASGI application is :class:`churn_platform.serving.front.Front`.

    ``service.add_asgi_middleware`` would put the front inside BentoML's own middleware, which costs time and
    keeps the paths of requests; this hook puts it outermost. It is pinned to BentoML 1.4.39 and held by a
    test.
    """

    runtime: Runtime

    def to_asgi(self, is_main: bool = True) -> Any:
        """BentoML's application with the front around it. Called once in each worker."""
        # Imported here: BentoML sets PROMETHEUS_MULTIPROC_DIR for its workers, which the import reads.
        import prometheus_client

        app = super().to_asgi(is_main)
        self.runtime = Runtime(metrics=ServingMetrics(prometheus_client))
        app.add_middleware(Front, runtime=self.runtime, api=build_api(self.runtime), passed=SYSTEM_PATHS)
        return app


@bentoml.service(
    name="churn_service",
    service_class=FrontService,
    workers=_workers(),
    traffic={"timeout": 60},
    logging={"access": {"enabled": False}},  # the front counts requests; paths may hold customers' ids
)
class ChurnService:
    """Scores and explains customers with the champion in this bento."""

    bento_service: FrontService

    @bentoml.on_startup
    async def open(self) -> None:
        """Load everything before the worker answers; what is missing is tried again until it is there."""
        _end_with_arbiter()
        runtime = self.bento_service.runtime
        package = Path(os.environ.get("CHURN_CHAMPION") or PACKAGE)
        await asyncio.to_thread(complete, runtime, package)
        self._tasks = [asyncio.create_task(_follow(runtime))]
        if not runtime.ready:
            self._tasks.append(asyncio.create_task(_complete_later(runtime, package)))

    @bentoml.on_shutdown
    async def close(self) -> None:
        """Stop following the home, and waiting for what is missing; write the events that wait."""
        for task in self._tasks:
            task.cancel()
        if (predictions := self.bento_service.runtime.predictions) is not None:
            await asyncio.to_thread(predictions.close)

    async def __is_ready__(self) -> bool:
        return bool(self.bento_service.runtime.ready)


async def _follow(runtime: Runtime) -> None:
    """Let this worker follow its home: a promoted champion answers within a second."""
    follower = Follower(runtime, await asyncio.to_thread(Home.open))
    while True:
        await asyncio.to_thread(follower.look)
        await asyncio.sleep(FOLLOW_SECONDS)


async def _complete_later(runtime: Runtime, package: Path) -> None:
    """Try again until every part is there; say so when the reason changes."""
    said: dict[str, str] = {}
    while not runtime.ready:
        if runtime.missing != said:
            said = dict(runtime.missing)
            log.warning("not ready: %s", "; ".join(f"{part}: {why}" for part, why in said.items()))
        await asyncio.sleep(RETRY_SECONDS)
        await asyncio.to_thread(complete, runtime, package)
    log.info("ready")
