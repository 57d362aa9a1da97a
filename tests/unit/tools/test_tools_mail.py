"""The tool `mail` against a real SMTP server on loopback."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from receiving import certificate

from taskmark.errors import Category, StepFailed
from taskmark.ports import StepContext
from taskmark.shared import MemoryShared
from taskmark.tools.mail import LARGEST_ATTACHED, Mail, addresses
from taskmark.tools.outgoing import Outgoing

Call = Callable[..., Awaitable[Any]]
SENDER = "Taskmark <robot@example.com>"
FAST = Outgoing(per_minute=60_000)
ANN: dict[str, Any] = {"to": "ann@example.org", "subject": "Done", "body": "All is well."}
PASSWORD = "pa55/w:rd-s3cr3t"
KEPT_BACK = "%s is not repeated"


@dataclass
class Mailbox:
    """A server's handler that keeps messages, and answers as it is told to."""

    answers: dict[str, str] = field(default_factory=dict)
    """By recipient, `MAIL`, or `DATA`; of that the answer can be `lost`."""
    slow: float = 0.0
    envelopes: list[Envelope] = field(default_factory=list)
    sessions: list[Session] = field(default_factory=list)
    port: int = 0

    async def handle_MAIL(  # noqa: N802 - so the server calls it
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        envelope.mail_from = address
        return self.answers.get("MAIL", "250 OK")

    async def handle_RCPT(  # noqa: N802 - so the server calls it
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        said = self.answers.get(address, "250 OK")
        if said.startswith("250"):
            envelope.rcpt_tos.append(address)
        return said

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - too
        await asyncio.sleep(self.slow)
        said = self.answers.get("DATA", "250 2.0.0 queued as 4711")
        if said == "lost":
            self.envelopes.append(envelope)
            assert server.transport is not None
            server.transport.abort()
        if said.startswith("250"):
            self.envelopes.append(envelope)
            self.sessions.append(session)
        return said

    def authenticate(self, server: SMTP, session: Session, *given: Any) -> AuthResult:
        _, _, login = given if len(given) == 3 else (None, *given)
        is_right = isinstance(login, LoginPassword) and login.password == PASSWORD.encode()
        return AuthResult(success=is_right, handled=False)

    @property
    def messages(self) -> list[EmailMessage]:
        """What those who read it see."""
        parsed = [
            message_from_bytes(bytes(one.content or b""), policy=policy.default) for one in self.envelopes
        ]
        return [message for message in parsed if isinstance(message, EmailMessage)]

    def mail(self, host: str = "127.0.0.1", user: str = "", scheme: str = "smtp", **more: Any) -> Mail:
        return Mail(f"{scheme}://{user}{host}:{self.port}", SENDER, **{"outgoing": FAST, **more})


def read(message: EmailMessage, kind: str) -> str:
    """A message's text or page, with the line ends of this machine."""
    body = message.get_body((kind,))
    assert body is not None
    return str(body.get_content()).replace("\r\n", "\n")


@asynccontextmanager
async def serving(
    answers: Mapping[str, str] | None = None, *, tls: ssl.SSLContext | None = None, **options: Any
) -> AsyncIterator[Mailbox]:
    mailbox = Mailbox(dict(answers or {}), slow=options.pop("slow", 0.0))
    loop = asyncio.get_running_loop()
    if options.pop("signed_in", False):
        options |= {"authenticator": mailbox.authenticate, "auth_required": True}
    listener = await loop.create_server(
        lambda: SMTP(mailbox, hostname="mail.test", loop=loop, **options), "127.0.0.1", 0, ssl=tls
    )
    mailbox.port = listener.sockets[0].getsockname()[1]
    async with listener:
        yield mailbox


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Of a server and of who trusts it, for names that all mean this machine; `127.1` does not say so."""
    return certificate(tmp_path_factory.mktemp("tls"), "localhost", "127.1")


@pytest.fixture
def encrypting(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> ssl.SSLContext:
    """For the server."""
    return contexts[0]


@pytest.fixture
def trusting(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> ssl.SSLContext:
    """For the client."""
    return contexts[1]


# --- what is sent ---------------------------------------------------------------------------------


async def test_a_mail_arrives_as_it_was_meant(call: Call, root: Path) -> None:
    """With its text, its page, its files, and those who do not see each other."""
    (root / "out").mkdir()
    (root / "out/bericht 1.csv").write_text("a;b\nü;2\n")
    (root / "out/plot.png").write_bytes(bytes(range(256)) * 100)
    async with serving() as mailbox:
        output = await call(
            mailbox.mail(),
            to=["Ann Übermut <ann@example.org>", "ben@example.org"],
            cc="carl@example.org",
            bcc="dora@example.org, emil@example.org",
            replyTo="help@example.com",
            subject="Größe: 100 % ✓",
            body="Hello Ann,\n\n.\nfrom here: ü\n",
            html="<p>Hello <b>Ann</b></p>",
            attachments=["out/bericht 1.csv", "out/plot.png"],
        )
    (envelope,), (message,) = mailbox.envelopes, mailbox.messages
    everybody = [f"{name}@example.org" for name in ("ann", "ben", "carl", "dora", "emil")]
    assert (envelope.mail_from, envelope.rcpt_tos) == ("robot@example.com", everybody)
    assert message["From"] == SENDER
    assert message["To"] == "Ann Übermut <ann@example.org>, ben@example.org"
    assert (message["Cc"], message["Bcc"], message["Reply-To"]) == (
        "carl@example.org",
        None,
        "help@example.com",
    )
    assert message["Subject"] == "Größe: 100 % ✓"
    assert message["Auto-Submitted"] == "auto-generated"
    assert read(message, "plain") == "Hello Ann,\n\n.\nfrom here: ü\n"
    assert read(message, "html").strip() == "<p>Hello <b>Ann</b></p>"
    files = {part.get_filename(): part for part in message.iter_attachments()}
    assert files["bericht 1.csv"].get_content_type() == "text/csv"
    assert files["plot.png"].get_content() == bytes(range(256)) * 100
    assert output == {
        "message_id": message["Message-ID"],
        "accepted": everybody,
        "refused": [],
        "reply": "2.0.0 queued as 4711",
        "duplicate": False,
    }


async def test_a_page_alone_and_a_text_alone_are_enough(call: Call, context: StepContext) -> None:
    async with serving() as mailbox:
        tool = mailbox.mail()
        for key, content in (("a", {"body": "text"}), ("b", {"html": "<p>page</p>"})):
            arguments = tool.validate({"to": "ann@example.org", "subject": "x", **content})
            await tool.execute(arguments, replace(context, idempotency_key=key))
    assert [message.get_content_type() for message in mailbox.messages] == ["text/plain", "text/html"]


async def test_who_is_named_twice_gets_it_once(call: Call) -> None:
    async with serving() as mailbox:
        await call(mailbox.mail(), **ANN | {"cc": ["Ann <ann@example.org>"], "bcc": "ann@example.org"})
    assert mailbox.envelopes[0].rcpt_tos == ["ann@example.org"]


async def test_a_domain_of_another_script_is_what_the_network_knows(call: Call) -> None:
    async with serving() as mailbox:
        await call(mailbox.mail(), **ANN | {"to": "ann@bücher.example"})
    assert mailbox.envelopes[0].rcpt_tos == ["ann@xn--bcher-kva.example"]


async def test_what_was_sent_is_not_sent_again(call: Call) -> None:
    async with serving() as mailbox:
        first = await call(mailbox.mail(), **ANN)
        again = await call(mailbox.mail(), **ANN)
    assert again == {**first, "duplicate": True}
    assert len(mailbox.envelopes) == 1


async def test_each_attempt_has_the_same_id_and_another_message_another(context: StepContext) -> None:
    """So that who gets it twice can tell: once the server was lost, nobody knows whether it has it."""
    async with serving({"DATA": "451 try later"}) as mailbox:
        tool = mailbox.mail()
        arguments = tool.validate(ANN)
        with pytest.raises(StepFailed, match="451 try later"):
            await tool.execute(arguments, context)
        del mailbox.answers["DATA"]
        for key in ("key-1", "key-2", ""):
            await tool.execute(arguments, replace(context, idempotency_key=key))
    ids = [str(message["Message-ID"]) for message in mailbox.messages]
    assert len(set(ids)) == 3
    assert all(one.endswith(".taskmark@example.com>") for one in ids)
    async with serving() as other:
        await other.mail().execute(arguments, replace(context, shared=MemoryShared()))
    assert str(other.messages[0]["Message-ID"]) == ids[0]


async def test_a_message_whose_confirmation_was_lost_is_sent_again_under_its_id(call: Call) -> None:
    """Rather twice than never; who gets both knows them for one."""
    async with serving({"DATA": "lost"}) as mailbox:
        with pytest.raises(StepFailed, match="mail server") as caught:
            await call(mailbox.mail(), **ANN)
        del mailbox.answers["DATA"]
        assert not (await call(mailbox.mail(), **ANN))["duplicate"]
    first, second = mailbox.messages
    assert caught.value.category is Category.TRANSIENT
    assert first["Message-ID"] == second["Message-ID"]


# --- what comes back ------------------------------------------------------------------------------

REPLIES = [
    ("421 4.3.2 shutting down", Category.TRANSIENT),
    ("450 4.2.1 greylisted", Category.TRANSIENT),
    ("451 4.7.1 later", Category.TRANSIENT),
    ("452 4.3.1 no room", Category.TRANSIENT),
    ("530 5.7.0 sign in first", Category.PERMISSION),
    ("550 5.7.1 not allowed", Category.PERMISSION),
    ("550 5.1.1 nobody of that name", Category.LOGIC),
    ("552 5.3.4 too large", Category.RESOURCE),
    ("553 bad name", Category.LOGIC),
    ("554 5.7.1 spam", Category.PERMISSION),
    ("554 no", Category.LOGIC),
]


@pytest.mark.parametrize("step", ["MAIL", "ann@example.org", "DATA"])
@pytest.mark.parametrize(("reply", "category"), REPLIES)
async def test_each_reply_has_its_category(step: str, reply: str, category: Category, call: Call) -> None:
    async with serving({step: reply}) as mailbox:
        with pytest.raises(StepFailed, match=f"mail server 127.0.0.1: {reply}") as caught:
            await call(mailbox.mail(), **ANN)
    assert caught.value.category is category
    assert not mailbox.envelopes


async def test_those_whom_the_server_refuses_are_told_and_the_others_have_it(call: Call) -> None:
    async with serving({"ben@example.org": "550 5.1.1 nobody of that name"}) as mailbox:
        output = await call(mailbox.mail(), **ANN | {"to": ["ann@example.org", "ben@example.org"]})
    assert output["accepted"] == ["ann@example.org"]
    assert output["refused"] == [
        {"address": "ben@example.org", "code": 550, "reply": "5.1.1 nobody of that name"}
    ]


async def test_if_all_are_refused_it_is_sent_again_if_that_helps_any_of_them(call: Call) -> None:
    said = {"ann@example.org": "550 nobody", "ben@example.org": "450 greylisted"}
    async with serving(said) as mailbox:
        with pytest.raises(StepFailed, match=r"450 greylisted \(ben@example\.org and 1 more\)") as caught:
            await call(mailbox.mail(), **ANN | {"to": list(said)})
    assert caught.value.category is Category.TRANSIENT


async def test_a_message_above_the_servers_limit_is_resource(call: Call) -> None:
    async with serving(data_size_limit=1_000) as mailbox:
        with pytest.raises(StepFailed, match="552") as caught:
            await call(mailbox.mail(), **ANN | {"body": "x" * 2_000})
    assert caught.value.category is Category.RESOURCE


async def test_a_server_that_is_gone_silent_or_odd_is_transient(call: Call) -> None:
    async def odd(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    listener = await asyncio.start_server(odd, "127.0.0.1", 0)
    async with listener:
        port = listener.sockets[0].getsockname()[1]
        with pytest.raises(StepFailed, match="mail server") as strange:
            await call(Mail(f"smtp://127.0.0.1:{port}", SENDER), **ANN)
    with pytest.raises(StepFailed, match="mail server") as gone:
        await call(Mail(f"smtp://127.0.0.1:{port}", SENDER), **ANN)
    with pytest.raises(StepFailed, match=r"mail server no-such-host\.invalid") as unknown:
        await call(Mail("smtp://no-such-host.invalid", SENDER), **ANN)
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(StepFailed, match=r"within 0\.2 s") as late,
    ):
        await call(Mail(f"smtp://127.0.0.1:{silent.getsockname()[1]}", SENDER), **ANN, timeout="200ms")
    for error in (strange, gone, unknown, late):
        assert error.value.category is Category.TRANSIENT


async def test_a_server_that_never_comes_to_an_end_is_left_in_time(call: Call) -> None:
    """One that greets for ever, and one that says little by little; and a long reply is cut."""

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while not writer.is_closing():
                writer.write(b"220-and another thing\r\n")
                await writer.drain()
                await asyncio.sleep(0.01)

    listener = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with listener:
        port, began = listener.sockets[0].getsockname()[1], time.monotonic()
        with pytest.raises(StepFailed, match=r"within 0\.3 s"):
            await call(Mail(f"smtp://127.0.0.1:{port}", SENDER), **ANN, timeout="300ms")
    assert time.monotonic() - began < 3
    async with serving({"DATA": "250 " + "x" * 5_000}) as mailbox:
        assert len((await call(mailbox.mail(), **ANN))["reply"]) == 500


async def test_a_cancelled_mail_leaves_no_connection(call: Call, context: StepContext) -> None:
    async with serving(slow=30) as mailbox:
        tool = mailbox.mail()
        began = time.monotonic()
        task = asyncio.create_task(call(tool, **ANN))
        await asyncio.sleep(0.3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert time.monotonic() - began < 2
        mailbox.slow = 0
        assert not (await call(tool, **ANN))["duplicate"]


# --- encryption and signing in --------------------------------------------------------------------


async def test_another_machine_has_to_encrypt(call: Call) -> None:
    """Whoever listens on the way could else read it, and sign in as we do."""
    async with serving() as mailbox:
        with pytest.raises(StepFailed, match="STARTTLS") as caught:
            await call(mailbox.mail(host="127.1", user="robot:s3cr3t@"), **ANN)
    assert caught.value.category is Category.CONFIGURATION
    assert not mailbox.envelopes


async def test_a_connection_is_encrypted_and_then_signed_in(
    call: Call, encrypting: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    async with serving(tls_context=encrypting, require_starttls=True, signed_in=True) as mailbox:
        tool = mailbox.mail("127.1", f"robot:{PASSWORD.replace('/', '%2F')}@", certificates=trusting)
        await call(tool, **ANN)
    (session,) = mailbox.sessions
    assert session.ssl is not None
    assert session.authenticated


async def test_smtps_is_encrypted_from_the_first_byte(
    call: Call, encrypting: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    async with serving(tls=encrypting) as mailbox:
        await call(mailbox.mail("127.1", scheme="smtps", certificates=trusting), **ANN)
    assert len(mailbox.envelopes) == 1


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
async def test_a_certificate_that_nobody_trusts_is_configuration(
    scheme: str, call: Call, encrypting: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    """And so is one for another name."""
    tls = {"tls": encrypting} if scheme == "smtps" else {"tls_context": encrypting}
    async with serving(**tls) as mailbox:
        for host, trusted in (("127.1", None), ("127.0.1", trusting)):
            with pytest.raises(StepFailed, match="mail server 127") as caught:
                await call(mailbox.mail(host, scheme=scheme, certificates=trusted), **ANN)
            assert caught.value.category is Category.CONFIGURATION
            assert "certificate" in (caught.value.hint or "")
    assert not mailbox.envelopes


async def test_a_server_on_this_machine_may_have_any_certificate(
    call: Call, encrypting: ssl.SSLContext
) -> None:
    async with serving(tls_context=encrypting) as mailbox:
        await call(mailbox.mail("localhost"), **ANN)
    assert mailbox.sessions[0].ssl is not None


async def test_a_wrong_password_is_permission_and_not_repeated(
    call: Call, encrypting: ssl.SSLContext, trusting: ssl.SSLContext, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "taskmark")
    async with serving(tls_context=encrypting, signed_in=True) as mailbox:
        tool = mailbox.mail("127.1", "robot:wr0ng-s3cr3t@", certificates=trusting)
        with pytest.raises(StepFailed, match="535") as caught:
            await call(tool, **ANN)
    assert caught.value.category is Category.PERMISSION
    assert "s3cr3t" not in f"{caught.value.message}{caught.value.hint}{caplog.text}"


# --- what cannot be added to it -------------------------------------------------------------------

LINE_ENDS = ["\n", "\r\n", "\r", "\x00", "\x0b", "\x0c", "\x85", "\u2028", "\u2029", "\x1b"]


@pytest.mark.parametrize("end", LINE_ENDS, ids=[hex(ord(end[0])) + str(len(end)) for end in LINE_ENDS])
@pytest.mark.parametrize("key", ["to", "cc", "bcc", "replyTo", "subject"])
def test_no_line_can_be_added_to_a_header(key: str, end: str) -> None:
    for value in (f"a@b.org{end}Bcc: evil@example.net", f"x{end} <a@b.org>"):
        with pytest.raises(StepFailed, match="one line") as caught:
            Mail().validate(ANN | {key: value})
        assert caught.value.category is Category.CONFIGURATION
        assert "evil" not in caught.value.message


async def test_no_line_can_be_added_by_the_name_of_a_file(call: Call, root: Path) -> None:
    (root / "a\nBcc: evil@example.net.txt").write_text("x")
    async with serving() as mailbox:
        with pytest.raises(StepFailed, match="one line") as caught:
            await call(mailbox.mail(), **ANN | {"attachments": ["a\nBcc: evil@example.net.txt"]})
    assert (caught.value.category, mailbox.envelopes) == (Category.LOGIC, [])


async def test_a_text_cannot_end_the_message_or_begin_another(call: Call) -> None:
    """Neither by a line with a dot, nor by line ends that servers read differently."""
    hostile = "a\r\n.\r\nMAIL FROM:<evil@example.net>\n.\nb\r.\rc\r\n.\nd"
    async with serving() as mailbox:
        await call(mailbox.mail(), **ANN | {"body": hostile, "html": f"<pre>{hostile}</pre>"})
    (message,) = mailbox.messages
    assert read(message, "plain").split() == hostile.split()


@pytest.mark.parametrize(
    "given",
    [
        "ann",
        "ann@",
        "@example.org",
        "ann@exa mple.org",
        "ann@-example.org",
        "ann@example..org",
        "ann..b@example.org",
        "ann@example.org>",
        "<ann@example.org",
        "ann@example.org)evil@example.net",
        "undisclosed:;",
        "Doe, Ann <ann@example.org>",
        '"ann b"@example.org',
        "änn@example.org",
        "ann@[127.0.0.1]",
        "ann@example.org SIZE=1",
        "ann@example.org ben@example.org",
        "ann@example.org;ben@example.org",
        "ben@example.org <ann@example.org>",
        "a@b.org,,c@d.org",
        "<@relay.example,@other.example:ann@example.org>",
        '"Ann <ann@example.org>',
        "<ann@example.org> NOTIFY=NEVER",
        "ann@" + "x" * 64 + ".org",
        "x" * 65 + "@example.org",
        ["ann@example.org", "nobody"],
    ],
)
def test_what_is_no_address_is_refused(given: Any) -> None:
    for key in ("to", "cc"):
        with pytest.raises(StepFailed) as caught:
            Mail().validate(ANN | {key: given})
        assert caught.value.category is Category.CONFIGURATION


def test_addresses_are_read_as_people_write_them() -> None:
    found = addresses(
        ['"Doe, \\"A\\" Ann" <ann.d+x@example.org>, ben@localhost ,', "", "Dr. Žofie (CZ) <z@example.cz>"]
    )
    assert [(one.display_name, one.addr_spec) for one in found] == [
        ('Doe, "A" Ann', "ann.d+x@example.org"),
        ("", "ben@localhost"),
        ("Dr. Žofie (CZ)", "z@example.cz"),
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"subject": "x", "body": "x"},
        ANN | {"to": ""},
        ANN | {"to": []},
        ANN | {"subject": ""},
        ANN | {"subject": "x" * 501},
        ANN | {"body": ""},
        ANN | {"bcc": [f"a{n}@example.org" for n in range(100)]},
        ANN | {"from": "evil@example.net"},
        ANN | {"timeout": "soon"},
    ],
)
def test_arguments_that_cannot_be_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(StepFailed) as caught:
        Mail().validate(arguments)
    assert caught.value.category is Category.CONFIGURATION


# --- what may not leave ---------------------------------------------------------------------------


async def test_a_secret_does_not_leave_by_mail(call: Call, root: Path, context: StepContext) -> None:
    """Not in its subject, texts or files; unless the task says that it is meant."""
    secret = "password: hunter2-and-more"
    (root / "notes.txt").write_text(f"first line\n{secret}\n")
    async with serving() as mailbox:
        for part, changed in (
            ("subject", {"subject": secret}),
            ("body", {"body": secret}),
            ("html", {"html": f"<p>{secret}</p>"}),
            ("notes.txt", {"attachments": ["notes.txt"]}),
        ):
            with pytest.raises(StepFailed, match=f"in `{part}` is what looks like a secret") as caught:
                await call(mailbox.mail(), **ANN | changed)
            assert "hunter2" not in caught.value.message
        assert not mailbox.envelopes
        await call(mailbox.mail(), **ANN | {"body": secret, "allowSecrets": True})
    assert len(mailbox.envelopes) == 1


@pytest.mark.parametrize(
    "path", ["../outside.txt", "/etc/passwd", "link.txt", ".taskmark/taskmark.db", "gone.txt"]
)
async def test_only_files_under_the_root_are_attached(path: str, call: Call, root: Path) -> None:
    (root.parent / "outside.txt").write_text("outside")
    (root / "link.txt").symlink_to(root.parent / "outside.txt")
    async with serving() as mailbox:
        with pytest.raises(StepFailed):
            await call(mailbox.mail(), **ANN | {"attachments": [path]})
    assert not mailbox.envelopes


async def test_attachments_that_are_too_large_are_not_read_to_their_end(call: Call, root: Path) -> None:
    with (root / "large.bin").open("wb") as file:
        file.truncate(LARGEST_ATTACHED + 1)
    async with serving() as mailbox:
        with pytest.raises(StepFailed, match="attachments of more than") as caught:
            await call(mailbox.mail(), **ANN | {"attachments": ["large.bin"]})
    assert caught.value.category is Category.RESOURCE


# --- settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "sender", "message"),
    [
        (None, SENDER, "no mail server is configured"),
        ("smtp://127.0.0.1", None, "no mail server is configured"),
        ("smtp://127.0.0.1", "nobody", "TASKMARK_MAIL_FROM is no address"),
        ("smtp://127.0.0.1", "a@b.org, c@d.org", "TASKMARK_MAIL_FROM is no address"),
        ("http://user:s3cr3t@127.0.0.1", SENDER, "TASKMARK_SMTP_URL is no URL"),
        ("smtp://user:s3cr3t@", SENDER, "TASKMARK_SMTP_URL is no URL"),
        ("smtp://user:s3cr3t@host:port", SENDER, "TASKMARK_SMTP_URL is no URL"),
    ],
)
async def test_settings_that_cannot_be_are_told_and_not_repeated(
    url: str | None, sender: str | None, message: str, call: Call
) -> None:
    tool = Mail(url, sender)
    with pytest.raises(StepFailed, match=message) as caught:
        await call(tool, **ANN)
    health = await tool.health_check()
    assert (caught.value.category, health.healthy) == (Category.CONFIGURATION, False)
    assert "TASKMARK_SMTP_URL" in (health.hint or "")
    assert "s3cr3t" not in f"{caught.value.message}{health.message}{health.hint}"


async def test_its_health_says_whether_the_server_answers() -> None:
    async with serving() as mailbox:
        health = await mailbox.mail().health_check()
        gone = mailbox.mail()
    assert (health.healthy, health.message) == (True, "127.0.0.1 takes mail from robot@example.com")
    assert not (await gone.health_check()).healthy
    arguments = Mail().validate(ANN)
    assert (Mail().target(arguments), gone.target(arguments)) == (None, "127.0.0.1")
    assert Mail().estimate_duration(Mail().validate(ANN)) == 2.0
