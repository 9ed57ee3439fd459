"""Inference for one flat file: a row per customer, with a label."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from churn_platform.errors import ContractError
from churn_platform.sources.contract import parse_contract
from churn_platform.sources.decimal_mark import Marked
from churn_platform.sources.infer_columns import ID_NAMES, ROW_NUMBERS, flat_columns, listed, same, value_column
from churn_platform.sources.inference import CURRENCY, Decision, Inference
from churn_platform.sources.profile import Profile
from churn_platform.sources.readers import RawTable

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
_LEFT = re.compile(r"\b(churn|attrit|cancel|exit|left|lost|gone)", re.IGNORECASE)
_DENIAL = re.compile(r"\b(no|not|non|never|un)\b", re.IGNORECASE)
MAX_LABEL_VALUES = 20
TOLD_VALUES = 5
"""Columns of so few values are told to who looks for a label."""
REPEATED_IDS = 0.05


def infer_flat(
    connection: duckdb.DuckDBPyConnection,
    raw: RawTable,
    marked: Marked,
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
    decisions: list[Decision] = list(marked.decisions)
    profiles = marked.profiles
    label_column = _label(connection, raw, profiles, label, decisions)
    positive_value = _positive(profiles[label_column], positive, decisions)
    entity = _entity(raw, profiles, label_column, id, decisions)
    columns = flat_columns(connection, raw, marked, label_column, entity, decisions)
    if not columns:
        raise ContractError(
            f"{raw.files[0].name} has no column to learn from beside the label and the id.",
            mend="Deliver what is known of each customer, such as tenure, plan and usage.",
        )
    value = value_column(columns, profiles, decisions)
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
                    "decimal": marked.decimal,
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
        if chosen and all(same(connection, raw, chosen.name, other.name) for other in two[1:]):
            reason = f"its name says so, and it has the {chosen.distinct} values {listed(chosen)}"
            decisions.append(Decision("label.column", chosen.name, reason))
            return chosen.name
        if chosen:
            raise _ambiguous("label", "the label", [p.name for p in two], "--label COLUMN")
    raise ContractError(
        f"No column of {raw.files[0].name} looks like a label (churn, churned, attrition, exited, left, target…).",
        mend=_candidates(profiles),
        field="label",
    )


def _candidates(profiles: Mapping[str, Profile]) -> str:
    """What a user may say about the label, from what the columns hold."""
    telling = [p for p in profiles.values() if 2 <= p.distinct <= TOLD_VALUES and len(_leavers(p)) == 1]
    if telling:
        shown = "; ".join(f"{p.name} ({listed(p)}), of which {_leavers(p)[0]!r} may mean 'has left'" for p in telling)
        p = telling[0]
        return f"These may be one: {shown}. Say so: --label {_shell(p.name)} --positive {_shell(_leavers(p)[0])}."
    two = [p.name for p in profiles.values() if p.distinct == 2]
    more = [f"{p.name} ({listed(p)})" for p in profiles.values() if 2 < p.distinct <= TOLD_VALUES]
    told = f"Columns with two values: {', '.join(two)}." if two else "No column has two values."
    if more and not two:
        told += (
            f" With three to five: {'; '.join(more[:5])}; of these say also which value means 'has left' (--positive)."
        )
    return f"Name it with --label COLUMN. {told}"


def _shell(text: str) -> str:
    return shlex.quote(text)


def _leavers(label: Profile) -> list[str]:
    """The values that mean "has left", by the words they are."""
    values = [value for value, _ in label.values]
    sure = [value for value in values if value.casefold() in POSITIVE]
    if not sure:
        sure = [value for value in values if _LEFT.search(value) and not _DENIAL.search(value)]
    return sure


def _positive(label: Profile, stated: str | None, decisions: list[Decision]) -> str:
    values = [value for value, _ in label.values]
    share = {value: count / max(label.present, 1) for value, count in label.values}
    if stated is not None:
        alike = [value for value in values if value.casefold() == stated.casefold()]
        if not alike:
            raise ContractError(
                f"The label column {label.name!r} never has the value {stated!r}.",
                mend=f"It has: {listed(label)}. Give one of them as --positive.",
                field="positive",
            )
        said = f"named by you: {share[alike[0]]:.1%} of rows"
        decisions.append(Decision("label.positive", label.name, said, _others(label, alike[0])))
        return alike[0]
    sure = _leavers(label)
    if len(sure) != 1:
        raise _ambiguous("positive", f"the value of {label.name!r} that means 'has left'", values, "--positive VALUE")
    doubt = "the larger class is the one that left: is it the right way round?" if share[sure[0]] > 0.5 else None
    reason = f"of {listed(label)} it is the one that means 'has left': {share[sure[0]]:.1%} of rows"
    decisions.append(Decision("label.positive", label.name, reason, _others(label, sure[0]) or doubt))
    return sure[0]


def _others(label: Profile, positive: str) -> str | None:
    """The doubt about a label of three or more values; None for one of two."""
    rest = [f"{value!r} ({count:,} rows)" for value, count in label.values if value != positive]
    if len(rest) < 2:
        return None
    return (
        f"{' and '.join(rest)} all count as stayed: take rows out of the file whose outcome is not known yet; if "
        "another value means that one has left, name it with --positive"
    )


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


def _ambiguous(field: str, what: str, candidates: Sequence[str], option: str) -> ContractError:
    return ContractError(
        f"Several may be {what}: {', '.join(candidates)}.",
        mend=f"Say which one it is with {option}.",
        field=field,
    )
