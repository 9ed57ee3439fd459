"""The customer, and the file source of all views. Built from the catalogue of the current home."""

from churn_platform.features.feast_objects import current_objects

customer = current_objects().entity
customer_features = current_objects().source
