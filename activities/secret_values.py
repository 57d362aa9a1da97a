"""The secrets of one call: put into their places just before a tool reads them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from taskmark.contracts import StepCall
from taskmark.errors import Category, StepFailed
from taskmark.secrets.vault import Vault
from taskmark.task.model import Json
from taskmark.task.secret_references import fill


class SecretValues:
    """What one call may know."""

    def __init__(self, vault: Vault, call: StepCall) -> None:
        self._vault = vault
        self._call = call
        self._lock = threading.Lock()
        self._fresh: set[str] = set()
        """Asked for anew, because those of the attempt before were refused."""

    def get(self, name: str) -> str:
        """Returns a secret that the task declares. It may wait for a command, so call it in a thread.

        Raises `StepFailed`.
        """
        if name not in self._call.secrets:
            hint = f"list it under the task's `secrets`: [{', '.join((*self._call.secrets, name))}]"
            raise StepFailed(
                f"the task does not declare the secret {name}", Category.CONFIGURATION, hint=hint
            )
        with self._lock:
            fresh = self._call.refresh_credentials and name not in self._fresh
            self._fresh.add(name)
        return self._vault.get(name, project=self._call.project, fresh=fresh)

    async def learn(self) -> None:
        """Has all that the task declares masked: a call may come across what it does not use itself."""
        if self._call.secrets:
            await asyncio.to_thread(self._vault.learn, self._call.secrets, project=self._call.project)


async def filled_in(call: StepCall, secret: Callable[[str], str]) -> dict[str, Json]:
    """Returns a call's arguments with secrets in their places. Raises `StepFailed`."""
    if not call.secret_places:
        return call.arguments
    try:
        filled = await asyncio.to_thread(fill, call.arguments, call.secret_places, secret)
    except LookupError as error:
        reason = f"a secret does not fit into the arguments: {error}"
        raise StepFailed(reason, Category.CONFIGURATION) from None
    assert isinstance(filled, dict)
    return filled
