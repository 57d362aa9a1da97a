"""Keys and tokens: by the form that their issuers gave them, and by the names that stand before them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from taskmark.privacy.detecting import Span

# --- what issuers give ----------------------------------------------------------------------------

_ISSUED: Final[tuple[tuple[str, str], ...]] = (
    # What is in every one of them, and their form.
    ("AKIA", r"\bAKIA[0-9A-Z]{16}\b"),  # AWS
    ("ASIA", r"\bASIA[0-9A-Z]{16}\b"),
    ("gh", r"(?<![A-Za-z0-9])gh[pousr]_[A-Za-z0-9]{30,255}"),
    ("github_pat_", r"github_pat_\w{22,255}"),
    ("gl", r"\bgl(?:pat|dt|rt|ptt|ft|soat|agent|oas|cbt|imt|ffct)-[\w.-]{20,300}"),
    ("xox", r"\bxox[abceoprsd](?:\.xox[a-z])?-[\w-]{10,300}"),
    ("xapp-", r"\bxapp-\d-[\w-]{10,300}"),
    ("hooks.slack.com/", r"hooks\.slack\.com/(?:services|workflows)/[\w/+-]{20,200}"),
    ("k_live_", r"(?<![A-Za-z0-9])[sprw]k_live_[A-Za-z0-9]{10,255}"),  # Stripe
    ("k_test_", r"(?<![A-Za-z0-9])[sprw]k_test_[A-Za-z0-9]{10,255}"),
    ("whsec_", r"whsec_[A-Za-z0-9+/=]{20,255}"),
    ("AIza", r"(?<![A-Za-z0-9])AIza[\w-]{35}"),  # Google
    ("ya29.", r"\bya29\.[\w-]{20,500}"),
    ("GOCSPX-", r"GOCSPX-[\w-]{20,60}"),
    ("sk-", r"(?<![\w-])sk-(?=[\w-]{0,300}\d)[\w-]{20,300}"),  # OpenAI, Anthropic
    ("hf_", r"(?<![A-Za-z0-9])hf_[A-Za-z0-9]{30,60}"),
    ("npm_", r"(?<![A-Za-z0-9])npm_[A-Za-z0-9]{36}"),
    ("pypi-", r"pypi-AgE[\w-]{30,500}"),
    ("_v1_", r"do[opr]_v1_[0-9a-f]{64}"),  # DigitalOcean
    ("SG.", r"\bSG\.[\w-]{16,32}\.[\w-]{32,64}"),  # SendGrid
    ("shp", r"shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}"),  # Shopify
    (":AA", r"\b\d{8,10}:AA[\w-]{33}"),  # Telegram
    ("key-", r"\bkey-[0-9a-f]{32}\b"),  # Mailgun
    ("SK", r"\bSK[0-9a-f]{32}\b"),  # Twilio
    ("eyJ", r"(?<![\w.-])eyJ[\w-]{8,4000}\.[\w-]{2,16000}(?:\.[\w-]{0,4000}){0,3}"),  # JSON Web Token
    ("hv", r"\bhv[sb]\.[\w-]{20,300}"),  # Vault
    ("glc_", r"\bglc_[A-Za-z0-9+/=]{32,400}"),  # Grafana
    ("AGE-SECRET-KEY-1", r"AGE-SECRET-KEY-1[0-9A-Z]{58}"),
)
_PATTERNS: Final = tuple((mark, re.compile(pattern)) for mark, pattern in _ISSUED)
_RUN: Final = re.compile(r"[A-Za-z0-9_.+=:/-]{16,}")
"""Everything in the list is part of such a run."""

_KEY_BLOCK: Final = re.compile(r"-----BEGIN (?:[A-Z0-9]+ ){0,4}PRIVATE KEY(?: BLOCK)?-----")
_KEY_END: Final = re.compile(r"-----END (?:[A-Z0-9]+ ){0,4}PRIVATE KEY(?: BLOCK)?-----")
_USERINFO: Final = re.compile(r"://[^\s/:@?#\"']{0,256}:(?P<value>[^\s/@\"']{1,512})@")
_SIGNED: Final = re.compile(
    r"[?&](?:sig|signature|X-Amz-Signature|X-Goog-Signature|code|key)=(?P<value>[\w%.~+/=-]{16,2000})"
)

# --- what people write before ---------------------------------------------------------------------
# Looked for in lower case, each pattern from its first word on: that is what makes them fast.

_STRONG: Final = (
    r"password|passwort|passwd|passphrase|passcode|pwd|contraseña|senha|mot[_ ]de[_ ]passe|пароль|密码|密碼|"
    r"api[_ -]?key|"
    r"(?:secret|access|private|signing|encryption|account|shared|auth|master)[_ -]?(?:access[_-]?)?key|"
    r"client[_ -]?secret|(?:auth|access|refresh|id|session|bearer|api|security|deploy)[_ -]?token|"
    r"session[_-]?(?:id|key)|credentials?"
)
_WEAK: Final = r"secret|token|signature|otp|pin|cvv|cvc|webhook"
"""Words that are also used of harmless things; what follows must look like a secret."""
_NAME: Final = re.compile(rf"(?:{_STRONG}|(?<![a-z])(?P<weak>{_WEAK}))\Z")
_ENDS: Final = (
    ("pass", "(?:word|wort|wd|phrase|code|e)"),
    ("pwd", ""),
    ("key", ""),
    ("token", ""),
    ("secret", ""),
    ("session", "[_-]?(?:id|key)"),
    ("credential", "s?"),
    ("signature", ""),
    ("otp", ""),
    ("pin", ""),
    ("cvv", ""),
    ("cvc", ""),
    ("webhook", ""),
    ("contraseña", ""),
    ("senha", ""),
    ("пароль", ""),
    ("密码", ""),
    ("密碼", ""),
)
_SIGN: Final = r"(?:\\?[\"'`]\]\s{0,2}=(?!=)|(?:\\?[\"'`])?\s{0,2}(?::=|=>|=(?!=)|:(?!:)|：))\s{0,2}"
_SIGNS: Final = re.compile(r"[=:：]")
_ASSIGNED: Final = tuple((word, re.compile(f"(?P<name>{word}{end}){_SIGN}")) for word, end in _ENDS)
_FLAG: Final = re.compile(r"--(?:password|passwd|token|api-key|secret|access-token|auth-token)[ =]")
_HEADERS: Final = (
    ("bearer", re.compile(r"bearer\s{1,3}[\"']?(?P<value>[\w.~+/-]{8,4000}=*)")),
    (
        "authorization",
        re.compile(
            r"authorization\\?[\"']?\]?\s{0,2}[:=]\s{0,2}\\?[\"']?"
            r"(?:(?:basic|bearer|token|digest|apikey|negotiate|aws4-hmac-sha256)\s{1,3})?(?P<value>[^\s\"'\\]{6,4000})"
        ),
    ),
    ("cookie", re.compile(r"cookie\\?[\"']?\s{0,2}[:=]\s{0,2}(?P<value>[^\r\n\"'\\]{6,4000})")),
)
_NAMED_HEADERS: Final = frozenset({"authorization", "proxy-authorization", "cookie", "set-cookie"})
_NUMERIC: Final = re.compile(r"(?:password|passwd|passcode|pwd|pin|cvv|cvc|otp)\Z")
_CAMEL: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")

# --- what can stand there -------------------------------------------------------------------------

_BARE: Final = re.compile(r"[^\s\"'`,;&)}\]<>\\]{1,4096}")
_QUOTED: Final = re.compile(r"\\?([\"'`])(?P<value>(?:(?!\\?\1)[^\n]){1,4096})")
_REFERENCE: Final = re.compile(
    r"\[[a-z][a-z0-9_-]{0,63}\]?\Z|\{\{|\$[{(A-Z_]|<|%[({]|%s\Z|%[A-Z_]+%\Z|\*+\Z|x{3,}\Z|\.{2,}\Z|[\[{]|[\w.]+\(|"
    r"(?:os|env|process\.env|secrets?|self|config|settings|inputs?|steps?)\."
)
"""What names a secret instead of being one, or is none: a placeholder, a template, a variable, a call."""
_ORDINARY_TEXT: Final = """
    a an and any are as bool boolean bytes can cannot changed correct does empty expired failed false
    field for has hidden if in incorrect input int integer invalid is it login masked match may mismatch
    missing must my needed new nil no none not null number object of ok omitted on only optional or
    password please redacted refused required reset secret set should str string text that the this to
    token too true undefined unknown unset use used valid value was when which will with wrong you your
"""
_ORDINARY: Final = frozenset(_ORDINARY_TEXT.split())
_WORDS: Final = re.compile(r"[A-Za-z]+(?:[ _.-][A-Za-z]+)*\Z")


def find(text: str) -> Iterator[Span]:
    """Yields secrets, without the names before them."""
    for run in _RUN.finditer(text):
        yield from _issued(text, run)
    if "-----BEGIN" in text:
        yield from _key_blocks(text)
    for pattern in (_USERINFO, _SIGNED):
        yield from _values(text, pattern.finditer(text))
    yield from _written(text, _lower(text))


def is_named(key: str, value: Any) -> bool:
    """Whether what stands under a name such as `api_key` is one."""
    lower = _CAMEL.sub("_", key[-64:]).lower()
    if isinstance(value, int):
        return _NUMERIC.search(lower) is not None
    if lower in _NAMED_HEADERS:
        return _is_secret(value)
    name = _NAME.search(lower)
    return name is not None and _is_secret(value, weak=name["weak"] is not None)


def _issued(text: str, run: re.Match[str]) -> Iterator[Span]:
    found = run[0]
    for mark, pattern in _PATTERNS:
        if mark in found:
            yield from (match.span() for match in pattern.finditer(text, *run.span()))


def _key_blocks(text: str) -> Iterator[Span]:
    """Yields private keys; one whose end was cut off goes on to the end of the text."""
    position = 0
    while begin := _KEY_BLOCK.search(text, position):
        end = _KEY_END.search(text, begin.end())
        position = end.end() if end else len(text)
        yield begin.start(), position


def _written(text: str, lower: str) -> Iterator[Span]:
    """Yields what stands after a name for it."""
    for word, pattern in _HEADERS:
        if word in lower:
            yield from _values(text, pattern.finditer(lower))
    for word, pattern in _ASSIGNED if _SIGNS.search(text) else ():
        if word in lower:
            yield from _after_names(text, lower, pattern)
    if "--" in lower:
        for match in _FLAG.finditer(lower):
            yield from _assigned(text, match.end(), weak=False)


def _after_names(text: str, lower: str, pattern: re.Pattern[str]) -> Iterator[Span]:
    reached = 0
    for match in pattern.finditer(lower):
        name = _NAME.search(lower, max(0, match.start() - 24), match.end("name"))
        if name and match.start() >= reached:
            for span in _assigned(text, match.end(), weak=name["weak"] is not None):
                reached = span[1]
                yield span


def _values(text: str, found: Iterator[re.Match[str]]) -> Iterator[Span]:
    for match in found:
        if _is_secret(text[slice(*match.span("value"))]):
            yield match.span("value")


def _assigned(text: str, position: int, *, weak: bool) -> Iterator[Span]:
    """Yields the value that stands there."""
    quoted = _QUOTED.match(text, position)
    value = quoted or _BARE.match(text, position)
    if value is None:
        return
    start, end = value.span("value") if quoted else value.span()
    if not quoted:
        end = start + len(text[start:end].rstrip(".:!?"))
    if text[end : end + 1] != "(" and _is_secret(text[start:end], weak=weak):
        yield start, end


def _is_secret(value: str, *, weak: bool = False) -> bool:
    """Whether a value may be a secret at all; after a weak name it must look like one."""
    if not value or _REFERENCE.match(value) or value.lower() in _ORDINARY:
        return False
    if not weak:
        return True
    if _WORDS.match(value) and (len(value) < 20 or not value.isalnum()):
        return False
    return len(value) >= 8 or (value.isdigit() and len(value) >= 3)


def _lower(text: str) -> str:
    """Returns the text in lower case, as long as it is: a few letters become two."""
    lower = text.lower()
    return (
        lower if len(lower) == len(text) else "".join(c.lower() if len(c.lower()) == 1 else c for c in text)
    )
