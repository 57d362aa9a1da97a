"""Tasks that are run twice, on a real server and simulated, and what stands in for their tools."""

from __future__ import annotations

from typing import NamedTuple

EFFECT = "{output: {name: '', value: null, attempt: 1}}"
FAST = "retry: {maxAttempts: 3, backoffMs: 5}"


class Case(NamedTuple):
    """A task, and the mocks and decisions of its test."""

    task: str
    mocks: str = "{}"
    decisions: str = "{}"
    inputs: str = "{}"


CASES = {
    "a validation ends the task early": Case(
        """
        ## Phase: A
        ### Steps
        - tool: effect
          id: a
        - validation: steps.a.output.attempt > 1 - Not {{ steps.a.output.attempt }} but more
        - tool: effect
          id: never
        ## Phase: B
        dependsOn: [A]
        ### Steps
        - tool: effect
        """,
        mocks=f"tools: {{effect: {EFFECT}}}",
    ),
    "inputs that do not fit": Case(
        """
        ```yaml
        requirements: {count: integer}
        ```
        ## Phase: A
        ### Steps
        - validation: inputs.count > 0 - Positive
        """,
        inputs="{count: many}",
    ),
    "every step that is evaluated, a note and a wait": Case(
        """
        ## Phase: A
        ### Steps
        - Only a note
        - wait: 30ms - A moment
        - validation: 1 < 2 - Sure
        - aggregate: sum - Add
          id: added
          with: {over: [1, 2, 3.5]}
        - tool: effect
          id: not_wanted
          if: 1 > 2
        - tool: effect
          id: reads_nothing
          with: {value: "{{ steps.not_wanted.output.value }}"}
        ## Outputs
        - added: steps.added.output
        """
    ),
    "forEach over items, over none, and with an item that fails": Case(
        """
        ## Phase: A
        ### Steps
        - tool: effect
          id: all
          forEach: [x, y, z]
          with: {name: "{{ item }}", value: "{{ index }}"}
        - tool: effect
          id: nothing
          forEach: []
        - tool: flaky
          id: some
          forEach: [0, 9]
          critical: false
          with: {failures: "{{ item }}", category: logic}
        - tool: flaky
          id: fatal
          forEach: [9, 9]
          with: {failures: "{{ item }}", category: logic}
        """,
        mocks="""
        steps:
          all:
            outputs:
              - {name: x, value: 0, attempt: 1}
              - {name: y, value: 1, attempt: 1}
              - {name: z, value: 2, attempt: 1}
          some: {fails: {category: logic, message: it fails on purpose, items: [1]}, output: {calls: 1}}
          fatal: {fails: {category: logic, message: it fails on purpose}}
        """,
    ),
    "a phase for each item": Case(
        """
        ## Phase: A
        forEach: [a, b]
        ### Steps
        - tool: effect
          id: first
          with: {name: "{{ item }}"}
        - tool: effect
          id: second
          if: index == 1
          with: {name: "{{ steps.first.output.name }}"}
        ### Outputs
        - first
        - name: steps.first.output.name
        ## Phase: B
        dependsOn: [A]
        ### Steps
        - aggregate: count - Count
          id: count
          with: {over: "{{ phases.a.outputs.name }}"}
        """,
        mocks="""
        steps:
          first: {outputs: [{name: a, value: null, attempt: 1}, {name: b, value: null, attempt: 1}]}
          second: {output: {name: b, value: null, attempt: 1}}
        """,
    ),
    "retries of every category": Case(
        f"""
        ```yaml
        {FAST}
        ```
        ## Phase: A
        parallel: true
        ### Steps
        - tool: flaky
          id: transient
          with: {{failures: 2}}
        - tool: flaky
          id: resource
          with: {{failures: 1, category: resource}}
        - tool: flaky
          id: permission
          with: {{failures: 1, category: permission}}
        - tool: flaky
          id: denied
          critical: false
          with: {{failures: 9, category: permission}}
        - tool: flaky
          id: logic
          critical: false
          with: {{failures: 9, category: logic}}
        - tool: flaky
          id: used_up
          critical: false
          with: {{failures: 9}}
        """,
        mocks="""
        steps:
          transient: {fails: {times: 2, message: it fails on purpose}, output: {calls: 3}}
          resource:
            fails: {times: 1, category: resource, message: it fails on purpose}
            output: {calls: 2}
          permission:
            fails: {times: 1, category: permission, message: it fails on purpose}
            output: {calls: 2}
          denied: {fails: {category: permission, message: it fails on purpose}}
          logic: {fails: {category: logic, message: it fails on purpose}}
          used_up: {fails: it fails on purpose}
        """,
    ),
    "fallbacks to a value, a tool and an agent": Case(
        f"""
        ```yaml
        {FAST}
        ```
        ## Phase: A
        ### Steps
        - tool: flaky
          id: value
          with: {{category: logic}}
          fallback: {{value: {{calls: 0}}}}
        - tool: flaky
          id: tool
          fallback: {{tool: effect, with: {{name: other}}}}
        - agent: dud - Say something
          id: agent
          fallback: ann
        - tool: flaky
          id: both
          with: {{category: logic}}
          fallback: {{tool: flaky}}
        """,
        mocks="""
        tools:
          flaky: {fails: {category: logic, message: it fails on purpose}}
        steps:
          tool: {fails: it fails on purpose}
          tool#fallback: {output: {name: other, value: null, attempt: 4}}
        agents:
          dud: {fails: {category: logic, message: dud has nothing to say}}
          ann: {output: {vote: 'yes', agent: ann}}
        """,
    ),
    "a failure that is not critical, and what reads it": Case(
        """
        ## Phase: A
        ### Steps
        - tool: flaky
          id: odd
          critical: false
          with: {category: logic}
        - tool: effect
          id: reads
          with: {value: "{{ steps.odd.output.calls }}"}
        - tool: effect
          id: copes
          with: {value: "{{ steps.odd.output.calls | default(7) }}"}
        ### Outputs
        - odd
        - copes: steps.copes.output.value
        """,
        mocks="""
        tools:
          flaky: {fails: {category: logic, message: it fails on purpose}}
          effect: {output: {name: '', value: 7, attempt: 1}}
        """,
    ),
    "agents that vote, and one that fails": Case(
        """
        ## Phase: Ask
        parallel: true
        ### Steps
        - agent: ann - Yes?
          id: ann
        - agent: cid - Yes?
          id: cid
        - Tell us
          id: told
        - aggregate: count - How many
          id: many
        ### Agents
        - bob
        - dud
        ### Outputs
        - ann: steps.ann.output.vote
        - cid: steps.cid.output.vote
        - bob: steps.told.output.bob.vote
        ## Phase: Decide
        dependsOn: [Ask]
        ### Steps
        - aggregate: consensus - What do they want
          id: wanted
        - aggregate: vote - Vote
          id: voted
        ## Outputs
        - winner: steps.wanted.output.winner
        """,
        mocks="""
        agents:
          ann: {output: {vote: 'yes', agent: ann}}
          bob: {output: {vote: 'yes', agent: bob}}
          cid: {output: {vote: 'no', agent: cid}}
          dud: {fails: {category: logic, message: dud has nothing to say}}
        """,
    ),
    "agents that are chosen, one that may not be and one that fails": Case(
        """
        ```yaml
        agents: [ann, dud]
        ```
        ## Phase: Ask
        parallel: true
        ### Steps
        - agent: "{{ item }}" - Yes?
          id: chosen
          forEach: [ann, zoe, dud, 7, "{{ 1"]
        - agent: "{{ item }}" - Yes?
          id: instead
          forEach: [ann, zoe]
          fallback: ann
        - agent: "{{ ['zoe'][0] }}" - Yes?
          id: nobody
        - agent: "{{ steps.chosen.output[9] }}" - Yes?
          id: wrong
        ## Phase: Decide
        dependsOn: [Ask]
        ### Agents
        - cid
        ### Steps
        - agent: "{{ steps.chosen.output[0].agent }}" - She is not in the list of this phase
        - agent: cid - No?
        - aggregate: count - Answers
          id: many
        ## Phase: Nobody
        onFailure: continue
        ### Steps
        - agent: "{{ item }}" - Yes?
          forEach: [zoe, dud]
        """,
        mocks="""
        agents:
          ann: {output: {vote: 'yes', agent: ann}}
          cid: {output: {vote: 'no', agent: cid}}
          dud: {fails: {category: logic, message: dud has nothing to say}}
        """,
    ),
    "all agents of a phase fail": Case(
        """
        ## Phase: A
        ### Steps
        - agent: dud - Say something
        - Say something
        ### Agents
        - dud
        ## Phase: B
        dependsOn: [A]
        if: phases.a.status == "failed"
        ### Steps
        - tool: effect
        """,
        mocks="agents: {dud: {fails: {category: logic, message: dud has nothing to say}}}",
    ),
    "registered kinds and aggregates": Case(
        """
        ## Phase: A
        ### Steps
        - shout: hello - Loudly
          id: loud
        - aggregate: longest - The longest
          id: longest
          with: {over: [a, bcd, ef]}
        """,
        mocks="{kinds: {shout: {output: HELLO}}, aggregates: {longest: {output: bcd}}}",
    ),
    "arguments that the tool refuses": Case(
        """
        ```yaml
        requirements: {text: string}
        ```
        ## Phase: A
        ### Steps
        - tool: effect
          id: wrong
          with: {seconds: "{{ inputs.text }}"}
        """,
        inputs="{text: soon}",
        mocks=f"tools: {{effect: {EFFECT}}}",
    ),
    "gates that are approved, answered, and rejected": Case(
        """
        ## Phase: Ask
        ### Steps
        - approval: release - Release it?
          approvers: [maria]
        - question: count - How many?
          schema: {type: integer, minimum: 2}
        - approval: extra - And this?
          onReject: skip
        - tool: effect
          id: if_extra
          with: {value: "{{ steps.extra.output.by }}"}
        ## Phase: Last
        dependsOn: [Ask]
        ### Steps
        - approval: really - Really?
        - tool: effect
          id: never
        ## Outputs
        - count: steps.count.output
        """,
        decisions="""
        release: {decision: approve, by: maria, comment: fine}
        count: {answer: 3, by: bob}
        extra: reject
        really: {decision: reject, comment: too early, by: bob}
        """,
    ),
    "gates that nobody decides": Case(
        """
        ## Phase: A
        ### Steps
        - question: region - Where?
          timeout: 50ms
          critical: false
        - approval: release - Release it?
          timeout: 50ms
          onTimeout: pause
        - approval: other - And this?
          timeout: 50ms
        """,
        decisions="{region: timeout, release: [timeout, {decision: approve, by: bob}], other: timeout}",
    ),
    "a failed phase with dependents, and another that goes on": Case(
        """
        ## Phase: Bad
        onFailure: continue
        ### Steps
        - tool: flaky
          id: bad
          with: {category: logic}
        - tool: effect
          id: after
        ## Phase: Needs It
        dependsOn: [Bad]
        ### Steps
        - tool: effect
          id: needs
        ## Phase: Asks
        dependsOn: [Bad]
        if: phases.bad.status == "failed"
        ### Steps
        - tool: effect
          id: asks
        """,
        mocks=f"""
        tools:
          flaky: {{fails: {{category: logic, message: it fails on purpose}}}}
          effect: {EFFECT}
        """,
    ),
    "a phase that is retried keeps what it has": Case(
        """
        ## Phase: A
        retry: {maxAttempts: 2, backoffMs: 5}
        ### Steps
        - tool: effect
          id: once
        - tool: flaky
          id: twice
          retry: {maxAttempts: 1}
          with: {failures: 1}
        """,
        mocks=f"""
        tools:
          effect: {EFFECT}
          flaky: {{fails: {{times: 1, message: it fails on purpose}}, output: {{calls: 2}}}}
        """,
    ),
    "a phase that is held, retried and left": Case(
        """
        ## Phase: A
        onFailure: pause
        ### Steps
        - tool: flaky
          id: a
          with: {failures: 1, category: logic}
        - tool: flaky
          id: b
          with: {category: logic}
        """,
        mocks="""
        steps:
          a: {fails: {times: 1, category: logic, message: it fails on purpose}, output: {calls: 2}}
          b: {fails: {category: logic, message: it fails on purpose}}
        """,
        decisions="a: [retry, skip]",
    ),
    "sub-tasks that complete, and one that fails": Case(
        """
        ## Phase: A
        ### Steps
        - task: child - Do it
          id: each
          forEach: [3, 4]
          with: {count: "{{ item }}"}
        - task: child - Fail
          id: fails
          critical: false
          with: {count: -1}
        ## Outputs
        - each: steps.each.output
        """,
        mocks=f"tools: {{effect: {EFFECT}}}",
    ),
    "a step's and a phase's timeout": Case(
        """
        ## Phase: A
        onFailure: continue
        ### Steps
        - tool: effect
          id: slow
          timeout: 100ms
          retry: {maxAttempts: 2, backoffMs: 5}
          with: {seconds: 60}
        ## Phase: B
        timeout: 2s
        ### Steps
        - tool: effect
          id: slower
          with: {seconds: 60}
        - tool: effect
          id: later
        """,
        mocks="tools: {effect: {output: null, takes: 1 minute}}",
    ),
    "the time limit of the task": Case(
        """
        ```yaml
        maxExecutionTime: 2s
        ```
        ## Phase: A
        ### Steps
        - tool: effect
          id: second
          with: {seconds: 60}
        - tool: effect
          id: third
        ## Phase: B
        dependsOn: [A]
        ### Steps
        - tool: effect
          id: fourth
        """,
        mocks="steps: {second: {output: null, takes: 1 minute}}",
    ),
    "an abort while a phase is held": Case(
        """
        ## Phase: A
        onFailure: pause
        ### Steps
        - tool: flaky
          id: a
          with: {category: logic}
        - tool: effect
          id: b
        """,
        mocks="tools: {flaky: {fails: {category: logic, message: it fails on purpose}}}",
        decisions="a: {decision: abort, comment: enough, by: bob}",
    ),
    "outputs too large for history": Case(
        """
        ## Phase: A
        ### Steps
        - tool: big
          id: big
          with: {bytes: 40000}
        - validation: steps.big.output.length == 40000 - All of it
        - tool: measure
          id: measured
          with: {value: "{{ steps.big.output }}"}
        ### Outputs
        - big
        ## Phase: B
        dependsOn: [A]
        ### Steps
        - validation: phases.a.outputs.big.text[:3] == "xxx" - It looks right
        """,
        mocks=f"""
        tools:
          big: {{output: {{text: {"x" * 40000}, length: 40000}}}}
          measure: {{output: {{length: 40000}}}}
        """,
    ),
    "a failure stops what runs beside it": Case(
        """
        ## Phase: Fails
        ### Steps
        - tool: effect
          id: a
          with: {seconds: 0.3}
        - tool: flaky
          id: b
          with: {category: logic}
        ## Phase: Beside
        ### Steps
        - tool: effect
          id: c
          with: {seconds: 3}
        - tool: effect
          id: d
        """,
        mocks="""
        steps:
          a: {output: {name: '', value: null, attempt: 1}, takes: 300ms}
          b: {fails: {category: logic, message: it fails on purpose}}
          c: {output: {name: '', value: null, attempt: 1}, takes: 3s}
        """,
    ),
}
"""By the promise that each of them keeps in both worlds."""
