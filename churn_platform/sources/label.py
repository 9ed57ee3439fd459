"""A flat file's label must tell two kinds of customers apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from churn_platform.errors import ContractError

if TYPE_CHECKING:
    import duckdb

    from churn_platform.sources.contract import Contract
    from churn_platform.sources.staging import Plan


MAX_CATEGORIES = 10_000
"""A category of more values than this tells customers apart and teaches nothing."""


def check_categories(connection: duckdb.DuckDBPyConnection, plan: Plan, staged: str) -> None:
    """See that no column of categories is one of names.

    Raises:
        ContractError: a category has more than :data:`MAX_CATEGORIES` values, give or take a few percent.
    """
    columns = [c for c in plan.columns if not c.hashed and plan.table.columns.get(c.name, None) is not None]
    columns = [c for c in columns if plan.table.columns[c.name].type == "category"]
    if not columns:
        return
    counted = connection.execute(
        f"SELECT {', '.join(f'approx_count_distinct({column.alias})' for column in columns)} FROM {staged}"
    ).fetchone()
    for column, values in zip(columns, counted or (), strict=False):
        if values > MAX_CATEGORIES:
            place = f"tables.{plan.name}.columns.{column.name}"
            raise ContractError(
                f"{place}: a category of about {values:,} different values is no category: hardly a value comes twice.",
                mend="Give it type text where it is a name or a note, group the values before they come here, or take "
                "the column out of the contract.",
                field=place,
            )


FEW, SHORT = 10, 40


def check_label(connection: duckdb.DuckDBPyConnection, contract: Contract, staged: str) -> None:
    """See that the staged table has the positive value and another.

    Raises:
        ContractError: it has not; the message lists the values that there are.
    """
    found = connection.execute(
        f"SELECT label, count(*) FROM {staged} WHERE label IS NOT NULL GROUP BY label ORDER BY 2 DESC, 1 LIMIT 20"
    ).fetchall()
    values = [value for value, _ in found]
    label = contract.label
    # A column with many values may hold names or ids, which an error must not carry into logs.
    listed = ", ".join(repr(value) for value in values) or "no value at all"
    if len(values) > FEW or any(len(value) > SHORT for value in values):
        listed = f"{'20 or more' if len(values) == 20 else len(values)} different values"
    if label.positive not in values:
        raise ContractError(
            f"label.positive: column {label.column!r} never has the value {label.positive!r}; it has {listed}.",
            mend="Give the value that means 'has left' (--positive, or label.positive in quotes).",
            field="label.positive",
        )
    if len(values) < 2:
        raise ContractError(
            f"label.column: every row of {label.column!r} has the value {listed}: there is nothing to learn.",
            mend="Name the column that tells who left from who stayed (--label, or label.column).",
            field="label.column",
        )
