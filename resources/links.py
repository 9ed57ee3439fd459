"""Links from the Dagster UI to the pages of reports."""

from __future__ import annotations

from pathlib import Path

import dagster as dg

from churn_platform.records.home import Home
from churn_platform.settings import settings


def page_link(home: Home, page: Path) -> dg.UrlMetadataValue | dg.PathMetadataValue:
    """A link to a page below ``CHURN_HOME/reports`` where a web server shows them (CHURN_REPORTS_URL); else its path,
    which the UI lets one copy: browsers open no ``file://`` link from a page that came over HTTP."""
    base = settings().reports_url
    if base is None:
        return dg.MetadataValue.path(str(page))
    return dg.MetadataValue.url(f"{base.rstrip('/')}/{page.relative_to(home.reports).as_posix()}")
