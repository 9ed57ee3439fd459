"""The commands as a person or a program meets them: answers, errors in one paragraph, exit codes."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import churn


def flat_rows(rows: int = 400, seed: int = 5) -> str:
    """A flat file of customers of whom the quiet ones leave more often, but not all: nothing separates them."""
    draw = np.random.default_rng(seed)
    lines = ["id,plan,logins,revenue,churned"]
    for i in range(rows):
        logins = int(draw.integers(40))
        left = draw.random() < (0.5 if logins < 12 else 0.12)
        lines.append(f"c-{i:04d},{'free' if i % 3 else 'paid'},{logins},{20 + i % 9},{'yes' if left else 'no'}")
    return "\n".join(lines)


FLAT = flat_rows()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    path = tmp_path / "customers.csv"
    path.write_text(FLAT + "\n")
    return path


def test_keys_are_made_listed_and_revoked(home: Path) -> None:
    made = json.loads(churn("keys", "create", "crm", "--role", "analyst", "--days", "3", "--json", home=home).stdout)
    assert made["secret"].startswith("churn_")
    assert made["role"] == "analyst"
    listed = json.loads(churn("keys", "list", "--json", home=home).stdout)["keys"]
    assert [key["key_id"] for key in listed] == [made["key_id"]]
    assert "secret" not in listed[0]
    assert churn("keys", "revoke", made["key_id"], home=home).returncode == 0
    again = json.loads(churn("keys", "list", "--json", home=home).stdout)["keys"]
    assert again[0]["revoked_at"] is not None
    shown = churn("keys", "list", home=home).stdout
    assert made["key_id"] in shown
    assert made["secret"] not in shown


def test_a_key_is_printed_once_on_stdout_alone(home: Path) -> None:
    done = churn("keys", "create", "crm", home=home)
    assert done.stdout.strip().startswith("churn_")
    assert done.stdout.strip() not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("keys", "create", "x", "--role", "king"), ["no role 'king'", "customer_success"]),
        (("keys", "revoke", "nothing"), ["nothing"]),
        (("demo", "--source", "nowhere.csv", "--exit"), ["no nowhere.csv"]),
        (("demo", "--label", "churned", "--exit"), ["no --source", "Add --source"]),
        (("materialize",), ["No source tables are known", "churn demo"]),
        (("serve", "--port", "0"), ["no champion to serve yet", "churn demo"]),
        (("contract", "infer", "nowhere.csv"), ["nowhere.csv"]),
    ],
)
def test_errors_are_one_paragraph_with_the_mend(home: Path, arguments: tuple[str, ...], said: list[str]) -> None:
    done = churn(*arguments, home=home)
    text = " ".join(done.stderr.split())
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in text
    assert text.count("Error:") == 1
    for part in said:
        assert part in text


def test_an_unknown_option_is_exit_code_2(home: Path) -> None:
    assert churn("demo", "--colour", "red", home=home).returncode == 2


def test_a_wrong_setting_is_named(home: Path) -> None:
    done = churn("env", home=home, CHURN_THREADS="many")
    assert done.returncode == 1
    assert "CHURN_THREADS" in done.stderr


def test_a_taken_port_is_said_before_the_work(home: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = churn("demo", "--service-port", port, "--exit", home=home)
    assert done.returncode == 1
    assert f"Port {port} is taken" in done.stderr
    assert not (home / "sources" / "churn").exists()


def test_a_contract_is_inferred_and_checked(home: Path, flat: Path, tmp_path: Path) -> None:
    out = tmp_path / "contract.yaml"
    done = churn("contract", "infer", str(flat), "--out", str(out), "--json", home=home)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["contract"]["label"]["column"] == "churned"
    assert all(decision["reason"] for decision in found["decisions"])
    assert churn("contract", "check", str(flat), "--contract", str(out), home=home).returncode == 0
    flat.write_text(FLAT + "\n,free,3,20,no\n" * 9)
    broken = churn("contract", "check", str(flat), "--contract", str(out), "--json", home=home)
    assert broken.returncode == 1
    assert json.loads(broken.stdout)["passed"] is False


def test_the_doctor_says_what_to_mend(home: Path) -> None:
    done = churn("doctor", "--json", home=home)
    assert done.returncode == 1
    findings = {finding["name"]: finding for finding in json.loads(done.stdout)["findings"]}
    assert findings["Python"]["ok"]
    assert not findings["source"]["ok"]
    assert "churn demo" in findings["source"]["mend"]


def test_simulate_refuses_to_overwrite(home: Path, tmp_path: Path) -> None:
    done = churn("simulate", "new", str(tmp_path), home=home)
    assert done.returncode == 1
    assert "is there already" in done.stderr


def test_a_home_in_use_is_refused(home: Path, flat: Path) -> None:
    from churn_platform.records.home import Home
    from churn_platform.records.lock import exclusive

    with exclusive(Home.open(home).run / "pipeline.lock", "test"):
        done = churn("demo", "--source", str(flat), "--service-port", "0", "--dagster-port", "0", "--exit", home=home)
    assert done.returncode == 1
    assert "holds this home" in done.stderr
