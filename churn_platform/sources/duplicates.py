"""One story per key: what was delivered twice is dropped, a later delivery that says something else is a revision,
rows that contradict each other at one time are not believed.

Nothing here may depend on what became known later: of several deliveries each holds from the time at which it was
known until the next, so that parts of earlier months stay what they were.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from churn_platform.sources.staging import SALT, SEPARATOR, Plan, Staged

if TYPE_CHECKING:
    import duckdb

CONFLICTS = "conflicts"
"""Table of contradicting rows: customer_id, rid, event, known."""
CORRECTED = "corrected"
"""Table of the times at which a row was revised: known."""


@dataclass(frozen=True)
class Duplicates:
    """What was found.

    Args:
        dropped: rows dropped as repetitions.
        conflicting: rows taken out since they contradict another with the same key, known at the same time.
        revised: rows that say something else than an earlier delivery; they hold from their own time on.
        several: whether the staged table now has several rows of one ``rid``, one for each revision.
    """

    dropped: int
    conflicting: int
    revised: int = 0
    several: bool = False


def resolve(connection: duckdb.DuckDBPyConnection, plan: Plan, staged: str) -> Duplicates:
    """Make the staged table (whose broken rows are gone) tell one story of each ``rid``.

    A row is known from its ``known`` on. Where a later file says something else of a row that was known at the same
    time (since nothing says when rows arrive, or the time of arrival was not changed), the correction is known when
    the newest row of its own file is.
    """
    connection.execute(
        f"CREATE OR REPLACE TABLE {CONFLICTS} AS SELECT customer_id, rid, event, known FROM {staged} LIMIT 0"
    )
    connection.execute(f"CREATE OR REPLACE TABLE {CORRECTED} AS SELECT known FROM {staged} LIMIT 0")
    if not _repeated(connection, staged):
        return Duplicates(0, 0)
    if not plan.keyed:
        _number(connection, plan, staged)
        if not _repeated(connection, staged):
            return Duplicates(0, 0)
    _deliveries(connection, plan, staged)
    connection.execute(
        "CREATE OR REPLACE TABLE tied AS SELECT rid, moment, place FROM deliveries GROUP BY ALL "
        "HAVING count(DISTINCT content) > 1"
    )
    connection.execute(
        f"INSERT INTO {CONFLICTS} SELECT customer_id, rid, event, known FROM deliveries SEMI JOIN tied "
        "USING (rid, moment, place)"
    )
    total, conflicting = _count(connection, "deliveries"), _count(connection, CONFLICTS)
    if conflicting:
        connection.execute(
            "CREATE OR REPLACE TABLE deliveries AS SELECT * FROM deliveries ANTI JOIN tied USING (rid, moment, place)"
        )
    connection.execute("DROP TABLE tied")
    connection.execute(
        "CREATE OR REPLACE TABLE versions AS SELECT *, lead(moment) OVER (PARTITION BY rid ORDER BY moment) AS until "
        "FROM (SELECT *, lag(content) OVER (PARTITION BY rid ORDER BY moment) AS before FROM (SELECT DISTINCT ON (rid, "
        "moment) * FROM deliveries ORDER BY rid, moment, place DESC, content)) WHERE before IS DISTINCT FROM content"
    )
    connection.execute(f"INSERT INTO {CORRECTED} SELECT moment FROM versions WHERE before IS NOT NULL")
    kept, revised = _count(connection, "versions"), _count(connection, CORRECTED)
    connection.execute(f"DELETE FROM {staged} WHERE rid IN (FROM repeated)")
    connection.execute(f"INSERT INTO {staged} BY NAME {_merged(connection, plan)}")
    for table in ("deliveries", "versions", "repeated"):
        connection.execute(f"DROP TABLE {table}")
    return Duplicates(dropped=total - kept - conflicting, conflicting=conflicting, revised=revised, several=True)


def _repeated(connection: duckdb.DuckDBPyConnection, staged: str) -> int:
    connection.execute(f"CREATE OR REPLACE TABLE repeated AS SELECT rid FROM {staged} GROUP BY rid HAVING count(*) > 1")
    return _count(connection, "repeated")


def _deliveries(connection: duckdb.DuckDBPyConnection, plan: Plan, staged: str) -> None:
    """The repeated rows with their ``content``, the ``place`` of their file, and the ``moment`` they are known at."""
    content = _text(["customer_id", "event", *(column.alias for column in plan.own)])
    place = "coalesce(file, 0)" if plan.filed else "0"
    # an end that was filled in later changes nothing before it, so every delivery may have it
    ends = ", ".join(f"max(z{i}) OVER (PARTITION BY rid, content) AS z{i}" for i in range(len(plan.spans)))
    arrived = (
        f"(SELECT {place} AS place, max(known) AS arrived FROM {staged} GROUP BY 1)"
        if plan.filed
        else "(SELECT 0 AS place, NULL::TIMESTAMP AS arrived)"
    )
    fields = f"d.* EXCLUDE (foremost){f' REPLACE ({ends})' if ends else ''}"
    moment = "CASE WHEN foremost = content THEN known ELSE greatest(known, arrived) END"
    connection.execute(
        f"CREATE OR REPLACE TABLE deliveries AS SELECT {fields}, {moment} AS moment FROM "
        "(SELECT *, first_value(content) OVER (PARTITION BY rid, "
        f"known ORDER BY place, content) AS foremost FROM (SELECT *, md5({content}) AS content, {place} AS place FROM "
        f"{staged} WHERE rid IN (FROM repeated))) AS d JOIN {arrived} USING (place)"
    )


def _at(column: Staged) -> str:
    if column.span is None:
        return f"v.{column.alias} AS {column.alias}"
    begun = f"coalesce(v.a{column.span} <= m.moment, true)"
    over = f"coalesce(v.z{column.span} <= m.moment, false)"
    return f"CASE WHEN {begun} AND NOT {over} THEN v.{column.alias} END AS {column.alias}"


def _merged(connection: duckdb.DuckDBPyConnection, plan: Plan) -> str:
    """SELECT of one row for each moment at which something of a repeated row became known."""
    moments = ["SELECT rid, moment FROM versions"]
    fields = ["m.rid AS rid", "m.moment AS known", "v.customer_id AS customer_id", "v.event AS event"]
    # one row for each revision, so that the values of spans are those of its time, and the spans are spent
    fields += [_at(column) for column in plan.own]
    joins = ""
    for position in range(len(plan.spans)):
        for alias in (f"a{position}", f"z{position}"):
            within = f"{alias} > moment AND {alias} < coalesce(until, TIMESTAMP 'infinity')"
            moments.append(f"SELECT rid, {alias} FROM versions WHERE {within}")
            fields.append(f"NULL::TIMESTAMP AS {alias}")
    if plan.mutable:
        mutable = ", ".join(column.alias for column in plan.mutable)
        joins += f" LEFT JOIN (SELECT DISTINCT ON (rid) rid, {mutable} FROM deliveries ORDER BY rid, moment DESC, "
        joins += f"place DESC, {_text([column.alias for column in plan.mutable])}) AS n ON m.rid = n.rid"
        fields += [f"n.{column.alias} AS {column.alias}" for column in plan.mutable]
    for position in range(len(plan.helpers)):
        later = [column.alias for column in plan.columns if column.helper == position]
        packed = ", ".join(["rid", f"greatest(h{position}, moment) AS moment", *later])
        # the order must be total, or two runs could differ
        order = ", ".join(["rid", "moment", "place DESC", _text(later)])
        connection.execute(
            f"CREATE OR REPLACE TABLE later{position} AS SELECT DISTINCT ON (rid, moment) * FROM (SELECT {packed}, "
            f"place FROM deliveries WHERE h{position} IS NOT NULL) ORDER BY {order}"
        )
        changed = (
            f"SELECT rid, moment FROM (SELECT rid, moment, {_text(later)} AS said, lag(said) OVER (PARTITION BY rid "
            f"ORDER BY moment) AS before FROM later{position}) WHERE before IS DISTINCT FROM said"
        )
        moments.append(changed)
        joins += (
            f" ASOF LEFT JOIN later{position} AS l{position} ON m.rid = l{position}.rid "
            f"AND m.moment >= l{position}.moment"
        )
        fields.append(f"CASE WHEN l{position}.rid IS NOT NULL THEN m.moment END AS h{position}")
        fields += [f"l{position}.{alias} AS {alias}" for alias in later]
    fields += [f"0 AS f{i}" for i in range(plan.masks)]
    return (
        f"SELECT {', '.join(fields)} FROM ({' UNION '.join(moments)}) AS m "
        f"ASOF JOIN versions AS v ON m.rid = v.rid AND m.moment >= v.moment{joins}"
    )


def _number(connection: duckdb.DuckDBPyConnection, plan: Plan, staged: str) -> None:
    """Without a key, rows of equal content in one file are different rows: number them, those that were complete
    first ahead. The same number in another file is the same row, delivered again."""
    helpers = [f"h{position}" for position in range(len(plan.helpers))]
    later: list[Staged] = [column for column in plan.columns if column.helper is not None]
    order = [f"least({', '.join(helpers)}) NULLS LAST"] if helpers else []
    order += [f"{helper} NULLS LAST" for helper in helpers]
    order.append(_text([column.alias for column in later]))
    within = "rid, file" if plan.filed else "rid"
    connection.execute(
        f"CREATE OR REPLACE TABLE numbered AS SELECT rowid AS place, rid, row_number() OVER (PARTITION BY {within} "
        f"ORDER BY {', '.join(order)}) AS occurrence FROM {staged} WHERE rid IN (FROM repeated)"
    )
    hashed = f"md5_number_lower(getvariable('{SALT}') || numbered.rid::VARCHAR || {SEPARATOR} || occurrence::VARCHAR)"
    connection.execute(
        f"UPDATE {staged} SET rid = {hashed} FROM numbered WHERE {staged}.rowid = numbered.place AND occurrence > 1"
    )
    connection.execute("DROP TABLE numbered")


def _text(aliases: list[str], prefix: str = "") -> str:
    """SQL: the values as one text in which NULL differs from the empty text."""
    parts = [f"coalesce({prefix}{alias}::VARCHAR, chr(30))" for alias in aliases]
    return f" || {SEPARATOR} || ".join(parts) if parts else "''"


def _count(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    found = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
    return int(found[0]) if found else 0
