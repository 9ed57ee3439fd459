"""Half a delivery is waited for, and not for ever."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from churn_platform.records.home import Home
from churn_platform.sources.settling import LONGEST, still_arriving
from tests.sources import company


def test_files_that_have_just_changed_are_waited_for(tmp_path: Path) -> None:
    home = Home.open(tmp_path / "home")
    source = company.write(company.frames(accounts=5), tmp_path / "source")
    location: Any = SimpleNamespace(path=source, contract=company.contract())
    assert still_arriving(home, location, 0) is None
    name = still_arriving(home, location, 60)
    assert name is not None
    # A copy that keeps the times of what it copies is as new as any.
    for file in source.rglob("*"):
        os.utime(file, (1.0, 1.0))
    assert still_arriving(home, location, 60) is not None
    long_ago = time.time() - LONGEST * 60 - 1
    os.utime(home.run / "arriving_since", (long_ago, long_ago))
    assert still_arriving(home, location, 60) is None, "a source that never rests"
    assert still_arriving(home, location, 0.0) is None
    assert not (home.run / "arriving_since").exists()
