"""Checks that ask Temporal: the server, its search attributes, a worker, schedules."""

from __future__ import annotations

import asyncio
import re
import sys
from datetime import timedelta
from typing import TYPE_CHECKING

from starter.doctor.check import Check
from taskmark.contracts import SEARCH_ATTRIBUTES
from taskmark.errors import TaskmarkError

if TYPE_CHECKING:
    from temporalio.client import Client

    from taskmark.settings import Settings

ALL_SECONDS = 20.0
RPC = timedelta(seconds=5)
OLDEST_SERVER = (1, 29)
SCHEDULES = "schedules"


def checks(settings: Settings) -> list[Check]:
    """Returns the checks of the cluster that is configured, or of the embedded server if it is up."""
    from starter.embedded import server

    address = settings.temporal_address
    if address is None:
        state = server.running(settings)
        if state is None:
            return [Check("server", True, "The embedded server starts with the first command that needs it.")]
        address = state.address
    try:
        return asyncio.run(asyncio.wait_for(_ask(settings, address), ALL_SECONDS))
    except TaskmarkError as error:
        return [Check("server", False, error.message, error.hint)]
    except TimeoutError:
        message = f"Temporal at {address} does not answer within {ALL_SECONDS:.0f} s."
        return [Check("server", False, message, "Check TEMPORAL_ADDRESS and that the server runs.")]
    except Exception as error:
        # Whatever an RPC or a wrong certificate raises: the other checks are still worth showing.
        return [Check("server", False, f"Temporal at {address}: {type(error).__name__}: {error}")]


async def _ask(settings: Settings, address: str) -> list[Check]:
    from starter.connection import connected

    async with connected(settings) as (client, _server):
        # One after the other: each waits 5 s at most, and a slow server is not asked everything at once.
        return [
            await _version(client, address),
            await _attributes(client),
            await _worker(client, settings.task_queue),
            await _schedules(client, settings),
        ]


async def _version(client: Client, address: str) -> Check:
    from temporalio.api.workflowservice.v1 import GetSystemInfoRequest

    answer = await client.workflow_service.get_system_info(GetSystemInfoRequest(), timeout=RPC)
    version = answer.server_version
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:2])
    message = f"Temporal {version} at {address}, namespace {client.namespace}"
    if numbers and numbers < OLDEST_SERVER:
        return Check("server", False, message, "Use a server of version 1.29 or newer.")
    return Check("server", True, message)


async def _attributes(client: Client) -> Check:
    from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest

    answer = await client.operator_service.list_search_attributes(
        ListSearchAttributesRequest(namespace=client.namespace), timeout=RPC
    )
    missing = [name for name in SEARCH_ATTRIBUTES if name not in answer.custom_attributes]
    if not missing:
        return Check("search attributes", True, ", ".join(SEARCH_ATTRIBUTES))
    line = "temporal operator search-attribute create --type Keyword " + " ".join(
        f"--name {name}" for name in missing
    )
    fix = f"Start a worker, which registers them if it may, or run: {line}"
    return Check("search attributes", False, f"Missing: {', '.join(missing)}.", fix)


async def _worker(client: Client, task_queue: str) -> Check:
    from temporalio.api.enums.v1 import TaskQueueType
    from temporalio.api.taskqueue.v1 import TaskQueue
    from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest

    request = DescribeTaskQueueRequest(
        namespace=client.namespace,
        task_queue=TaskQueue(name=task_queue),
        task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
    )
    answer = await client.workflow_service.describe_task_queue(request, timeout=RPC)
    workers = sorted(poller.identity for poller in answer.pollers)
    if workers:
        return Check("worker", True, f"{len(workers)} on task queue {task_queue}: {', '.join(workers)}")
    return Check("worker", False, f"None polls the task queue {task_queue}.", "Run `taskmark worker`.")


async def _schedules(client: Client, settings: Settings) -> Check:
    from starter.gateway import TaskClient
    from starter.wiring import Wiring

    try:
        async with asyncio.timeout(RPC.total_seconds()):
            views = await TaskClient(client, Wiring(settings)).schedules.list()
    except (TaskmarkError, TimeoutError) as error:
        return Check(SCHEDULES, False, f"They cannot be listed: {error or 'that takes too long'}")
    wrong = [f"{view.name}: {problem}" for view in views for problem in view.problems]
    if not wrong:
        return Check(SCHEDULES, True, ", ".join(view.name for view in views) or "No task starts by itself.")
    fix = "Bring the files back, or see `taskmark schedule set` and `taskmark schedule delete`."
    return Check(SCHEDULES, False, "\n".join(wrong), fix)


def main() -> int:
    """A container's health check: Temporal answers, has what we need, and a worker polls."""
    from taskmark.settings import Settings

    wrong = [check for check in checks(Settings()) if not check.ok and check.name != SCHEDULES]
    for check in wrong:
        print(f"{check.name}: {check.message}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
