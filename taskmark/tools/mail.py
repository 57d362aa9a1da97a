"""`mail`: a message to people, handed to an SMTP server.

Subject, addresses and names of files may come from anybody's data. So no header takes a control character,
and addresses are read here, once, into what the server gets: nothing can add a header, a recipient or a
command.

The message's id is made of the idempotency key, so that a message that had to be sent twice, because nobody
could tell whether the first one had left, is one message for those who get it.
"""

from __future__ import annotations

import asyncio
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import formatdate
from functools import cached_property, partial
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import unquote, urlsplit

from pydantic import Field, field_validator, model_validator

from taskmark.errors import Category, StepFailed
from taskmark.ports import Health, StepContext, Tool
from taskmark.task.model import Json
from taskmark.tools.call_failures import distrust
from taskmark.tools.confinement import open_file, reporting
from taskmark.tools.masking import masked
from taskmark.tools.outgoing import AllowSecrets, Confirmation, Delivery, Outgoing, Parcel
from taskmark.tools.sizes import capped
from taskmark.tools.validation import Arguments, Timeout

if TYPE_CHECKING:
    import ssl

    import aiosmtplib

MOST_RECIPIENTS: Final = 100
LARGEST_ATTACHED: Final = 20 * 1024**2
"""Bytes of all attachments together: many servers take 25 MB, in which each three bytes are four."""
LONGEST_TEXT: Final = 1_000_000
LONGEST_SUBJECT: Final = 500
LONGEST_REPLY: Final = 500
_HEALTH_SECONDS: Final = 2.0
_PORTS: Final = {"smtp": 587, "smtps": 465}
_SETTINGS: Final = (
    "set TASKMARK_SMTP_URL, such as smtp://user:password@mail.example.com:587, and TASKMARK_MAIL_FROM"
)
_LOCAL: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]{1,64}(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]{1,64}){0,20}"
_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_ADDRESS: Final = re.compile(rf"(?P<local>{_LOCAL})@(?P<domain>{_LABEL}(?:\.{_LABEL}){{0,20}})")
_ENTRY: Final = re.compile(
    r'\s*(?:(?:"(?P<quoted>(?:[^"\\]|\\.){0,200})"|(?P<name>[^"<>,;@]{0,200}))\s*<(?P<angled>[^<>\s]{1,400})>'
    r'|(?P<bare>[^<>\s,;"]{1,400}))\s*(?:,|\Z)'
)
_QUOTED_PAIR: Final = re.compile(r"\\(.)")
_NO_ADDRESS: Final = "it is no address such as ann@example.com"
"""What it was meant to be is not repeated: it may be anything."""
_ENHANCED: Final = re.compile(r"\s*(?P<status>[245]\.\d{1,3}\.\d{1,3})\b")
_LIST: Final = "An address or several, each `ann@example.com` or `Ann <ann@example.com>`"


class MailParameters(Arguments):
    """Who gets what."""

    to: str | tuple[str, ...] = Field(description=_LIST)
    cc: str | tuple[str, ...] = Field(default=(), description=_LIST)
    bcc: str | tuple[str, ...] = Field(default=(), description="The same, whom the others do not see")
    reply_to: str | tuple[str, ...] = Field(default=(), description="Who gets the answers")
    subject: str = Field(min_length=1, max_length=LONGEST_SUBJECT, description="One line")
    body: str = Field(default="", max_length=LONGEST_TEXT, description="Plain text")
    html: str | None = Field(default=None, max_length=LONGEST_TEXT, description="The same, as a page")
    attachments: tuple[str, ...] = Field(default=(), description="Files under the root")
    allow_secrets: AllowSecrets = False
    timeout: Timeout = Field(default=30.0, description="A duration such as 30s")

    @field_validator("to", "cc", "bcc", "reply_to")
    @classmethod
    def _are_addresses(cls, given: str | tuple[str, ...]) -> str | tuple[str, ...]:
        """Whoever is to get it can."""
        addresses(given)
        return given

    @field_validator("subject")
    @classmethod
    def _is_one_line(cls, subject: str) -> str:
        """A header ends with its line."""
        _check_line(subject, "the subject")
        return subject

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        """Somebody gets it, not everybody, and not nothing."""
        everybody = self.recipients()
        if not addresses(self.to):
            raise ValueError('"to" names nobody')
        if len(everybody) > MOST_RECIPIENTS:
            raise ValueError(f"{len(everybody)} recipients; at most {MOST_RECIPIENTS} get one message")
        if not self.body and not self.html:
            raise ValueError('give "body" or "html"')
        return self

    def recipients(self) -> list[str]:
        """Returns everybody's address, each once."""
        everybody = (one for given in (self.to, self.cc, self.bcc) for one in addresses(given))
        return list(dict.fromkeys(one.addr_spec for one in everybody))


@dataclass(frozen=True)
class _Server:
    """Where mail is handed in."""

    host: str
    port: int
    is_encrypted: bool
    """From the first byte on; else STARTTLS makes it so."""
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)

    @property
    def is_here(self) -> bool:
        """Whether nobody can listen on the way."""
        with suppress(ValueError):
            return ip_address(self.host).is_loopback
        return self.host == "localhost"

    def quoted(self, said: str) -> str:
        """Returns what it said as it may be repeated: not all of it, if it is long, and no password."""
        return masked(said, (self.password or "",))[:LONGEST_REPLY]


class Mail(Tool[MailParameters]):
    """Sends a mail. What was sent already is not sent again.

    A server on another machine has to offer encryption, and a certificate for its name. On this machine it is
    used if it is offered, and the certificate is not looked at: nobody is in between.
    """

    name = "mail"
    repeatable = True
    parameters = MailParameters

    def __init__(
        self,
        url: str | None = None,
        sender: str | None = None,
        *,
        outgoing: Outgoing | None = None,
        certificates: ssl.SSLContext | None = None,
    ) -> None:
        """`url` is `smtp://` or `smtps://` with a host, and a user and password where the server wants them;
        `sender` is whom messages are from, such as `Taskmark <taskmark@example.com>`."""
        self._url = url
        self._sender = sender
        self._outgoing = outgoing or Outgoing()
        self._certificates = certificates

    async def execute(self, parameters: MailParameters, context: StepContext) -> Json:
        """Returns `message_id`, the addresses that were `accepted`, those that were `refused` with the
        server's words, its `reply` to the message, and whether this is a `duplicate`. Raises `StepFailed`.

        A message that some of its recipients may not get counts as sent, because the others have it.
        """
        server, sender = self._configured
        seconds = min(parameters.timeout, context.timeout)
        receivers = tuple(parameters.recipients())
        delivery = Delivery(self.name, server.host, receivers, context, seconds, parameters.allow_secrets)
        pack = partial(self._packed, parameters, delivery, server, sender)
        return capped(await self._outgoing.deliver(delivery, pack), source="the mail server")

    @cached_property
    def _configured(self) -> tuple[_Server, Address]:
        """Where it goes and whom it is from. Raises `StepFailed` (configuration)."""
        if not self._url or not self._sender:
            raise StepFailed("no mail server is configured", Category.CONFIGURATION, hint=_SETTINGS)
        try:
            (sender,) = addresses(self._sender)
        except ValueError:
            problem = "TASKMARK_MAIL_FROM is no address"
            raise StepFailed(problem, Category.CONFIGURATION, hint=_SETTINGS) from None
        return _server(self._url), sender

    async def _packed(
        self, parameters: MailParameters, delivery: Delivery, server: _Server, sender: Address
    ) -> Parcel:
        message_id = f"<{delivery.id}.taskmark@{sender.domain}>"
        # In a thread: with large attachments it takes a second, in which nothing else would run.
        written, content = await asyncio.to_thread(_written, parameters, delivery.context, sender, message_id)
        send = partial(self._send, server, sender, parameters.recipients(), message_id, written)
        return Parcel(content, send)

    async def _send(
        self, server: _Server, sender: Address, recipients: Sequence[str], message_id: str, written: bytes
    ) -> Confirmation:
        client = self._client(server)
        try:
            await client.connect()
            errors, reply = await client.sendmail(sender.addr_spec, recipients, written)
            _part(client)
        except Exception as error:
            raise _failure(error, server) from error
        finally:
            client.close()
        refused: list[Json] = [
            {"address": address, "code": said.code, "reply": server.quoted(said.message)}
            for address, said in errors.items()
        ]
        return {
            "message_id": message_id,
            "accepted": [address for address in recipients if address not in errors],
            "refused": refused,
            "reply": server.quoted(reply),
        }

    def _client(self, server: _Server) -> aiosmtplib.SMTP:
        """Returns a client for one message: nothing is carried from one step to another."""
        import aiosmtplib

        return aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            username=server.user,
            password=server.password,
            use_tls=server.is_encrypted,
            start_tls=None if server.is_here else not server.is_encrypted,
            tls_context=self._certificates,
            validate_certs=self._certificates is not None or not server.is_here,
            local_hostname="[127.0.0.1]",  # the name of this machine is nobody's business
            timeout=None,
        )

    def target(self, parameters: MailParameters) -> str | None:
        """The server."""
        with suppress(StepFailed):
            return self._configured[0].host
        return None

    def estimate_duration(self, parameters: MailParameters) -> float:
        """Seconds: servers take their time to greet."""
        return 2.0

    async def health_check(self) -> Health:
        """Whether the server is configured, answers, and takes our name; nothing is sent."""
        try:
            server, sender = self._configured
        except StepFailed as error:
            return Health(healthy=False, message=error.message, hint=error.hint)
        client = self._client(server)
        try:
            async with asyncio.timeout(_HEALTH_SECONDS):
                await client.connect()
        except Exception as error:
            failure = _failure(error, server)
            return Health(healthy=False, message=failure.message, hint=failure.hint)
        finally:
            client.close()
        return Health(healthy=True, message=f"{server.host} takes mail from {sender.addr_spec}")


# --- settings -------------------------------------------------------------------------------------


def _server(url: str) -> _Server:
    """Raises `StepFailed` (configuration), which does not repeat the URL: it may hold a password."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = None
    if host is None or parts.scheme not in _PORTS:
        problem = "TASKMARK_SMTP_URL is no URL of a mail server"
        raise StepFailed(problem, Category.CONFIGURATION, hint=_SETTINGS)
    user, password = (None if one is None else unquote(one) for one in (parts.username, parts.password))
    return _Server(host, port or _PORTS[parts.scheme], parts.scheme == "smtps", user, password)


# --- addresses ------------------------------------------------------------------------------------


def addresses(given: str | Iterable[str]) -> list[Address]:
    """Returns the addresses in a text, or in each of several. Raises `ValueError` for what is none.

    Domains of other scripts become what the network knows of them; the part before the `@` has to be ASCII,
    because few servers take another.
    """
    texts = [given] if isinstance(given, str) else list(given)
    return [address for text in texts for address in _listed(text)]


def _listed(text: str) -> Iterator[Address]:
    """Yields the addresses between commas. Raises `ValueError`.

    The standard library reads more than people write: comments, groups, routes, and what has an end missing.
    What it makes of those is not always what a server does.
    """
    _check_line(text, "an address")
    position, text = 0, text.strip()
    while position < len(text):
        entry = _ENTRY.match(text, position)
        if entry is None:
            raise ValueError(_NO_ADDRESS)
        quoted = entry["quoted"]
        name = _QUOTED_PAIR.sub(r"\1", quoted) if quoted is not None else (entry["name"] or "")
        yield _address(name.strip(), entry["angled"] or entry["bare"])
        position = entry.end()


def _address(name: str, spec: str) -> Address:
    """Raises `ValueError`."""
    local, _, domain = spec.rpartition("@")
    matched = _ADDRESS.fullmatch(f"{local}@{_ascii(domain)}")
    if matched is None:
        raise ValueError(_NO_ADDRESS)
    return Address(display_name=name, username=matched["local"], domain=matched["domain"])


def _ascii(domain: str) -> str:
    """Returns a domain as the network knows it, or nothing if it is none."""
    import idna

    if domain.isascii():
        return domain
    with suppress(idna.IDNAError):
        return idna.encode(domain, uts46=True).decode()
    return ""


def _check_line(text: str, what: str) -> None:
    """Raises `ValueError` for a text that is not one line that can be sent."""
    if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in text):
        raise ValueError(f"{what} is one line, without control characters")


# --- the message ----------------------------------------------------------------------------------


def _written(
    parameters: MailParameters, context: StepContext, sender: Address, message_id: str
) -> tuple[bytes, dict[str, Json]]:
    """Returns a message as the server gets it, and what is to be looked at before. Raises `StepFailed`."""
    attached = _attached(context, parameters.attachments)
    content: dict[str, Json] = {"subject": parameters.subject, "body": parameters.body}
    content |= {"html": parameters.html} if parameters.html else {}
    content |= {name: text for name, data in attached if (text := _text(data)) is not None}
    message = _headed(parameters, sender, message_id)
    _fill(message, parameters, attached)
    return message.as_bytes(), content


def _headed(parameters: MailParameters, sender: Address, message_id: str) -> EmailMessage:
    message = EmailMessage(policy=SMTP_POLICY.clone(cte_type="7bit"))
    message["From"] = sender
    for header, given in (("To", parameters.to), ("Cc", parameters.cc), ("Reply-To", parameters.reply_to)):
        if named := addresses(given):
            message[header] = named
    message["Subject"] = parameters.subject
    message["Date"] = formatdate()
    message["Message-ID"] = message_id
    message["Auto-Submitted"] = "auto-generated"  # so that no program answers it
    return message


def _fill(message: EmailMessage, parameters: MailParameters, attached: Iterable[tuple[str, bytes]]) -> None:
    if parameters.body:
        message.set_content(parameters.body)
    if parameters.html and parameters.body:
        message.add_alternative(parameters.html, subtype="html")
    elif parameters.html:
        message.set_content(parameters.html, subtype="html")
    for name, data in attached:
        kind, _, subtype = _media_type(name).partition("/")
        message.add_attachment(data, maintype=kind, subtype=subtype, filename=name)


def _attached(context: StepContext, paths: Iterable[str]) -> list[tuple[str, bytes]]:
    """Returns the files' names and content. Raises `StepFailed`."""
    found: list[tuple[str, bytes]] = []
    left = LARGEST_ATTACHED
    for path in paths:
        name = path.rstrip("/").rpartition("/")[2]
        try:
            _check_line(name, "the name of an attachment")
        except ValueError as error:
            raise StepFailed(str(error), Category.LOGIC) from None
        with open(open_file(context.root, path), "rb") as file, reporting(path):
            content = file.read(left + 1)
        left -= len(content)
        if left < 0:
            hint = "send a part of it, or where it can be fetched"
            raise StepFailed(
                f"attachments of more than {LARGEST_ATTACHED:,} bytes", Category.RESOURCE, hint=hint
            )
        found.append((name, content))
    return found


def _media_type(name: str) -> str:
    import mimetypes

    kind, encoding = mimetypes.guess_type(name)
    return "application/octet-stream" if kind is None or encoding or "/" not in kind else kind


def _text(data: bytes) -> str | None:
    """Returns an attachment's text, if it is text: what is packed or drawn nobody looks into."""
    with suppress(UnicodeDecodeError):
        return data.decode("utf-8-sig")
    return None


def _part(client: aiosmtplib.SMTP) -> None:
    """Says goodbye without waiting for an answer: while it waits, its time might end, and what the server has
    would pass for what was not sent."""
    if isinstance(client.transport, asyncio.WriteTransport):
        client.transport.write(b"QUIT\r\n")


# --- what the server says -------------------------------------------------------------------------


def _failure(error: Exception, server: _Server) -> StepFailed:
    """Returns what went wrong as a failure, by the type of the error and the server's code."""
    import aiosmtplib

    where = f"mail server {server.host}"
    if isinstance(error, StepFailed):
        return error
    if (why := distrust(error)) is not None:
        hint = "its certificate is not trusted here, or it is for another name"
        return StepFailed(f"{where}: {why}", Category.CONFIGURATION, hint=hint)
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        return _all_refused(error, server)
    if isinstance(error, aiosmtplib.SMTPResponseException):
        is_login = isinstance(error, aiosmtplib.SMTPAuthenticationError)
        said = server.quoted(f"{where}: {error.code} {error.message}")
        return _of_code(said, error.code, error.message, is_login=is_login)
    if type(error) in (aiosmtplib.SMTPException, aiosmtplib.SMTPNotSupported):
        # So it says that the server does not offer what is needed; all else has a type of its own.
        hint = "mail leaves this machine encrypted only, and signs in by what the server offers"
        return StepFailed(f"{where}: {error}", Category.CONFIGURATION, hint=hint)
    return StepFailed(server.quoted(f"{where}: {str(error) or 'no answer in time'}"))


def _all_refused(error: aiosmtplib.SMTPRecipientsRefused, server: _Server) -> StepFailed:
    """A later attempt helps if it helps with any of them."""
    refused = error.recipients
    first = min(refused, key=lambda one: one.code)
    others = f" and {len(refused) - 1} more" if len(refused) > 1 else ""
    said = server.quoted(f"mail server {server.host}: {first.code} {first.message}")
    return _of_code(f"{said} ({first.recipient}{others})", first.code, first.message)


def _of_code(said: str, code: int, reply: str, *, is_login: bool = False) -> StepFailed:
    """Returns the failure by RFC 5321's code, and RFC 3463's status where the reply begins with one."""
    enhanced = _ENHANCED.match(reply)
    status = enhanced["status"] if enhanced else ""
    if code < 500:
        return StepFailed(said)
    if is_login or code in (530, 534, 535, 538):
        hint = "check the user and password in TASKMARK_SMTP_URL"
        return StepFailed(said, Category.PERMISSION, hint=hint)
    if code == 552 or status in ("5.2.2", "5.2.3", "5.3.4"):
        return StepFailed(said, Category.RESOURCE, hint="a smaller message may be taken")
    if status.startswith("5.7."):
        return StepFailed(said, Category.PERMISSION, hint="the server's rules do not allow this message")
    return StepFailed(said, Category.LOGIC)
