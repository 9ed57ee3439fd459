"""Alerts: what somebody has to know, once each. One line of JSON after the other, in ``CHURN_HOME/reports``."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from churn_platform import clock
from churn_platform.records.home import Home
from churn_platform.records.ids import uuid7
from churn_platform.records.lock import exclusive

SCHEMA, RESOLVED = "alert/1", "alert_resolved/1"
Severity = Literal["page", "warn", "note"]


@dataclass(frozen=True)
class Alert:
    """One alert.

    Attributes:
        key: what it is about: an alert with the key of an earlier one is not raised again.
        raised_at: wall clock, ISO 8601.
        resolved_at: when it was over, or None: it is open.
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
    resolved_at: str | None = None


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
        kept = asdict(made)
        del kept["resolved_at"]
        _append(home, {"schema": SCHEMA, **kept})
    return made


def resolve(home: Home, which: Callable[[Alert], bool]) -> list[Alert]:
    """Say of the open alerts that ``which`` names that they are over; returns them. The line that raised each stays."""
    if not any(alert.resolved_at is None and which(alert) for alert in alerts(home)):
        return []
    with exclusive(home.run / "alerts.lock", "resolve alerts", wait=30.0):
        over = [alert for alert in alerts(home) if alert.resolved_at is None and which(alert)]
        now = clock.wall().isoformat(timespec="seconds")
        for alert in over:
            _append(home, {"schema": RESOLVED, "id": alert.id, "resolved_at": now})
    return [replace(alert, resolved_at=now) for alert in over]


def _append(home: Home, record: dict[str, Any]) -> None:
    line = json.dumps(record, ensure_ascii=False) + "\n"
    handle = os.open(_file(home), os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(handle).st_size
        if size and os.pread(handle, 1, size - 1) != b"\n":  # a crash has cut off the last line: leave it alone
            line = "\n" + line
        os.write(handle, line.encode())
        os.fsync(handle)
    finally:
        os.close(handle)


def alerts(home: Home) -> list[Alert]:
    """All alerts, the oldest first. A line that was cut off by a crash is left out."""
    path = _file(home)
    if not path.exists():
        return []
    found: dict[str, Alert] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            kept: dict[str, Any] = json.loads(line)
        except ValueError:
            continue
        if kept.pop("schema", None) == RESOLVED:
            if kept["id"] in found:
                found[kept["id"]] = replace(found[kept["id"]], resolved_at=kept["resolved_at"])
        else:
            found[kept["id"]] = Alert(**kept)
    return list(found.values())


def _file(home: Home) -> Any:
    return home.reports / "alerts.jsonl"
