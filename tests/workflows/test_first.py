"""The thinnest real path."""

import pytest
from engine import Engine


@pytest.mark.semantics("E1", "P1")
async def test_a_task_of_two_phases_completes_with_its_outputs(engine: Engine) -> None:
    """A later phase reads what an earlier one put out."""
    result = await engine.run(
        """
        ## Phase: Measure
        ### Steps
        - tool: effect - Measure
          id: measure
          with: {name: a, value: 41}
        ### Outputs
        - value: steps.measure.output.value + 1

        ## Phase: Report
        dependsOn: [Measure]
        ### Steps
        - validation: phases.measure.outputs.value == 42 - It is not 42
        - tool: effect - Report
          with: {name: "b{{ phases.measure.outputs.value }}"}

        ## Outputs
        - answer: phases.measure.outputs.value
        """
    )
    assert result.status == "completed", result.error
    assert result.outputs == {"answer": 42}
    assert engine.names(result.execution_id) == ["a", "b42"]
