"""One request to a model, streamed: who watches sees it grow, and silence ends it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from taskmark.agents.llm.endpoints import Endpoint
from taskmark.agents.llm.failures import failure_of
from taskmark.errors import Category, StepFailed
from taskmark.ports import StepContext

if TYPE_CHECKING:
    from pydantic_ai.messages import ModelMessage, ModelResponse
    from pydantic_ai.models import ModelRequestParameters
    from pydantic_ai.settings import ModelSettings

EVERY: Final = 0.3
"""Seconds between two words about how far it is."""
LINE: Final = 120
"""Characters of the last line that are shown."""


class Stream:
    """A request and how far its answer has come."""

    def __init__(self, endpoint: Endpoint, context: StepContext) -> None:
        self._endpoint = endpoint
        self._context = context
        self._text = ""
        self._length = 0
        self._began = False
        self._said_at = time.monotonic()

    async def ask(
        self,
        name: str,
        messages: list[ModelMessage],
        parameters: ModelRequestParameters,
        settings: ModelSettings,
    ) -> ModelResponse:
        """Returns what the model says. Raises `StepFailed`."""
        from pydantic_ai.direct import model_request_stream

        endpoint = self._endpoint
        key = endpoint.key or ""
        try:
            model = await endpoint.model(name, anew=self._context.refresh_credentials)
            request = model_request_stream(
                model, messages, model_settings=settings, model_request_parameters=parameters
            )
            async with request as stream:
                async for event in stream:
                    self._began = True
                    self._grow(_piece(event))
            response = stream.get()
        except StepFailed:
            raise
        except Exception as error:
            # Without its cause and context: they hold the request, and with it the key.
            raise failure_of(error, endpoint.label, (key,), began=self._began) from None
        return _whole(response, endpoint.label)

    def _grow(self, piece: str) -> None:
        self._length += len(piece)
        self._text = (self._text + piece)[-4 * LINE :]
        if time.monotonic() - self._said_at >= EVERY:
            self._said_at = time.monotonic()
            line = next((line for line in reversed(self._text.splitlines()) if line.strip()), "")
            self._context.say(f"{self._length:,} characters: {line[-LINE:].strip()}")


def _piece(event: Any) -> str:
    """Returns the text that an event adds: a part begins with some, and grows by more."""
    if event.event_kind == "part_start":
        added = getattr(event.part, "content", None)
    elif event.event_kind == "part_delta":
        added = getattr(event.delta, "content_delta", None)
    else:
        added = None
    return added if isinstance(added, str) else ""


def _whole(response: ModelResponse, who: str) -> ModelResponse:
    """Returns an answer that has come to its end. Raises `StepFailed` for another."""
    if response.state != "complete" or response.finish_reason is None:
        raise StepFailed(f"{who} broke off its answer in the middle", Category.TRANSIENT)
    return response
