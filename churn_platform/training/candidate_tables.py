"""All affordable candidates of the months that features are chosen on, in one pass, beside the hand-made features."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from churn_platform.features.assemble import assemble
from churn_platform.features.available import Available
from churn_platform.features.candidates import COST_LIMIT, candidates, costs
from churn_platform.features.catalogue import Feature, catalogue_for, catalogue_from_json, catalogue_to_json
from churn_platform.features.definitions import definitions_for
from churn_platform.features.engine import parts_read
from churn_platform.features.profile import PROFILE_FEATURES, Floats, ProfileModel, matrix
from churn_platform.training.profile import ROWS, fit_profile, thinned
from churn_platform.training.selection import Selection, Verdict, select
from churn_platform.training.selection_rows import Offered, selection_rows

if TYPE_CHECKING:
    from churn_platform.records.store import ContentStore
    from churn_platform.sources.contract import Contract
    from churn_platform.sources.mutable import SnapshotLog
    from churn_platform.sources.tables import TableVersion

SCHEMA = "candidate_features/1"


@dataclass(frozen=True)
class CandidateTables:
    """The wide tables.

    Attributes:
        months: observation → digest of the table; empty where there is no month to choose on.
        features: the hand-made features in them.
        offered: the candidates in them.
        costly: candidates that were not made, with their cost.
        possible: names of all candidates that the contract allows, whether there are months to choose on or not.
        note: why there are none.
    """

    months: Mapping[str, str]
    features: tuple[Feature, ...]
    offered: tuple[Offered, ...]
    costly: tuple[tuple[Offered, float], ...]
    possible: tuple[str, ...] = ()
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "months": dict(self.months),
            "catalogue": catalogue_to_json(self.features),
            "offered": [asdict(one) for one in self.offered],
            "costly": [[asdict(one), round(cost, 6)] for one, cost in self.costly],
            "possible": list(self.possible),
            "note": self.note,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> CandidateTables:
        return cls(
            months=dict(value["months"]),
            features=catalogue_from_json(value["catalogue"]),
            offered=tuple(Offered(**one) for one in value["offered"]),
            costly=tuple((Offered(**one), float(cost)) for one, cost in value["costly"]),
            possible=tuple(value["possible"]),
            note=value["note"],
        )


def make_tables(
    contract: Contract,
    versions: Mapping[str, Mapping[str, TableVersion]],
    months: Sequence[str],
    *,
    store: ContentStore,
    snapshots: SnapshotLog | None = None,
    since: Mapping[str, datetime] | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> CandidateTables:
    """Make every affordable candidate of ``months``; arguments as of :func:`~churn_platform.features.assemble`."""
    if contract.shape == "snapshot":
        note = "A flat file has no events to generate features from."
        return CandidateTables({}, catalogue_for(contract, since), (), (), note=note)
    available = Available.of(contract, since)
    hand_made = definitions_for(available)
    found = [one for one in candidates(available, hand_made) if not one.definition.hidden]
    possible = tuple(one.name for one in found)
    if not months:
        note = "There are too few months yet to choose on some and judge on others."
        return CandidateTables({}, catalogue_for(contract, since), (), (), possible, note)
    newest = versions[max(months)]
    rows = {name: sum(part.rows for part in parts_read(available, version)) for name, version in newest.items()}
    cost = costs(found, rows)

    def offer(one: Any) -> Offered:
        return Offered(one.name, one.definition.feature.label, one.template, one.table)

    cheap = [one for one in found if cost[one.name] <= COST_LIMIT]
    made = assemble(
        contract,
        versions,
        months,
        store=store,
        progress=progress,
        snapshots=snapshots,
        since=since,
        generated=[one.name for one in cheap],
    )
    return CandidateTables(
        months={month: table.digest for month, table in made.items()},
        features=tuple(one.feature for one in hand_made if not one.hidden),
        offered=tuple(offer(one) for one in cheap),
        costly=tuple((offer(one), cost[one.name]) for one in found if cost[one.name] > COST_LIMIT),
        possible=possible,
    )


def fit_profile_of(tables: CandidateTables, store: ContentStore, seed: int = 0) -> ProfileModel | None:
    """The profile of customers, from the hand-made numeric features of these months. None without any month, or where
    too little is known."""
    import numpy as np
    import pyarrow.parquet as pq

    numeric = [feature for feature in tables.features if feature.kind == "number"]
    if not tables.months or not numeric:
        return None
    names = [feature.name for feature in numeric]
    parts = []
    for _, digest in sorted(tables.months.items()):
        values = _by_content(matrix(pq.read_table(store.path(digest), columns=names), names))
        parts.append(thinned(values, 2 * ROWS // len(tables.months) + 1))
    return fit_profile(numeric, _by_content(np.vstack(parts)), seed=seed)


def _by_content(values: Floats) -> Floats:
    """The rows in an order of their own: that of pseudonyms must not reach the sample that the trees are grown on."""
    import numpy as np

    return np.asarray(values[np.lexsort(np.nan_to_num(values, nan=-1e300).T[::-1])])


def choose(
    tables: CandidateTables,
    labels: Mapping[str, str],
    contract: Contract,
    *,
    store: ContentStore,
    profile: ProfileModel | None = None,
    in_force: Sequence[str] = (),
    seed: int = 0,
    threads: int = 1,
) -> Selection:
    """The selection among the candidates of ``tables``.

    Args:
        labels: month → digest of its labels, for at least the months of ``tables``.
        profile: its two features are offered as well.
        in_force: features that the champion reads: those generated ones that are not chosen are carried on.
    """
    costly = tuple(
        Verdict(
            one.name,
            one.label,
            one.template,
            one.table,
            "cost",
            f"costs {cost:.1f} times a sum over the largest table; at most {COST_LIMIT:g}",
            {"cost": round(cost, 6)},
        )
        for one, cost in tables.costly
    )
    if not tables.months:
        made = Selection((), costly, (), note=tables.note)
    else:
        own = PROFILE_FEATURES if profile is not None else ()
        offered = [
            *tables.offered,
            *(Offered(f.name, f.label, "profile", "", f.kind == "category") for f in own),
        ]
        rows = selection_rows(
            tables.months,
            labels,
            tables.features,
            offered,
            store=store,
            extra=profile.append if profile is not None else None,
        )
        folds = rows.folds(contract.label.horizon_days, contract.label.gap_days)
        found = select(rows, folds, seed=seed, threads=threads)
        made = Selection(found.chosen, (*found.verdicts, *costly), found.months, found.losses, found.note)
    carried = tuple(name for name in in_force if name in tables.possible and name not in made.chosen)
    return Selection(made.chosen, made.verdicts, made.months, made.losses, made.note, carried)
