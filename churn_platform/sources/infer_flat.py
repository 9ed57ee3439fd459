"""Inference for one flat file: a row per customer, with a label."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from churn_platform.errors import ContractError
from churn_platform.sources.contract import parse_contract
from churn_platform.sources.engine import quote
from churn_platform.sources.inference import (
    CURRENCY,
    NOT_READ,
    Decision,
    Inference,
    canonical_names,
    column_plain,
)
from churn_platform.sources.profile import Profile
from churn_platform.sources.readers import RawTable
from churn_platform.sources.tables import LABEL_COLUMN, PASSED_COLUMNS

if TYPE_CHECKING:
    import duckdb

LABEL_NAMES = (
    re.compile(
        r"(is|has|did|customer|account|user)?(churn(ed)?|attrition|attrited|exited)(flag|label|status|value|yn)?"
    ),
    re.compile(r"(is|has)?(left|cancell?ed|terminated|defected|lost)(flag|label|status)?|target|label|outcome|y|class"),
)
"""Names of labels, the surer ones first; matched against the name in lowercase letters and digits."""
POSITIVE = frozenset(
    (
        *(
            "yes",
            "y",
            "true",
            "t",
            "1",
            "churn",
            "churned",
            "churner",
            "exited",
            "left",
            "attrited",
            "cancelled",
        ),
        *("canceled", "terminated", "lost", "gone", "leaver", "defected", "former"),
    )
)
"""Texts that mean "has left"."""
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
VALUE_NAMES = (
    "mrr", "monthlyrecurringrevenue", "monthlyrevenue", "monthlycharges", "monthlycharge", "monthlyfee",
    "monthlyspend", "monthlyprice", "monthlyamount", "arpu", "revenuepermonth",
)  # fmt: skip
MAX_LABEL_VALUES = 20
REPEATED_IDS = 0.05
MANY_CATEGORIES, MANY_SHARE = 200, 0.05
ODD_WORDS, ODD_SHARE = 3, 0.05


def infer_flat(
    connection: duckdb.DuckDBPyConnection,
    raw: RawTable,
    profiles: Mapping[str, Profile],
    *,
    label: str | None,
    positive: str | None,
    id: str | None,
    problem: str,
) -> Inference:
    """Propose the contract of a flat file. See :func:`churn_platform.sources.infer.infer_contract`.

    Raises:
        ContractError: several columns may be the label or the id, or none may.
    """
    decisions: list[Decision] = []
    label_column = _label(connection, raw, profiles, label, decisions)
    positive_value = _positive(profiles[label_column], positive, decisions)
    entity = _entity(raw, profiles, label_column, id, decisions)
    columns = _columns(connection, raw, profiles, label_column, entity, decisions)
    if not columns:
        raise ContractError(
            f"{raw.files[0].name} has no column to learn from beside the label and the id.",
            mend="Deliver what is known of each customer, such as tenure, plan and usage.",
        )
    value = _value_column(columns, profiles, decisions)
    if entity is None:
        decisions.append(
            Decision(
                "tables.snapshot.path",
                None,
                "no column tells customers apart, so each row gets a key made from its content",
                "name the column of the customer's id (--id) if there is one; a made key changes with the row",
            )
        )
    decisions.append(CURRENCY)
    contract = parse_contract(
        {
            "contract_version": 1,
            "problem": problem,
            "shape": "snapshot",
            "currency": "USD",
            "label": {"source": "column", "column": label_column, "positive": positive_value},
            "value_column": value,
            "tables": {
                "snapshot": {
                    "path": raw.files[0].name,
                    "entity": entity,
                    "key": [entity] if entity else [],
                    "columns": columns,
                }
            },
        }
    )
    return Inference(contract, tuple(decisions))


def named(raw: RawTable, name: str, role: str) -> str:
    """The column that a user has named.

    Raises:
        ContractError: the file has none of that name.
    """
    if name in raw.columns:
        return name
    try:
        return raw.column(name, role=role)
    except ContractError as error:
        raise ContractError(
            f"{raw.files[0].name} has no column {name!r}.",
            mend=f"It has: {', '.join(raw.columns)}.",
            field=role,
        ) from error


def _label(
    connection: duckdb.DuckDBPyConnection,
    raw: RawTable,
    profiles: Mapping[str, Profile],
    stated: str | None,
    decisions: list[Decision],
) -> str:
    if stated is not None:
        column = named(raw, stated, "label")
        found = profiles[column]
        if not 2 <= found.distinct <= MAX_LABEL_VALUES:
            kind = "one value only" if found.distinct < 2 else f"{found.distinct:,} different values"
            raise ContractError(
                f"The label column {column!r} has {kind}.",
                mend="Name a column that tells who left from who stayed, such as one with yes and no.",
                field="label",
            )
        decisions.append(Decision("label.column", column, "named by you"))
        return column
    for pattern in LABEL_NAMES:
        likely = [p for p in profiles.values() if pattern.fullmatch(p.joined) and p.distinct <= MAX_LABEL_VALUES]
        usable = [p for p in likely if p.distinct >= 2]
        if likely and not usable:
            names = ", ".join(p.name for p in likely)
            raise ContractError(
                f"The label column {names} has one value only, so there is nothing to learn.",
                mend="Deliver customers who left and customers who stayed, or name another column with --label.",
                field="label",
            )
        two = [p for p in usable if p.distinct == 2] or usable
        chosen = two[0] if two else None
        if chosen and all(_same(connection, raw, chosen.name, other.name) for other in two[1:]):
            reason = f"its name says so, and it has the {chosen.distinct} values {_values(chosen)}"
            decisions.append(Decision("label.column", chosen.name, reason))
            return chosen.name
        if chosen:
            raise _ambiguous("label", "the label", [p.name for p in two], "--label COLUMN")
    two_valued = [p.name for p in profiles.values() if p.distinct == 2]
    raise ContractError(
        f"No column of {raw.files[0].name} looks like a label (churn, churned, attrition, exited, left, target…).",
        mend="Name it with --label COLUMN. "
        + (f"Columns with two values: {', '.join(two_valued)}." if two_valued else "No column has two values."),
        field="label",
    )


def _positive(label: Profile, stated: str | None, decisions: list[Decision]) -> str:
    values = [value for value, _ in label.values]
    share = {value: count / max(label.present, 1) for value, count in label.values}
    if stated is not None:
        alike = [value for value in values if value.casefold() == stated.casefold()]
        if not alike:
            raise ContractError(
                f"The label column {label.name!r} never has the value {stated!r}.",
                mend=f"It has: {_values(label)}. Give one of them as --positive.",
                field="positive",
            )
        decisions.append(Decision("label.positive", label.name, f"named by you: {share[alike[0]]:.1%} of rows"))
        return alike[0]
    sure = [value for value in values if value.casefold() in POSITIVE]
    if not sure:
        parts = re.compile(r"\b(churn|attrit|cancel|exit|left|lost|gone)", re.IGNORECASE)
        denial = re.compile(r"\b(no|not|non|never|un)\b", re.IGNORECASE)
        sure = [value for value in values if parts.search(value) and not denial.search(value)]
    if len(sure) != 1:
        raise _ambiguous("positive", f"the value of {label.name!r} that means 'has left'", values, "--positive VALUE")
    doubt = "the larger class is the one that left: is it the right way round?" if share[sure[0]] > 0.5 else None
    reason = f"of {_values(label)} it is the one that means 'has left': {share[sure[0]]:.1%} of rows"
    decisions.append(Decision("label.positive", label.name, reason, doubt))
    return sure[0]


def _entity(
    raw: RawTable,
    profiles: Mapping[str, Profile],
    label: str,
    stated: str | None,
    decisions: list[Decision],
) -> str | None:
    role = "tables.snapshot.entity"
    if stated is not None:
        column = named(raw, stated, "id")
        found = profiles[column]
        if found.unique < 1 - REPEATED_IDS:
            raise ContractError(
                f"The id column {column!r} has {found.distinct:,} different values in {found.rows:,} rows.",
                mend="A flat file has one row per customer: deliver it so, or write a relational contract.",
                field="id",
            )
        decisions.append(Decision(role, column, "named by you"))
        return column
    others = [p for p in profiles.values() if p.name != label and not ROW_NUMBERS.fullmatch(p.joined)]
    for pattern in ID_NAMES:
        likely = [p for p in others if pattern.fullmatch(p.joined) and (p.kind != "float" or p.integers == 1)]
        fit = [p for p in likely if p.unique >= 1 - REPEATED_IDS]
        if len(fit) > 1:
            raise _ambiguous("id", "the customer's id", [p.name for p in fit], "--id COLUMN")
        if fit:
            repeats = fit[0].rows - fit[0].distinct
            doubt = (
                f"{repeats:,} rows repeat an id or have none; the door drops or holds them back" if repeats else None
            )
            decisions.append(Decision(role, fit[0].name, "its name says so, and each row has its own", doubt))
            return fit[0].name
        if likely and pattern is ID_NAMES[0]:
            p = likely[0]
            raise ContractError(
                f"Column {p.name!r} looks like the customer's id, but it has {p.distinct:,} different "
                f"values in "
                f"{p.rows:,} rows.",
                mend="A flat file has one row per customer: deliver it so, write a relational contract for "
                "events, or "
                "name another column with --id.",
                field="id",
            )
    codes = [p for p in others if p.unique == 1 and p.kind == "text" and p.numbers < 1 and p.times < 1 and p.rows > 1]
    if len(codes) > 1:
        raise _ambiguous("id", "the customer's id", [p.name for p in codes], "--id COLUMN")
    if codes:
        doubt = "its name does not say that it is the customer's id"
        decisions.append(Decision(role, codes[0].name, "the only text that is different in each row", doubt))
        return codes[0].name
    return None


def _columns(
    connection: duckdb.DuckDBPyConnection,
    raw: RawTable,
    profiles: Mapping[str, Profile],
    label: str,
    entity: str | None,
    decisions: list[Decision],
) -> dict[str, dict[str, Any]]:
    rest = [p for p in profiles.values() if p.name not in (label, entity)]
    kept: list[tuple[Profile, dict[str, Any], str, str | None]] = []
    for p in rest:
        if why := _useless(p):
            decisions.append(Decision(NOT_READ, p.name, *why))
        elif p.distinct == profiles[label].distinct and _same(connection, raw, label, p.name):
            decisions.append(Decision(NOT_READ, p.name, f"it repeats the label {label!r} in other words"))
        else:
            fields, reason, doubt = _typed(p)
            kept.append((p, fields, reason, doubt))
    names = canonical_names([p.name for p, *_ in kept], (*PASSED_COLUMNS, LABEL_COLUMN, entity or ""))
    columns: dict[str, dict[str, Any]] = {}
    for p, fields, reason, doubt in kept:
        name = names[p.name]
        columns[name] = column_plain(name, p.name, **fields)
        decisions.append(Decision(f"tables.snapshot.columns.{name}", p.name, reason, doubt))
    return columns


def _useless(p: Profile) -> tuple[str, str | None] | None:
    """Why a column is left out, and the doubt about that; None where it is of use."""
    if p.present == 0:
        return "it is empty", None
    if p.distinct == 1 and p.missing == 0:
        return f"every row has the same value {p.values[0][0]!r}", None
    if p.kind == "other":
        return "it holds nested values", None
    if AFTERWARDS.search(p.joined):
        return "its name says that it is known only after the customer has left, or comes from a model", (
            "add it to the columns only if it was known before"
        )
    if ROW_NUMBERS.fullmatch(p.joined) and p.unique == 1:
        return "it numbers the rows", None
    if p.times > 0.99 and p.numbers < 1:
        return (
            "it is a date, and a flat file makes no claim about time",
            "turn it into a duration before the snapshot",
        )
    numeric = p.kind in ("integer", "float", "boolean") or (p.numbers == 1 and not p.padded)
    if p.unique > 0.9 and p.rows > 20 and not (numeric and p.kind != "integer" and p.integers < 1):
        if not numeric:
            return "each row has its own text", None
        if any(pattern.fullmatch(p.joined) for pattern in ID_NAMES):
            return "it is another id", None
    if not numeric and p.distinct > MANY_CATEGORIES and p.distinct > MANY_SHARE * p.rows and not _odd(p):
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
        return {"type": "category"}, f"two values, {_values(p)}{missing}", None
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


def _value_column(
    columns: Mapping[str, Mapping[str, Any]], profiles: Mapping[str, Profile], decisions: list[Decision]
) -> str | None:
    numeric = {name: spec for name, spec in columns.items() if spec["type"] in ("number", "integer")}
    by_name = {profiles[str(spec.get("source", name))].joined: name for name, spec in numeric.items()}
    for candidate in VALUE_NAMES:
        if candidate in by_name:
            source = str(numeric[by_name[candidate]].get("source", by_name[candidate]))
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


def _same(connection: duckdb.DuckDBPyConnection, raw: RawTable, one: str, other: str) -> bool:
    """Whether two columns say the same thing of every row, in whatever words."""
    pairs = connection.execute(
        f"SELECT count(*), count(DISTINCT a), count(DISTINCT b) FROM (SELECT DISTINCT "
        f"{quote(one)}::VARCHAR AS a, "
        f"{quote(other)}::VARCHAR AS b FROM {raw.relation})"
    ).fetchone()
    return bool(pairs and pairs[0] == pairs[1] == pairs[2])


def _values(p: Profile) -> str:
    return ", ".join(repr(value) for value, _ in p.values)


def _ambiguous(field: str, what: str, candidates: Sequence[str], option: str) -> ContractError:
    return ContractError(
        f"Several may be {what}: {', '.join(candidates)}.",
        mend=f"Say which one it is with {option}.",
        field=field,
    )
