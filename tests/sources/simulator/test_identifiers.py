from __future__ import annotations

import re

import numpy as np

from churn_platform.sources.simulator.identifiers import make_ids


def test_ids_are_unique_and_can_be_found_by_grep() -> None:
    ids = make_ids("ACME", np.arange(300_000), seed=7).astype(str)
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"ACME-[0-9A-HJKMNP-TV-Z]{9}", one) for one in ids[:1000])


def test_neighbours_do_not_look_alike() -> None:
    ids = make_ids("ACME", np.arange(1000), seed=7).view("S1").reshape(1000, -1)[:, 5:]
    same = (ids[1:] == ids[:-1]).mean(axis=0)
    assert same.max() < 0.1  # of every place; two in sixty-four agree by chance


def test_ids_depend_on_seed_and_kind_and_nothing_else() -> None:
    numbers = np.arange(50)
    assert (make_ids("INV", numbers, 1) == make_ids("INV", np.arange(80), 1)[:50]).all()
    assert (make_ids("INV", numbers, 1) != make_ids("INV", numbers, 2)).all()
    tails = {one[-9:] for kind in ("INV", "TCK") for one in make_ids(kind, numbers, 1).astype(str)}
    assert len(tails) == 100
