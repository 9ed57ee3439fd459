"""The histories of our SQL tables: one folder of Alembic revisions for each database, driven by records.sql.

Revisions are numbered 0001, 0002, ... in one line, run on SQLite and on PostgreSQL, and are never edited once
released.
"""
