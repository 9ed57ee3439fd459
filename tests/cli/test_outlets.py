"""``churn outlets``, as a person and a program meet it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from churn_platform import settings
from churn_platform.cli import main as cli
from churn_platform.outlets.webhook import Outcome
from churn_platform.records.home import Home
from tests.conftest import CHECKOUT, churn
from tests.outlets.conftest import make_list
from tests.outlets.receiver import Receiver, receiver


@pytest.fixture
def hook() -> Iterator[Receiver]:
    with receiver() as found:
        yield found


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("CHURN_OUTLET_PRIVATE_ADDRESSES", "true")
    settings.reload()
    return Home.open()


class Run:
    """Runs the command in this process, as its entry point does."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._capsys, self._patch = capsys, monkeypatch
        self.code, self.out, self.err = 0, "", ""

    def __call__(self, *arguments: str) -> str:
        self._patch.setattr(sys, "argv", ["churn", "outlets", *arguments])
        self.code = 0
        before = dict(os.environ)
        try:
            cli.main()
        except SystemExit as end:
            self.code = int(end.code or 0)
        finally:
            os.environ.clear()
            os.environ.update(before)
        said = self._capsys.readouterr()
        self.out, self.err = said.out, said.err
        return self.out

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "--json").splitlines()[-1])


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    return Run(capsys, monkeypatch)


def test_a_secret_is_shown_once_on_stdout_alone(run: Run, home: Home) -> None:
    secret = run("add", "webhook", "https://example.com/hooks", "--name", "crm").strip()
    assert run.code == 0
    assert secret.startswith("whsec_")
    assert secret not in run.err
    for arguments in (("list",), ("list", "--json"), ("dead",), ("deliver",)):
        assert secret not in run(*arguments) + run.err
    (listed,) = run.json("list")["outlets"]
    assert listed["events"] == ["list.ready", "champion.changed", "data.fault"]
    assert run("remove", "crm")
    assert run.json("list") == {"outlets": []}
    assert "churn outlets add" in run("list")
    assert "No delivery has been given up" in run("retry")


def test_a_message_from_its_announcement_to_a_dead_letter_and_back(run: Run, home: Home, hook: Receiver) -> None:
    secret = run.json("add", "webhook", hook.url, "--name", "crm", "--event", "list.ready")["secret"]
    make_list(home)
    hook.answers = [410]
    (tried,) = run.json("deliver")["deliveries"]
    assert run.code == 1
    assert (tried["state"], tried["event"]) == ("dead", "list.ready")
    (dead,) = run.json("dead")["deliveries"]
    assert dead["webhook_id"] == tried["webhook_id"]
    assert "410" in run("dead")
    assert run.json("list")["outlets"][0]["deliveries"] == {"dead": 1}
    assert run.json("retry", dead["delivery_id"]) == {"retried": 1}
    (tried,) = run.json("deliver")["deliveries"]
    assert run.code == 0
    assert tried["state"] == "done"
    assert {headers["webhook-id"] for headers, _ in hook.received} == {dead["webhook_id"]}
    headers, body = hook.received[-1]
    assert Webhook(secret).verify(body, headers)["type"] == "list.ready"
    assert "Nothing is due" in run("deliver")
    assert run.code == 0


def test_what_the_other_side_said_is_shown_as_it_is(run: Run, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Brackets are no markup: rich would swallow some and stop at others."""

    def send(*_: object, **__: object) -> Outcome:
        return Outcome(False, "no route to [red] [/x]", gone=True)

    monkeypatch.setattr("churn_platform.outlets.deliver.send", send)
    run("add", "webhook", "https://example.com/[/a]", "--name", "crm")
    make_list(home)
    assert "no route to [red] [/x]" in run("deliver")
    assert "[red] [/x]" in run("dead")
    assert "https://example.com/[/a]" in run("list")
    run_status = churn("status", home=home.root)
    assert "1 given up; `churn outlets dead` says why" in run_status.stdout


def test_a_test_message(run: Run, home: Home, hook: Receiver, tmp_path: Path) -> None:
    run("add", "webhook", hook.url)
    assert "answered 204" in run("test", "webhook")
    assert run.code == 0
    hook.answers = [500]
    assert run.json("test", "webhook") == {"name": "webhook", "delivered": False, "said": "answered 500"}
    assert run.code == 1
    run("add", "parquet", str(tmp_path / "lists"))
    assert run.json("test", "parquet")["delivered"]
    assert not (tmp_path / "lists").exists()


def test_a_new_file_gets_the_present_list(run: Run, home: Home, tmp_path: Path) -> None:
    make_list(home)
    run("add", "parquet", str(tmp_path / "lists"), "--ids", "company")
    (tried,) = run.json("deliver")["deliveries"]
    assert tried["said"] == "4 rows of 2024-05-01"
    assert (tmp_path / "lists" / "scores_current.parquet").is_file()


def test_a_url_with_a_password_comes_by_stdin_and_is_never_shown(home: Home) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "churn_platform.cli.main", "outlets", "add", "postgres", "-", "--name", "table"],
        input="postgresql://u:hunter2@h/d\n", env={**os.environ, "CHURN_HOME": str(home.root)}, cwd=CHECKOUT,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "hunter2" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("add", "webhook", "ftp://example.com"), "no http or https URL"),
        (("add", "fax", "1"), "Give webhook, postgres, parquet"),
        (("add", "webhook", "https://e.com", "--event", "x"), "Give list.ready"),
        (("add", "parquet", "x", "--ids", "both"), "Give pseudonym or company"),
        (("remove", "none"), "churn outlets list"),
        (("test", "none"), "churn outlets list"),
        (("retry", "none"), "churn outlets dead"),
    ],
)
def test_errors_say_what_to_give(run: Run, home: Home, arguments: tuple[str, ...], said: str) -> None:
    run(*arguments)
    assert run.code == 1
    assert said in run.err
    assert "Traceback" not in run.err
