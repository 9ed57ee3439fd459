"""Responses: to diagnoses, to labels that have matured, to the calendar, and to runs that have failed."""

from __future__ import annotations

from typing import Any

import dagster as dg

from churn_platform.settings import settings


def drift() -> dg.SensorDefinition:
    """The sensor that answers diagnoses. It reads every report since it last looked, not the newest only."""

    @dg.sensor(
        name="drift",
        job_name="everything",
        minimum_interval_seconds=settings().sensor_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Reads every new diagnosis. A data fault raises an alert that names the feed, lost calibration "
        "asks for a recalibration, changed reasons to leave for a training. Each month asks once; promotion asks for "
        "nothing.",
    )
    def _drift(context: dg.SensorEvaluationContext) -> Any:
        from churn_platform.records.home import Home
        from resources.respond import answer_reports, told_if_it_fails

        home = Home.open()
        with told_if_it_fails(home, "drift"):
            return answer_reports(context.instance, home, context.cursor)

    return _drift


def new_labels() -> dg.SensorDefinition:
    """The sensor that learns again where enough months have matured."""

    @dg.sensor(
        name="new_labels",
        job_name="everything",
        minimum_interval_seconds=6 * settings().sensor_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Counts the months with certain labels that the champion has not seen, and asks for a training "
        "after CHURN_RETRAIN_AFTER_MONTHS of them.",
    )
    def _new_labels(context: dg.SensorEvaluationContext) -> Any:
        from churn_platform.records.home import Home
        from resources.respond import told_if_it_fails, training_by_age

        home = Home.open()
        with told_if_it_fails(home, "new_labels"):
            return training_by_age(context.instance, home)

    return _new_labels


def monthly_training() -> dg.ScheduleDefinition:
    """The same question, asked by the calendar: where the daemon was down when a month matured."""

    @dg.schedule(
        name="monthly_training",
        cron_schedule="0 3 2 * *",
        job_name="everything",
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="On the second of each month: a training, if the champion is due for one by its age.",
    )
    def _monthly(context: dg.ScheduleEvaluationContext) -> Any:
        from churn_platform.records.home import Home
        from resources.respond import told_if_it_fails, training_by_age

        home = Home.open()
        with told_if_it_fails(home, "monthly_training"):
            return training_by_age(context.instance, home)

    return _monthly


def nightly_skew() -> dg.ScheduleDefinition:
    """What is online is compared with history each night: it may change without a new month, by what is pushed."""

    @dg.schedule(
        name="nightly_skew",
        cron_schedule="30 3 * * *",
        job_name="everything",
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Each night: feature_skew, where something is online. A difference fails the run, and is told.",
    )
    def _nightly(context: dg.ScheduleEvaluationContext) -> Any:
        from churn_platform.records.home import Home
        from churn_platform.records.refs import Refs

        if Refs(Home.open().refs).find("online_features") is None:
            return dg.SkipReason("nothing is online yet")
        return dg.RunRequest(asset_selection=[dg.AssetKey("feature_skew")])

    return _nightly


def run_failure() -> dg.SensorDefinition:
    """An alert for each run that has failed."""

    @dg.run_failure_sensor(
        name="run_failure",
        minimum_interval_seconds=settings().sensor_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Raises an alert with the step and the words of its error. The run is asked for again in another "
        "hour, or when anything it reads has changed.",
    )
    def _run_failure(context: dg.RunFailureSensorContext) -> None:
        from churn_platform.records.home import Home
        from resources.respond import failure_alert

        failure_alert(context, Home.open())

    return _run_failure
