"""What a raw column holds: counts, types hidden in text, and its values where they are few."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from churn_platform.sources.engine import literal, quote
from churn_platform.sources.parsing import MISSING, as_text, physical, point_for_comma
from churn_platform.sources.readers import RawTable

if TYPE_CHECKING:
    import duckdb

FEW = 20
"""Values are listed up to this many."""


@dataclass(frozen=True)
class Profile:
    """One raw column.

    Args:
        name: the company's name.
        kind: text, integer, float, boolean, time, zoned, or other: as stored.
        rows, missing, distinct: rows; blank or null ones (in text also words such as NaN); different values
            else.
        numbers, integers, times: share of the present values that are such, in [0, 1].
        compact: share of the present values that are dates of eight digits, such as 19970112.
        sample: one value, for people; None where there is none.
        commas, points: share of the present values that are numbers with a decimal comma (12,50), or with a point.
        grouped, dotted: those of them of which each mark has exactly three digits after it (1,234 and 1.234), so that
            it may group thousands.
        comma_sample: one number with a comma.
        padded: values that begin with a zero before another digit: codes, not numbers.
        values: the values with their counts, most frequent first, where they are at most :data:`FEW`.
        odd: what is no number in a column of numbers, with counts, most frequent first.
    """

    name: str
    kind: str
    rows: int
    missing: int
    distinct: int
    numbers: float
    integers: float
    times: float
    padded: int
    values: tuple[tuple[str, int], ...]
    odd: tuple[tuple[str, int], ...]
    compact: float = 0.0
    sample: str | None = None
    commas: float = 0.0
    points: float = 0.0
    grouped: float = 0.0
    dotted: float = 0.0
    comma_sample: str | None = None

    @property
    def present(self) -> int:
        """Rows with a value."""
        return self.rows - self.missing

    @property
    def unique(self) -> float:
        """Different values / rows: 1 where each row has its own."""
        return self.distinct / self.rows if self.rows else 0.0

    @property
    def words(self) -> tuple[str, ...]:
        """The name in lowercase words."""
        split = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", self.name)
        return tuple(re.findall(r"[a-z0-9]+", split.lower()))

    @property
    def joined(self) -> str:
        """The name in lowercase letters and digits only."""
        return re.sub(r"[^a-z0-9]", "", self.name.lower())


def profile_table(
    connection: duckdb.DuckDBPyConnection,
    raw: RawTable,
    *,
    limit: int | None = None,
    decimal: Literal[".", ","] = ".",
) -> dict[str, Profile]:
    """Profile every column.

    Args:
        limit: look at this many rows only (large tables).
        decimal: the decimal mark of numbers in text.
    """
    rows = f"(SELECT * FROM {raw.relation}{f' LIMIT {limit}' if limit else ''})"
    connection.execute(f"CREATE OR REPLACE TABLE profiled AS FROM {rows}")
    found = {name: _profile(connection, name, kind, decimal) for name, kind in raw.columns.items()}
    connection.execute("DROP TABLE profiled")
    return found


def _profile(connection: duckdb.DuckDBPyConnection, name: str, duckdb_type: str, decimal: str) -> Profile:
    kind = physical(duckdb_type)
    if kind == "other":
        text, missing = f"{quote(name)}::VARCHAR", f"{quote(name)} IS NULL"
    else:
        text = as_text(quote(name), duckdb_type)
        words = ", ".join(literal(word) for word in MISSING if word != "none")
        missing = f"({text} IS NULL OR lower({text}) IN ({words}))"
    number = f"try_cast({point_for_comma(text) if kind == 'text' and decimal == ',' else text} AS DOUBLE)"
    # a bare number is no date, though DuckDB would take some for one
    time = f"(try_cast({text} AS TIMESTAMP) IS NOT NULL AND regexp_matches({text}, '^\\d{{4}}-\\d\\d?-\\d\\d?'))"
    day = f"(regexp_matches({text}, '^(19|20)\\d{{6}}$') AND try_strptime({text}, '%Y%m%d') IS NOT NULL)"
    row = connection.execute(
        f"SELECT count(*), count(*) FILTER (WHERE {missing}), "
        f"count(DISTINCT {text}) FILTER (WHERE NOT {missing}), "
        f"count(*) FILTER (WHERE NOT {missing} AND isfinite({number})), "
        f"count(*) FILTER (WHERE NOT {missing} AND {number} = floor({number})), "
        f"count(*) FILTER (WHERE NOT {missing} AND {time}), "
        f"count(*) FILTER (WHERE regexp_matches({text}, '^0\\d')), count(*) FILTER (WHERE {day}), "
        f"min({text}) FILTER (WHERE NOT {missing}), "
        f"{', '.join(f'count(*) FILTER (WHERE {_matches(text, form)})' for form in _FORMS)}, "
        f"min({text}) FILTER (WHERE {_matches(text, _COMMA)}) FROM profiled"
    ).fetchone()
    total, absent, distinct, numbers, integers, times, padded, days = (int(v) for v in (row or (0,) * 8)[:8])
    present = max(total - absent, 1)
    values: list[tuple[str, int]] = []
    if distinct <= FEW:
        values = connection.execute(
            f"SELECT {text} AS v, count(*) FROM profiled WHERE NOT {missing} GROUP BY 1 ORDER BY 2 DESC, 1"
        ).fetchall()
    odd: list[tuple[str, int]] = []
    if numbers and numbers < total - absent:
        odd = connection.execute(
            f"SELECT {text} AS v, count(*) FROM profiled WHERE NOT {missing} AND {number} IS NULL "
            "GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 5"
        ).fetchall()
    return Profile(
        name=name,
        kind=kind,
        rows=total,
        missing=absent,
        distinct=distinct,
        numbers=numbers / present,
        integers=integers / present,
        times=1.0 if kind in ("time", "zoned") else times / present,
        padded=padded if kind == "text" else 0,
        values=tuple((str(value), int(count)) for value, count in values),
        odd=tuple((str(value), int(count)) for value, count in odd),
        compact=days / present,
        sample=str(row[8]) if row and row[8] is not None else None,
        commas=int(row[9]) / present if row else 0.0,
        points=int(row[10]) / present if row else 0.0,
        grouped=int(row[11]) / present if row else 0.0,
        dotted=int(row[12]) / present if row else 0.0,
        comma_sample=str(row[13]) if row and row[13] is not None else None,
    )


_COMMA = r"^[+-]?([0-9]{1,3}(\.[0-9]{3})+|[0-9]+),[0-9]+$|^[+-]?[0-9]{1,3}(,[0-9]{3}){2,}$"
_FORMS = (
    _COMMA,
    r"^[+-]?[0-9]*\.[0-9]+$",
    r"^[+-]?[1-9][0-9]{0,2}(,[0-9]{3})+$",
    r"^[+-]?[1-9][0-9]{0,2}(\.[0-9]{3})+$",
)
"""Numbers with a comma, with a point, and those of them that may be whole numbers with thousands set apart."""


def _matches(text: str, form: str) -> str:
    return f"regexp_matches({text}, {literal(form)})"
