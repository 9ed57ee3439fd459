"""The simulator's numbers: difficulties, drift presets, segments, and the weights of the hazard.

Rates to match, per month: 2.4 % voluntary and 0.84 % involuntary; in all, enterprise .3-.6 %, mid-market
.7-1.0 %, SMB 1.4-2.4 %, self-serve 3-5.7 %. The base log-odds per segment were solved for these by
``calibration.py``.
"""

from __future__ import annotations

from dataclasses import dataclass

PRESETS: dict[str, str] = {
    "none": "Nothing drifts.",
    "price_shock": "List prices rise by 25 % at once (annual contracts: at their renewal).",
    "price_creep": "List prices rise by 3 % every month.",
    "mix_shift": "Newcomers come from other segments, regions and channels; the hazard stays the same.",
    "concept_shift": "The reasons to leave change: health weighs less, deep integration weighs against us.",
    "missing_feed": "One table (usage, if not told otherwise) is no longer delivered.",
    "region_bias": "Telemetry of one region (EMEA) is degraded; its customers leave as before.",
}
FEEDS = ("usage", "invoices", "tickets", "surveys", "marketing", "interventions")
"""Tables that the preset ``missing_feed`` can stop."""
BIASED_REGION = 1
PRICE_SHOCK = 1.25
PRICE_CREEP = 1.03

SEGMENTS = ("self_serve", "smb", "mid_market", "enterprise")
ACTIVE_MIX = (0.58, 0.27, 0.11, 0.04)
"""Share of active accounts. Newcomers replace leavers, so theirs is this share times the rate of leaving."""
NEWCOMER_MIX = (0.811, 0.156, 0.0275, 0.0055)
SHIFTED_MIX = (0.40, 0.45, 0.12, 0.03)
MEAN_AGE_DAYS = (320.0, 700.0, 1300.0, 1900.0)
VOLUNTARY_TARGET = (0.0340, 0.0145, 0.0077, 0.0043)
"""Monthly voluntary churn per segment that the base log-odds are solved for."""
ANNUAL_SHARE = (0.14, 0.40, 0.78, 0.95)
NEWCOMER_ANNUAL_SHARE = (0.05, 0.2, 0.6, 0.91)
"""Less than of the active: annual contracts stay longer."""
RENEWAL_WEEKS = 4.0
"""An annual contract decides once, at its renewal, with the exposure of so many weeks."""


@dataclass(frozen=True)
class Weights:
    """Log-odds of leaving voluntarily within a week.

    Args:
        base: per segment.
        health: of one unit of health (about one standard deviation); enters with a minus.
        price: of price pressure times sensitivity.
        renewal: added for an annual contract at its renewal.
        depth: of how deeply the product is integrated (0 unless the concept has shifted).
    """

    base: tuple[float, float, float, float]
    health: float
    price: float = 3.0
    renewal: float = 2.1
    depth: float = 0.0


@dataclass(frozen=True)
class Difficulty:
    """Weights, usual and under ``concept_shift``; share of annual contracts relative to the default."""

    usual: Weights
    shifted: Weights
    annual: float = 1.0


DIFFICULTIES: dict[str, Difficulty] = {
    "default": Difficulty(
        usual=Weights(base=(-5.55, -6.55, -7.21, -7.87), health=1.63),
        shifted=Weights(base=(-5.29, -6.21, -6.77, -7.56), health=0.7, depth=1.1),
    ),
    "medium": Difficulty(
        usual=Weights(base=(-5.01, -5.81, -6.35, -6.88), health=0.655),
        shifted=Weights(base=(-4.94, -5.69, -6.23, -7.02), health=0.3, depth=0.5),
    ),
    "hard": Difficulty(
        usual=Weights(base=(-4.94, -5.76, -6.34, -6.89), health=0.375),
        shifted=Weights(base=(-4.88, -5.69, -6.31, -6.96), health=0.17, depth=0.3),
        annual=0.5,
    ),
}
