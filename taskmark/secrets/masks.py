"""Takes known secrets out of texts and values before anybody sees or keeps them."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeVar

from pydantic import BaseModel
from pydantic_core import PydanticSerializationError, to_jsonable_python

from taskmark.secrets.forms import SHORTEST, forms
from taskmark.task.model import Json
from taskmark.task.secret_references import placeholder

NAMELESS: Final = "[secret]"
"""In place of what settings keep secret."""
LONG: Final = 16
"""Characters from which on half a secret is no accident."""
REMEMBERED: Final = 32
"""Values of one name that are masked at the same time: what has expired may still be repeated."""

Model = TypeVar("Model", bound=BaseModel)


class _Known(NamedTuple):
    """What is masked, each with what stands in its place."""

    forms: tuple[tuple[str, str], ...]
    """The longest first: one may be part of another."""
    lengths: tuple[int, ...]
    """Of the forms, as negative numbers, which so are in order."""
    long: tuple[tuple[str, str], ...]
    """Secrets of which half is enough to be known by."""


class Masks:
    """The secrets that a process knows. Safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[str, deque[str]] = {}
        self._known = _Known((), (), ())

    def add(self, value: str, name: str | None = None) -> None:
        """Masks a secret from now on. One too short to be told from other texts is not masked."""
        shown = NAMELESS if name is None else placeholder(name)
        with self._lock:
            known = self._values.setdefault(shown, deque(maxlen=REMEMBERED if name else None))
            if len(value) < SHORTEST or value in known:
                return
            known.append(value)
            found = {
                form: mask for mask, values in self._values.items() for one in values for form in forms(one)
            }
            long = [
                (one, mask) for mask, values in self._values.items() for one in values if len(one) >= LONG
            ]
            forms_known = sorted(found.items(), key=lambda pair: -len(pair[0]))
            lengths = tuple(-len(form) for form, _ in forms_known)
            self._known = _Known(
                tuple(forms_known), lengths, tuple(long)
            )  # at once: others read it meanwhile

    def add_all(self, values: Iterable[str]) -> None:
        """Masks secrets that have no name."""
        for value in values:
            self.add(value)

    def text(self, text: str, *, cut: bool = False) -> str:
        """Returns a text without secrets, also those of which somebody has cut off less than half; of one
        that was `cut` just now without any rest of a secret at its ends."""
        known = self._known
        # A text holds no form that is longer than itself, and most texts are short.
        for form, shown in known.forms[bisect_left(known.lengths, -len(text)) :]:
            if form in text:
                text = text.replace(form, shown)
        for value, shown in known.long:
            text = _without_halves(text, value, shown)
        return _without_rests(text, known.forms) if cut else text

    def value(self, value: Json, *, numbers: bool = True) -> Any:
        """Returns a JSON value without secrets, in texts, in the keys of objects, and in numbers too unless
        `numbers` says that those stay."""
        if not self._known.forms or value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, int | float):
            masked = self.text(str(value))
            return masked if numbers and masked != str(value) else value
        if isinstance(value, Mapping):
            return {self.text(str(key)): self.value(inner, numbers=numbers) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(inner, numbers=numbers) for inner in value]
        return self._unusual(value, numbers=numbers)

    def _unusual(self, value: object, *, numbers: bool) -> Any:
        """Returns the same for what only becomes JSON: models, dataclasses, bytes. What never does is left to
        whoever wants to keep it, and cannot."""
        try:
            plain = to_jsonable_python(value)
        except (PydanticSerializationError, ValueError):
            return value
        masked = self.value(plain, numbers=numbers)
        return value if masked == plain else masked

    def model(self, model: Model, *, keep: Collection[str] = ()) -> Model:
        """Returns a message or record without secrets in its fields, but for those to `keep` as they are."""
        if not self._known.forms:
            return model
        changed: dict[str, Any] = {}
        for name in type(model).model_fields:
            if name in keep:
                continue
            value = getattr(model, name)
            fresh = self.model(value, keep=keep) if isinstance(value, BaseModel) else self.value(value)
            if isinstance(value, tuple):
                fresh = tuple(fresh)
            if fresh is not value and fresh != value:
                changed[name] = fresh
        return model.model_copy(update=changed) if changed else model


def _without_rests(text: str, forms: Sequence[tuple[str, str]]) -> str:
    """Masks what a cut has left of a secret at the beginning and at the end of a text."""
    for form, shown in forms:
        if rest := _longest_end(text, form):
            text = text[: len(text) - rest] + shown
        if rest := _longest_end(text[: len(form)][::-1], form[::-1]):
            text = shown + text[rest:]
    return text


def _without_halves(text: str, value: str, shown: str) -> str:
    """Masks the beginning and the end of a secret where at least half of it stands."""
    head, tail = value[: (len(value) + 1) // 2], value[len(value) // 2 :]
    at = text.find(head)
    while at >= 0:
        text = text[:at] + shown + text[at + _same(text[at:], value) :]
        at = text.find(head, at + len(shown))
    at = text.rfind(tail)
    while at >= 0:
        end = at + len(tail)
        start = end - _same(text[:end][::-1], value[::-1])
        text = text[:start] + shown + text[end:]
        at = text.rfind(tail, 0, start)
    return text


def _same(one: str, other: str) -> int:
    """Returns how many characters two texts have in common at their beginning."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (left, right) in pairs if left != right), min(len(one), len(other)))


def _longest_end(text: str, form: str) -> int:
    """Returns how many characters at the end of a text are the beginning of a form."""
    at = text.find(form[:SHORTEST], max(0, len(text) - len(form) + 1))
    while at >= 0:
        if form.startswith(text[at:]):
            return len(text) - at
        at = text.find(form[:SHORTEST], at + 1)
    return 0
