"""Contracts of earlier forms, rewritten to the present one when they are read.

The rule: a contract says the form that it is written in (``contract_version``). A change that an old contract cannot
simply be read with makes a new number, and comes with one step here, from the number before. Steps run one after the
other; the file itself stays as it is until it is written anew. A newer form than this release knows is refused.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

from churn_platform.errors import ContractError

Step = Callable[[dict[str, Any]], dict[str, Any]]
"""Takes the plain value in one form and gives it in the next; the number is set by :func:`migrate`."""
VERSION = 1
"""The form that this release reads and writes."""
STEPS: Mapping[int, Step] = {}
"""Form → the step to the next. There is none yet: 1 is the first."""
FIELD = "contract_version"


def migrate(
    value: Mapping[str, Any],
    *,
    to: int = VERSION,
    steps: Mapping[int, Step] = STEPS,
    name: str = "The contract",
) -> dict[str, Any]:
    """The plain value of a contract in the present form. One that is in it already is given back as it is.

    Args:
        value: as YAML gives it; it is not changed. Without a number it is in the present form.
        to: the form that is wanted.
        steps: form → the step to the next.
        name: what to call the contract in errors.

    Raises:
        ContractError: the number is none, is newer than ``to``, or there is no way from it.
    """
    found = value.get(FIELD, to)
    if isinstance(found, bool) or not isinstance(found, int) or found < 1 or found > to:
        raise ContractError(
            f"{name} has contract_version {found!r}; this release reads {to}"
            f"{' and what can be rewritten to it' if steps else ''}.",
            mend="Use the release that wrote it, or rewrite it by docs/reference/contract.md.",
            field=FIELD,
        )
    made = copy.deepcopy(dict(value))
    for form in range(found, to):
        if form not in steps:
            raise ContractError(
                f"{name} has contract_version {found}, and there is no way from {form} to {form + 1}.",
                mend="Rewrite it by docs/reference/contract.md, or let `churn contract infer` propose it anew.",
                field=FIELD,
            )
        made = {**steps[form](made), FIELD: form + 1}
    return made
