"""One feature view per family of the current home's catalogue. Feast finds them as attributes here."""

from churn_platform.features.feast_objects import current_objects

globals().update({f"{view.name}_view": view for view in current_objects().views})
