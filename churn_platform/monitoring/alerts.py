"""Alerts: what somebody has to know, once each. One line of JSON after the other, in ``CHURN_HOME/reports``."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from typing import Any, Literal

from churn_platform import clock
from churn_platform.records.home import Home
from churn_platform.records.ids import uuid7
from churn_platform.records.lock import exclusive

SCHEMA = "alert/1"
Severity = Literal["page", "warn", "note"]


@dataclass(frozen=True)
class Alert:
    """One alert.

    Attributes:
        key: what it is about: an alert with the key of an earlier one is not raised again.
        raised_at: wall clock, ISO 8601.
    """

    id: str
    key: str
    kind: str
    severity: Severity
    title: str
    detail: str
    raised_at: str
    month: str | None = None
    feed: str | None = None


def raise_alert(
    home: Home,
    *,
    key: str,
    kind: str,
    severity: Severity,
    title: str,
    detail: str,
    month: str | None = None,
    feed: str | None = None,
) -> Alert | None:
    """Append an alert, durably; None where its key was there before."""
    with exclusive(home.run / "alerts.lock", "raise an alert", wait=30.0):
        if any(alert.key == key for alert in alerts(home)):
            return None
        made = Alert(
            str(uuid7()), key, kind, severity, title, detail, clock.wall().isoformat(timespec="seconds"), month, feed
        )
        line = json.dumps({"schema": SCHEMA, **asdict(made)}, ensure_ascii=False) + "\n"
        handle = os.open(_file(home), os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            size = os.fstat(handle).st_size
            if size and os.pread(handle, 1, size - 1) != b"\n":  # a crash has cut off the last line: leave it alone
                line = "\n" + line
            os.write(handle, line.encode())
            os.fsync(handle)
        finally:
            os.close(handle)
    return made


def alerts(home: Home) -> list[Alert]:
    """All alerts, the oldest first. A line that was cut off by a crash is left out."""
    path = _file(home)
    if not path.exists():
        return []
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            kept: dict[str, Any] = json.loads(line)
        except ValueError:
            continue
        kept.pop("schema", None)
        found.append(Alert(**kept))
    return found


def _file(home: Home) -> Any:
    return home.reports / "alerts.jsonl"
