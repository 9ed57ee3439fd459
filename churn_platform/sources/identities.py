"""Raw ids to pseudonyms, inside the door's own DuckDB: raw ids live in memory for the length of a load, no
longer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from churn_platform.sources.staging import SALT, Plan

if TYPE_CHECKING:
    import duckdb

    from churn_platform.records.vault import IdentityVault

IDENTITIES = "identities"
CHUNK = 100_000


def prepare(connection: duckdb.DuckDBPyConnection, vault: IdentityVault) -> None:
    """Make the empty mapping, and set the salt of row hashes."""
    connection.execute(f"CREATE TABLE {IDENTITIES} (raw VARCHAR, pseudonym VARCHAR)")
    connection.execute(f"SET VARIABLE {SALT} = ?", [vault.row_salt.hex()])


def learn(connection: duckdb.DuckDBPyConnection, vault: IdentityVault, plan: Plan) -> int:
    """Give a pseudonym to every customer id of a table that the mapping does not have yet.

    Returns:
        How many ids were asked of the vault.
    """
    import pyarrow as pa

    named = ["entity", *(column.alias for column in (*plan.columns, *plan.mutable) if column.linked)]
    ids = " UNION ".join(f"SELECT {alias}::VARCHAR AS entity FROM ({plan.parsed})" for alias in named)
    new = connection.execute(
        f"SELECT DISTINCT entity FROM ({ids}) WHERE entity IS NOT NULL "
        f"AND entity NOT IN (SELECT raw FROM {IDENTITIES}) ORDER BY entity"
    ).to_arrow_table()
    for start in range(0, new.num_rows, CHUNK):
        raw = new.column(0).slice(start, CHUNK).to_pylist()
        chunk = pa.table({"raw": raw, "pseudonym": vault.pseudonymise(raw)})
        connection.register("door_chunk", chunk)
        connection.execute(f"INSERT INTO {IDENTITIES} SELECT raw, pseudonym FROM door_chunk")
        connection.unregister("door_chunk")
    return int(new.num_rows)
