"""churn-platform: who will leave, why, and what is served about it. The domain, free of Dagster and BentoML."""

from churn_platform._environment import prepare

prepare()

__version__ = "0.1.0"
