"""Answers over HTTP: score, explain and describe customers, whichever server carries it."""
