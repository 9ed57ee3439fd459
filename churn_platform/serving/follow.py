"""A running service follows its home: the champion that the pointer names, the present of the data, a data fault.

Nothing is restarted and no request is dropped: a new model is loaded and tried beside the present one, and then takes
its place as one frozen object. One that cannot be loaded leaves the present one where it is.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

from churn_platform.champion.projection import POINTER
from churn_platform.errors import ChurnError
from churn_platform.serving.degraded import degraded
from churn_platform.serving.runtime import Runtime
from churn_platform.serving.scorer import Scorer
from churn_platform.settings import settings
from churn_platform.sources.present import follow

if TYPE_CHECKING:
    from churn_platform.records.home import Home

log = logging.getLogger("churn_platform.serving")


class Follower:
    """Looks at the home and brings the runtime up to date. :meth:`look` blocks: call it in a thread of its own."""

    def __init__(self, runtime: Runtime, home: Home) -> None:
        self._runtime, self._home = runtime, home
        self._pointer: bytes | None = None
        self._said: tuple[bytes, str] | None = None

    def look(self) -> None:
        """Once. Raises nothing: what cannot be read now is read the next time."""
        try:
            follow(self._home, settings().problem)
            self._runtime.degraded = degraded(self._home)
        except (OSError, ValueError, KeyError) as error:
            log.warning("the state of the home cannot be read: %s", type(error).__name__)
        self._champion()

    def _champion(self) -> None:
        try:
            pointer = (self._home.champion / POINTER).read_bytes()
        except OSError:
            return
        if pointer == self._pointer:
            return
        present = self._runtime.scorer
        try:
            named = json.loads(pointer)
            model, name, version = str(named["model"]), str(named["name"]), str(named["version"])
            if present is not None and (present.model.version_digest, present.version) == (model, version):
                self._pointer = pointer
                return
            made = Scorer.load(self._home.champion / model, name=name, version=version, digest=model)
        except (ChurnError, OSError, ValueError, KeyError, TypeError) as error:
            if self._said != (pointer, str(error)):  # it is tried again at each look, and said once
                self._said = (pointer, str(error))
                kept = f"version {present.version} goes on" if present else "there is none"
                log.error("the champion that the pointer names cannot be loaded, %s: %s", kept, error)
            return
        self._runtime.scorer, self._pointer = made, pointer
        log.info("version %s is the champion now", version)
