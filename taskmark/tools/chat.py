"""`chat`: a message in a channel of Slack, Discord, Microsoft Teams, Mattermost, Telegram or ntfy.

What is said may be anybody's data, and each service reads commands in it: `<!channel>` rings a thousand
phones. So the text is data: it shows as it is, and mentions nobody. With `markup: true` it is in the
service's own markup, and still mentions nobody.

A channel is one URL in the settings, because who has it can write there. Its scheme is the service;
`slack+http` speaks without encryption, to a server on one's own machine.
"""

from __future__ import annotations

import asyncio
import re
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import unquote, urlsplit

from pydantic import Field

from taskmark.errors import Category, StepFailed
from taskmark.ports import Health, StepContext, Tool
from taskmark.task.model import Json
from taskmark.tools.outgoing import AllowSecrets, Confirmation, Delivery, Outgoing, Parcel
from taskmark.tools.sizes import capped
from taskmark.tools.validation import Arguments, Timeout, did_you_mean
from taskmark.tools.webhook import Answer, Post, Poster, encoded, hidden_in

if TYPE_CHECKING:
    import ssl

    from taskmark.tools.network import Resolve

LONGEST_TITLE: Final = 150
LARGEST_BODY: Final = 128 * 1024
_SETTING: Final = 'set TASKMARK_CHAT_CHANNELS, such as {"team": "slack://hooks.slack.com/services/T0/B0/XX"}'
_DISCORD_NO_PREVIEWS: Final = 4
_TEAMS_LINES: Final = 100
_NOTHING: Final = "\u2060"
"""A word joiner: nobody sees it, and what it stands in is no command any more."""


# --- the tool -------------------------------------------------------------------------------------


class ChatParameters(Arguments):
    """Where to say what."""

    channel: str | None = Field(
        default=None, description="A name in the setting chat_channels; not needed if there is only one"
    )
    text: str = Field(min_length=1, max_length=100_000, description="Shown as it is; cut to what fits")
    title: str = Field(default="", max_length=LONGEST_TITLE, description="A line above it")
    markup: bool = Field(default=False, description="The text is in the service's own markup")
    allow_secrets: AllowSecrets = False
    timeout: Timeout = Field(default=30.0, description="A duration such as 30s")


class Chat(Tool[ChatParameters]):
    """Says something in a channel, once."""

    name = "chat"
    repeatable = True
    parameters = ChatParameters

    def __init__(
        self,
        channels: Mapping[str, str] | None = None,
        *,
        outgoing: Outgoing | None = None,
        certificates: ssl.SSLContext | None = None,
        resolver: Resolve | None = None,
    ) -> None:
        """`channels` are URLs by name; they are called wherever they are, and nothing else is."""
        self._channels = dict(channels or {})
        self._outgoing = outgoing or Outgoing()
        self._poster = Poster(certificates=certificates, resolver=resolver)

    async def execute(self, parameters: ChatParameters, context: StepContext) -> Json:
        """Returns `channel`, `service`, `status`, the message's `id` where the service tells it, whether it
        was `truncated`, and whether this is a `duplicate`. Raises `StepFailed`."""
        name = self._chosen(parameters.channel)
        channel = _channel(name, self._channels[name])
        seconds = min(parameters.timeout, context.timeout)
        delivery = Delivery(self.name, name, (name,), context, seconds, parameters.allow_secrets)
        pack = partial(self._packed, parameters, channel)
        return capped(await self._outgoing.deliver(delivery, pack), source="the chat service")

    def _chosen(self, name: str | None) -> str:
        """Raises `StepFailed` (configuration)."""
        if not self._channels:
            raise StepFailed("no channel is configured", Category.CONFIGURATION, hint=_SETTING)
        hint = f"the setting chat_channels names them: {', '.join(sorted(self._channels))}"
        if name is None and len(self._channels) == 1:
            return next(iter(self._channels))
        if name is None:
            raise StepFailed("which channel is not said", Category.CONFIGURATION, hint=hint)
        if name not in self._channels:
            meant = did_you_mean(name, self._channels)
            raise StepFailed(f"there is no channel {name!r}{meant}", Category.CONFIGURATION, hint=hint)
        return name

    async def _packed(self, parameters: ChatParameters, channel: _Channel) -> Parcel:
        note = Note(" ".join(parameters.title.split()), parameters.text, parameters.markup)
        call, truncated = await asyncio.to_thread(_fitting, channel, note)
        content: dict[str, Json] = {"title": parameters.title, "text": parameters.text}
        return Parcel(content, partial(self._send, channel, call, truncated))

    async def _send(self, channel: _Channel, call: _Call, truncated: bool) -> Confirmation:
        body = encoded(call.body, LARGEST_BODY)
        post = Post(channel.name, call.url, body, is_known=True, hidden=channel.hidden)
        answer = await self._poster.post(post, call.headers or {})
        return {
            "channel": channel.name,
            "service": channel.service.name,
            "status": answer.status,
            "id": _id(answer),
            "truncated": truncated,
        }

    def target(self, parameters: ChatParameters) -> str | None:
        """The channel."""
        return parameters.channel or (next(iter(self._channels)) if len(self._channels) == 1 else None)

    def estimate_duration(self, parameters: ChatParameters) -> float:
        """Seconds: a call over the network."""
        return 1.0

    async def health_check(self) -> Health:
        """Whether channels are configured, and as they have to be; nothing is said there."""
        try:
            known = [_channel(name, url) for name, url in sorted(self._channels.items())]
        except StepFailed as error:
            return Health(healthy=False, message=error.message, hint=error.hint)
        if not known:
            return Health(healthy=False, message="no channel is configured", hint=_SETTING)
        return Health(healthy=True, message=f"knows {', '.join(channel.name for channel in known)}")


def _id(answer: Answer) -> Json:
    """Returns the message's id: Discord and ntfy have it on top, Telegram in what it calls the result."""
    said = answer.said if isinstance(answer.said, dict) else {}
    result = said.get("result")
    found = result.get("message_id") if isinstance(result, dict) else said.get("id")
    return str(found) if isinstance(found, str | int) else None


# --- channels -------------------------------------------------------------------------------------


class Note(NamedTuple):
    """What is said."""

    title: str
    text: str
    markup: bool


@dataclass(frozen=True)
class _Channel:
    """Where it is said, by the settings."""

    name: str
    service: Service
    base: str
    """`https://` and the host."""
    path: str = field(repr=False)
    query: str = field(repr=False)
    token: str = field(repr=False)
    """What stands before the host."""

    @property
    def url(self) -> str:
        """Where services are called whose channels have a URL of their own."""
        return f"{self.base}{self.path}{'?' if self.query else ''}{self.query}"

    @property
    def hidden(self) -> tuple[str, ...]:
        """What no message repeats."""
        return (self.token, *hidden_in(self.url))


class _Call(NamedTuple):
    """What a service is sent."""

    url: str
    body: dict[str, Json]
    headers: Mapping[str, str] | None = None


class Service(NamedTuple):
    """A chat service."""

    name: str
    call: Callable[[_Channel, Note], _Call]
    size: Callable[[_Call], int]
    longest: int
    """Of what `size` counts."""
    example: str
    needs_token: bool = False


def _channel(name: str, url: str) -> _Channel:
    """Raises `StepFailed` (configuration), which does not repeat the URL."""
    try:
        parts = urlsplit(url)
        port = "" if parts.port is None else f":{parts.port}"
    except ValueError:
        raise _unusable(name, "cannot be read") from None
    scheme, _, way = parts.scheme.partition("+")
    service, host = SERVICES.get(scheme), parts.hostname or ""
    if service is None:
        raise _unusable(name, f"begins with none of {', '.join(f'{known}://' for known in SERVICES)}")
    token = unquote(parts.netloc.rpartition("@")[0])
    is_whole = host and parts.path.strip("/") and (token or not service.needs_token)
    if way not in ("", "http", "https") or not is_whole:
        raise _unusable(name, f"is not like {service.example}")
    base = f"{way or 'https'}://{f'[{host}]' if ':' in host else host}{port}"
    return _Channel(name, service, base, parts.path, parts.query, token)


def _unusable(name: str, problem: str) -> StepFailed:
    return StepFailed(f"channel {name!r}: its URL {problem}", Category.CONFIGURATION, hint=_SETTING)


def _fitting(channel: _Channel, note: Note) -> tuple[_Call, bool]:
    """Returns the call with as much of the text as the service takes, and whether something is missing."""
    service = channel.service
    call = service.call(channel, note)
    if service.size(call) <= service.longest:
        return call, False
    fits, too_long = 0, len(note.text)
    while too_long - fits > 1:
        middle = (fits + too_long) // 2
        tried = service.call(channel, note._replace(text=_cut(note.text, middle)))
        if service.size(tried) <= service.longest:
            fits, call = middle, tried
        else:
            too_long = middle
    return call, True


def _cut(text: str, most: int) -> str:
    """Returns so many of the first characters, and how many are missing."""
    return f"{text[:most]}… [{len(text) - most:,} more characters]"


# --- what each service takes ----------------------------------------------------------------------


def _slack(channel: _Channel, note: Note) -> _Call:
    """Without `mrkdwn` stars are stars, but `<…>` is read all the same."""
    marked = _SLACK_COMMAND.sub("&lt;", note.text) if note.markup else _for_slack(note.text)
    title = _for_slack(note.title)
    if note.markup and title:
        title = f"*{title}*"
    body: dict[str, Json] = {"text": _lines(title, marked), "mrkdwn": note.markup}
    return _Call(channel.url, {**body, "unfurl_links": False, "unfurl_media": False})


def _for_slack(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _discord(channel: _Channel, note: Note) -> _Call:
    """It waits, because only then it tells whether the message is there."""
    title = f"**{_plain_markdown(note.title)}**" if note.title else ""
    text = note.text if note.markup else _plain_markdown(note.text)
    url = f"{channel.url}{'&' if channel.query else '?'}wait=true"
    body: dict[str, Json] = {"content": _lines(title, text), "flags": _DISCORD_NO_PREVIEWS}
    return _Call(url, {**body, "allowed_mentions": {"parse": []}})


def _teams(channel: _Channel, note: Note) -> _Call:
    """A card, in which text runs know no markup. A line of the text is a paragraph of its own, because line
    ends are blanks there."""
    title: list[Json] = [_run(note.title, weight="Bolder", size="Medium")] if note.title else []
    text: list[Json] = [{"type": "TextBlock", "text": note.text, "wrap": True}]
    if not note.markup:
        text = [_run(line or " ") for line in note.text.splitlines() or [""]]
        text = text if len(text) <= _TEAMS_LINES else [_run(note.text)]
    card: Json = {
        "type": "AdaptiveCard",
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "version": "1.4",
        "body": [*title, *text],
    }
    attachment: Json = {
        "contentType": "application/vnd.microsoft.card.adaptive",
        "contentUrl": None,
        "content": card,
    }
    return _Call(channel.url, {"type": "message", "attachments": [attachment]})


def _run(text: str, **style: str) -> Json:
    return {"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": text, **style}]}


def _mattermost(channel: _Channel, note: Note) -> _Call:
    title = f"**{_plain_markdown(note.title)}**" if note.title else ""
    text = note.text if note.markup else _plain_markdown(note.text)
    return _Call(channel.url, {"text": _unmentioned(_lines(title, text))})


def _telegram(channel: _Channel, note: Note) -> _Call:
    """Without `parse_mode` there is no markup; what is bold is said by place, in units of UTF-16."""
    title, text = _unmentioned(note.title), _unmentioned(note.text)
    body: dict[str, Json] = {
        "chat_id": unquote(channel.path.strip("/")),
        "link_preview_options": {"is_disabled": True},
    }
    if note.markup:
        bold = f"<b>{_for_slack(title)}</b>" if title else ""
        body |= {"text": _lines(bold, text), "parse_mode": "HTML"}
    else:
        body["text"] = _lines(title, text)
        bold_title: Json = {"type": "bold", "offset": 0, "length": _units(title)}
        body |= {"entities": [bold_title]} if title else {}
    return _Call(f"{channel.base}/bot{channel.token}/sendMessage", body)


def _ntfy(channel: _Channel, note: Note) -> _Call:
    """Signed in with a token, or with a user and password."""
    body: dict[str, Json] = {"topic": unquote(channel.path.strip("/")), "message": note.text}
    body |= {"title": note.title} if note.title else {}
    body |= {"markdown": True} if note.markup else {}
    is_pair = ":" in channel.token
    proof = f"Basic {b64encode(channel.token.encode()).decode()}" if is_pair else f"Bearer {channel.token}"
    return _Call(f"{channel.base}/", body, {"authorization": proof} if channel.token else None)


# --- how much each service takes ------------------------------------------------------------------


def _units(text: str) -> int:
    """Returns how many units of UTF-16 a text has, in which most services count."""
    return len(text.encode("utf-16-le", errors="replace")) // 2


def _characters(key: str) -> Callable[[_Call], int]:
    return lambda call: _units(str(call.body.get(key, "")))


def _bytes(key: str) -> Callable[[_Call], int]:
    return lambda call: len(str(call.body.get(key, "")).encode(errors="replace"))


def _whole(call: _Call) -> int:
    return len(encoded(call.body, LARGEST_BODY * 100))


_SERVICES: Final = (
    Service("slack", _slack, _characters("text"), 40_000, "slack://hooks.slack.com/services/T0/B0/XX"),
    Service("discord", _discord, _characters("content"), 2_000, "discord://discord.com/api/webhooks/1/XX"),
    Service("teams", _teams, _whole, 27_000, "teams://example.com/workflows/XX/invoke?sig=XX"),
    Service("mattermost", _mattermost, _characters("text"), 16_000, "mattermost://example.com/hooks/XX"),
    Service("telegram", _telegram, _characters("text"), 4_096, "telegram://1:AA@api.telegram.org/-100", True),
    Service("ntfy", _ntfy, _bytes("message"), 4_096, "ntfy://ntfy.sh/topic or ntfy://tk_XX@ntfy.sh/topic"),
)
SERVICES: Final[Mapping[str, Service]] = {service.name: service for service in _SERVICES}
"""By the scheme of their channels' URLs."""


# --- text as it is --------------------------------------------------------------------------------

_SLACK_COMMAND: Final = re.compile(r"<(?=[!@#])")
_MARKDOWN: Final = re.compile(r"(?P<link>https?://[^\s<>()\[\]]+)|(?P<sign>[\\`*_~|<>\[\]()#+-])")
_MENTION: Final = re.compile(r"(?<![\w.])@(?=\w)|<(?=[!@#])|\btg:(?=//user)", re.IGNORECASE)


def _plain_markdown(text: str) -> str:
    """Returns Markdown that shows a text as it is; addresses of pages stay what can be clicked."""
    return _MARKDOWN.sub(lambda match: match["link"] or f"\\{match['sign']}", text)


def _unmentioned(text: str) -> str:
    """Returns a text that looks the same and names nobody; e-mail addresses are no names."""
    return _MENTION.sub(lambda match: f"{match[0]}{_NOTHING}", text)


def _lines(title: str, text: str) -> str:
    return f"{title}\n{text}" if title else text
