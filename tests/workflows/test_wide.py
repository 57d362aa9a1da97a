"""A wide phase, whose steps end faster than its workflow is asked about them."""

from __future__ import annotations

from engine import Engine


async def test_many_ends_at_once_do_not_make_the_server_fail_workflow_tasks(engine: Engine) -> None:
    """Each end leaves two events that wait for the end of a workflow task; by default 100 may."""
    numbers = {"data": list(range(800))}
    result = await engine.run(
        """
        ```yaml
        requirements:
          data: list
        ```

        ## Phase: A
        parallel: true
        ### Steps
        - tool: effect
          forEach: inputs.data
        """,
        numbers,
    )
    assert result.status == "completed"
    events = await engine.events(result.execution_id, phase="a")
    failed = [e for e in events if e.HasField("workflow_task_failed_event_attributes")]
    assert not failed
