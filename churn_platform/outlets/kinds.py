"""What there is to tell, and the form that it is told in."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

Ids = Literal["pseudonym", "company"]

EVENTS: Final = {
    "list.ready": "There is a new ranked list of whom to call.",
    "champion.changed": "Another model decides from now on.",
    "data.fault": "A feed has dried up: predictions are marked as degraded.",
}
TEST: Final = "outlet.test"
LIST_READY: Final = "list.ready"


@dataclass(frozen=True)
class Announcement:
    """One thing to tell. It is told to each outlet under the same id, however often it must be tried.

    Attributes:
        id: the ``webhook-id``: who receives it twice knows it by that.
        kind: one of :data:`EVENTS`, or :data:`TEST`.
        data: what there is to say; holds neither ids of customers nor pseudonyms.
        announced_at: aware, UTC.
    """

    id: str
    key: str
    kind: str
    data: dict[str, Any]
    announced_at: datetime

    def body(self) -> str:
        """The message, in the form that Standard Webhooks recommends: ``type``, ``timestamp``, ``data``."""
        told = {"type": self.kind, "timestamp": self.announced_at.isoformat(timespec="milliseconds"), "data": self.data}
        return json.dumps(told, ensure_ascii=False, separators=(",", ":"))
