"""The test kit: it calls a tool as a step does, and finds what the engine could not live with."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import BaseModel, Field

from taskmark.errors import Category, StepFailed
from taskmark.ports import Health, Tool
from taskmark.registry import tool
from taskmark.tools.processes import Command, run
from taskmark.tools.testing import call_tool, check_tool, examine_tool, run_tool


class Bed(BaseModel):
    plants: int = Field(default=3, ge=1)


class Unspeakable(Bed):
    then: Callable[[int], int] | None = None


@tool("plant", repeatable=True)
def plant(parameters: Bed, context):
    """Writes one file."""
    context.say(f"{parameters.plants} plants")
    (context.root / "bed.txt").write_text("x" * parameters.plants)
    return {"planted": parameters.plants, "key": context.idempotency_key, "attempt": context.attempt}


@tool("weed", resumable=True, repeatable=True)
async def weed(parameters: Bed, context):
    """Goes from bed to bed, and goes on where it was."""
    first = context.resume or 0
    for bed in range(first, parameters.plants):
        await asyncio.sleep(0.01)
        context.heartbeat(bed + 1)
    return {"from": first, "beds": parameters.plants}


# --- one call ------------------------------------------------------------------------------------------


def test_a_call_gives_what_a_step_would_have_as_its_output():
    called = run_tool(plant, {"plants": 12}, attempt=2, idempotency_key="k")
    assert called.output == {"planted": 12, "key": "k", "attempt": 2}
    assert (called.failure, called.cancelled, called.said) == (None, False, ("12 plants",))


def test_arguments_that_are_left_out_have_their_defaults():
    assert run_tool(plant).output["planted"] == 3


@pytest.mark.parametrize("arguments", [{"plants": 0}, {"plant": 1}, {"plants": "many"}])
def test_arguments_that_do_not_fit_are_a_failure_of_configuration(arguments):
    called = run_tool(plant, arguments)
    assert called.category is Category.CONFIGURATION
    assert "plant" in called.failure.message


def test_the_output_is_taken_as_json():
    @tool("told")
    def told(parameters: Bed, context):
        return (parameters, {"at": Path("x")})

    assert run_tool(told).output == [{"plants": 3}, {"at": "x"}]


def test_an_output_that_is_too_large_or_no_json_is_a_failure():
    @tool("large")
    def large(parameters: Bed, context):
        return "x" * 300_000 if parameters.plants == 1 else object()

    assert run_tool(large, {"plants": 1}).category is Category.RESOURCE
    assert run_tool(large).category is Category.LOGIC


@pytest.mark.parametrize(
    ("raised", "category"),
    [
        (StepFailed("no", Category.PERMISSION, hint="ask"), Category.PERMISSION),
        (ValueError("odd"), Category.TRANSIENT),
        (SystemExit(3), Category.TRANSIENT),
    ],
)
def test_what_a_tool_raises_is_a_failure_with_its_category(raised, category):
    @tool("fails")
    async def fails(parameters: Bed, context):
        raise raised

    called = run_tool(fails)
    assert (called.category, called.failure.step) == (category, "test")


def test_a_call_that_takes_longer_than_its_timeout_is_ended():
    @tool("sleeps")
    async def sleeps(parameters: Bed, context):
        await asyncio.sleep(30)

    called = run_tool(sleeps, timeout=0.05)
    assert (called.failure.type, called.category) == ("timed_out", Category.TRANSIENT)
    assert called.seconds < 5


def test_heartbeats_are_kept_and_the_next_attempt_goes_on_from_them():
    first = run_tool(weed, {"plants": 50}, cancel_at_beat=3)
    assert (first.cancelled, first.resume, first.output) == (True, 3, None)
    assert run_tool(weed, {"plants": 50}, resume=first.resume).output == {"from": 3, "beds": 50}


def test_a_call_can_be_cancelled_after_a_time():
    assert run_tool(weed, {"plants": 10_000}, cancel_after=0.05).cancelled


@pytest.mark.parametrize("hint", ["reduced", "refresh_credentials"])
def test_what_a_retry_is_told_reaches_the_tool(hint):
    @tool("told")
    def told(parameters: Bed, context):
        return {"reduced": context.reduced, "refresh_credentials": context.refresh_credentials}

    assert run_tool(told, **{hint: True}).output == {
        "reduced": False,
        "refresh_credentials": False,
        hint: True,
    }


def test_a_root_of_ones_own_stays_and_another_one_is_gone(tmp_path):
    run_tool(plant, root=tmp_path)
    assert (tmp_path / "bed.txt").read_text() == "xxx"
    places = []

    @tool("where")
    def where(parameters: Bed, context):
        places.append(context.root)

    run_tool(where)
    assert not places[0].exists()


def test_a_built_in_tool_can_be_named(tmp_path):
    (tmp_path / "a.txt").write_text("hello")
    assert run_tool("read-file", {"path": "a.txt"}, root=tmp_path).output["content"] == "hello"


@pytest.mark.parametrize("what", ["no-such-tool", plant.__class__, lambda parameters, context: None])
def test_what_is_no_tool_is_refused(what):
    with pytest.raises(ValueError, match="tool"):
        run_tool(what)


def test_an_unknown_field_of_the_context_is_refused():
    with pytest.raises(TypeError, match="atempt"):
        run_tool(plant, atempt=2)


async def test_a_call_also_works_where_a_loop_runs():
    assert (await call_tool(plant)).output["planted"] == run_tool(plant).output["planted"] == 3


async def test_a_test_that_is_cancelled_takes_its_call_along():
    begun = asyncio.create_task(call_tool(weed, {"plants": 100_000}))
    await asyncio.sleep(0.05)
    begun.cancel()
    with pytest.raises(asyncio.CancelledError):
        await begun


# --- the contract --------------------------------------------------------------------------------------


def test_a_tool_that_is_as_it_should_be_passes_every_check():
    found = check_tool(weed, {"plants": 2}, slow={"plants": 40})
    assert found.wrong == found.left_out == {}
    assert found.passed == [
        *("schema", "arguments", "foresight", "health", "output", "repetition", "resumption", "cancellation")
    ]


def test_what_need_not_or_cannot_be_checked_is_told_with_the_reason():
    found = check_tool(plant)
    assert set(found.left_out) == {"resumption", "cancellation"}
    assert "thread" in found.left_out["cancellation"]


class Odd(Tool[Bed]):
    """A tool that is right in everything; each test makes one thing wrong."""

    name = "odd"
    parameters = Bed
    repeatable = True

    async def execute(self, parameters, context):
        return {"plants": parameters.plants}


def wrong(defined, **options):
    with pytest.raises(AssertionError) as caught:
        check_tool(defined(), **options)
    return str(caught.value)


def test_a_call_that_fails_is_told_with_its_failure():
    class Fails(Odd):
        async def execute(self, parameters, context):
            raise StepFailed("the can is empty", Category.RESOURCE, hint="fill it")

    said = wrong(Fails)
    assert "tool odd is not as a step needs it" in said
    assert "output: a call fails, resource: the can is empty (fill it)" in said


def test_a_second_effect_under_the_same_key_is_found():
    class Doubles(Odd):
        async def execute(self, parameters, context):
            with (context.root / "log").open("a") as file:
                file.write("x")

    assert "repetition: a second call with the same key changes something more" in wrong(Doubles)


def test_a_second_effect_elsewhere_is_found_if_it_can_be_observed():
    orders = []

    class Orders(Odd):
        async def execute(self, parameters, context):
            orders.append(context.idempotency_key)

    assert "repetition" in wrong(Orders, observe=lambda _root: len(orders))


def test_a_tool_that_changes_what_it_says_it_does_not_is_found():
    class Changes(Odd):
        effects = False

        async def execute(self, parameters, context):
            (context.root / "log").write_text("x")

    assert "output: it says that it changes nothing" in wrong(Changes)


def test_a_tool_that_claims_to_resume_and_keeps_nothing_is_found():
    class Forgets(Odd):
        resumable = True

    assert "resumption: it declares that it is `resumable`, and keeps no details" in wrong(Forgets)


def test_a_tool_that_cannot_go_on_from_its_own_details_is_found():
    class Stumbles(Odd):
        resumable = True

        async def execute(self, parameters, context):
            if context.resume:
                raise StepFailed("what is that?", Category.LOGIC)
            context.heartbeat({"at": 1})
            await asyncio.sleep(0.05)

    assert "a call that goes on from {'at': 1} fails, logic: what is that?" in wrong(Stumbles)


def test_details_that_are_no_json_are_found():
    class Keeps(Odd):
        resumable = True

        async def execute(self, parameters, context):
            context.heartbeat(object())

    assert "output: a call fails" in wrong(Keeps)


def test_a_tool_that_leaves_a_task_running_is_found():
    left = []

    class Leaves(Odd):
        async def execute(self, parameters, context):
            left.append(asyncio.create_task(asyncio.sleep(60), name="left"))
            await asyncio.sleep(60 if context.idempotency_key.startswith("cancelled") else 0)

    assert "cancellation: it leaves something running: task left" in wrong(Leaves, grace=0.2)


def test_a_tool_that_leaves_a_process_running_is_found():
    started = []

    class Leaves(Odd):
        async def execute(self, parameters, context):
            if context.idempotency_key.startswith("cancelled"):
                started.append(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]))
                await asyncio.sleep(60)

    try:
        assert f"it leaves something running: process {started}"[:30] in wrong(Leaves, grace=0.2)
    finally:
        for process in started:
            process.kill()
            process.wait()


def test_a_tool_whose_processes_end_with_it_passes():
    class Starts(Odd):
        async def execute(self, parameters, context):
            await run(Command(("sleep", str(60 if parameters.plants == 3 else 0))), context)

    found = check_tool(Starts(), {"plants": 1}, slow={"plants": 3})
    assert "cancellation" in found.passed


def test_a_tool_that_will_not_end_is_found():
    class Stays(Odd):
        async def execute(self, parameters, context):
            if not context.idempotency_key.startswith("cancelled"):
                return
            for _ in range(8):
                try:
                    await asyncio.sleep(0.1)
                except asyncio.CancelledError:
                    continue

    assert "cancellation: it goes on for 0.3 s after it was cancelled" in wrong(Stays, grace=0.3)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("target", lambda self, parameters: 1 / 0, "foresight: it raises ZeroDivisionError"),
        ("target", lambda self, parameters: 7, "foresight: target returns a int"),
        ("estimate_duration", lambda self, parameters: -1, "foresight: estimate_duration returns -1"),
        ("parameters", Unspeakable, "schema: it raises PydanticInvalidForJsonSchema"),
    ],
)
def test_what_raises_before_a_call_is_found(name, value, said):
    assert said in wrong(type("Wrong", (Odd,), {name: value}))


def test_a_health_check_that_breaks_keeps_silent_or_says_nothing_is_found():
    class Breaks(Odd):
        async def health_check(self):
            raise RuntimeError("lost")

    class Mute(Odd):
        async def health_check(self):
            return Health(healthy=False)

    class Other(Odd):
        async def health_check(self):
            return True

    assert "health: it raises RuntimeError: lost" in wrong(Breaks)
    assert "health: health_check gives no reason" in wrong(Mute)
    assert "health: health_check returns a bool" in wrong(Other)


def test_a_tool_that_cannot_be_used_now_is_no_wrong_tool():
    class Ill(Odd):
        async def health_check(self):
            return Health(healthy=False, message="no key")

    assert "health" in check_tool(Ill()).passed


def test_each_check_has_a_root_as_it_is_to_be():
    class Needs(Odd):
        async def execute(self, parameters, context):
            return (context.root / "seed").read_text()

    assert check_tool(Needs(), prepare=lambda root: (root / "seed").write_text("bean")).wrong == {}
    assert "output: a call fails" in wrong(Needs)


async def test_a_check_in_an_async_test_reports_all_that_it_found():
    found = await examine_tool(plant, {"plants": 0})
    assert {"arguments", "output"} <= set(found.wrong)
    with pytest.raises(AssertionError, match="tool plant is not as a step needs it"):
        found.require()


def test_the_kit_costs_milliseconds_and_no_test_runner():
    begun = time.monotonic()
    for _ in range(20):
        run_tool(plant)
    assert (time.monotonic() - begun) / 20 < 0.1
    code = "import sys, taskmark.tools.testing; sys.exit(bool({'pytest', 'temporalio'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
