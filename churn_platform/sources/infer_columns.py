"""Which columns of a flat file are learned from, as what, and what people should look at first."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from churn_platform.sources.decimal_mark import Marked
from churn_platform.sources.engine import quote
from churn_platform.sources.infer_names import REVENUE, flat_names, left_out
from churn_platform.sources.inference import NOT_READ, Decision, column_plain
from churn_platform.sources.outcome_names import meaning, vague
from churn_platform.sources.profile import Profile
from churn_platform.sources.readers import RawTable

if TYPE_CHECKING:
    import duckdb

ID_NAMES = (
    re.compile(
        r"(customer|cust|client|account|acct|subscriber|member|user|company|tenant)s?(id|no|nr|num|number|key|code|ref|uuid)"
    ),
    re.compile(r"(id|uuid|guid|msisdn|customer|client|account)"),
    re.compile(r".*(id|uuid|guid|number|key)"),
)
ROW_NUMBERS = re.compile(r"(row(number|num|no|id|index)?|index|unnamed0?|column1|x|no|nr|sno|serial(no|number)?)")
AFTERWARDS = re.compile(
    r"(churn|attrition|cancel|exit|terminat|leav).*(reason|category|date|day|month|score|prob|type|comment)|naivebayes"
    r"|churnscore|predict(ed|ion)|.*(churnprob|churnrisk)"
)
"""Names of what is known only after the customer has left, or comes from another model."""
AFTERWARDS_WHY = (
    "its name says that it is known only after the customer has left, or comes from a model",
    "was it known before? Then fill in the next line",
)
VAGUE_WHY = (
    "its name may be that of a score made from outcomes, or of what was written when one left",
    "what is it, and when is it written? If it was known before, fill in the next line",
)
MANY_CATEGORIES, MANY_SHARE = 200, 0.05
ODD_WORDS, ODD_SHARE = 3, 0.05


def flat_columns(
    connection: duckdb.DuckDBPyConnection,
    raw: RawTable,
    marked: Marked,
    label: str,
    entity: str | None,
    decisions: list[Decision],
) -> dict[str, dict[str, Any]]:
    """The columns of a flat file's contract: canonical name → plain form.

    Every column is either here or left out with a reason; one that may be honest is left out as a line to fill in.
    """
    profiles = marked.profiles
    kept: list[Profile] = []
    for p in profiles.values():
        if p.name in (label, entity):
            continue
        why = _useless(p)
        if why is None and p.distinct == profiles[label].distinct and same(connection, raw, label, p.name):
            why = f"it repeats the label {label!r} in other words", None
        if why is None and p.name not in marked.unclear and _outcome(raw.header(p.name)) is None:
            why = _too_many(p)
        if why is None:
            kept.append(p)
        else:
            decisions.append(Decision(NOT_READ, p.name, *why))
    names = flat_names(raw, [p.name for p in kept], (entity or "",), _numeric(profiles))
    columns: dict[str, dict[str, Any]] = {}
    for p in kept:
        named = names[p.name]
        fields, reason, doubt = _typed(p)
        if unclear := marked.unclear.get(p.name):
            decisions.append(left_out("snapshot", p.name, named.name, {"type": "number"}, unclear))
        elif outcome := _outcome(named.header):
            review = outcome is AFTERWARDS_WHY
            decisions.append(left_out("snapshot", p.name, named.name, fields, outcome, review=review))
        else:
            columns[named.name] = column_plain(named.name, p.name, **fields)
            decisions += named.decisions(f"tables.snapshot.columns.{named.name}", reason, doubt)
    return columns


def _numeric(profiles: Mapping[str, Profile]) -> frozenset[str]:
    return frozenset(p.name for p in profiles.values() if p.numbers == 1 and not p.padded and p.distinct > 2)


def _outcome(header: str) -> tuple[str, str] | None:
    """Why a column is left out whose name says that it holds the outcome, or may."""
    if AFTERWARDS.search(re.sub(r"[^a-z0-9]", "", header.lower())) or meaning(header) is not None:
        return AFTERWARDS_WHY
    return VAGUE_WHY if vague(header) else None


def _useless(p: Profile) -> tuple[str, str | None] | None:
    """Why a column is left out, and the doubt about that; None where it is of use."""
    if p.present == 0:
        return "it is empty", None
    if p.distinct == 1 and p.missing == 0:
        return f"every row has the same value {p.values[0][0]!r}", None
    if p.kind == "other":
        return "it holds nested values", None
    if p.times > 0.99 and p.numbers < 1:
        return "it is a date, and a flat file makes no claim about time", "turn it into a duration before the snapshot"
    if ROW_NUMBERS.fullmatch(p.joined) and p.unique == 1:
        return "it numbers the rows", None
    return None


def _too_many(p: Profile) -> tuple[str, str | None] | None:
    """Why a column has nothing to learn from: texts of each row's own, ids, and texts in great number."""
    numbers = p.kind in ("integer", "float", "boolean") or (p.numbers == 1 and not p.padded)
    if p.unique > 0.9 and p.rows > 20 and not (numbers and p.kind != "integer" and p.integers < 1):
        if not numbers:
            return "each row has its own text", None
        if any(pattern.fullmatch(p.joined) for pattern in ID_NAMES):
            return "it is another id", None
    if not numbers and p.distinct > MANY_CATEGORIES and p.distinct > MANY_SHARE * p.rows and not _odd(p):
        return (
            f"it has {p.distinct:,} different texts, too many to learn from",
            "group them if they mean something",
        )
    return None


def _odd(p: Profile) -> bool:
    """A column of numbers with a few words in it, such as "?"."""
    words = sum(count for _, count in p.odd)
    return p.numbers >= 1 - ODD_SHARE and len(p.odd) <= ODD_WORDS and words == round(p.present * (1 - p.numbers))


def _typed(p: Profile) -> tuple[dict[str, Any], str, str | None]:
    missing = f"; {p.missing:,} rows have no value" if p.missing else ""
    if p.kind == "boolean" or (p.distinct == 2 and (p.numbers < 1 or p.integers == 1)):
        return {"type": "category"}, f"two values, {listed(p)}{missing}", None
    if p.padded:
        return {"type": "category"}, f"codes with leading zeros{missing}", None
    if p.numbers == 1:
        kind = "integer" if p.integers == 1 else "number"
        hidden = " (text in the file)" if p.kind == "text" and p.missing else ""
        return {"type": kind}, f"{'whole ' if kind == 'integer' else ''}numbers{hidden}{missing}", None
    if p.numbers > 0.5 and _odd(p):
        words = [word for word, _ in p.odd]
        kind = "integer" if p.integers >= p.numbers else "number"
        doubt = f"does {', '.join(map(repr, words))} mean that there is no value?"
        return (
            {"type": kind, "missing": words},
            f"numbers but for {sum(c for _, c in p.odd):,} rows{missing}",
            doubt,
        )
    return {"type": "category"}, f"{p.distinct:,} different texts{missing}", None


def value_column(
    columns: Mapping[str, Mapping[str, Any]], profiles: Mapping[str, Profile], decisions: list[Decision]
) -> str | None:
    """The column of monthly revenue, by its name."""
    chosen = {name: spec for name, spec in columns.items() if spec["type"] in ("number", "integer")}
    by_name = {profiles[str(spec.get("source", name))].joined: name for name, spec in chosen.items()}
    for candidate in REVENUE:
        if candidate in by_name:
            source = str(chosen[by_name[candidate]].get("source", by_name[candidate]))
            decisions.append(Decision("value_column", source, "its name says that it is the monthly revenue"))
            return by_name[candidate]
    decisions.append(
        Decision(
            "value_column",
            None,
            "no column's name says that it is the monthly revenue",
            "name it (value_column: COLUMN), or revenue at risk stays unknown",
        )
    )
    return None


def same(connection: duckdb.DuckDBPyConnection, raw: RawTable, one: str, other: str) -> bool:
    """Whether two columns say the same thing of every row, in whatever words."""
    pairs = connection.execute(
        f"SELECT count(*), count(DISTINCT a), count(DISTINCT b) FROM (SELECT DISTINCT "
        f"{quote(one)}::VARCHAR AS a, {quote(other)}::VARCHAR AS b FROM {raw.relation})"
    ).fetchone()
    return bool(pairs and pairs[0] == pairs[1] == pairs[2])


def listed(p: Profile) -> str:
    """A column's values, as people read them."""
    return ", ".join(repr(value) for value, _ in p.values)
