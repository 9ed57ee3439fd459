"""The ranked list as it leaves: read from the store, under pseudonyms or the company's own ids."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from churn_platform.outlets.kinds import Ids

if TYPE_CHECKING:
    import pyarrow as pa

    from churn_platform.records.refs import Refs
    from churn_platform.records.store import ContentStore

Reveal = Callable[[Sequence[str]], Sequence[str | None]]
"""Pseudonyms to the company's ids; None for whom the vault does not know any more."""


@dataclass(frozen=True)
class ListFacts:
    """Which list it is.

    Attributes:
        digest: of the Parquet file of ``scores_current`` in the store.
        month: its observation month (``snapshot`` for a flat file).
        made_at: wall clock, ISO 8601, of the list or of the diagnosis of its month, whichever was later: a list that
            was made later replaces an earlier one, never the reverse.
        model: the model's digest; ``version`` is its version in the registry.
        degraded: ``reason`` and ``feeds`` where the diagnosis of the month says that the list stands on data that
            cannot be trusted; None where it does not.
    """

    problem: str
    digest: str
    month: str
    rows: int
    made_at: str
    version: str
    model: str
    revenue_at_risk: float | None
    degraded: dict[str, Any] | None = None

    @classmethod
    def of(
        cls,
        problem: str,
        ref: Mapping[str, Any],
        diagnosis: Mapping[str, Any] | None = None,
        *,
        diagnosed_at: str = "",
    ) -> ListFacts:
        """From the reference of ``scores_current``.

        Args:
            diagnosis: of its month, as :meth:`churn_platform.monitoring.diagnosis.Diagnosis.to_json` gives it.
            diagnosed_at: when that was made; ISO 8601, UTC, like ``made_at``.
        """
        at_risk = ref.get("revenue_at_risk")
        return cls(
            problem=problem,
            digest=str(ref["digest"]),
            month=str(ref["month"]),
            rows=int(ref["rows"]),
            made_at=max(str(ref["made_at"]), diagnosed_at),
            version=str(ref["version"]),
            model=str(ref["model"]),
            revenue_at_risk=None if at_risk is None else float(at_risk),
            degraded=_mark(diagnosis or {}),
        )

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ListFacts:
        """What :meth:`to_json` gave, which is what ``list.ready`` tells. What was told by an earlier release, without
        ``degraded``, is read, too."""
        return cls(**{name: data[name] for name in cls.__dataclass_fields__ if name in data or name != "degraded"})

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def present_list(refs: Refs) -> ListFacts | None:
    """The list as it was published last, with what the diagnosis of its month says; None where none was."""
    found = refs.find("scores_outlet")
    return ListFacts.from_json(found["list"]) if found is not None and "list" in found else None


def _mark(diagnosis: Mapping[str, Any]) -> dict[str, Any] | None:
    if diagnosis.get("kind") != "data_fault":
        return None
    return {"reason": str(diagnosis["reason"]), "feeds": [str(feed) for feed in diagnosis["feeds"]]}


def table_of(store: ContentStore, facts: ListFacts, ids: Ids, reveal: Reveal) -> pa.Table:
    """The list in the order of its ranks; with company ids, without those whom the vault does not know any more.

    Its last column ``degraded`` (text) is in every row why the list stands on data that cannot be trusted, or null.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    table = pq.read_table(store.path(facts.digest)).sort_by("rank")
    reason = None if facts.degraded is None else str(facts.degraded["reason"])
    table = table.append_column("degraded", pa.array([reason] * table.num_rows, pa.string()))
    if ids == "pseudonym":
        return table
    own = pa.array(reveal(table["customer_id"].to_pylist()), pa.string())
    place = table.schema.get_field_index("customer_id")
    return table.set_column(place, "customer_id", own).filter(pc.is_valid(own))
