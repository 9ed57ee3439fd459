"""What is held back can be looked at: reasons with counts, rows by pseudonym."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from churn_platform.cli.main import app
from churn_platform.sources import quarantine
from tests.sources import company
from tests.sources.conftest import Door

MONTHS = ("2024-03-01",)


@pytest.fixture
def held(door: Door, tmp_path: Path) -> Door:
    frames = company.frames()
    frames["usage"].loc[frames["usage"].index[:3], "logins"] = -5
    frames["usage"].loc[frames["usage"].index[:2], "minutes"] = -1.0
    frames["tickets"].loc[frames["tickets"].index[:2], "csat"] = 9

    def tolerate(value: dict[str, Any]) -> None:
        for table in value["tables"].values():
            table["tolerance"] = 0.5

    door.admit(company.contract(tolerate), company.write(frames, tmp_path / "source"), MONTHS)
    return door


def test_reasons_are_counted_one_by_one(held: Door) -> None:
    assert quarantine.held_tables(held.home) == ["tickets", "usage"]
    usage = {one.reason: one for one in quarantine.show(held.home, "usage")}
    assert {reason: one.rows for reason, one in usage.items()} == {
        "logins must not be below 0": 3,
        "minutes must not be below 0": 2,
    }
    row = usage["logins must not be below 0"].examples[0]
    assert held.vault.reveal([str(row["customer_id"])]) == ["ACME-00000"]
    (csat,) = quarantine.show(held.home, "tickets", examples=1)
    assert (csat.effect, csat.rows, len(csat.examples)) == ("value blanked", 2, 1)
    assert quarantine.show(held.home, "accounts") == []


def test_the_command(held: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    from churn_platform import settings

    monkeypatch.setenv("CHURN_HOME", str(held.home.root))
    settings.reload()
    shown = CliRunner().invoke(app, ["quarantine", "show"])
    assert shown.exit_code == 0
    assert "3 × row held back: logins must not be below 0" in shown.stdout
    assert "2 × value blanked: csat must not be above 5" in shown.stdout
    assert "ACME-" not in shown.stdout, "a pipe is no terminal"
    answer = json.loads(CliRunner().invoke(app, ["quarantine", "show", "tickets", "--json"]).stdout)
    (one,) = answer["held"]
    assert (one["table"], one["rows"], one["effect"]) == ("tickets", 2, "value blanked")
    assert "ACME-" not in json.dumps(answer)
    nothing = CliRunner().invoke(app, ["quarantine", "show", "accounts"])
    assert nothing.exit_code == 1
    assert "Something is held of tickets, usage." in str(nothing.exception)


def test_on_a_terminal_the_companys_own_ids_stand_beside(held: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    from churn_platform import settings
    from churn_platform.cli import output

    monkeypatch.setenv("CHURN_HOME", str(held.home.root))
    settings.reload()
    terminal = Console(force_terminal=True, width=200, highlight=False, record=True)
    monkeypatch.setattr(output, "out", terminal)
    assert CliRunner().invoke(app, ["quarantine", "show", "usage"]).exit_code == 0
    assert "(ACME-00000)" in terminal.export_text()


def test_nothing_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from churn_platform import settings

    monkeypatch.setenv("CHURN_HOME", str(tmp_path / "empty"))
    settings.reload()
    shown = CliRunner().invoke(app, ["quarantine", "show"])
    assert shown.exit_code == 0
    assert "The door has held nothing back." in shown.stdout
