"""Feast's answer over packed records: a dictionary straight from arrays; protocol buffers only when asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from feast.online_response import TIMESTAMP_POSTFIX, OnlineResponse
from numpy.typing import NDArray

from churn_platform.errors import ArtifactCorruptError
from churn_platform.features.packed.layout import Dictionary, Value, View, text_of

_SECOND = 1_000_000


@dataclass(frozen=True)
class ViewColumns:
    """What one view contributes to a response.

    Attributes:
        names: as they are called in the response.
        columns: values by name, None where null, missing or stale.
        events: event time in µs; 0 where there is no row.
        status: for each customer 0 found, 1 not found, 2 past its time to live.
    """

    names: tuple[str, ...]
    columns: list[list[Value]]
    events: list[int]
    status: list[int]

    @classmethod
    def read(
        cls,
        view: View,
        records: Sequence[bytes | None],
        dictionary: Dictionary,
        wanted: Sequence[tuple[str, str]],
        *,
        oldest: int,
    ) -> ViewColumns:
        """Decode one view.

        Args:
            wanted: name in the response and name of the feature.
            oldest: event time (µs) before which a row is stale.
        """
        layout = view.layout
        kind = np.dtype(
            [("event", "<i8"), ("created", "<i8"), ("digest", "<u8"), ("values", "<f8", len(layout.columns))]
        )
        nothing = b"\0" * kind.itemsize
        raw = b"".join([nothing if record is None else record for record in records])
        if len(raw) != kind.itemsize * len(records):
            raise _altered()
        rows = np.frombuffer(raw, kind)
        there = np.fromiter((record is not None for record in records), bool, len(records))
        if (rows["digest"][there] != int.from_bytes(layout.digest, "little")).any():
            raise _altered()
        events = np.where(there, rows["event"], 0)
        newest = view.observed if view.observed is not None else oldest
        status = np.where(there & (events >= newest), np.where(events < oldest, 2, 0), 1)
        found = status == 0
        values = rows["values"]
        position = {name: i for i, name in enumerate(layout.names)}
        columns = [
            _column(values[:, position[name]], found, layout.columns[position[name]].kind, name, dictionary)
            for _, name in wanted
        ]
        return cls(tuple(shown for shown, _ in wanted), columns, events.tolist(), status.tolist())


class PackedResponse(OnlineResponse):
    """An ``OnlineResponse``: ``to_dict``, ``to_df``, ``to_arrow`` as ever; ``proto`` is built when first read."""

    def __init__(self, key: str, ids: Sequence[str], views: Sequence[ViewColumns]) -> None:
        self._key, self._ids, self._views = key, ids, views
        self._feature_types: dict[str, Any] = {}

    def to_dict(self, include_event_timestamps: bool = False) -> dict[str, Any]:
        """Name → values, in the order of the request."""
        answer: dict[str, Any] = {self._key: list(self._ids)}
        if include_event_timestamps:
            answer[self._key + TIMESTAMP_POSTFIX] = [0] * len(self._ids)
        for view in self._views:
            stamps = [event // _SECOND for event in view.events] if include_event_timestamps else []
            for name, column in zip(view.names, view.columns, strict=True):
                answer[name] = list(column)
                if include_event_timestamps:
                    answer[name + TIMESTAMP_POSTFIX] = list(stamps)
        return answer

    @cached_property
    def proto(self) -> Any:
        """The protocol buffer of the response."""
        from feast.protos.feast.serving.ServingService_pb2 import FieldStatus, GetOnlineFeaturesResponse
        from google.protobuf.timestamp_pb2 import Timestamp

        statuses = (FieldStatus.PRESENT, FieldStatus.NOT_FOUND, FieldStatus.OUTSIDE_MAX_AGE)
        response = GetOnlineFeaturesResponse()
        response.metadata.feature_names.val.append(self._key)
        response.results.add(
            values=[value_proto(one) for one in self._ids],
            statuses=[FieldStatus.PRESENT] * len(self._ids),
            event_timestamps=[Timestamp()] * len(self._ids),
        )
        for view in self._views:
            moments = [Timestamp(seconds=e // _SECOND, nanos=e % _SECOND * 1000) for e in view.events]
            state = [statuses[one] for one in view.status]
            for name, column in zip(view.names, view.columns, strict=True):
                response.metadata.feature_names.val.append(name)
                response.results.add(
                    values=[value_proto(value) for value in column], statuses=state, event_timestamps=moments
                )
        return response


def _column(
    values: NDArray[np.float64], found: NDArray[np.bool_], kind: str, name: str, dictionary: Dictionary
) -> list[Value]:
    known = found & ~np.isnan(values)
    plain: list[Value] = values.tolist()
    if kind == "category":
        return [
            text_of(dictionary, name, float(value)) if ok else None  # type: ignore[arg-type]
            for value, ok in zip(plain, known.tolist(), strict=True)
        ]
    for i in np.flatnonzero(~known).tolist():
        plain[i] = None
    return plain


def value_proto(value: Value) -> Any:
    """A value as Feast's protocol buffer; null is an empty one."""
    from feast.protos.feast.types.Value_pb2 import Value as Proto

    if value is None:
        return Proto()
    return Proto(string_val=value) if isinstance(value, str) else Proto(double_val=value)


def _altered() -> ArtifactCorruptError:
    return ArtifactCorruptError(
        "A vector in the online store was written with another layout than its view has.",
        mend="Materialize online_features again.",
    )
