from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from churn_platform.errors import ConfigurationError
from churn_platform.sources.simulator.spec import SimulationSpec


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("accounts", 3),
        ("accounts", True),
        ("months", 0),
        ("seed", -1),
        ("preset", "prize_shock"),
        ("difficulty", "easy"),
        ("feed", "accounts"),
        ("start", date(2024, 1, 2)),
        ("drift_month", -1),
        ("advanced", ("nonsense",)),
        ("advanced", ("none",) * 18),
    ],
)
def test_a_wrong_field_is_named_with_its_mend(field: str, value: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        SimulationSpec(**{field: value})
    assert caught.value.field == field
    assert caught.value.mend


def test_the_drift_sets_in_at_two_thirds_unless_told_otherwise() -> None:
    months = SimulationSpec(months=18, preset="price_shock").month_presets()
    assert months == ("none",) * 12 + ("price_shock",) * 6
    assert SimulationSpec(months=4, preset="mix_shift", drift_month=1).month_presets()[1] == "mix_shift"


def test_an_advanced_spec_keeps_its_past_and_adds_months() -> None:
    spec = SimulationSpec(months=6, preset="price_creep")
    later = spec.advanced_by(2, "missing_feed").advanced_by(1)
    assert later.month_presets() == (*spec.month_presets(), "missing_feed", "missing_feed", "none")
    assert later.months == 9


def test_json_gives_the_same_spec_and_digest() -> None:
    spec = SimulationSpec(seed=3, preset="region_bias").advanced_by(2, "none")
    again = SimulationSpec.from_json(spec.to_json())
    assert again == spec
    assert again.digest == spec.digest
    assert SimulationSpec(seed=4).digest != SimulationSpec(seed=3).digest


@pytest.mark.parametrize(("changes", "field"), [({"colour": 1}, "colour"), ({"start": "January"}, "start")])
def test_a_foreign_spec_file_is_refused(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        SimulationSpec.from_json({**SimulationSpec().to_json(), **changes})
    assert caught.value.field == field
