"""Jobs, sensors and schedules: thin, the rules are in the domain."""

from __future__ import annotations

import dagster as dg


def all_sensors() -> list[dg.SensorDefinition]:
    """What carries new data on and learns again by itself."""
    from sensors.new_data import new_data
    from sensors.respond import drift, new_labels, run_failure

    return [new_data(), drift(), new_labels(), run_failure()]


def all_schedules() -> list[dg.ScheduleDefinition]:
    from sensors.respond import monthly_training, nightly_skew

    return [monthly_training(), nightly_skew()]
