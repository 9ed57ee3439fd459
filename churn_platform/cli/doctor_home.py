"""What ``churn doctor`` looks at in a home: source, champion, online store, ports, locks, leftovers, outlets."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

import psutil

from churn_platform.cli.finding import Check, Finding, ill, well
from churn_platform.cli.processes import leftovers
from churn_platform.cli.status import programs
from churn_platform.cli.supervise import claim_port
from churn_platform.errors import BusyError
from churn_platform.records.database import reach
from churn_platform.records.home import Home
from churn_platform.records.lock import is_held
from churn_platform.records.refs import Refs
from churn_platform.records.store import ContentStore
from churn_platform.records.vault import IdentityVault
from churn_platform.settings import settings


def checks(home: Home, ports: Mapping[str, int]) -> Iterator[tuple[str, Check]]:
    """``ports``: option → port that a server is to have."""
    for option, port in ports.items():
        yield f"port {port}", partial(port_is_free, home, option, port)
    yield "processes", partial(no_leftovers, home)
    for lock in sorted(home.run.glob("*.lock")):
        yield lock.name, partial(lock_is_sound, lock)
    yield "database", partial(database_is_reached, home)
    yield "vault", partial(vault_opens, home)
    yield "source", partial(source_is_known, home)
    yield "champion", partial(champion_can_be_read, home)
    yield "online store", partial(online_is_current, home)
    yield "servers", partial(servers_answer, home)
    yield "outlets", partial(outlets_deliver, home)


def database_is_reached(home: Home) -> Finding:
    """Our own tables open, wherever they are."""
    reached = reach(home)
    return well("database", f"{reached.place}, PostgreSQL {reached.version}" if reached else "SQLite, below CHURN_HOME")


def port_is_free(home: Home, option: str, port: int) -> Finding:
    """Free, or used by this home's own servers."""
    name = f"port {port}"
    try:
        claim_port(port, option)
    except BusyError as error:
        own = [p for p in programs(home.run) if p.url and f":{port}/" in p.url]
        if own:
            return well(name, f"used by this home's {own[0].name}")
        who = _listener(port)
        return ill(name, f"taken by {who or 'another program'}.", error.mend)
    return well(name, "free" if port else "a free one is taken")


def _listener(port: int) -> str:
    with suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            address = connection.laddr
            if connection.status == psutil.CONN_LISTEN and address and address.port == port and connection.pid:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    return ""


def no_leftovers(home: Home) -> Finding:
    left = leftovers(home.root)
    if left:
        pids = " ".join(str(process.pid) for process, _ in left)
        return ill(
            "processes",
            f"{len(left)} of a command that was killed are left over.",
            f"`churn up` and `churn demo` end them when they start; by hand: kill {pids}",
        )
    return well("processes", "none is left over")


def lock_is_sound(lock: Path) -> Finding:
    """Free, or held by a process that is alive and at work."""
    if not is_held(lock):
        return well(lock.name, "free")
    taken_by = lock.read_text().strip()
    holders = _holders(lock)
    if not taken_by.isdigit() or (holders and int(taken_by) not in [holder.pid for holder in holders]):
        pids = " ".join(str(holder.pid) for holder in holders) or "?"
        return ill(
            lock.name, f"held by another process (pid {pids}) than the one that took it.", f"End it: kill {pids}"
        )
    with suppress(psutil.Error):
        holder = psutil.Process(int(taken_by))
        if holder.status() == psutil.STATUS_STOPPED:
            return ill(
                lock.name,
                f"held by process {taken_by}, which is stopped (Ctrl-Z).",
                f"Let it go on (`fg`, or kill -CONT {taken_by}) or end it: kill -KILL {taken_by}",
            )
        return well(lock.name, f"held by process {taken_by}, which is at work")
    return ill(
        lock.name, f"held, but process {taken_by} is gone.", "Restart the machine, or find who has the file open."
    )


def _holders(lock: Path) -> list[psutil.Process]:
    """Processes that have the file open, as far as this user may see."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if any(Path(file.path) == lock for file in process.open_files()):
                found.append(process)
    return found


def vault_opens(home: Home) -> Finding:
    IdentityVault.open(home)
    mode = home.root.stat().st_mode & 0o077
    if mode:
        return ill("vault", f"other users may enter {home.root}.", f"Run `chmod 700 {home.root}`.")
    return well("vault", "opens with its key")


def source_is_known(home: Home) -> Finding:
    from churn_platform.sources.location import load_location

    found = load_location(home, settings().problem)
    return well("source", f"{found.contract.shape}, {len(found.contract.tables)} tables")


def champion_can_be_read(home: Home) -> Finding:
    """The package in the store, the pointer that services follow, and the files that it names."""
    from churn_platform.champion.package import package_digest
    from churn_platform.champion.projection import POINTER

    ref = Refs(home.refs).find("champion")
    if ref is None:
        return ill("champion", "There is none yet.", "Run `churn demo --exit`.")
    ContentStore(home.store).verify(str(ref["package"]))
    mend = "Run `churn materialize champion`, which writes them anew."
    try:
        named = str(json.loads((home.champion / POINTER).read_bytes())["model"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        return ill("champion", f"its pointer cannot be read ({type(error).__name__}).", mend)
    if named != ref["model"]:
        return ill("champion", f"its pointer names {named[:12]}, and {str(ref['model'])[:12]} is champion.", mend)
    if package_digest(home.champion / named) != named:
        return ill("champion", "its files are not those that were promoted.", mend)
    return well("champion", f"{ref['name']} version {ref['version']}, {named[:12]}")


def online_is_current(home: Home) -> Finding:
    """The online store holds the newest month that there are features of."""
    refs = Refs(home.refs)
    months, online = refs.partitions("customer_features"), refs.find("online_features")
    if not months:
        return ill("online store", "There are no features yet.", "Run `churn demo --exit`.")
    mend = "Run `churn materialize online_features`; while `churn up` runs, its sensors do that by themselves."
    if online is None:
        return ill("online store", f"it is empty; there are features of {months[-1]}.", mend)
    if online["month"] != months[-1]:
        return ill("online store", f"it holds {online['month']}; there are features of {months[-1]}.", mend)
    return well("online store", f"{online['month']}, {online['rows']:,} customers")


def servers_answer(home: Home) -> Finding:
    """What runs, answers."""
    found = programs(home.run)
    if not found:
        return well("servers", "none runs; `churn up` starts them")
    bad = [program for program in found if program.state not in ("up", "starting")]
    if bad:
        told = ", ".join(f"{program.name} is {program.state}" for program in bad)
        return ill("servers", f"{told}.", f"They are started again by themselves; see `churn logs {bad[0].name}`.")
    restless = [program for program in found if program.restarts > 2]
    if restless:
        told = ", ".join(f"{program.name} was started again {program.restarts} times" for program in restless)
        return ill("servers", f"{told}.", f"See why it ends: `churn logs {restless[0].name} --lines 200`.")
    return well("servers", ", ".join(f"{program.name} {program.state}" for program in found))


def outlets_deliver(home: Home) -> Finding:
    from churn_platform.outlets.outbox import Outbox

    box = Outbox.open(home)
    dead = box.deliveries("dead")
    if dead:
        names = ", ".join(sorted({one.outlet for one in dead}))
        mend = "See `churn outlets dead`; mend the receiver, then `churn outlets retry`."
        return ill("outlets", f"{len(dead)} deliveries were given up ({names}): {dead[-1].said}.", mend)
    waiting = [one for one in box.deliveries("waiting") if one.attempts > 2]
    told = f"; {len(waiting)} are tried again" if waiting else ""
    return well("outlets", f"no delivery was given up{told}")
