"""The state oracle of a simulation: what a model that saw the hidden state could have reached on the same rows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from churn_platform.evaluation.predictions import Predictions
from churn_platform.evaluation.report import oracle_auc

if TYPE_CHECKING:
    from churn_platform.records.vault import IdentityVault


def state_oracle_auc(
    predictions: Predictions, customers: npt.NDArray[Any], truth: Path, vault: IdentityVault
) -> float | None:
    """AUC of the simulation's state oracle on the judged rows.

    Args:
        predictions: the judged rows; ``row`` counts into ``customers``.
        customers: the pseudonym of each row of the training set.
        truth: the simulation's folder of ground truth, with ``state_oracle.parquet`` (account_id, observation_date,
            p_voluntary). It is read here and nowhere before: no feature and no model sees it.
        vault: gives the ids back that the truth is written in.

    Returns:
        None where the oracle does not know these rows.
    """
    import pyarrow.parquet as pq

    judged = [str(customer) for customer in customers[predictions.row]]
    known = sorted(set(judged))
    ids = dict(zip(known, vault.reveal(known), strict=True))
    oracle = pq.read_table(truth / "state_oracle.parquet")
    return oracle_auc(
        {
            "customer_id": [ids[customer] or "" for customer in judged],
            "observation": predictions.observation,
            "label": predictions.label,
        },
        {
            "customer_id": oracle["account_id"],
            "observation": oracle["observation_date"],
            "probability": oracle["p_voluntary"],
        },
    )
