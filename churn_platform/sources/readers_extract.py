"""The local copy of a company's database tables: read whole once, then only what has changed since.

The door, inference and checks read files; this brings them. A table is read incrementally where the contract says
how its changes can be seen (``watermark``, or ``ingested_at`` together with its ``known_at`` columns) and its rows
have a key; otherwise it is read whole each time, which is slow, but never wrong.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from churn_platform.errors import ContractError, HomeError
from churn_platform.records.files import remove, temporary_name
from churn_platform.sources.contract import SNAPSHOT_TABLE, Contract, Table
from churn_platform.sources.engine import engine, literal, quote
from churn_platform.sources.readers_manifest import Extract
from churn_platform.sources.readers_protocol import Mark, TableFacts, TableReader, open_reader
from churn_platform.sources.readers_url import SourceUrl

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

Progress = Callable[[str, float], None]
COMPARE_DAYS = 7
"""At least this often all keys are compared: a deleted row and a late one together leave the count as it was."""
EARLIEST = datetime(1, 1, 1)  # noqa: DTZ001 - in the column's own terms


@dataclass(frozen=True)
class Loaded:
    """What a load did to one table.

    Args:
        mode: ``full``: read whole; ``changed``: only what changed was read; ``unchanged``: the copy stays as it is.
        fetched: rows (of a bucket: files) that came over the network with all their columns.
        keys: rows of which only the key came, to find what was deleted.
        deleted: rows that are gone.
        rows: rows that the table now has; None for files.
    """

    table: str
    mode: Literal["full", "changed", "unchanged"]
    fetched: int
    keys: int = 0
    deleted: int = 0
    rows: int | None = None


def load_tables(
    contract: Contract,
    url: SourceUrl,
    root: Path,
    *,
    tables: Sequence[str] | None = None,
    full: bool = False,
    progress: Progress | None = None,
) -> dict[str, Loaded]:
    """Bring the local copy of a database's tables up to date, all as of the same moment.

    Args:
        root: the folder of the copy. It will hold raw customer ids.
        tables: those to bring; all of the contract by default.
        full: read whole, whatever could be read incrementally.
        progress: called with the stage in words and its share done, in [0, 1].

    Raises:
        SourceError: the server, a table or a column is not there or may not be read.
        HomeError: the folder cannot be written.
    """
    known = tables_of(contract)
    chosen = list(known) if tables is None else list(tables)
    extract = Extract.find(root)
    if extract is None or extract.origin != url.text:
        extract = Extract(root, url.text)
    done: dict[str, Loaded] = {}
    with writing(root), open_reader(url) as reader, engine(root if root.is_dir() else None) as connection:
        now = reader.now()
        for number, name in enumerate(chosen):
            if progress is not None:
                progress(f"read {known[name].path}", number / len(chosen))
            load = _Load(contract, name, reader, connection, extract, now)
            done[name] = load.run(full=full)
    return done


def tables_of(contract: Contract) -> dict[str, Table]:
    """The tables of a contract, the exchange rates among them."""
    tables = dict(contract.tables)
    if contract.rates is not None:
        tables["rates"] = Table(path=contract.rates.path)
    return tables


@contextmanager
def writing(root: Path) -> Iterator[None]:
    """Errors of the disk as errors of the home."""
    import duckdb

    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        yield
    except (OSError, duckdb.IOException) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise HomeError(
            f"The copy of the tables in {root} cannot be written: {reason}.",
            mend="Make space there, or set CHURN_HOME to a folder with some.",
            field="home",
        ) from error


class _Load:
    """The load of one table."""

    def __init__(
        self,
        contract: Contract,
        name: str,
        reader: TableReader,
        connection: duckdb.DuckDBPyConnection,
        extract: Extract,
        now: datetime,
    ) -> None:
        self.name, self.table, self.now = name, tables_of(contract)[name], now
        self.reader, self.connection, self.extract = reader, connection, extract
        self.facts = reader.describe(self.table.path)
        self.folder = extract.root / name
        self.folder.mkdir(mode=0o700, exist_ok=True)
        self.kept = extract.tables.get(name)
        self.watched = _watched(self.table, self.facts)
        self.key = self._key()
        self.columns = self._columns(contract)
        self.keys_read = self.deleted = 0

    def run(self, *, full: bool) -> Loaded:
        fetched = 0
        if not full and self._incremental():
            outcome = self._changes()
            if isinstance(outcome, Loaded):
                return outcome
            fetched = outcome  # what the copy lacks cannot be told apart: read it whole
        return self._whole(fetched)

    def _key(self) -> tuple[str, ...]:
        """The database's own key, else the contract's, which has to prove itself unique."""
        if self.facts.key:
            return self.facts.key
        key = self.table.key
        if not key and self.name in ("accounts", SNAPSHOT_TABLE) and self.table.entity:
            key = (self.table.entity,)
        found = [_find(self.table.source_of(part), self.facts) for part in key]
        return tuple(part for part in found if part) if all(found) else ()

    def _columns(self, contract: Contract) -> tuple[str, ...]:
        """What the contract mentions anywhere, and nothing else: names and addresses stay where they are."""
        mentioned = {text.strip().casefold() for text in _texts(contract.model_dump())}
        wanted = {*self.key, *self.watched}
        chosen = [c for c in self.facts.columns if c in wanted or c.strip().casefold() in mentioned]
        needed = {self.table.source_of(name) for name in self.table.columns} | wanted
        for column in chosen:
            if self.facts.columns[column] is None and column in needed:
                raise ContractError(
                    f"tables.{self.name}: column {column!r} of {self.facts.name} has type "
                    f"{self.facts.types[column]}, which is not read.",
                    mend="Make a view that gives it as text, number or time, or take the column out of the contract.",
                    field=f"tables.{self.name}.columns",
                )
        chosen = [column for column in chosen if self.facts.columns[column] is not None]
        if not chosen:
            raise ContractError(
                f"tables.{self.name}: {self.facts.name} has none of the contract's columns.",
                mend=f"It has {', '.join(list(self.facts.columns)[:30])}. Mend the names in the contract.",
                field=f"tables.{self.name}.columns",
            )
        return tuple(chosen)

    @property
    def _state(self) -> dict[str, Any]:
        """What must be as it was for the copy to be continued."""
        return {
            "path": self.table.path,
            "relation": self.facts.name,
            "columns": {column: self.facts.types[column] for column in self.columns},
            "key": list(self.key),
            "watched": list(self.watched),
        }

    def _incremental(self) -> bool:
        if self.kept is None or not self.kept.get("unique") or not self.watched or not self.key:
            return False
        present = all(file.is_file() for file in self.extract.files(self.name))
        return present and all(self.kept.get(field) == value for field, value in self._state.items())

    def _whole(self, fetched: int) -> Loaded:
        file = self._temporary()
        with self._discarding(file):
            rows = self._read(file, self.columns)
            unique = bool(self.watched and self.key) and self._unique(file)
            changed = self._keep(file, rows, unique=unique, whole=True)
        return Loaded(self.name, "full" if changed else "unchanged", fetched + rows, self.keys_read, 0, rows)

    def _changes(self) -> Loaded | int:
        """Read what changed and merge it; the number of rows read in vain where that cannot be told."""
        assert self.kept is not None  # noqa: S101 - _incremental has seen to it
        base = _parquet(self.extract.files(self.name))
        delta, keys, merged = self._temporary(), self._temporary(), self._temporary()
        with self._discarding(delta, keys, merged):
            fetched = self._read(delta, self.columns, since=self._since())
            fields, by = ", ".join(quote(c) for c in self.columns), ", ".join(quote(c) for c in self.key)
            changed = _parquet([delta])
            if fetched and not self._unique(delta):
                return fetched
            (new,) = self._number(f"SELECT count(*) FROM {changed} AS d ANTI JOIN {base} AS b USING ({by})")
            expected = int(self.kept["rows"]) + new
            gone = ""
            count = self.reader.count(self.table.path)
            compared = datetime.fromisoformat(self.kept["compared"])
            if count != expected or self.now - compared >= timedelta(days=COMPARE_DAYS):
                self.keys_read = self._read(keys, self.key)
                present = _parquet([keys])
                (lacking,) = self._number(
                    f"SELECT count(*) FROM (SELECT {by} FROM {present} EXCEPT "
                    f"(SELECT {by} FROM {base} UNION SELECT {by} FROM {changed}))"
                )
                if lacking or self.keys_read != count:
                    return fetched
                gone = f" SEMI JOIN {present} AS k USING ({by})" if count != expected else ""
                self.kept["compared"] = str(self.now)
                self.extract.save()
            (differ,) = self._number(
                f"SELECT count(*) FROM (SELECT {fields} FROM {changed} EXCEPT SELECT {fields} FROM "
                f"{base} AS b SEMI JOIN {changed} AS d USING ({by}))"
            )
            if not differ and not gone:
                return Loaded(self.name, "unchanged", fetched, self.keys_read, 0, expected)
            self.connection.execute(
                f"COPY (SELECT {fields} FROM {base} AS b ANTI JOIN {changed} AS d USING ({by}){gone} UNION ALL "
                f"SELECT {fields} FROM {changed}) TO {literal(str(merged))} (FORMAT parquet, COMPRESSION zstd)"
            )
            (rows,) = self._number(f"SELECT count(*) FROM {_parquet([merged])}")
            self._keep(merged, rows, unique=True, whole=False)
            return Loaded(self.name, "changed", fetched, self.keys_read, expected - rows, rows)

    def _since(self) -> dict[str, Mark]:
        assert self.kept is not None  # noqa: S101 - _incremental has seen to it
        days = self.table.look_back_days
        since: dict[str, Mark] = {}
        for column, text in self.kept["marks"].items():
            mark = _mark(text)
            if mark is None:
                since[column] = EARLIEST
            elif isinstance(mark, datetime):
                since[column] = _back(mark, timedelta(days=days))
            elif isinstance(mark, date):
                since[column] = mark - timedelta(days=math.ceil(days))
            else:
                since[column] = mark
        return since

    def _keep(self, file: Path, rows: int, *, unique: bool, whole: bool) -> bool:
        """Let a file take the place of the copy, unless it says the same; whether it did."""
        content = self._content(file)
        same = self.kept is not None and self.kept.get("content") == content
        if same and all(old.is_file() for old in self.extract.files(self.name)):
            assert self.kept is not None  # noqa: S101
            self.kept.update(self._state, unique=unique, marks=self._marks(file))
            if whole:
                self.kept["compared"] = str(self.now)
            self.extract.save()
            return False
        version = 1 + int(self.kept["version"]) if self.kept else 1
        old = self.extract.files(self.name)
        target = self.folder / f"{version:06d}.parquet"
        file.chmod(0o600)
        file.replace(target)
        self.extract.tables[self.name] = {
            **self._state,
            "files": [target.relative_to(self.extract.root).as_posix()],
            "version": version,
            "rows": rows,
            "unique": unique,
            "marks": self._marks(target),
            "compared": self.kept["compared"] if self.kept and not whole else str(self.now),
            "content": content,
            "others": [column for column in self.facts.columns if column not in self.columns],
        }
        self.extract.save()
        for path in {*old, *self.folder.glob("*.parquet")} - {target}:
            remove(path)
        return True

    def _read(self, file: Path, columns: Sequence[str], *, since: Mapping[str, Mark] | None = None) -> int:
        return read_to(self.reader, self.facts, columns, file, since=since)

    def _temporary(self) -> Path:
        return temporary_name(self.folder)

    @contextmanager
    def _discarding(self, *files: Path) -> Iterator[None]:
        try:
            yield
        finally:
            for file in files:
                remove(file)

    def _unique(self, file: Path) -> bool:
        by = ", ".join(quote(c) for c in self.key)
        absent = " OR ".join(f"{quote(c)} IS NULL" for c in self.key)
        nulls, repeated = self._number(
            f"SELECT coalesce(sum(n) FILTER (WHERE {absent}), 0), count(*) FILTER (WHERE n > 1) FROM "
            f"(SELECT {by}, count(*) AS n FROM {_parquet([file])} GROUP BY ALL)"
        )
        return not nulls and not repeated

    def _content(self, file: Path) -> str:
        """A digest of the rows that does not depend on their order."""
        import duckdb

        fields = ", ".join(quote(c) for c in self.columns)
        rows, total, mixed = self._number(
            f"SELECT count(*), coalesce(sum(h::HUGEINT), 0), coalesce(bit_xor(h), 0) FROM "
            f"(SELECT hash({fields}) AS h FROM {_parquet([file])})"
        )
        return f"{duckdb.__version__}:{rows}:{total:x}:{mixed:x}"

    def _marks(self, file: Path) -> dict[str, str | int | None]:
        """The greatest values of the watched columns that are not of the future: a stray one would hide changes."""
        marks: dict[str, str | int | None] = {}
        latest = f"{literal(str(self.now + timedelta(days=1)))}::TIMESTAMP"
        for column in self.watched:
            whole = str(self.facts.columns[column]) == "int64"
            bound = "" if whole else f" WHERE {quote(column)}::TIMESTAMP <= {latest}"
            value = f"max({quote(column)})" if whole else f"max({quote(column)})::VARCHAR"
            found = self.connection.execute(f"SELECT {value} FROM {_parquet([file])}{bound}").fetchone()
            marks[column] = found[0] if found else None
        return marks

    def _number(self, sql: str) -> tuple[int, ...]:
        found = self.connection.execute(sql).fetchone()
        return tuple(int(value) for value in found or ())


def read_to(
    reader: TableReader,
    facts: TableFacts,
    columns: Sequence[str],
    file: Path,
    *,
    since: Mapping[str, Mark] | None = None,
    limit: int | None = None,
) -> int:
    """Write rows of a table as one Parquet file; returns their number. See :meth:`TableReader.read`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(column, facts.columns[column]) for column in columns])
    with pq.ParquetWriter(str(file), schema, compression="zstd") as writer:

        def sink(rows: pa.Table) -> None:
            writer.write_table(rows.cast(schema))

        return reader.read(facts.name, columns, sink, since=since, limit=limit)


def _watched(table: Table, facts: TableFacts) -> tuple[str, ...]:
    """The columns that tell that a row has changed; none where a change may leave no trace in them."""
    stated = table.watermark
    if stated is not None:
        found = _find(table.source_of(stated), facts)
        if found is None or not _is_mark(facts, found):
            raise ContractError(
                f"{facts.name} has no column {stated!r} of times or whole numbers to be its watermark.",
                mend=f"Name one of: {', '.join(c for c in facts.columns if _is_mark(facts, c)) or 'none is there'}; "
                "or take watermark out, and the table is read whole each time.",
                field="watermark",
            )
        deleted = _find(table.source_of(table.deleted_at), facts) if table.deleted_at else None
        return (found, *((deleted,) if deleted and _is_mark(facts, deleted) and deleted != found else ()))
    silent = any(c.temporality == "current_only" or c.effective is not None for c in table.columns.values())
    if table.ingested_at is None or silent:
        return ()
    names = [table.ingested_at, *table.helpers, *((table.deleted_at,) if table.deleted_at else ())]
    columns = [_find(table.source_of(name), facts) for name in names]
    sure = [column for column in columns if column is not None and _is_mark(facts, column)]
    return tuple(dict.fromkeys(sure)) if len(sure) == len(columns) else ()


def _is_mark(facts: TableFacts, column: str) -> bool:
    return str(facts.columns[column]).startswith(("timestamp", "date32", "int64"))


def _find(name: str, facts: TableFacts) -> str | None:
    if name in facts.columns:
        return name
    return next((c for c in facts.columns if c.strip().casefold() == name.strip().casefold()), None)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield str(key)
            yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)


def _parquet(files: Sequence[Path]) -> str:
    return f"read_parquet([{', '.join(literal(str(file)) for file in files)}])"


def _mark(value: str | int | None) -> Mark | None:
    if value is None or isinstance(value, int):
        return value
    return date.fromisoformat(value) if len(value) == 10 else datetime.fromisoformat(value)


def _back(moment: datetime, span: timedelta) -> datetime:
    earliest = EARLIEST.replace(tzinfo=moment.tzinfo)
    return earliest if moment - earliest < span else moment - span


__all__ = ["Loaded", "load_tables", "read_to", "writing"]
