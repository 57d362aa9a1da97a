"""Lends workflows a function of the process around them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from temporalio.worker import Interceptor, WorkflowInboundInterceptor, WorkflowInterceptorClassInput


class LendingInterceptor(Interceptor):
    """Gives workflow code one function to call outside its sandbox."""

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self._name, self._function = name, function

    def workflow_interceptor_class(
        self, input: WorkflowInterceptorClassInput
    ) -> type[WorkflowInboundInterceptor] | None:
        """Lends the function; nothing is intercepted."""
        input.unsafe_extern_functions[self._name] = self._function
        return None
