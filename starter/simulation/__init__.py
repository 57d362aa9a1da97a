"""Runs the engine's own workflows in this process, against mocks and a clock that jumps.

There is no second engine: `TaskWorkflow` and `PhaseWorkflow` run as a worker runs them, and what a server
would do with their commands is done by `host.py`. That takes the protobuf messages between the SDK's core
and its Python part, which are no public interface; the version of temporalio is pinned, and the tests that
compare simulated results with those of a real server tell when they change.
"""
