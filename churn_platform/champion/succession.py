"""Which model decides from now on: a pure function of what stands ready."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

Successor = Literal["challenger", "recalibration", "present", "nobody"]


def successor(
    present: Mapping[str, Any] | None,
    gate: Mapping[str, Any],
    challenger: Mapping[str, Any],
    evaluation: Mapping[str, Any],
    recalibration: Mapping[str, Any],
) -> Successor:
    """Who is champion now, by the references of these assets (``present`` is the champion's own, or None).

    The gate counts only for the very model that was evaluated and that it let through (:func:`is_judged`).

    A new challenger goes before a recalibration of the model that it replaces. A recalibration counts only for the very
    model that it has shifted. A challenger that passed the gate counts unless
    the champion is that challenger, set right: what has been learned from later departures is not taken back.
    """
    passed = bool(gate["passed"]) and is_judged(gate, challenger, evaluation)
    if present is None:
        return "challenger" if passed else "nobody"
    known = challenger["model"] == present["model"] or challenger["model"] in present.get("bases", ())
    if passed and not known:
        return "challenger"
    if recalibration.get("passed") and recalibration.get("base") == present["model"]:
        return "recalibration"
    return "challenger" if passed and challenger["model"] == present["model"] else "present"


def is_judged(gate: Mapping[str, Any], challenger: Mapping[str, Any], evaluation: Mapping[str, Any]) -> bool:
    """Whether evaluation and gate are of the challenger that stands ready: where one of them was made alone, what was
    found of another model says nothing of it."""
    return bool(gate.get("model") == evaluation.get("model") == challenger["model"])
