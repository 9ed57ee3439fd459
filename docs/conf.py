"""Sphinx configuration: Markdown through MyST, the Furo theme, nothing loaded from outside."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from churn_platform import __version__

project = "churn-platform"
author = "The churn-platform contributors"
copyright = "2026, The churn-platform contributors"
version = release = __version__

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"churn-platform {release}"
html_copy_source = False
html_show_sphinx = False
