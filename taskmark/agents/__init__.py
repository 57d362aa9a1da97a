"""Adapters behind the agent port: who answers a question."""
