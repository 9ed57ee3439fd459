"""What is known of one feature: its meaning, what it is made from, and whether the contract and the model have it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

from churn_platform.errors import FeatureError
from churn_platform.features.catalogue import Feature, catalogue_for, catalogue_from_json
from churn_platform.features.feast_objects import model_services
from churn_platform.features.origin import origins
from churn_platform.records.refs import Refs
from churn_platform.records.store import ContentStore

if TYPE_CHECKING:
    from churn_platform.records.home import Home
    from churn_platform.sources.contract import Contract


def listed(home: Home, contract: Contract, since: Mapping[str, datetime] | None = None) -> list[dict[str, Any]]:
    """The catalogue as JSON objects, each with ``read_by``: the model versions that read it."""
    models = model_services(home)
    return [
        {**asdict(feature), "read_by": [version for version, names in models if feature.name in names]}
        for feature in _catalogue(home, contract, since)
    ]


def why(home: Home, contract: Contract, name: str, since: Mapping[str, datetime] | None = None) -> dict[str, Any]:
    """A feature's definition, its sources, and why it is there or not.

    Returns:
        ``name``, ``feature`` (None where this home does not make it), ``table``, ``columns``, ``inputs`` (other
        features), ``read_from`` (``table.column`` of all that it is made from, itself or through others),
        ``available``, ``reason``, ``read_by``.

    Raises:
        FeatureError: no family defines such a feature for any contract.
    """
    known = {feature.name: feature for feature in _catalogue(home, contract, since)}
    definition = _definition(contract, name, since)
    verdict = _verdict(home, name)
    if name not in known and definition is None:
        near = [one for one in known if one.partition("_")[0] == name.partition("_")[0]][:5]
        raise FeatureError(
            f"There is no feature {name!r}.",
            mend=f"`churn features list` names them{', such as ' + ', '.join(near) if near else ''}.",
            field=name,
        )
    feature: Feature | None = known.get(name)
    table = definition.table if definition else ("snapshot" if contract.shape == "snapshot" else None)
    own = definition is None and contract.shape == "snapshot"
    columns = list(definition.columns) if definition else [name] if own else []
    readers = [version for version, names in model_services(home) if name in names]
    if verdict is not None:
        kept = "was chosen" if verdict["stage"] == "kept" else f"was not chosen ({verdict['stage']})"
        reason = f"It is generated, and {kept}: {verdict['reason']}."
        if verdict["carried"]:
            reason += " It is made all the same: the champion reads it."
    elif feature is None:
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
        "read_from": sorted(origins(contract, since, (name,)).get(name, ())),
        "available": feature is not None,
        "reason": reason,
        "read_by": readers,
    }


def _catalogue(home: Home, contract: Contract, since: Mapping[str, datetime] | None) -> tuple[Feature, ...]:
    """What the months of this home have, the generated features among it; before there is any, what the contract
    makes."""
    found = Refs(home.refs).find("feature_catalogue")
    if found is None:
        return catalogue_for(contract, since)
    return catalogue_from_json(ContentStore(home.store).read_json(found["digest"]))


def _verdict(home: Home, name: str) -> Mapping[str, Any] | None:
    """What became of a generated feature in the choice of this home; None for any other."""
    found = Refs(home.refs).find("feature_selection")
    if found is None:
        return None
    made = ContentStore(home.store).read_json(found["verdicts"])
    one = next((one for one in made["verdicts"] if one["name"] == name), None)
    return None if one is None else {**one, "carried": name in made["carried"]}


def _definition(contract: Contract, name: str, since: Mapping[str, datetime] | None) -> Any:
    """The definition, also where the contract lacks its table or columns; None for a flat file's column."""
    if contract.shape == "snapshot":
        return None
    from churn_platform.features.available import Available
    from churn_platform.features.candidates import candidates
    from churn_platform.features.definitions import FAMILIES, definitions_for

    available = Available.of(contract, since)
    made = list(definitions_for(available))
    made += [one.definition for one in candidates(available, made)]
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
