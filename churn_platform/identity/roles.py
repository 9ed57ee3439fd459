"""Roles, their scopes, and principals. Routes and commands ask for a scope, never for a role."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from churn_platform.errors import ForbiddenError


class Scope(StrEnum):
    """What can be allowed. ``:write`` does not include ``:read``."""

    PREDICT = "predict"
    """POST /v1/predict and /v1/predict/batch."""
    EXPLAIN = "explain"
    """POST /v1/explain: what if."""
    CUSTOMERS_READ = "customers:read"
    """Scores, ranked lists and how a customer's score changed."""
    FEATURES_READ = "features:read"
    """A customer's online vector."""
    FEATURES_WRITE = "features:write"
    """Push features and materialize the online store."""
    FEEDBACK_WRITE = "feedback:write"
    """Say whether a prediction was right."""
    OUTCOMES_WRITE = "outcomes:write"
    """Report who left and who was treated."""
    MODELS_READ = "models:read"
    """Versions, cards and evaluations of models."""
    MODELS_WRITE = "models:write"
    """Train, evaluate and register challengers."""
    ROLLOUT_READ = "rollout:read"
    """What is served, to whom, and how the step is judged."""
    ROLLOUT_WRITE = "rollout:write"
    """Start, pause, promote and abort a rollout."""
    ROLLOUT_APPROVE = "rollout:approve"
    """Give one of the approvals that a promotion needs."""
    EXPERIMENTS_READ = "experiments:read"
    """Definitions, exposure counts and results of experiments."""
    EXPERIMENTS_WRITE = "experiments:write"
    """Define, start and stop experiments."""
    REPORTS_READ = "reports:read"
    """Drift, performance, fairness and business reports."""
    ALERTS_WRITE = "alerts:write"
    """Deliver alerts: Alertmanager's webhook."""
    AUDIT_READ = "audit:read"
    """The audit chain and its verification."""
    PREDICTIONS_REPLAY = "predictions:replay"
    """Rebuild a served prediction from the log."""
    SUBJECTS_ERASE = "subjects:erase"
    """Remove a person from the identity vault."""
    KEYS_READ = "keys:read"
    """List API keys (never their secrets)."""
    KEYS_WRITE = "keys:write"
    """Create and revoke API keys."""


class Role(StrEnum):
    """Who a key is for."""

    ADMIN = "admin"
    ML_ENGINEER = "ml_engineer"
    ANALYST = "analyst"
    CUSTOMER_SUCCESS = "customer_success"
    AUDITOR = "auditor"
    SERVICE = "service"


_READ_MODELS: Final = frozenset({Scope.MODELS_READ, Scope.ROLLOUT_READ, Scope.EXPERIMENTS_READ, Scope.REPORTS_READ})
_READ_CUSTOMERS: Final = frozenset({Scope.PREDICT, Scope.EXPLAIN, Scope.CUSTOMERS_READ})

SCOPES: Final[Mapping[Role, frozenset[Scope]]] = MappingProxyType(
    {
        # May make a key of any role, so that withholding a scope would only be a detour.
        Role.ADMIN: frozenset(Scope),
        # Trains and rolls out; erases nobody, and makes no keys.
        Role.ML_ENGINEER: _READ_MODELS
        | _READ_CUSTOMERS
        | {
            Scope.FEATURES_READ,
            Scope.FEATURES_WRITE,
            Scope.FEEDBACK_WRITE,
            Scope.OUTCOMES_WRITE,
            Scope.MODELS_WRITE,
            Scope.ROLLOUT_WRITE,
            Scope.ROLLOUT_APPROVE,
            Scope.EXPERIMENTS_WRITE,
            Scope.PREDICTIONS_REPLAY,
        },
        # Sees everything about models and customers, changes nothing.
        Role.ANALYST: _READ_MODELS | _READ_CUSTOMERS | {Scope.FEATURES_READ},
        # Works the ranked list and says what came of it.
        Role.CUSTOMER_SUCCESS: _READ_CUSTOMERS
        | {Scope.FEATURES_READ, Scope.FEEDBACK_WRITE, Scope.OUTCOMES_WRITE, Scope.REPORTS_READ},
        # Proves what was done; makes no predictions, so that it leaves no trace in the log that it reads.
        Role.AUDITOR: _READ_MODELS | {Scope.AUDIT_READ, Scope.PREDICTIONS_REPLAY, Scope.KEYS_READ},
        # Another program: a CRM, a billing system, Alertmanager.
        Role.SERVICE: _READ_CUSTOMERS
        | {
            Scope.FEATURES_READ,
            Scope.FEATURES_WRITE,
            Scope.FEEDBACK_WRITE,
            Scope.OUTCOMES_WRITE,
            Scope.MODELS_READ,
            Scope.ROLLOUT_READ,
            Scope.ALERTS_WRITE,
        },
    }
)


@dataclass(frozen=True)
class Principal:
    """Who is calling: a key that was checked.

    Attributes:
        key_id: the key's public id, for logs and the audit trail.
        name: what the key was named when it was made.
        role: decides the scopes.
    """

    key_id: str
    name: str
    role: Role

    @property
    def scopes(self) -> frozenset[Scope]:
        """What this principal may do."""
        return SCOPES[self.role]

    def may(self, scope: Scope | str) -> bool:
        """Whether the role has a scope.

        Raises:
            ValueError: there is no such scope: an error of the caller's code.
        """
        return Scope(scope) in self.scopes

    def require(self, scope: Scope | str) -> None:
        """Do nothing, or refuse.

        Raises:
            ForbiddenError: the role does not have the scope.
            ValueError: there is no such scope: an error of the caller's code.
        """
        if not self.may(scope):
            having = ", ".join(role for role in Role if Scope(scope) in SCOPES[role])
            raise ForbiddenError(
                f"The key {self.key_id} has the role {self.role}, which lacks the scope {Scope(scope)}.",
                mend=f"Use a key with one of the roles {having}.",
            )
