"""The feature services of the current home's problem: all features, and what each kept model version reads."""

from churn_platform.features.feast_objects import current_objects

all_features = current_objects().service
globals().update({one.name: one for one in current_objects().services[1:]})
