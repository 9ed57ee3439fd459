"""What is known of one feature: its meaning, what it is made from, and whether the contract and the model have it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

from churn_platform.errors import FeatureError
from churn_platform.features.catalogue import Feature, catalogue_for
from churn_platform.features.feast_objects import model_services

if TYPE_CHECKING:
    from churn_platform.records.home import Home
    from churn_platform.sources.contract import Contract


def listed(home: Home, contract: Contract, since: Mapping[str, datetime] | None = None) -> list[dict[str, Any]]:
    """The catalogue as JSON objects, each with ``read_by``: the model versions that read it."""
    models = model_services(home)
    return [
        {**asdict(feature), "read_by": [version for version, names in models if feature.name in names]}
        for feature in catalogue_for(contract, since)
    ]


def why(home: Home, contract: Contract, name: str, since: Mapping[str, datetime] | None = None) -> dict[str, Any]:
    """A feature's definition, its sources, and why it is there or not.

    Returns:
        ``name``, ``feature`` (None where the contract does not make it), ``table``, ``columns``, ``inputs`` (other
        features), ``available``, ``reason``, ``read_by``.

    Raises:
        FeatureError: no family defines such a feature for any contract.
    """
    known = {feature.name: feature for feature in catalogue_for(contract, since)}
    definition = _definition(contract, name, since)
    if name not in known and definition is None:
        near = [one for one in known if one.partition("_")[0] == name.partition("_")[0]][:5]
        raise FeatureError(
            f"There is no feature {name!r}.",
            mend=f"`churn features list` names them{', such as ' + ', '.join(near) if near else ''}.",
            field=name,
        )
    feature: Feature | None = known.get(name)
    table = definition.table if definition else ("snapshot" if contract.shape == "snapshot" else None)
    columns = list(definition.columns) if definition else [name]
    readers = [version for version, names in model_services(home) if name in names]
    if feature is None:
        reason = f"The contract has no {_absent(contract, table, columns)}, which it is made from."
    elif readers:
        reason = f"The contract has what it is made from, and version {readers[-1]} of the model reads it."
    else:
        reason = "The contract has what it is made from; no model version that is kept reads it."
    return {
        "name": name,
        "feature": asdict(feature) if feature else None,
        "table": table,
        "columns": columns,
        "inputs": list(definition.inputs) if definition else [],
        "available": feature is not None,
        "reason": reason,
        "read_by": readers,
    }


def _definition(contract: Contract, name: str, since: Mapping[str, datetime] | None) -> Any:
    """The definition, also where the contract lacks its table or columns; None for a flat file's column."""
    if contract.shape == "snapshot":
        return None
    from churn_platform.features.available import Available
    from churn_platform.features.definitions import FAMILIES, definitions_for

    available = Available.of(contract, since)
    made = list(definitions_for(available))
    made += [one for family in FAMILIES for make in family.declared for one in make(available)]
    return next((one for one in made if one.name == name and not one.hidden), None)


def _absent(contract: Contract, table: str | None, columns: list[str]) -> str:
    if table is None:
        return "feature among its inputs"
    if table not in contract.tables:
        return f"table {table}"
    there = set(contract.tables[table].columns)
    lacking = [column for column in columns if column not in there]
    return f"column {', '.join(lacking or columns)} of {table}"
