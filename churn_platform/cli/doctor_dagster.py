"""What ``churn doctor`` looks at in the Dagster instance of a home."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

from churn_platform.cli.finding import Check, Finding, ill, well
from churn_platform.cli.status import Program, programs
from churn_platform.records.database import configured
from churn_platform.records.home import Home

LATE_SECONDS: Final = 150.0
"""A daemon speaks every half minute; on a busy machine it may be late."""
STARTING_SECONDS: Final = 120.0
BLIND_SECONDS: Final = 600.0
"""A sensor looks every few seconds, or once a minute; one look may take its time."""


def checks(home: Home) -> Iterator[tuple[str, Check]]:
    daemon = next((program for program in programs(home.run) if program.name == "dagster-daemon"), None)
    yield "Dagster", partial(instance_is_sound, home)
    if _is_made(home):
        yield "daemon", partial(daemon_speaks, daemon)
        yield "sensors", partial(sensors_succeed, daemon)
        yield "runs", partial(no_run_is_stuck, daemon)


def _is_made(home: Home) -> bool:
    return configured() is not None or (home.dagster / "storage").exists()


def instance_is_sound(home: Home) -> Finding:
    """Reachable, and its tables at the newest revision."""
    from resources import health, runner

    if not _is_made(home):
        return well("Dagster", "no instance yet; `churn demo` makes it")
    mend = "Stop what runs, copy CHURN_HOME/dagster aside, and run `churn demo --exit`: it is made anew."
    try:
        with runner.instance() as found:
            late = health.behind(found)
            found.get_runs_count()
    except Exception as error:
        return ill("Dagster", f"its instance cannot be opened: {type(error).__name__}: {error}".splitlines()[0], mend)
    if late:
        told = ", ".join(f"{name} are at {there}, newest {newest}" for name, (there, newest) in late.items())
        return ill("Dagster", f"{told}.", 'Stop what runs, then: eval "$(churn env)"; dagster instance migrate')
    return well("Dagster", "its instance opens, and its tables are at the newest revision")


def daemon_speaks(daemon: Program | None) -> Finding:
    """Where it is to run, every part of it has spoken lately and without an error."""
    from resources import health, runner

    if daemon is None:
        return well("daemon", "not running; `churn up` starts it")
    with runner.instance() as found:
        beats = health.heartbeats(found)
    mend = "See `churn logs dagster-daemon`; Ctrl-C and `churn up` start it anew."
    if (daemon.seconds or 0.0) < STARTING_SECONDS:
        return well("daemon", "starting")
    silent = [beat for beat in beats if beat.age is None or beat.age > LATE_SECONDS]
    if silent:
        age = silent[0].age
        told = "never" if age is None else f"{age:.0f} s ago"
        return ill("daemon", f"its part {silent[0].name} spoke {told}.", mend)
    broken = [beat for beat in beats if beat.error]
    if broken:
        return ill("daemon", f"its part {broken[0].name} says: {broken[0].error}", mend)
    return well("daemon", f"{len(beats)} parts, each spoke within {LATE_SECONDS:.0f} s")


def sensors_succeed(daemon: Program | None) -> Finding:
    """The last look of each sensor and schedule went well, and while the daemon runs each sensor looks."""
    from resources import health, runner

    with runner.instance() as found:
        failed, looks = health.failing(found), health.looks(found)
    if failed:
        name, words = next(iter(failed.items()))
        others = f" ({len(failed) - 1} more fail)" if len(failed) > 1 else ""
        return ill("sensors", f"{name} failed: {words}{others}", "Its page in the Dagster UI has the whole trace.")
    if daemon is not None and (daemon.seconds or 0.0) > STARTING_SECONDS:
        late = [name for name, age in looks.items() if age is None or age > BLIND_SECONDS]
        if late or not looks:
            told = f"{late[0]} has not looked" if late else "none has looked"
            mend = "The code may not load: see the page Deployment of the Dagster UI, and `churn logs dagster-daemon`."
            return ill("sensors", f"{told} for more than {BLIND_SECONDS / 60:.0f} minutes.", mend)
    return well("sensors", "none has failed at its last look")


def no_run_is_stuck(daemon: Program | None) -> Finding:
    from resources import health, runner

    with runner.instance() as found:
        left = health.stuck(found, daemon_is_down=daemon is None)
    if left:
        told = f"{len(left)} are said to be running by a process that is gone ({left[0][:8]} …)."
        return ill("runs", told, "`churn up` and `churn demo` close them, and what they were to make is made.")
    return well("runs", "none is stuck")
