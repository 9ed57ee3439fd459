"""The ground truth, written beside the tables and named in no contract."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from churn_platform.sources.simulator.departures import Departures
from churn_platform.sources.simulator.history import History
from churn_platform.sources.simulator.presets import PRESETS, SEGMENTS
from churn_platform.sources.simulator.values import Columns, category
from churn_platform.sources.simulator.write import arrow, take, write


def write_truth(
    history: History, gone: Departures, states: list[Columns], folder: Path, ids: NDArray[np.bytes_]
) -> None:
    """Write ``state_oracle``, ``states`` (per account and month start), ``departures`` (with the driver that
    weighed most), ``accounts`` (hidden attributes, τ among them) and ``drift`` (the preset of every
    month)."""
    import pyarrow as pa

    timeline, spec, who = history.timeline, history.spec, history.accounts
    dates = np.concatenate([np.full(len(part["serial"]), month) for month, part in enumerate(states)])
    keys = pa.array([timeline.key(month) for month in range(len(states))])
    observation = pa.DictionaryArray.from_arrays(pa.array(dates.astype(np.int32)), keys)
    rows = {name: np.concatenate([part[name] for part in states]) for name in states[0]}
    oracle = arrow({"serial": rows["serial"]}, ids).append_column("observation_date", observation)
    write(
        oracle.append_column("p_voluntary", pa.array(rows.pop("p_voluntary"))),
        folder / "state_oracle.parquet",
    )
    write(arrow(rows, ids).add_column(1, "observation_date", observation), folder / "states.parquet")
    if gone.truth:
        left = np.flatnonzero(gone.truth["effective_at"] < timeline.as_of)
        write(arrow(take(gone.truth, left), ids), folder / "departures.parquet")
    serial = np.flatnonzero(history.visible & (who.start < timeline.days))
    write(
        arrow(
            {
                "serial": serial,
                "segment": category(who.segment[serial], SEGMENTS),
                "fit": who.fit[serial],
                "price_sensitivity": who.sensitivity[serial],
                "integration_depth": who.depth[serial],
                "tau": who.tau[serial],
                "card_risk": who.card_risk[serial],
            },
            ids,
        ),
        folder / "accounts.parquet",
    )
    presets = spec.month_presets()
    write(
        pa.table(
            {
                "month": [timeline.key(month) for month in range(spec.months)],
                "preset": list(presets),
                "sets_in": [p != "none" and (m == 0 or presets[m - 1] != p) for m, p in enumerate(presets)],
                "description": [PRESETS[preset] for preset in presets],
            }
        ),
        folder / "drift.parquet",
    )
