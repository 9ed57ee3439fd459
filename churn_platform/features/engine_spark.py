"""The scale-out engine: the same expressions, compiled to Spark's SQL here and run by a process of Spark's own
environment (``python -m churn_platform.features.spark``), which needs nothing of ours beyond that one module."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from churn_platform.errors import FeatureError, MissingDependencyError
from churn_platform.features.engine import MonthInput
from churn_platform.settings import CHECKOUT, settings

if TYPE_CHECKING:
    from churn_platform.features.expression import Query
    from churn_platform.records.store import ContentStore

RUNNER = "churn_platform.features.spark"
SHOWN = 1_500
"""Characters of Spark's last words in an error."""


@dataclass(frozen=True)
class SparkEngine:
    """See :class:`~churn_platform.features.engine.FeatureEngine`.

    Attributes:
        python: the interpreter of Spark's environment.
        java_home: where Java 17 is, or None where ``java`` is on the path.
        master: Spark's master URL.
        threads: partitions of a shuffle.
        memory: of Spark's driver, such as ``2g``.
    """

    python: Path
    java_home: str | None = None
    master: str = "local[2]"
    threads: int = 2
    memory: str = "2g"

    @classmethod
    def of_settings(cls) -> SparkEngine:
        """The engine that the settings ask for.

        Raises:
            MissingDependencyError: its environment or Java is not there.
        """
        made = settings()
        found = missing(made.spark_python)
        if found is not None:
            raise found
        memory = made.memory_limit.lower().removesuffix("b")
        return cls(made.spark_python, os.environ.get("JAVA_HOME"), made.spark_master, made.threads, memory)

    def run(self, query: Query, months: Sequence[MonthInput], store: ContentStore) -> Iterator[tuple[str, Any]]:
        """One Spark session for all months; each comes back as Parquet as soon as it is done."""
        import pyarrow.parquet as pq

        with store.temporary() as folder:
            folder.mkdir(parents=True)
            job, said = folder / "job.json", folder / "stderr.txt"
            job.write_text(json.dumps(self._job(query, months, folder)), encoding="utf-8")
            with said.open("wb") as words:
                child = subprocess.Popen(
                    [str(self.python), "-m", RUNNER, str(job)],
                    cwd=CHECKOUT,
                    env=self._environment(),
                    stdin=subprocess.PIPE,  # the child ends when this closes, whatever becomes of us
                    stdout=subprocess.PIPE,
                    stderr=words,
                    text=True,
                )
            try:
                assert child.stdout is not None  # noqa: S101 - it was asked for
                done = 0
                for line in child.stdout:
                    if not line.startswith("{"):
                        continue
                    answer = json.loads(line)
                    yield answer["observation"], pq.read_table(answer["path"])
                    done += 1
                if child.wait() or done != len(months):
                    raise FeatureError(
                        f"Spark made {done} of {len(months)} months and ended with {child.returncode}: "
                        f"{said.read_text(errors='replace')[-SHOWN:].strip() or 'no words'}",
                        mend="Mend what it says, or set CHURN_FEATURE_ENGINE=duckdb.",
                        field="feature_engine",
                    )
            finally:
                if child.poll() is None:
                    child.terminate()
                for pipe in (child.stdin, child.stdout):
                    if pipe is not None:
                        pipe.close()
                child.wait()

    def _job(self, query: Query, months: Sequence[MonthInput], folder: Path) -> dict[str, Any]:
        from churn_platform.features.expression import spark_sql

        return {
            "sql": spark_sql(query),
            "master": self.master,
            "shuffle": self.threads,
            "memory": self.memory,
            "folder": str(folder),
            "months": [{**asdict(month), "moment": f"{month.moment:%Y-%m-%d %H:%M:%S}"} for month in months],
        }

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONHOME", "VIRTUAL_ENV")}
        spark = {"PYTHONPATH": str(CHECKOUT), "PYSPARK_PYTHON": str(self.python), "SPARK_LOCAL_IP": "127.0.0.1"}
        return {**kept, **spark, **({"JAVA_HOME": self.java_home} if self.java_home else {})}


def missing(python: Path) -> MissingDependencyError | None:
    """What Spark lacks on this machine; None where nothing does."""
    if not python.is_file():
        return MissingDependencyError(
            f"CHURN_FEATURE_ENGINE is spark, but there is no Spark environment at {python}.",
            mend="Make it with `make spark-env`, or set CHURN_SPARK_PYTHON to the interpreter of one.",
            field="spark_python",
        )
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=str(Path(home) / "bin")) if home else shutil.which("java")
    if java is None:
        return MissingDependencyError(
            "CHURN_FEATURE_ENGINE is spark, but there is no Java.",
            mend="Install Java 17 (Debian, Ubuntu: apt-get install openjdk-17-jre-headless), or set JAVA_HOME.",
            field="feature_engine",
        )
    return None
