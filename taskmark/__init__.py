"""Taskmark's core: the task format, the thinking and the adapters. It does not know that Temporal exists."""
