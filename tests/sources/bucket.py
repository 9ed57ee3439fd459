"""An S3 server of its own process, as long as the tests."""

from __future__ import annotations

import http.client
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest


def _program() -> str | None:
    beside = Path(sys.executable).parent / "moto_server"
    return str(beside) if beside.is_file() else shutil.which("moto_server")


@contextmanager
def s3_server() -> Iterator[str]:
    """Start moto on a free port of the loopback interface; yields ``http://…``.

    Where moto is not installed the test is skipped, or fails if ``CHURN_REQUIRE_SERVERS=1``.
    """
    program = _program()
    if program is None:
        reason = "moto_server is not installed: it comes with the dev dependency moto[server]"
        if os.environ.get("CHURN_REQUIRE_SERVERS") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    server = subprocess.Popen(
        [program, "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
    )
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                ask(f"http://127.0.0.1:{port}", "GET", "/moto-api/")
                break
            except OSError:
                if server.poll() is not None or time.monotonic() > deadline:
                    pytest.fail("moto_server did not start")
                time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(30)


def ask(server: str, method: str, path: str, body: bytes | None = None) -> Any:
    """One request to moto itself."""
    connection = http.client.HTTPConnection(server.removeprefix("http://"), timeout=30)
    with closing(connection):
        connection.request(method, path, body=body)
        response = connection.getresponse()
        content = response.read()
        assert response.status < 400, content
        return content


def client(server: str) -> Any:
    """A file system that may make buckets."""
    from pyarrow.fs import S3FileSystem

    return S3FileSystem(
        access_key="test", secret_key="test", region="us-east-1", scheme="http",
        endpoint_override=server.removeprefix("http://"), allow_bucket_creation=True, allow_delayed_open=True,
        background_writes=False,
    )  # fmt: skip
