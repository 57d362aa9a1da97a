"""`browser`: a page in Chromium, and what is done there, one action after the other."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self, TypeAlias

from pydantic import BeforeValidator, Discriminator, Field, Tag, field_validator, model_validator

from taskmark.errors import StepFailed
from taskmark.ports import Health, StepContext, Tool
from taskmark.task.durations import parse_duration
from taskmark.task.model import Json
from taskmark.tools.sizes import capped
from taskmark.tools.validation import Arguments

if TYPE_CHECKING:
    from taskmark.tools.browsing_chromium import Chromium
    from taskmark.tools.browsing_limits import BrowserLimits
    from taskmark.tools.network import NetworkPolicy, Resolve

MOST_ACTIONS: Final = 100
PICTURES: Final = (".png", ".jpg", ".jpeg")
TOO_LARGE: Final = "extract less: a part of the page, or fewer elements"
_INSTALL: Final = "pip install 'taskmark[browser]'"


def _seconds(default: str) -> Any:
    """Returns what a duration is in a schema, with what it is unless given."""
    return Field(
        gt=0, json_schema_extra={"type": ["string", "integer"], "default": default, "exclusiveMinimum": 0}
    )


Selector: TypeAlias = Annotated[
    str, Field(min_length=1, max_length=2_000, description="CSS, `text=…`, `role=button[name=…]` or XPath")
]
Patience: TypeAlias = Annotated[float, BeforeValidator(parse_duration), _seconds("10s")]
"""Seconds to wait for an element, written as a duration; 10 unless given."""
Loading: TypeAlias = Annotated[float, BeforeValidator(parse_duration), _seconds("30s")]
"""Seconds for a page to load; 30 unless given."""
Whole: TypeAlias = Annotated[float, BeforeValidator(parse_duration), _seconds("60s")]
"""Seconds for all of it; 60 unless given."""


# --- the actions ----------------------------------------------------------------------------------


class Open(Arguments):
    """Goes to another page."""

    open: str = Field(description="A URL")


class Fill(Arguments):
    """Fills in a field of a form."""

    fill: Selector
    value: str
    timeout: Patience = 10.0


class Click(Arguments):
    """Clicks on an element, once it is there and can be clicked, and waits for the page that this opens."""

    click: Selector
    timeout: Patience = 10.0


class WaitFor(Arguments):
    """Waits for an element."""

    wait_for: Selector
    state: Literal["visible", "hidden", "attached", "detached"] = "visible"
    timeout: Patience = 10.0


class Selection(Arguments):
    """Which elements, and what of them."""

    selector: Selector
    every: bool = Field(default=False, description="A list of what is there now, instead of the first one")
    attribute: str | None = Field(default=None, description="This attribute instead of the text")


class Extract(Arguments):
    """Takes text from the page."""

    extract: Selector | Selection
    name: str | None = Field(
        default=None, alias="as", min_length=1, description="Under which name it is returned"
    )
    timeout: Patience = 10.0

    @property
    def selection(self) -> Selection:
        """What is extracted, also if only a selector is given."""
        return self.extract if isinstance(self.extract, Selection) else Selection(selector=self.extract)

    @property
    def key(self) -> str:
        """Under which name it is returned: its selector unless it has one."""
        return self.name or self.selection.selector


class Screenshot(Arguments):
    """Takes a picture of the page."""

    screenshot: str = Field(description="A file under the root: .png, .jpg or .jpeg")
    full_page: bool = Field(default=False, description="All of the page, not only what is in view")
    timeout: Patience = 10.0

    @field_validator("screenshot")
    @classmethod
    def _is_picture(cls, path: str) -> str:
        if not path.lower().endswith(PICTURES):
            raise ValueError(f"a picture is {', '.join(PICTURES)}")
        return path


class Download(Arguments):
    """Clicks on what gives a file, and keeps the file."""

    download: Selector
    to: str = Field(min_length=1, description="A file under the root")
    timeout: Patience = 10.0


_ACTIONS: Final = {
    "open": "Open",
    "fill": "Fill",
    "click": "Click",
    "waitFor": "WaitFor",
    "extract": "Extract",
    "screenshot": "Screenshot",
    "download": "Download",
}


def _kind(action: Any) -> str | None:
    """Returns which action it is, by the key that only it has; None if there is no such key or several."""
    if isinstance(action, Mapping):
        kinds = [kind for key, kind in _ACTIONS.items() if key in action]
        return kinds[0] if len(kinds) == 1 else None
    return type(action).__name__


Action: TypeAlias = Annotated[
    Annotated[Open, Tag("Open")]
    | Annotated[Fill, Tag("Fill")]
    | Annotated[Click, Tag("Click")]
    | Annotated[WaitFor, Tag("WaitFor")]
    | Annotated[Extract, Tag("Extract")]
    | Annotated[Screenshot, Tag("Screenshot")]
    | Annotated[Download, Tag("Download")],
    Discriminator(
        _kind,
        custom_error_type="action",
        custom_error_message=f"an action has one of the keys {', '.join(_ACTIONS)}",
    ),
]


# --- the tool -------------------------------------------------------------------------------------


class Viewport(Arguments):
    """The size of the window, in pixels."""

    width: int = Field(default=1280, ge=1, le=4096)
    height: int = Field(default=720, ge=1, le=4096)


class BrowserParameters(Arguments):
    """Where to go, and what to do there."""

    url: str
    actions: tuple[Action, ...] = Field(
        default=(), max_length=MOST_ACTIONS, description="One after the other"
    )
    timeout: Whole = Field(default=60.0, description="A duration such as 60s, for all of it")
    load_timeout: Loading = Field(default=30.0, description="A duration such as 30s, for each page to load")
    wait_until: Literal["load", "domcontentloaded", "networkidle", "commit"] = Field(
        default="load", description="When a page counts as loaded"
    )
    viewport: Viewport = Field(default=Viewport())
    user_agent: str | None = Field(default=None, max_length=500)
    raise_for_status: bool = Field(default=True, description="Fail for a page with a status of 400 and above")

    @field_validator("user_agent")
    @classmethod
    def _is_header(cls, value: str | None) -> str | None:
        if value is not None and not (value.isascii() and value.isprintable()):
            raise ValueError("it is no header")
        return value

    @model_validator(mode="after")
    def _names_once(self) -> Self:
        """Of two values with one name one would be lost."""
        names = Counter(action.key for action in self.actions if isinstance(action, Extract))
        twice = next((name for name, count in names.items() if count > 1), None)
        if twice is not None:
            raise ValueError(f"two values are named {twice!r}: give them names with `as`")
        return self


class Browser(Tool[BrowserParameters]):
    """Visits a page with Chromium, in a context of its own, and does there what it is told.

    Whatever the page connects to is allowed by the same policy as calls of the tool `http`. Chromium runs in
    its sandbox, except in a worker of root, where it has none.
    """

    name = "browser"
    repeatable = True  # as with `http`: whether a click may be repeated only who wrote it can tell
    parameters = BrowserParameters

    def __init__(
        self,
        policy: NetworkPolicy | None = None,
        *,
        path: Path | None = None,
        limits: BrowserLimits | None = None,
        resolver: Resolve | None = None,
    ) -> None:
        self._given_policy = policy
        self._path = path
        self._limits = limits
        self._resolver = resolver

    @cached_property
    def _policy(self) -> NetworkPolicy:
        """What is allowed; by default any public host."""
        from taskmark.tools.network import NetworkPolicy

        return self._given_policy or NetworkPolicy()

    @cached_property
    def _chromium(self) -> Chromium:
        """The browser that all steps of this worker share."""
        from taskmark.tools.browsing_chromium import Chromium

        return Chromium(self._path, self._limits)

    async def execute(self, parameters: BrowserParameters, context: StepContext) -> Json:
        """Returns `url`, `title` and `status` of the last page, `values` by name, `screenshots` and
        `downloads` with `path` and `bytes`, and the hosts that were `refused`. Raises `StepFailed`."""
        seconds = min(parameters.timeout, context.timeout)
        try:
            async with asyncio.timeout(seconds):
                output = await self._visit(parameters, context)
        except TimeoutError as error:
            hint = "give it more `timeout`, or let it do less"
            raise StepFailed(f"the visit was not over within {seconds:g} s", hint=hint) from error
        return capped(output, source="the page", advice=TOO_LARGE)

    async def _visit(self, parameters: BrowserParameters, context: StepContext) -> Json:
        from taskmark.tools.browsing_proxy import Proxy
        from taskmark.tools.browsing_visit import Visit, check

        check(parameters, context.root, self._policy)
        async with Proxy(self._policy, self._resolver) as proxy:
            options = {
                "proxy": {"server": proxy.url, "bypass": "<-loopback>"},
                "viewport": parameters.viewport.model_dump(),
                "user_agent": parameters.user_agent,
                "accept_downloads": any(isinstance(action, Download) for action in parameters.actions),
            }
            async with self._chromium.context(reduced=context.reduced, **options) as lent:
                visit = Visit(lent, proxy, self._policy, parameters, context)
                return await visit.run()

    async def close(self) -> None:
        """Ends the browser, if it runs. The next step starts another."""
        await self._chromium.close()

    def estimate_duration(self, parameters: BrowserParameters) -> float:
        """Seconds: the page, and each action a little."""
        return 3.0 + 0.5 * len(parameters.actions)

    async def health_check(self) -> Health:
        """Whether there is a browser, and where it may connect to. None is started."""
        if find_spec("playwright") is None:
            return Health(healthy=False, message="Playwright is not installed", hint=_INSTALL)
        from taskmark.tools.browsing_chromium import INSTALL, find_program

        program = find_program(self._path)
        if program is None:
            return Health(healthy=False, message="there is no Chromium", hint=INSTALL)
        hosts = ", ".join(self._policy.allow_hosts) or "any public host"
        private = ", private addresses too" if self._policy.allow_private else ""
        return Health(healthy=True, message=f"{program} may connect to {hosts}{private}")
