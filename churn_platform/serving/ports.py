"""What serving needs from the rest of the platform, as narrow protocols: each part can be tested alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from churn_platform.features.online import Missing


class Caller(Protocol):
    """Who holds the key of a request (``identity.roles.Principal``)."""

    @property
    def key_id(self) -> str:
        """The key's public id."""

    def require(self, scope: str) -> None:
        """Pass, or raise ForbiddenError where the role does not have ``scope``."""


class Keys(Protocol):
    """API keys (``identity.keys.ApiKeys``)."""

    def authenticate(self, secret: str | None) -> Caller:
        """The holder of a key; UnauthenticatedError where it is missing, wrong, expired or revoked."""


class Identities(Protocol):
    """The identity vault (``records.vault.IdentityVault``)."""

    def find(self, customer_id: str) -> str | None:
        """The pseudonym of a company's own id; ``None`` where the id is unknown. Never creates one."""


class Vectors(Protocol):
    """The online store (``features.online.OnlineReader``)."""

    def get(self, pseudonyms: Sequence[str], *, at: datetime | None = None) -> Mapping[str, dict[str, Any] | Missing]:
        """Each customer's newest vector with its ``event_timestamp`` (aware UTC), or why there is none."""


@dataclass(frozen=True, slots=True)
class OnlineVector:
    """A customer's newest features.

    Attributes:
        as_of: the observation time of the vector (aware UTC); None for a flat file, which has none.
        values: feature name → number, text or ``None`` (unknown).
        pseudonym: whose it is.
        generation, layout: which materialization and which list of features it is of; None where the store has none.
        view_times: view → the time of its row, where rows were pushed since the observation.
    """

    as_of: datetime | None
    values: Mapping[str, Any]
    pseudonym: str
    generation: int | None = None
    layout: str | None = None
    view_times: Mapping[str, datetime] = field(default_factory=dict)
