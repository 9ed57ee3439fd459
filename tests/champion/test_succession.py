"""Who is champion: a pure function, tried over every combination of what may stand ready."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from churn_platform.champion.succession import successor

models = st.sampled_from(["a", "b", "c", "d"])
present = st.none() | st.builds(
    lambda model, bases: {"model": model, "bases": [b for b in bases if b != model]}, models, st.lists(models)
)
gates = st.builds(lambda passed, model: {"passed": passed, "model": model}, st.booleans(), models)
evaluations = st.builds(lambda model: {"model": model}, models)
challengers = st.builds(lambda model: {"model": model}, models)
recalibrations = st.just({"passed": False}) | st.builds(
    lambda passed, base, model: {"passed": passed, "base": base, "model": model}, st.booleans(), models, models
)


@given(present, gates, challengers, evaluations, recalibrations)
def test_it_never_promotes_what_has_not_passed(now: Any, gate: Any, challenger: Any, judged: Any, shifted: Any) -> None:
    who = successor(now, gate, challenger, judged, shifted)
    if who == "challenger":
        assert gate["passed"]
        assert gate["model"] == judged["model"] == challenger["model"], "and it is what was judged"
    if who == "recalibration":
        assert shifted["passed"]
        assert now is not None
        assert shifted["base"] == now["model"]
    assert (who == "nobody") == (now is None and who != "challenger")


@given(present, gates, challengers, evaluations, recalibrations)
def test_asked_again_nothing_moves(now: Any, gate: Any, challenger: Any, judged: Any, shifted: Any) -> None:
    """After a promotion the same facts keep the champion: promotion asks for nothing, a restart takes nothing back."""
    who = successor(now, gate, challenger, judged, shifted)
    if who == "challenger":
        then = {"model": challenger["model"], "bases": []}
    elif who == "recalibration":
        assert now is not None
        # a shift of nothing would be the model itself
        if shifted["model"] == now["model"] or shifted["model"] in now["bases"]:
            return
        then = {"model": shifted["model"], "bases": [*now["bases"], now["model"]]}
    else:
        return
    again = successor(then, gate, challenger, judged, shifted)
    # A recalibration of the very model that has just been promoted would be one more step; otherwise all is at rest.
    if shifted.get("passed") and shifted.get("base") == then["model"]:
        assert again == "recalibration"
    else:
        kept = {"challenger": challenger["model"], "present": then["model"]}[again]
        assert kept == then["model"]


def passed(model: str) -> dict[str, Any]:
    return {"passed": True, "model": model}


def test_what_was_not_judged_leaves_the_champion_where_it_is() -> None:
    """The challenger was learned anew, alone: the gate that stands beside it let another through."""
    now = {"model": "old", "bases": []}
    for gate, judged in (("new", "old"), ("old", "new"), ("other", "other")):
        assert successor(now, passed(gate), {"model": "new"}, {"model": judged}, {"passed": False}) == "present"
        assert successor(None, passed(gate), {"model": "new"}, {"model": judged}, {"passed": False}) == "nobody"
    assert successor(now, passed("new"), {"model": "new"}, {"model": "new"}, {"passed": False}) == "challenger"


def test_a_champion_that_was_set_right_is_not_replaced_by_what_it_was_before() -> None:
    set_right = {"model": "shifted", "bases": ["learned"]}
    assert (
        successor(set_right, passed("learned"), {"model": "learned"}, {"model": "learned"}, {"passed": False})
        == "present"
    )
    assert (
        successor(set_right, passed("newer"), {"model": "newer"}, {"model": "newer"}, {"passed": False}) == "challenger"
    )


def test_a_recalibration_of_an_earlier_champion_counts_for_nothing() -> None:
    shifted = {"passed": True, "base": "old", "model": "old, shifted"}
    assert (
        successor({"model": "new", "bases": []}, {"passed": False}, {"model": "x"}, {"model": "x"}, shifted)
        == "present"
    )
