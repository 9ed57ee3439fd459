"""Great Expectations, generated from the same contract: a second, independent look at samples of the clean
tables.

The door's own rules see every row and decide. The suites run on at most :data:`SAMPLE` rows of each table
after the door, so that neither they nor the pages that they render can hold a company's customer id.
"""

from __future__ import annotations

import html
import logging
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from churn_platform.records.files import remove, replace_folder, temporary_name
from churn_platform.sources.contract import Contract, Table
from churn_platform.sources.engine import engine, literal
from churn_platform.sources.tables import LABEL_COLUMN, PASSED_COLUMNS, SNAPSHOT, TableVersion

if TYPE_CHECKING:
    import pandas as pd

    from churn_platform.records.home import Home
    from churn_platform.records.store import ContentStore

SAMPLE = 10_000
FOLDER = "expectations"
"""The pages lie in this folder of ``home.reports``; ``index.html`` comes first."""
PSEUDONYM = "^[0-9a-hjkmnp-tv-z]{12}$"
_SITE = "door"


def suite(name: str, table: Table) -> list[tuple[str, dict[str, Any]]]:
    """The expectations of a clean table: class name in ``great_expectations.expectations`` → arguments."""
    columns = [*PASSED_COLUMNS, *([LABEL_COLUMN] if name == SNAPSHOT else []), *table.passed]
    found: list[tuple[str, dict[str, Any]]] = [
        ("ExpectTableColumnsToMatchSet", {"column_set": columns, "exact_match": True}),
        ("ExpectColumnValuesToMatchRegex", {"column": "customer_id", "regex": PSEUDONYM}),
        ("ExpectCompoundColumnsToBeUnique", {"column_list": ["row_id", "ingested_at"]}),
    ]
    required = [*PASSED_COLUMNS, *([LABEL_COLUMN] if name == SNAPSHOT else [])]
    required += [column for column, spec in table.passed.items() if not spec.nullable and not spec.known_at]
    found += [("ExpectColumnValuesToNotBeNull", {"column": column}) for column in required]
    for column, spec in table.passed.items():
        if spec.min is not None or spec.max is not None:
            bounds = {"min_value": spec.min, "max_value": spec.max}
            found.append(("ExpectColumnValuesToBeBetween", {"column": column, **bounds}))
        if spec.allowed is not None and not column.endswith("_id"):
            allowed: list[Any] = list(spec.allowed)
            if spec.type == "integer":
                allowed = [int(value) for value in spec.allowed]
            found.append(("ExpectColumnValuesToBeInSet", {"column": column, "value_set": allowed}))
    return found


def expect(
    contract: Contract, versions: Mapping[str, TableVersion], *, store: ContentStore, home: Home
) -> dict[str, dict[str, Any]]:
    """Run the suites and render the pages.

    Args:
        versions: table → what to sample: the rows whose ``row_id`` comes first, which is random but for the
            data.

    Returns:
        Table → ``{"success", "rows", "evaluated", "successful", "failed": ["column: expectation", …]}``.
    """
    samples = {name: _sample(version, store, home) for name, version in versions.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # raised by the library's own imports
        return _run(contract, samples, home.reports / FOLDER)


def _sample(version: TableVersion, store: ContentStore, home: Home) -> pd.DataFrame:
    paths = ", ".join(literal(str(path)) for path in version.paths(store))
    with engine(home.tmp) as connection:
        frame: pd.DataFrame = connection.execute(
            f"SELECT * FROM read_parquet([{paths}]) ORDER BY row_id, ingested_at LIMIT {SAMPLE}"
        ).df()
    return frame


def _run(contract: Contract, samples: Mapping[str, pd.DataFrame], target: Path) -> dict[str, dict[str, Any]]:
    import great_expectations as gx
    import great_expectations.expectations as kinds
    from great_expectations.data_context.types.base import ProgressBarsConfig

    logging.getLogger("great_expectations").setLevel(logging.WARNING)
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    for site in list(context.list_data_docs_sites()):
        context.delete_data_docs_site(site)
    prepared = temporary_name(target.parent)
    backend = {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(prepared)}
    builder = {"class_name": "SiteBuilder", "show_how_to_buttons": False, "store_backend": backend}
    context.add_data_docs_site(
        site_name=_SITE,
        site_config={**builder, "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"}},
    )
    source = context.data_sources.add_pandas(contract.problem)
    summary = {}
    for name, frame in samples.items():
        expectations = [getattr(kinds, kind)(**given) for kind, given in suite(name, contract.tables[name])]
        definition = context.validation_definitions.add(
            gx.ValidationDefinition(
                name=name,
                data=source.add_dataframe_asset(name).add_batch_definition_whole_dataframe("sample"),
                suite=context.suites.add(gx.ExpectationSuite(name=name, expectations=expectations)),
            )
        )
        result = definition.run(batch_parameters={"dataframe": frame}, result_format={"result_format": "SUMMARY"})
        summary[name] = {
            "success": bool(result.success),
            "rows": len(frame),
            "evaluated": int(result.statistics["evaluated_expectations"]),
            "successful": int(result.statistics["successful_expectations"]),
            "failed": [_failed(item) for item in result.results if not item.success],
        }
    try:
        context.build_data_docs(site_names=[_SITE])
        _make_self_contained(prepared, summary)
        replace_folder(prepared, target)
    finally:
        remove(prepared)
    return summary


def _failed(result: Any) -> str:
    config = result.expectation_config
    return f"{config.kwargs.get('column', 'table')}: {config.type}"


_STYLE = """body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem}
table{border-collapse:collapse;width:100%;margin:.5rem 0}td,th{border:1px solid #ccc;padding:.3rem .6rem;
text-align:left;vertical-align:top}img,.btn-group,footer,.navbar-brand,svg,.carousel{display:none}
.card,.ge-section{border:1px solid #ddd;border-radius:6px;padding:.5rem 1rem;margin:1rem 0}
ul.nav,ol.breadcrumb{list-style:none;padding:0}.failed,.text-danger{color:#b00020}.text-success{color:#1b7f3b}
.modal,.cooltip .top,.popover{display:none}"""


def _make_self_contained(folder: Path, summary: Mapping[str, Mapping[str, Any]]) -> None:
    """The library's pages load code and styles from nine hosts. Ours load nothing, and have an index that
    needs no code."""
    remove(folder / "static")
    pages: dict[str, str] = {}
    for page in sorted(folder.rglob("*.html")):
        text = page.read_text(encoding="utf-8")
        text = re.sub(r"<script\b.*?</script>", "", text, flags=re.DOTALL)
        text = re.sub(r"<link\b[^>]*>|<img\b[^>]*>|<a\b[^>]*newsletter[^>]*>.*?</a>", "", text, flags=re.DOTALL)
        text = re.sub(r"url\((['\"]?)https?://[^)]*\)", "none", text)
        text = re.sub(r"(href|src)=\"https?://[^\"]*\"", "", text)
        page.write_text(text.replace("</head>", f"<style>{_STYLE}</style></head>", 1), encoding="utf-8")
        relative = page.relative_to(folder)
        if relative.parts[0] == "validations":
            pages[relative.parts[1]] = relative.as_posix()
    rows = "".join(_index_row(name, item, pages.get(name, "#")) for name, item in summary.items())
    (folder / "index.html").write_text(
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Expectations</title>'
        f"<style>{_STYLE}</style></head><body><h1>Expectations on the clean tables</h1>"
        f"<p>Run on samples of at most {SAMPLE:,} rows, after the "
        f"door.</p><table><tr><th>Table</th><th>Rows</th>"
        f"<th>Expectations that held</th><th>Result</th></tr>{rows}</table></body></html>\n",
        encoding="utf-8",
    )


def _index_row(name: str, item: Mapping[str, Any], page: str) -> str:
    result = "held" if item["success"] else html.escape("; ".join(item["failed"]))
    cells = [
        f'<a href="{html.escape(page)}">{html.escape(name)}</a>',
        f"{item['rows']:,}",
        f"{item['successful']} of {item['evaluated']}",
        f'<span class="{"text-success" if item["success"] else "failed"}">{result}</span>',
    ]
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
