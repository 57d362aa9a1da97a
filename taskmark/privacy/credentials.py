"""Keys and tokens: by the form that their issuers gave them, and by the names that stand with them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

from taskmark.privacy import issued
from taskmark.privacy.detecting import Span

_USERINFO: Final = re.compile(
    r"://[^\s/:@?#\"']{0,256}+:(?!\d{1,5}[/?#])"
    r"(?P<value>[^\s@\"']{1,512}+(?:@[^\s@\"']{0,256}+){0,8}?)@(?![^\s/@?#\"']{0,256}+@)"
)
_MAILED: Final = re.compile(r"://[^\s/:@?#\"']{1,256}+@[^\s/:@?#\"']{1,256}+:(?P<value>[^\s/@\"']{1,512}+)@")
"""Passwords in URLs may hold what elsewhere ends a host's name; a port before a path is none.
The user may be an e-mail address."""
_WEB: Final = re.compile(r"(?:https?|wss?|ssh|git|s?ftps?)\Z", re.IGNORECASE)
_FURTHER: Final = re.compile(r"@(?:[^\s\"'?:]|:(?!//)){0,512}(?=@)")
"""What belongs to the password, too, where paths have no `@`: in the URLs of databases and queues."""
_SIGNED: Final = re.compile(
    r"[?&](?:sig|signature|X-Amz-Signature|X-Goog-Signature|code|key)=(?P<value>[\w%.~+/=-]{16,2000})"
)

# --- what people write before ---------------------------------------------------------------------
# Looked for in lower case, each pattern from its first word on: that is what makes them fast.

_STRONG: Final = (
    r"password|passwort|passwd|passphrase|passcode|pwd|contraseña|senha|mot[_ ]de[_ ]passe|пароль|密码|密碼|"
    r"(?:admin|app|auth|basic|db|docker|ftp|git|http|imap|key|ldap|login|mail|mongo|mq|my|mysql|pg|postgres|"
    r"proxy|redis|registry|root|smtp|ssh|store|sudo|svc|user|vpn|wifi)[_-]?(?:pass|pw)|"
    r"api[_ -]?key|"
    r"(?:secret|access|private|signing|encryption|account|shared|auth|master)[_ -]?(?:access[_-]?)?key|"
    r"client[_ -]?secret|(?:auth|access|refresh|(?<![a-z])id|session|bearer|api|security|deploy)[_ -]?token|"
    r"session[_-]?key"
)
_WEAK: Final = r"secret|token|signature|otp|pin|cvv|cvc|webhook|session[_-]?id"
"""Words that are also used of harmless things; what follows must look like a secret."""
_HOLDER: Final = r"credentials?"
"""Of a whole text that stands under it, or in quotes, this is as telling as `password`."""
_SHORT: Final = r"pass|pw"
"""More often than for passwords these stand for what passed."""
_NAME: Final = re.compile(
    rf"(?:(?P<strong>{_STRONG})|(?P<holder>{_HOLDER})|(?<![a-z])(?:(?P<weak>{_WEAK})|(?P<short>{_SHORT})))\Z"
)
_ENDINGS_TEXT: Final = """
    password passwort passwd passphrase passcode pwd contraseña senha motdepasse пароль 密码 密碼 pass pw
    apikey secretkey accesskey privatekey signingkey encryptionkey accountkey sharedkey authkey masterkey
    sessionkey sessionid token secret credential credentials signature otp pin cvv cvc webhook
"""
_ENDINGS: Final = tuple(_ENDINGS_TEXT.split())
"""How all these names end without what joins their words: most others are told by that, and quickly."""
_ENVIRONMENT: Final = re.compile(r"[A-Z0-9]_(?:PASS|PW)\Z")
_ALONE: Final = re.compile(r"(?<![_-])(?:pass|pw)\Z")
_LONGEST_NAME: Final = 64
_PREFIX: Final = 24
_ENDS: Final = (
    ("pass", "(?:word|wort|wd|phrase|code|e)?"),
    ("pwd", ""),
    ("pw", ""),
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
_INSIDE: Final = re.compile(r"\{\s{0,20}\\?[\"']?(?:value|secret|plaintext|raw)\\?[\"']?\s{0,2}[:=]\s{0,2}")
_VALUE: Final = re.compile(r"value\\?[\"']?\s{0,2}[:=]\s{0,2}")
_BESIDE: Final = re.compile(
    r"(?<![A-Za-z])(?:name|key|field|variable|header)\\?[\"']?\s{0,2}[:=]\s{0,2}\\?[\"']?"
    r"(?P<name>[\w.-]{1,64})\\?[\"']?\s{0,2}[,;]?\s{0,20}\\?[\"']?\Z",
    re.IGNORECASE,
)
"""An object can tell its value's name beside it: `{"name": "password", "value": "…"}`."""
_BACK: Final = 128
_ELEMENT: Final = re.compile(r"<(?P<name>[\w:.-]{1,64})>(?P<value>[^<>\n]{1,4096})</")
_CURL: Final = re.compile(
    r"(?<!\S)(?:-u|--user|--proxy-user)[ =]?(?P<quote>[\"'])?[^\s:\"']{1,256}:"
    r"(?P<value>(?(quote)[^\"'\n]|[^\s\"']){1,512})"
)
_FAR: Final = 300
"""So long may a command be before the option with the password."""
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
_NAMED_HEADERS: Final = {
    "authorization": "strong",
    "proxy-authorization": "strong",
    "cookie": "cookie",
    "set-cookie": "cookie",
}
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
    token too true undefined unknown unset use used valid value was when which will with wrong yes you your
"""
_ORDINARY: Final = frozenset(_ORDINARY_TEXT.split())
_WORDS: Final = re.compile(r"[A-Za-z]+(?:[ _.-][A-Za-z]+)*\Z")
_COUNT: Final = re.compile(r"[\d.,:/% -]+(?:[A-Za-z]{1,3})?\Z")
_MIXED: Final = re.compile(r"(?=\S*\d)(?=\S*[A-Za-z])[^\s/]{5,}\Z")
_LONGEST_LOOSE: Final = 64
_CLAUSE_END: Final = re.compile(r"[ \t]*(?:\Z|[\r\n,;.!)}\]\"'])")
_PORTS: Final = frozenset({"3000", "5000", "5432", "8000", "8080", "8081", "8443", "9090"})
"""More often than codes these are ports."""


def find(text: str) -> Iterator[Span]:
    """Yields secrets, without the names with them."""
    yield from issued.find(text)
    if "://" in text and "@" in text:
        yield from _passwords(text)
        yield from _values(text, _MAILED.finditer(text))
    if "?" in text or "&" in text:
        yield from _values(text, _SIGNED.finditer(text))
    yield from _written(text, _lower(text))
    if "</" in text:
        yield from (m.span("value") for m in _ELEMENT.finditer(text) if is_named(m["name"], m["value"]))


def is_named(key: str, value: Any) -> bool:
    """Whether what stands under a name such as `api_key` is one."""
    level = _level(key[-_LONGEST_NAME:])
    if level is None:
        return False
    if isinstance(value, int):
        is_port = level == "weak" and str(value) in _PORTS
        return not is_port and _NUMERIC.search(key.lower()) is not None
    return _is_secret(value, "strong" if level == "holder" else level)


@lru_cache(maxsize=10_000)
def _level(name: str) -> str | None:
    """Returns how much a name tells of its value: the group of `_NAME`, or what else `_is_secret` knows."""
    lower = _CAMEL.sub("_", name).lower()
    if lower in _NAMED_HEADERS:
        return _NAMED_HEADERS[lower]
    found = _named(lower, 0, len(lower))
    return found.lastgroup if found else None


def _named(lower: str, start: int, end: int) -> re.Match[str] | None:
    """Returns the name that ends there, if it is one for a secret."""
    words = lower[start:end].replace("_", "").replace("-", "").replace(" ", "")
    return _NAME.search(lower, start, end) if words.endswith(_ENDINGS) else None


def _passwords(text: str) -> Iterator[Span]:
    """Yields those in URLs."""
    for match in _USERINFO.finditer(text):
        start, end = match.span("value")
        if not _WEB.search(text, max(0, match.start() - 8), match.start()):
            further = _FURTHER.match(text, end)
            end = further.end() if further else end
        if _is_secret(text[start:end]):
            yield start, end


def _written(text: str, lower: str) -> Iterator[Span]:
    """Yields what stands after a name for it."""
    for word, pattern in _HEADERS:
        if word in lower:
            yield from _values(text, pattern.finditer(lower), _NAMED_HEADERS.get(word, "strong"))
    if _SIGNS.search(text):
        for word, pattern in _ASSIGNED:
            if word in lower:
                yield from _after_names(text, lower, pattern)
        if "value" in lower:
            yield from _beside_names(text, lower)
    if "--" in lower:
        for match in _FLAG.finditer(lower):
            yield from _assigned(text, match.end(), "strong")
    if "curl" in lower:
        yield from _values(
            text, (m for m in _CURL.finditer(text) if "curl" in lower[max(0, m.start() - _FAR) : m.start()])
        )


def _after_names(text: str, lower: str, pattern: re.Pattern[str]) -> Iterator[Span]:
    reached = 0
    for match in pattern.finditer(lower):
        name = _named(lower, max(0, match.start() - _PREFIX), match.end("name"))
        if name and name.lastgroup and match.start() >= reached:
            inside = _INSIDE.match(lower, match.end())
            position = inside.end() if inside else match.end()
            written = text[max(0, name.start() - 2) : name.end()]
            for span in _assigned(text, position, _in_text(text, position, written, name.lastgroup)):
                reached = span[1]
                yield span


def _beside_names(text: str, lower: str) -> Iterator[Span]:
    for match in _VALUE.finditer(lower):
        beside = _BESIDE.search(text, max(0, match.start() - _BACK), match.start())
        if beside and (level := _level(beside["name"])):
            position = match.end()
            yield from _assigned(text, position, _in_text(text, position, beside["name"], level))


def _in_text(text: str, position: int, name: str, level: str) -> str | None:
    """Returns how much a name tells in running text, where the first of many words may stand after it, and
    `PASS:` before the name of a test."""
    is_quoted = _QUOTED.match(text, position) is not None
    if level == "holder":
        return "strong" if is_quoted else "holder"
    if level != "short" or is_quoted or text[position - 1] == "=" or _ENVIRONMENT.search(name):
        return level
    return "loose" if _ALONE.search(name) else None


def _values(text: str, found: Iterator[re.Match[str]], level: str = "strong") -> Iterator[Span]:
    for match in found:
        if _is_secret(text[slice(*match.span("value"))], level):
            yield match.span("value")


def _assigned(text: str, position: int, level: str | None) -> Iterator[Span]:
    """Yields the value that stands there."""
    if level is None:
        return
    quoted = _QUOTED.match(text, position)
    longest = _LONGEST_LOOSE if level == "loose" else len(text)
    value = quoted or _BARE.match(text, position, position + longest)
    if value is None:
        return
    start, end = value.span("value") if quoted else value.span()
    if not quoted:
        end = start + len(text[start:end].rstrip(".:!?"))
    if level == "loose" and not _CLAUSE_END.match(text, end):
        return
    if text[end : end + 1] != "(" and _is_secret(text[start:end], level):
        yield start, end


def _is_secret(value: str, level: str = "strong") -> bool:
    """Whether a value may be a secret at all; unless the name is strong it must look like one."""
    if not value or _REFERENCE.match(value) or value.lower() in _ORDINARY:
        return False
    return level == "strong" or _LOOKS[level](value)


def _looks_random(value: str) -> bool:
    """No words, and long, or a number that one types."""
    if _WORDS.match(value) and (len(value) < 20 or not value.isalnum()):
        return False
    return len(value) >= 8 or (value.isdigit() and len(value) >= 3 and value not in _PORTS)


def _looks_chosen(value: str) -> bool:
    """Neither a number of things nor several words."""
    return not _COUNT.match(value) and not (" " in value and _WORDS.match(value))


def _looks_mixed(value: str) -> bool:
    """Letters and digits, but no number with its unit."""
    return _MIXED.match(value) is not None and not _COUNT.match(value)


def _looks_like_cookies(value: str) -> bool:
    """Names with values, or one word that is none of a language."""
    return "=" in value or not (" " in value or _WORDS.match(value))


_LOOKS: Final[Mapping[str, Callable[[str], bool]]] = {
    "weak": _looks_random,
    "holder": lambda value: _looks_random(value) or _looks_mixed(value),
    "short": _looks_chosen,
    "loose": _looks_mixed,
    "cookie": _looks_like_cookies,
}
"""By how much a name tells."""


def _lower(text: str) -> str:
    """Returns the text in lower case, as long as it is: a few letters become two."""
    lower = text.lower()
    return (
        lower if len(lower) == len(text) else "".join(c.lower() if len(c.lower()) == 1 else c for c in text)
    )
