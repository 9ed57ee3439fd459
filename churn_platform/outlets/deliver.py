"""Working the outbox off: each due delivery once, and what came of it."""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from churn_platform import clock
from churn_platform.errors import ChurnError
from churn_platform.outlets.kinds import TEST, Announcement, Ids
from churn_platform.outlets.lists import ListFacts, table_of
from churn_platform.outlets.notice import notice
from churn_platform.outlets.outbox import Delivery, Outbox
from churn_platform.outlets.published import publish
from churn_platform.outlets.registry import Outlet, Outlets
from churn_platform.outlets.schedule import ATTEMPTS, pause
from churn_platform.outlets.sealing import Seal
from churn_platform.outlets.webhook import Outcome, send
from churn_platform.records.ids import uuid7
from churn_platform.records.store import ContentStore
from churn_platform.records.vault import IdentityVault
from churn_platform.settings import settings

if TYPE_CHECKING:
    from churn_platform.records.home import Home

log = logging.getLogger("churn_platform.outlets")

# Longer than any attempt takes; so long does a delivery wait whose process was killed.
LEASE: Final = timedelta(minutes=5)
REMEMBERED: Final = timedelta(days=90)


class Deliverer:
    """Works off the outbox of one home."""

    def __init__(self, home: Home, outbox: Outbox | None = None) -> None:
        self.home = home
        self.outbox = outbox or Outbox.open(home)
        self.outlets = Outlets(self.outbox, Seal.of(home))
        # Who has failed together shall not come back together; nothing secret hangs on it.
        self._luck = random.Random()  # noqa: S311

    def work(self, *, seconds: float = float("inf")) -> list[Delivery]:
        """Announce what there is to announce, then try everything that is due, until nothing is or time is up.

        Returns:
            The deliveries that were tried, as they are after.
        """
        until, tried = time.monotonic() + seconds, []
        notice(self.home, self.outbox)
        while time.monotonic() < until:
            taken = self.outbox.claim(clock.wall(), LEASE)
            if taken is None:
                break
            self._try(taken)
            tried.append(taken.id)
        return [one for one in self.outbox.deliveries() if one.id in set(tried)] if tried else []

    def run(self, stop: threading.Event) -> None:
        """Work until told to stop. Nothing that goes wrong ends it."""
        failed = 0
        while not stop.is_set():
            try:
                for one in self.work():
                    log.info("%s to %s: %s, %s", one.announcement.kind, one.outlet, one.state, one.said)
                self.outbox.forget(clock.wall() - REMEMBERED)
                failed = 0
            except Exception as error:
                failed += 1
                log.exception("the outbox cannot be worked off: %s", type(error).__name__)
            stop.wait(settings().outlet_seconds * min(2**failed, 60))

    def test(self, outlet: Outlet) -> tuple[bool, str]:
        """Send a message of the type ``outlet.test``, once; whether it was received, and in words."""
        key = f"{TEST}:{outlet.id}:{clock.wall().isoformat()}"
        told = Announcement(f"msg_{uuid7().hex}", key, TEST, {"outlet": outlet.name}, clock.wall())
        outcome = self._outcome(told, outlet)
        return outcome.done, outcome.said

    def _try(self, taken: Delivery) -> None:
        outlet = next((one for one in self.outlets.list() if one.id == taken.outlet_id), None)
        if outlet is None:
            return  # removed in this moment, and its deliveries with it
        outcome = self._outcome(taken.announcement, outlet)
        now = clock.wall()
        if outcome.done:
            self.outbox.settle(taken, "done", outcome.said)
            return
        wait = None if outcome.gone else pause(taken.attempts, self._luck.random(), asked=outcome.asked)
        if wait is not None:
            self.outbox.settle(taken, "waiting", outcome.said, due_at=now + timedelta(seconds=wait))
            return
        log.error("%s to %s is given up: %s", taken.announcement.kind, outlet.name, outcome.said)
        self.outbox.settle(taken, "dead", outcome.said)
        if outcome.gone:
            self.outlets.stop(outlet.id, outcome.said)

    def _outcome(self, told: Announcement, outlet: Outlet) -> Outcome:
        """What came of an attempt. Whatever goes wrong in it is a failure of this delivery, and of no other."""
        try:
            return self._attempt(told, outlet)
        except ChurnError as error:
            return Outcome(False, str(error))
        except OSError as error:
            return Outcome(False, f"{error.strerror or error}")
        except Exception as error:
            log.exception("%s to %s failed in a way that was not foreseen", told.kind, outlet.name)
            return Outcome(False, f"failed with {type(error).__name__}: {error}")

    def _attempt(self, told: Announcement, outlet: Outlet) -> Outcome:
        if outlet.kind == "webhook":
            secret = str(self.outlets.secrets(outlet)["secret"])
            private = settings().outlet_private_addresses
            return send(told, outlet.target, secret, clock.wall(), private=private)
        if told.kind == TEST:
            return self._probe(outlet)
        facts = ListFacts.from_json(told.data)
        store = ContentStore(self.home.store)
        vault = IdentityVault.open(self.home)
        ids: Ids = "company" if outlet.options["ids"] == "company" else "pseudonym"
        if outlet.kind == "parquet":
            said = publish(Path(outlet.target), store, facts, ids, vault.reveal)
            return Outcome(True, f"{said['rows']:,} rows of {said['month']}")
        from churn_platform.outlets.postgres import write_list

        url = str(self.outlets.secrets(outlet)["url"])
        table = table_of(store, facts, ids, vault.reveal)
        return Outcome(True, write_list(url, outlet.options["schema"], facts, table, ids))

    def _probe(self, outlet: Outlet) -> Outcome:
        """Whether a file or table could be written; nothing is."""
        if outlet.kind == "parquet":
            folder = Path(outlet.target)
            while not folder.exists():
                folder = folder.parent
            writable = os.access(folder, os.W_OK | os.X_OK)
            return Outcome(writable, "the folder can be written" if writable else f"{folder} cannot be written")
        from churn_platform.outlets.postgres import probe

        return Outcome(True, probe(str(self.outlets.secrets(outlet)["url"]), outlet.options["schema"]))


__all__ = ["ATTEMPTS", "LEASE", "Deliverer"]
