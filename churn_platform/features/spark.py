"""What runs in Spark's environment: ``python -m churn_platform.features.spark JOB.json``.

It imports nothing but pyspark: the query comes compiled. For each month it binds the tables to their Parquet parts,
runs the query, writes Parquet and says so in a line of JSON on stdout. It ends when its stdin does.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

TYPES = {
    "float64": "DOUBLE",
    "int64": "BIGINT",
    "boolean": "BOOLEAN",
    "string": "STRING",
    "timestamp(6)": "TIMESTAMP",
}


def main(job_file: str) -> None:
    """Do the job of a file; see :meth:`churn_platform.features.engine_spark.SparkEngine.run`."""
    job = json.loads(Path(job_file).read_text(encoding="utf-8"))
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    session = _session(job)
    try:
        for month in job["months"]:
            for table in month["tables"]:
                _bind(session, table, month["moment"])
            path = str(Path(job["folder"]) / month["observation"])
            session.sql(job["sql"]).coalesce(1).write.mode("overwrite").parquet(path)
            print(json.dumps({"observation": month["observation"], "path": path}), flush=True)  # noqa: T201
    finally:
        session.stop()


def _session(job: dict[str, Any]) -> Any:
    from pyspark.sql import SparkSession

    folder = job["folder"]
    options = {
        "spark.driver.memory": job["memory"],
        "spark.ui.enabled": "false",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": str(job["shuffle"]),
        "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
        "spark.sql.warehouse.dir": f"{folder}/warehouse",
        "spark.local.dir": f"{folder}/spark",
        # hundreds of aggregates in one stage: compiling them to bytecode costs more than it saves, or fails at 64 KiB
        "spark.sql.codegen.wholeStage": "false",
        "spark.sql.codegen.factoryMode": "NO_CODEGEN",
        "spark.driver.extraJavaOptions": f"-Duser.timezone=UTC -Dderby.system.home={folder}",
        "spark.log.level": "ERROR",
    }
    builder = SparkSession.builder.master(job["master"]).appName("churn-platform features")
    for name, value in options.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()


def _bind(session: Any, table: dict[str, Any], moment: str) -> None:
    """A temporary view of a table's parts, as the DuckDB engine makes it: types, ``t``, finite numbers."""
    from pyspark.sql import functions as f

    columns = [tuple(column) for column in table["columns"]]
    if not table["paths"]:
        schema = ", ".join(f"`{name}` {TYPES[kind]}" for name, kind in columns)
        rows = session.createDataFrame([], schema)
    else:
        rows = session.read.parquet(*table["paths"])
        if table["snapshot"]:
            taken = session.read.parquet(table["snapshot"]).select("row_id", *(f.col(f"`{n}`") for n in table["seen"]))
            rows = rows.drop(*table["seen"]).join(taken, "row_id", "left")
    absent = set(table["absent"])

    def column(name: str, kind: str) -> Any:
        if name in absent:
            return f.lit(None).cast(TYPES[kind]).alias(name)
        value = f.col(f"`{name}`").cast(TYPES[kind])
        if kind == "float64":
            infinite = f.isnan(value) | value.isin(float("inf"), float("-inf"))
            value = f.when(infinite, f.lit(None)).otherwise(value)
        return value.alias(name)

    made = rows.select(*(column(name, kind) for name, kind in columns))
    made.withColumn("t", f.lit(moment).cast("TIMESTAMP")).createOrReplaceTempView(table["table"])


def _end_with_stdin() -> None:
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1])
