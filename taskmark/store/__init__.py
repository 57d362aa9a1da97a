"""The history store: a readable, durable projection of what Temporal ran.

Nothing is imported here: the spool is loaded by every worker, SQLAlchemy only by what needs it.
"""
