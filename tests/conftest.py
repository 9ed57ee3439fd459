"""Shared by all tests: no test touches the user's home, and one small demo is made once for all that look at it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from churn_platform import settings

CHECKOUT = Path(__file__).resolve().parent.parent
DEMO_ARGUMENTS = ("--customers", "700", "--months", "14", "--seed", "11")
PORTS = ("--service-port", "0", "--dagster-port", "0")
# Properties are judged by what holds, not by how busy the machine is; pytest's own timeout ends what hangs.
hypothesis.settings.register_profile("no_deadline", deadline=None)
hypothesis.settings.load_profile("no_deadline")


@pytest.fixture(autouse=True)
def _private_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A home of its own for each test, so that nothing is written to the checkout."""
    for name in [name for name in os.environ if name.startswith(("CHURN_", "DAGSTER_", "BENTOML_HOME"))]:
        if name not in ("CHURN_REQUIRE_SERVERS", "CHURN_TEST_DATA"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("CHURN_HOME", str(tmp_path_factory.mktemp("home") / "churn"))
    settings.reload()
    yield
    monkeypatch.undo()
    settings.reload()


def churn(*arguments: str, home: Path, timeout: float = 400, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the ``churn`` command as a user does, in a process of its own."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("CHURN_", "DAGSTER_"))}
    return subprocess.run(
        [sys.executable, "-m", "churn_platform.cli.main", *arguments],
        env={**env, "CHURN_HOME": str(home), **environment},
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@dataclass(frozen=True)
class Demo:
    """A finished demo: its home, its answer, and what it printed on stderr."""

    home: Path
    answer: dict[str, Any]
    said: str


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """One small demo, from nothing to a served prediction; all servers are stopped again."""
    home = tmp_path_factory.mktemp("demo") / "churn"
    done = churn("demo", *DEMO_ARGUMENTS, *PORTS, "--exit", "--json", home=home)
    assert done.returncode == 0, done.stderr[-3000:]
    return Demo(home, json.loads(done.stdout.strip().splitlines()[-1]), done.stderr)
