"""The feature service of the current home's problem."""

from churn_platform.features.feast_objects import current_objects

all_features = current_objects().service
