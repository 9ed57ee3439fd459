"""The packed online store: one small record per customer and view, read without Feast.

``layout`` says what a record holds, ``bulk`` packs whole tables, ``lmdb_store`` (embedded) and ``redis_store``
(production) keep them, ``opening`` chooses between the two. Nothing here imports Feast or pandas.
"""
