"""Permits that calls of agents need under a budget, as a phase asks for them and hands them out.

The danger is to lose one, or to give one twice: a call is cancelled while it waits, a grant comes late, a
phase ends with permits in hand. So both sides count: what was heard, given back and ended only grows, and
messages tell these sums, never a change of them.

Without a budget there are no purses, and nothing here waits for anything.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from temporalio import workflow

from taskmark.carried import CarriedPurse
from taskmark.contracts import (
    SPENDING_SIGNAL,
    MeteredBy,
    Permits,
    PhaseStart,
    Spending,
    Spent,
    StepStatus,
    Usage,
    Wait,
)
from workflows import travelling
from workflows.admission import Admission, Stopped
from workflows.attempts import Unwanted
from workflows.background import tell
from workflows.board import Board

RESERVE = 64
"""One permit is asked for ahead for so many calls that have ended, so that ten thousand calls cost some
hundred signals."""


class Receipt:
    """What becomes of a call that has its permits."""

    def __init__(self) -> None:
        self.begun = False
        self.answered = False
        self.usage = Usage()

    def begin(self) -> None:
        """The agent is called: the permits are used up."""
        self.begun = True

    def charge(self, usage: Usage | None) -> None:
        """It has failed, and used so much all the same."""
        self.usage = usage or self.usage

    def answer(self, usage: Usage | None) -> None:
        """It has answered, and used so much."""
        self.answered = True
        self.usage = usage or Usage()

    @property
    def spent(self) -> Spent:
        """What the call has cost."""
        fields = {"tokens": self.usage.tokens, "cost": self.usage.cost}
        return Spent(**fields, agent_calls=int(self.begun), answered=int(self.answered))


@dataclass
class _Waiting:
    """A call that waits for its permit."""

    permit: asyncio.Future[None]
    step: str
    is_wanted: Callable[[], bool]


class Purse:
    """The permits of one budget."""

    def __init__(self, meter: MeteredBy, window: int, on_change: Callable[[], None]) -> None:
        self.meter = meter
        self._window = window
        self._on_change = on_change
        self._queues: dict[str, deque[_Waiting]] = {}
        self._heard: dict[str, int] = {}
        self._used: dict[str, int] = {}
        """Permits in use, or used up."""
        self._returned: dict[str, int] = {}
        self._ended: dict[str, Spent] = {}
        self._eager = False
        self.wait: Wait | None = None
        self.on_the_way = 0
        """Signals that are being sent."""
        info = workflow.info()
        self._told = Spending(workflow=info.workflow_id, run=info.first_execution_run_id)

    # --- calls ------------------------------------------------------------------------------------

    @asynccontextmanager
    async def permit(
        self, who: str, step: str, is_wanted: Callable[[], bool], receipt: Receipt
    ) -> AsyncIterator[None]:
        """Waits for a permit; takes it back if the call did not begin.

        Raises `Stopped` if nothing may start any more, and `Unwanted` if nobody needs the call any more.
        """
        await self._take(who, step, is_wanted)
        try:
            yield
        finally:
            if receipt.begun:
                before = self._ended.get(who, Spent())
                spent = before.plus(receipt.spent).model_dump()
                self._ended[who] = Spent(**spent, answered=before.answered + receipt.spent.answered)
                self._on_change()
            else:
                self._put_back(who)

    async def _take(self, who: str, step: str, is_wanted: Callable[[], bool]) -> None:
        queue = self._queues.setdefault(who, deque())
        if not queue and self._in_hand(who) > 0:
            self._use(who, 1)
            return
        waiting = _Waiting(asyncio.get_running_loop().create_future(), step, is_wanted)
        queue.append(waiting)
        self._on_change()
        try:
            await waiting.permit
        except asyncio.CancelledError:
            if waiting in queue:
                queue.remove(waiting)
            elif not waiting.permit.cancelled() and waiting.permit.exception() is None:
                self._put_back(who)
            raise

    def _use(self, who: str, count: int) -> None:
        self._used[who] = self._used.get(who, 0) + count

    def _put_back(self, who: str) -> None:
        self._use(who, -1)
        self._hand_out()

    def _in_hand(self, who: str) -> int:
        return self._heard.get(who, 0) - self._returned.get(who, 0) - self._used.get(who, 0)

    def _hand_out(self) -> None:
        for who, queue in self._queues.items():
            while queue and (queue[0].permit.done() or self._in_hand(who) > 0):
                waiting = queue.popleft()
                if not waiting.permit.done():
                    self._use(who, 1)
                    waiting.permit.set_result(None)
        self._on_change()

    def take(self, permits: Permits) -> None:
        """Takes what was granted."""
        for who, count in permits.granted.items():
            self._heard[who] = max(count, self._heard.get(who, 0))
        self._eager, self.wait = permits.eager, permits.wait
        self._hand_out()

    def drop(self, step: str) -> None:
        """Lets calls of a step that nobody needs any more wait no longer."""
        self._refuse(lambda one: one.step == step and not one.is_wanted(), Unwanted())

    def stop(self) -> None:
        """Lets nothing wait any longer: the task or the phase is stopped."""
        self._refuse(lambda _: True, Stopped())

    def _refuse(self, which: Callable[[_Waiting], bool], why: Exception) -> None:
        """The danger is to tell of a change where there is none: whoever refuses at each change would never
        yield again."""
        refused = False
        for who, queue in self._queues.items():
            for waiting in queue:
                if which(waiting) and not waiting.permit.done():
                    waiting.permit.set_exception(why)
                    refused = True
            self._queues[who] = deque(one for one in queue if not one.permit.done())
        if refused:
            self._on_change()

    @property
    def waiting_steps(self) -> dict[str, None]:
        """The steps of calls that wait."""
        return {one.step: None for queue in self._queues.values() for one in queue if not one.permit.done()}

    # --- what is told -----------------------------------------------------------------------------

    @property
    def has_news(self) -> bool:
        """Whether the execution that counts has to hear something now."""
        if self._told.closed:
            return False
        if any(self._asks(who) for who in self._queues):
            return True
        if self._eager and self._has_reserve:
            return True
        untold = self._calls_ended - sum(spent.agent_calls for spent in self._told.ended.values())
        if not untold or not self.meter.learns:
            return False
        held_back = any(self._outstanding(who) > 0 for who in self._queues)
        if self._eager or (held_back and not self._calls_in_use):
            return True
        return untold >= self._ahead and (held_back or not self._calls_in_use)

    def _asks(self, who: str) -> bool:
        """Whether more calls of an agent want to begin than is known, or none any more."""
        wanted, outstanding = self._wanted(who), self._outstanding(who)
        if outstanding > 0 and not self._queues[who]:
            return True
        return wanted > outstanding and (wanted - outstanding >= self._ahead or not self._calls_in_use)

    @property
    def _ahead(self) -> int:
        return 1 if self._eager else max(1, self._calls_ended // RESERVE)

    @property
    def _calls_ended(self) -> int:
        return sum(spent.agent_calls for spent in self._ended.values())

    @property
    def _calls_in_use(self) -> int:
        return sum(self._used.values()) - self._calls_ended

    @property
    def _has_reserve(self) -> bool:
        return any(self._in_hand(who) > 0 for who, queue in self._queues.items() if not queue)

    def _wanted(self, who: str) -> int:
        """Returns for how many calls of an agent permits are wanted now.

        Where what calls use is limited, those that have no place to run in yet do not ask: until they have
        one, more is known of what they will use.
        """
        waiting = len(self._queues[who])
        if not waiting:
            return 0
        wanted = max(waiting, self._ahead)
        if not self.meter.learns:
            return wanted
        return min(wanted, max(self._window, self._ahead) - self._calls_in_use)

    def _outstanding(self, who: str) -> int:
        told = self._told
        granted_since = self._heard.get(who, 0) - told.heard.get(who, 0)
        return told.waiting.get(who, 0) - granted_since

    async def say(self, *, closed: bool = False) -> None:
        """Tells the execution that counts how things stand."""
        if closed or self._eager:
            for who, queue in self._queues.items():
                if (spare := self._in_hand(who)) > 0 and (closed or not queue):
                    self._returned[who] = self._returned.get(who, 0) + spare
        wanted = {who: count for who in self._queues if (count := self._wanted(who)) > 0}
        self._told = self._told.model_copy(
            update={
                "waiting": {} if closed else wanted,
                "heard": dict(self._heard),
                "returned": dict(self._returned),
                "ended": dict(self._ended),
                "closed": closed,
            }
        )
        self.on_the_way += 1
        await tell(self.meter.execution, SPENDING_SIGNAL, travelling.compact(self._told))
        self.on_the_way -= 1

    def carried(self) -> CarriedPurse:
        """Returns how it stands while no call runs: permits of calls that wait for a place are in hand."""
        return CarriedPurse(
            told=self._told,
            heard=self._heard,
            returned=self._returned,
            ended=self._ended,
            eager=self._eager,
            wait=self.wait,
        )

    def go_on(self, carried: CarriedPurse) -> None:
        """It stands as an earlier run of the workflow left it, and its calls ask anew."""
        self._told, self._eager, self.wait = carried.told, carried.eager, carried.wait
        self._heard, self._returned = dict(carried.heard), dict(carried.returned)
        self._ended = dict(carried.ended)
        self._used = {who: spent.agent_calls for who, spent in carried.ended.items()}
        self._queues = {who: deque() for who in (*carried.told.waiting, *carried.heard)}

    async def close(self) -> None:
        """Tells the last of it, and gives back what was not used."""
        if self._queues and not self._told.closed:
            await self.say(closed=True)


class Purses:
    """All permits that a call of a phase needs: of the task's own budget, and of those above it."""

    def __init__(self, start: PhaseStart, board: Board, admission: Admission) -> None:
        self._board = board
        self._admission = admission
        self._changed = False
        self._shown: dict[str, Wait] = {}
        """What is shown to wait for a budget, by what the board calls it."""
        self._busy: dict[str, int] = {}
        """How many calls of each step have their permits."""
        self._waiting: dict[str, StepStatus] = {}
        """Steps that are shown as waiting, and what they were before."""
        self._all = [Purse(meter, start.window, self._change) for meter in start.budgets]

    def _change(self) -> None:
        self._changed = True

    @asynccontextmanager
    async def receipt(self, who: str, step: str, is_wanted: Callable[[], bool]) -> AsyncIterator[Receipt]:
        """Waits for every permit that a call needs. Raises `Stopped` and `Unwanted`."""
        receipt = Receipt()
        async with AsyncExitStack() as stack:
            for purse in self._all:
                await stack.enter_async_context(purse.permit(who, step, is_wanted, receipt))
            self._busy[step] = self._busy.get(step, 0) + 1
            self._show()
            try:
                yield receipt
            finally:
                self._busy[step] -= 1
                if receipt.begun:
                    self._board.spend(receipt.spent)

    def take(self, permits: Permits) -> None:
        """Takes what an execution grants."""
        for purse in self._all:
            if purse.meter.execution == permits.execution:
                purse.take(permits)
        self._show()

    def drop(self, step: str) -> None:
        """Lets calls of a step that nobody needs any more wait no longer."""
        for purse in self._all:
            purse.drop(step)
        self._show()

    async def run(self) -> None:
        """Asks and tells until it is cancelled. What happens in one moment is told together."""
        while self._all:
            await workflow.wait_condition(lambda: self._changed)
            self._changed = False
            if self._admission.stopped:
                for purse in self._all:
                    purse.stop()
            await asyncio.sleep(0)  # so that the end of one call and the wish for the next share a signal
            self._show()
            for purse in self._all:
                if purse.has_news:
                    await purse.say()

    async def watch(self) -> None:
        """Wakes whoever waits once nothing may start any more."""
        while self._all:
            await workflow.wait_condition(lambda: self._admission.stopped)
            self._change()
            await workflow.wait_condition(lambda: not self._admission.stopped)

    @property
    def is_silent(self) -> bool:
        """Whether nothing is on its way: a workflow that ends takes with it what it has just sent."""
        return not any(purse.on_the_way for purse in self._all)

    def carried(self) -> tuple[CarriedPurse, ...]:
        """Returns how all stand, for the next run of the workflow. Who has to wait there is shown anew."""
        self._show_steps([])
        self._change()
        return tuple(purse.carried() for purse in self._all)

    def go_on(self, carried: tuple[CarriedPurse, ...]) -> None:
        """An earlier run of the workflow left them so."""
        for purse, one in zip(self._all, carried, strict=True):
            purse.go_on(one)

    async def close(self) -> None:
        """Tells the last of it."""
        for purse in self._all:
            await purse.close()

    # --- what is seen -----------------------------------------------------------------------------

    def _show(self) -> None:
        """Keeps the board in line with what waits for a higher limit."""
        refused = [purse for purse in self._all if purse.wait is not None and purse.waiting_steps]
        waits = {f"{purse.meter.execution} {purse.wait.name}": purse.wait for purse in refused if purse.wait}
        for key in [key for key in self._shown if key not in waits]:
            del self._shown[key]
            self._board.waited(key)
        for key, wait in waits.items():
            if key not in self._shown:
                self._shown[key] = wait
                self._board.wait(wait.model_copy(update={"phase": self._board.phase.slug}), key)
        steps = {step: None for purse in refused for step in purse.waiting_steps}
        self._show_steps([step for step in steps if not self._busy.get(step)])

    def _show_steps(self, waiting: list[str]) -> None:
        states = self._board.steps
        for step in [step for step in self._waiting if step not in waiting]:
            before = self._waiting.pop(step)
            if states[step].status is StepStatus.WAITING:
                self._board.change(step, status=before)
        for step in waiting:
            if step not in self._waiting and not states[step].status.is_final:
                self._waiting[step] = states[step].status
                self._board.change(step, status=StepStatus.WAITING)
