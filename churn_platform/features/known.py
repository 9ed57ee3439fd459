"""What was known at t: the one place where the two times of a row are compared with the observation date."""

from __future__ import annotations

from typing import Any


def known_rows(raw: Any, *, reach: int | None, revised: bool) -> Any:
    """The rows of a cleaned table known at t, each in its latest revision known at t.

    Args:
        raw: Ibis table of revisions with ``event_time``, ``ingested_at``, ``row_id`` and the instant ``t``.
        reach: days up to t to which the table is cut; None: none.
        revised: whether rows have later revisions. Where not, each row has one and the search is saved.
    """
    import ibis

    rows = raw.filter(raw.event_time <= raw.t, raw.ingested_at <= raw.t)
    if reach is not None:
        rows = rows.filter(rows.event_time > rows.t - ibis.interval(days=reach))
    if not revised:
        return rows
    newest = ibis.row_number().over(group_by="row_id", order_by=[ibis.desc("ingested_at")])
    return rows.mutate(revision__=newest).filter(lambda row: row.revision__ == 0).drop("revision__")
