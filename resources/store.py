"""The home as a Dagster resource: artifacts, references, vault, contract and source of one problem."""

from __future__ import annotations

import dagster as dg

from churn_platform.records.home import Home
from churn_platform.records.refs import Refs
from churn_platform.records.store import ContentStore
from churn_platform.records.vault import IdentityVault
from churn_platform.settings import settings
from churn_platform.sources.contract import Contract
from churn_platform.sources.location import SourceLocation, load_location


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
