"""What is set of language models: who provides them, with which keys, and under which names."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from taskmark.errors import Category, StepFailed

POOL: Final = "pool"
"""The prefix of models that several providers have: `pool:name` is what the setting `models` calls `name`."""


@dataclass(frozen=True)
class Price:
    """US dollars per million tokens."""

    input: float = 0.0
    output: float = 0.0


@dataclass(frozen=True)
class Provider:
    """Who is asked, and how."""

    speaks: str = "openai"
    """The protocol, or a provider as pydantic-ai calls it."""
    base_url: str | None = None
    """None: the provider's own."""
    keys: tuple[str, ...] = ()
    """Variables of the environment that hold a key each; calls are shared out among them."""
    concurrency: int | None = None
    """Calls at once with one key, of one worker."""
    per_minute: float | None = None
    """Calls with one key, of all workers together."""
    prices: Mapping[str, Price] = field(default_factory=dict)
    """By model, where they are not publicly known."""


BUILT_IN: Final[Mapping[str, Provider]] = {
    "anthropic": Provider("anthropic", keys=("ANTHROPIC_API_KEY",)),
    "openai": Provider("openai", keys=("OPENAI_API_KEY",)),
    "openrouter": Provider("openrouter", keys=("OPENROUTER_API_KEY",)),
    "deepseek": Provider("deepseek", keys=("DEEPSEEK_API_KEY",)),
    "ollama": Provider("ollama", base_url="http://localhost:11434/v1"),
}
SHORT_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "opus": ("anthropic:claude-opus-5-5",),
    "sonnet": ("anthropic:claude-sonnet-5-5",),
    "haiku": ("anthropic:claude-haiku-5-5",),
}
"""What files written for Claude Code call models."""

Lookup = Callable[[str], str | None]
"""The name of a variable to its value."""


@dataclass(frozen=True)
class Models:
    """All of it."""

    providers: Mapping[str, Provider] = field(default_factory=lambda: BUILT_IN)
    names: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: SHORT_NAMES)
    """What short names mean: `provider:model`, several for a pool."""
    stall: float = 120.0
    """Seconds in which not a byte comes, after which an answer counts as lost."""
    lookup: Lookup = os.environ.get
    """Where keys are looked up, at each call: a changed one is used from then on."""

    def spelled(self, model: str) -> str:
        """Returns what a short name means: `provider:model`, or `pool:name` if it means several."""
        members = self.names.get(model, ())
        return model if not members else members[0] if len(members) == 1 else f"{POOL}:{model}"

    def members(self, model: str) -> tuple[tuple[str, str], ...]:
        """Returns the provider and model of each that a model stands for. Raises `StepFailed`."""
        prefix, _, name = model.partition(":")
        if prefix != POOL:
            return ((prefix.strip(), name.strip()),)
        if name not in self.names:
            raise StepFailed(
                f"no models are called {name!r}",
                Category.CONFIGURATION,
                hint=f"set `models` in taskmark.toml: {name} = ['anthropic:…', 'openai:…']",
            )
        return tuple(self._member(one) for one in self.names[name])

    def _member(self, model: str) -> tuple[str, str]:
        prefix, _, name = model.partition(":")
        if prefix not in self.providers:
            raise StepFailed(
                f"a pool may hold models of {', '.join(self.providers)}, not {model!r}",
                Category.CONFIGURATION,
                hint="name it under [providers] in taskmark.toml",
            )
        return prefix, name
