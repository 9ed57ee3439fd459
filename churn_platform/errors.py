"""The one exception tree of the platform. Every error says what is wrong and how to mend it.

ChurnError
├── ConfigurationError           a setting is missing, wrong, or unsafe for this profile
├── MissingDependencyError       a program or library that is needed is not there
├── BusyError                    another process holds what is needed
├── RecordError                  what outlives a process
│   ├── HomeError                CHURN_HOME cannot be used: version, permissions, space
│   ├── ArtifactMissingError     no object under that digest, or no such reference
│   └── ArtifactCorruptError     bytes do not match their digest
├── SourceError                  a company's raw tables
│   ├── SourceMissingError       no such file, folder or table
│   ├── ContractError            the contract does not hold together, or not with the data
│   └── DataFaultError           more rows break a rule than the contract tolerates
├── FeatureError                 features or labels cannot be made
├── TrainingError                a model cannot be trained
│   └── NotEnoughDataError       too few customers or leavers to learn from
├── ChampionError                a model cannot be packaged, registered or loaded
│   └── PackageError             a package is incomplete, foreign, or altered
└── RequestError                 an answer to a caller (RFC 9457 problem details)
    ├── UnauthenticatedError     401
    ├── ForbiddenError           403
    ├── NotFoundError            404
    │   └── UnknownCustomerError
    ├── InvalidRequestError      422
    └── NotReadyError            503
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar


class ChurnError(Exception):
    """Base of all errors that the platform raises on purpose.

    Args:
        message: what is wrong, as one sentence that names the thing.
        mend: what the reader can do about it, as one sentence.
        field: the setting, column or request field at fault, if there is one.
    """

    code: ClassVar[str] = "error"
    title: ClassVar[str] = "The platform could not do this"
    status: ClassVar[int] = 500

    def __init__(self, message: str, *, mend: str = "", field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.mend = mend
        self.field = field

    def __str__(self) -> str:
        return f"{self.message} {self.mend}".strip()


class ConfigurationError(ChurnError):
    code, title = "configuration", "A setting is wrong"


class MissingDependencyError(ChurnError):
    code, title = "missing-dependency", "A needed program or library is missing"


class BusyError(ChurnError):
    code, title, status = "busy", "Another process holds what is needed", 409


class RecordError(ChurnError):
    code, title = "record", "A stored record cannot be used"


class HomeError(RecordError):
    code, title = "home", "CHURN_HOME cannot be used"


class ArtifactMissingError(RecordError):
    code, title, status = "artifact-missing", "No such artifact", 404


class ArtifactCorruptError(RecordError):
    code, title = "artifact-corrupt", "An artifact does not match its digest"


class SourceError(ChurnError):
    code, title, status = "source", "The raw tables cannot be used", 422


class SourceMissingError(SourceError):
    code, title, status = "source-missing", "No such source", 404


class ContractError(SourceError):
    code, title = "contract", "The source contract does not hold"


class DataFaultError(SourceError):
    """More rows break a rule than tolerated.

    Args:
        table, column, rule: what failed.
        share: failing rows / all rows, in [0, 1].
        examples: up to a few keys of failing rows (as the company writes them).
    """

    code, title = "data-fault", "The data breaks a rule of its contract"

    def __init__(
        self,
        message: str,
        *,
        mend: str = "",
        table: str,
        rule: str,
        share: float,
        column: str | None = None,
        examples: Sequence[str] = (),
    ) -> None:
        super().__init__(message, mend=mend, field=column)
        self.table, self.rule, self.share, self.column = table, rule, share, column
        self.examples = tuple(examples)


class FeatureError(ChurnError):
    code, title = "feature", "Features cannot be made"


class TrainingError(ChurnError):
    code, title = "training", "A model cannot be trained"


class NotEnoughDataError(TrainingError):
    code, title = "not-enough-data", "There is too little data to learn from"


class ChampionError(ChurnError):
    code, title = "champion", "The champion cannot be used"


class PackageError(ChampionError):
    code, title = "package", "A model package is incomplete, foreign or altered"


class RequestError(ChurnError):
    """An error that is an answer to a caller. ``errors`` lists further fields at fault."""

    code, title, status = "request", "The request cannot be answered", 400

    def __init__(
        self,
        message: str,
        *,
        mend: str = "",
        field: str | None = None,
        errors: Sequence[dict[str, Any]] = (),
    ) -> None:
        super().__init__(message, mend=mend, field=field)
        self.errors = tuple(errors)


class UnauthenticatedError(RequestError):
    code, title, status = "unauthenticated", "No valid API key", 401


class ForbiddenError(RequestError):
    code, title, status = "forbidden", "Not allowed for this key", 403


class NotFoundError(RequestError):
    code, title, status = "not-found", "Not found", 404


class UnknownCustomerError(NotFoundError):
    code, title = "unknown-customer", "Unknown customer"


class InvalidRequestError(RequestError):
    code, title, status = "invalid-request", "The request is not valid", 422


class NotReadyError(RequestError):
    code, title, status = "not-ready", "Not ready", 503


__all__ = [
    "ArtifactCorruptError",
    "ArtifactMissingError",
    "BusyError",
    "ChampionError",
    "ChurnError",
    "ConfigurationError",
    "ContractError",
    "DataFaultError",
    "FeatureError",
    "ForbiddenError",
    "HomeError",
    "InvalidRequestError",
    "MissingDependencyError",
    "NotEnoughDataError",
    "NotFoundError",
    "NotReadyError",
    "PackageError",
    "RecordError",
    "RequestError",
    "SourceError",
    "SourceMissingError",
    "TrainingError",
    "UnauthenticatedError",
    "UnknownCustomerError",
]
