"""The home as a Dagster resource: artifacts, references, vault, contract and source of one problem."""

from __future__ import annotations

from datetime import datetime

import dagster as dg

from churn_platform.features.catalogue import Feature, catalogue_for
from churn_platform.features.profile import PROFILE_FEATURES, ProfileModel
from churn_platform.features.profile import SCHEMA as PROFILE_SCHEMA
from churn_platform.records.home import Home
from churn_platform.records.refs import Refs
from churn_platform.records.store import ContentStore
from churn_platform.records.vault import IdentityVault
from churn_platform.settings import settings
from churn_platform.sources.contract import Contract
from churn_platform.sources.location import SourceLocation, load_location
from churn_platform.sources.mutable import SnapshotLog, usable_since
from churn_platform.training.selection import Selection

_PROFILE = frozenset(feature.name for feature in PROFILE_FEATURES)


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

    @property
    def selection(self) -> Selection | None:
        """Which generated features are made and learnt from; None before the first choice."""
        found = self.refs.find("feature_selection")
        return Selection.from_json(self.objects.read_json(found["verdicts"])) if found else None

    @property
    def generated(self) -> tuple[str, ...]:
        """The generated features that every month has: those chosen, and those that the champion still reads."""
        chosen = self.selection
        made = (*chosen.chosen, *chosen.carried) if chosen else ()
        return tuple(name for name in made if name not in _PROFILE)

    @property
    def profile(self) -> ProfileModel | None:
        """What the anomaly score and the segment are made with; None where there is no such model."""
        found = self.refs.find("customer_profile")
        value = self.objects.read_json(found["digest"]) if found else {}
        return ProfileModel.from_json(value) if value.get("schema") == PROFILE_SCHEMA else None

    @property
    def catalogue(self) -> tuple[Feature, ...]:
        """The features that every month has, in the order of their columns."""
        return catalogue_for(
            self.contract, self.mutable_since, generated=self.generated, profile=self.profile is not None
        )

    @property
    def learnt_catalogue(self) -> tuple[Feature, ...]:
        """The features that a challenger learns from: the hand-made ones and those chosen."""
        chosen = self.selection
        wanted = set(chosen.chosen) if chosen else set()
        return tuple(f for f in self.catalogue if f.family not in ("generated", "profile") or f.name in wanted)
