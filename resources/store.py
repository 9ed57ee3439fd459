"""The home as a Dagster resource: artifacts, references, vault, contract and source of one problem."""

from __future__ import annotations

from datetime import datetime

import dagster as dg

from churn_platform.records.home import Home
from churn_platform.records.refs import Refs
from churn_platform.records.store import ContentStore
from churn_platform.records.vault import IdentityVault
from churn_platform.settings import settings
from churn_platform.sources.contract import Contract
from churn_platform.sources.location import SourceLocation, load_location
from churn_platform.sources.mutable import SnapshotLog, usable_since


class StoreResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Opens the home of this process (CHURN_HOME) anew for each step; it holds nothing itself."""

    @property
    def home(self) -> Home:
        return Home.open()

    @property
    def objects(self) -> ContentStore:
        return ContentStore(self.home.store)

    @property
    def refs(self) -> Refs:
        return Refs(self.home.refs)

    @property
    def vault(self) -> IdentityVault:
        return IdentityVault.open(self.home)

    @property
    def location(self) -> SourceLocation:
        return load_location(self.home, settings().problem)

    @property
    def contract(self) -> Contract:
        return self.location.contract

    @property
    def snapshots(self) -> SnapshotLog:
        """What columns that are overwritten in place said at each load."""
        return SnapshotLog(self.refs)

    @property
    def mutable_since(self) -> dict[str, datetime]:
        """Tables whose columns that are overwritten in place are features by now, and since when they are known."""
        location = self.location
        calendar = location.calendar
        return usable_since(location.contract, self.snapshots, calendar.observations if calendar else ())
