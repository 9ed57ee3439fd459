"""Children are started with a log, stopped in order, and never outlive their parent."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from churn_platform.cli.supervise import ProcessError, Supervisor, claim_port, free_port
from churn_platform.errors import BusyError

SLEEPER = [sys.executable, "-c", "import time; time.sleep(60)"]


def _supervisor(folder: Path) -> Supervisor:
    (folder / "logs").mkdir()
    (folder / "run").mkdir()
    return Supervisor(folder / "logs", folder / "run")


def test_leaving_stops_all_children_and_their_children(tmp_path: Path) -> None:
    parent = [
        sys.executable,
        "-c",
        "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); "
        "print('started', flush=True); time.sleep(60)",
    ]
    with _supervisor(tmp_path) as supervisor:
        child = supervisor.start("family", parent, os.environ)
        while "started" not in child.log.read_text():
            time.sleep(0.02)
        family = [psutil.Process(child.process.pid), *psutil.Process(child.process.pid).children()]
        assert len(family) == 2
        assert child.pid_file.exists()
    assert not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in family)
    assert not child.pid_file.exists()


def test_a_program_that_ends_early_is_quoted(tmp_path: Path) -> None:
    with _supervisor(tmp_path) as supervisor:
        child = supervisor.start("broken", [sys.executable, "-c", "import sys; sys.exit('no luck')"], os.environ)
        with pytest.raises(ProcessError, match=r"broken ended with code 1 before it answered: no luck"):
            supervisor.wait_until_up(child, "http://127.0.0.1:1/", timeout=20)


def test_a_program_that_never_answers_times_out(tmp_path: Path) -> None:
    with _supervisor(tmp_path) as supervisor:
        child = supervisor.start("silent", SLEEPER, os.environ)
        with pytest.raises(ProcessError, match="did not answer within"):
            supervisor.wait_until_up(child, f"http://127.0.0.1:{free_port()}/", timeout=0.5)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux only")
def test_a_killed_parent_takes_its_children_along(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "run").mkdir()
    code = (
        "import os, sys, time; from pathlib import Path; from churn_platform.cli.supervise import Supervisor\n"
        f"s = Supervisor(Path({str(tmp_path / 'logs')!r}), Path({str(tmp_path / 'run')!r}))\n"
        "c = s.start('child', [sys.executable, '-c', 'import time; time.sleep(60)'], os.environ)\n"
        "print(c.process.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.send_signal(signal.SIGKILL)
        parent.wait(timeout=10)
    try:
        child.wait(timeout=10)
    except psutil.TimeoutExpired:
        pytest.fail("the child outlived its parent")


def test_a_taken_port_is_refused_with_the_option_that_mends_it() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(BusyError, match="--service-port"):
            claim_port(port, "--service-port")
    assert claim_port(0, "--service-port") > 0
