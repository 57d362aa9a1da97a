"""Texts with personal data and texts without, made by the rules of those who issue such data.

Nothing here knows the detectors: e-mail addresses follow RFC 5321 and 6531, network addresses RFC 4291 and
5952, phone numbers the formats of national numbering plans, cards the issuers' ranges, tokens the vendors'
documentation.
"""

from __future__ import annotations

import base64
import json
import string
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv6Address
from random import Random
from uuid import UUID

Maker = Callable[[Random], str]

SENTENCES = (
    "Please write to {} before Friday.",
    "{}",
    "The customer gave {} and hung up.",
    "Kontakt: {} (bitte nicht weitergeben)",
    "Bitte {} notieren, danke!",
    "Le client a indiqué {}, merci de vérifier.",
    "El cliente dejó {} en el formulario",
    "Клиент оставил {} вчера вечером.",
    "お客様の連絡先は {} です",
    "客户留下了 {} 作为联系方式",
    "العميل ترك {} أمس",
    '{{"customer": {{"note": "{}"}}, "ok": true}}',
    "2026-03-04T05:06:07.123Z INFO app.worker [pid 4711] request for {} took 12.5 ms",
    "2026-03-04 05:06:07,123 ERROR 4711 shop.orders: cannot handle {}: exit 1",
    "a,b,{},d",
    "<td>{}</td>",
    "* {}\n* next",
    "value='{}'; retry=3",
    'Traceback (most recent call last):\n  File "/srv/app.py", line 12, in run\nValueError: bad value: {}',
)

# --- e-mail ---------------------------------------------------------------------------------------

ATEXT = string.ascii_letters + string.digits + "_-+"
RARE_ATEXT = ATEXT + "!#$%&'*/=?^`{|}~"
TLDS = (
    "com",
    "org",
    "net",
    "de",
    "fr",
    "co.uk",
    "io",
    "museum",
    "com.br",
    "co.jp",
    "dev",
    "academy",
    "xn--p1ai",
)
NATIONAL_DOMAINS = ("bücher.de", "例子.中国", "почта.рф", "müller-söhne.at", "भारत.भारत", "παράδειγμα.ελ")
NAMES = (
    "anna",
    "j.smith",
    "maria-jose",
    "li.wei",
    "o_brien",
    "x",
    "user2024",
    "jürgen",
    "иван.петров",
    "张伟",
)


def _word(r: Random, letters: str, low: int, high: int) -> str:
    return "".join(r.choices(letters, k=r.randint(low, high)))


def _label(r: Random) -> str:
    inner = _word(r, string.ascii_lowercase + string.digits + "-", 0, 12)
    return r.choice(string.ascii_lowercase) + inner + r.choice(string.ascii_lowercase)


def _domain(r: Random) -> str:
    if r.random() < 0.1:
        return r.choice(NATIONAL_DOMAINS)
    return ".".join([*(_label(r) for _ in range(r.randint(1, 3))), r.choice(TLDS)])


def email(r: Random) -> str:
    kind = r.random()
    if kind < 0.45:
        local = ".".join(
            r.choice(string.ascii_letters) + _word(r, ATEXT, 0, 10) for _ in range(r.randint(1, 3))
        )
    elif kind < 0.6:
        local = r.choice(NAMES) + "+" + _word(r, string.ascii_lowercase, 1, 8)
    elif kind < 0.75:
        local = r.choice(NAMES)
    elif kind < 0.85:
        local = r.choice(string.ascii_letters) + _word(r, RARE_ATEXT, 1, 15) + "z"
    elif kind < 0.92:
        local = '"' + _word(r, string.ascii_letters + " .,@-", 1, 20).strip() + 'q"'
    else:
        return f"{r.choice(NAMES)}@[{IPv4Address(r.getrandbits(32) | 1 << 24)}]"
    return f"{local}@{_domain(r)}"


EMAILS_WRITTEN = (
    "https://example.org?email={}",
    "http://api.example.org:8080?to={}&page=2",
    "https://example.org/unsubscribe?list=7&mail={}",
    "https://{}:geheim17@proxy.example.org:8080",
)


def written_email(r: Random) -> tuple[str, str]:
    """Returns an address with how it is written; in URLs without what has a meaning of its own there."""
    if r.random() < 0.85:
        return email(r), "{}"
    local = (
        r.choice(string.ascii_letters) + _word(r, string.ascii_letters + string.digits + "_-.", 0, 10) + "x"
    )
    return f"{local}@{_domain(r)}", r.choice(EMAILS_WRITTEN)


# --- network addresses ----------------------------------------------------------------------------


def ipv4(r: Random) -> str:
    if r.random() < 0.3:
        return f"{r.choice(('10.0', '192.168', '172.16', '100.64'))}.{r.randint(0, 255)}.{r.randint(1, 254)}"
    return str(IPv4Address(r.randint(1 << 24, 0xDFFFFFFF)))


IPV4_WRITTEN = (
    "ssh root@{}",
    "deploy@{}",
    "Permission denied: jane@{}",
    "postgres://svc@{}/db",
    "host-{}",
    "node-{}:8080",
    "ip.src=={}",
)


def written_ipv4(r: Random) -> tuple[str, str]:
    """Returns an address with how it is written; after `==` only where no version is as high."""
    address = ipv4(r)
    written = "{}" if r.random() < 0.8 else r.choice(IPV4_WRITTEN)
    return address, written.replace("==", " = ") if int(address.split(".")[0]) < 100 else written


def ipv6(r: Random) -> str:
    groups = [r.getrandbits(16) for _ in range(8)]
    groups[0] = r.choice(
        (0x2001, 0x2A02, 0x2600, 0xFE80, 0xFD00 | r.getrandbits(8), 0xFF02, 0x2000 | r.getrandbits(12))
    )
    if r.random() < 0.7:
        begin = r.randint(1, 6)
        for place in range(begin, r.randint(begin + 1, 8)):
            groups[place] = 0
    address = IPv6Address(sum(group << 16 * (7 - place) for place, group in enumerate(groups)))
    kind = r.random()
    if kind < 0.5:
        return address.compressed
    if kind < 0.65:
        return address.exploded.upper()
    if kind < 0.75:
        return ":".join(f"{group:x}" for group in groups)
    if kind < 0.85:
        return f"::ffff:{ipv4(r)}"
    if kind < 0.92:
        return f"64:ff9b::{ipv4(r)}"
    return f"fe80::{r.getrandbits(16):x}:{r.getrandbits(16):x}%{r.choice(('eth0', 'en1', 'wlan0', '3'))}"


def uuid(r: Random) -> str:
    found = str(UUID(int=r.getrandbits(128), version=r.choice((1, 3, 4, 5))))
    return r.choice((found, found.upper(), f"{{{found}}}", f"urn:uuid:{found}"))


def written_uuid(r: Random) -> tuple[str, str]:
    """Returns one with the name that it is joined to, if any."""
    found = uuid(r)
    is_bare = found[0] not in "{u"
    return found, r.choice(("req-{}", "session-{}", "node-{}", "x_{}", "/a/{}")) if is_bare else "{}"


# --- phone numbers --------------------------------------------------------------------------------
# Country code, national formats (`#` any digit, `N` 2-9) with what is dialled before them at home.

PLANS: tuple[tuple[str, str, str], ...] = (
    ("1", "(N##) N##-####", "(N##) N##-####"),
    ("1", "N##-N##-####", "N##-N##-####"),
    ("1", "N##.N##.####", "1-N##-N##-####"),
    ("44", "20 N### ####", "020 N### ####"),
    ("44", "7### ######", "07### ######"),
    ("44", "161 ### ####", "(0161) ### ####"),
    ("49", "30 ########", "030 ########"),
    ("49", "171 #######", "0171/#######"),
    ("49", "89 ######", "(089) ######"),
    ("33", "6 ## ## ## ##", "06 ## ## ## ##"),
    ("33", "1 ## ## ## ##", "01.##.##.##.##"),
    ("39", "06 #### ####", "06 #### ####"),
    ("34", "6## ## ## ##", "6## ## ## ##"),
    ("41", "44 ### ## ##", "044 ### ## ##"),
    ("43", "1 #######", "01 #######9"),
    ("31", "20 ### ####", "020 ### ####"),
    ("32", "4## ## ## ##", "04## ## ## ##"),
    ("46", "70-### ## ##", "070-### ## ##"),
    ("358", "40 #######", "040 #######"),
    ("48", "6## ### ###", "6##-###-###"),
    ("7", "912 ###-##-##", "8 (912) ###-##-##"),
    ("380", "44 ### ####", "044 ### ####"),
    ("90", "532 ### ## ##", "0532 ### ## ##"),
    ("972", "50-###-####", "050-###-####"),
    ("20", "10 ########", "010 ########"),
    ("234", "803 ### ####", "0803 ### ####"),
    ("27", "82 ### ####", "082 ### ####"),
    ("91", "9#### #####", "9#### #####"),
    ("91", "22 #### ####", "022 #### ####"),
    ("86", "138 #### ####", "138 #### ####"),
    ("86", "10 #### ####", "(010) ########"),
    ("81", "90-####-####", "090-####-####"),
    ("81", "3-####-####", "03-####-####"),
    ("82", "10-####-####", "010-####-####"),
    ("61", "4## ### ###", "04## ### ###"),
    ("61", "2 #### ####", "(02) #### ####"),
    ("64", "21 ### ####", "021 ### ####"),
    ("55", "11 9####-####", "(11) 9####-####"),
    ("54", "9 11 ####-####", "(011) ####-####"),
    ("66", "81 ### ####", "081 ### ####"),
    ("84", "91 ### ## ##", "091 ### ## ##"),
    ("62", "812-####-####", "0812-####-####"),
)
UNGROUPED = (
    "tel: {}",
    "phone {}",
    "Telefon: {}",
    "téléphone : {}",
    "móvil: {}",
    "тел. {}",
    "电话：{}",
    "call {}",
    "mobile={}",
)
"""National digits alone are told from other numbers only by the word before them."""


def _digits(r: Random, form: str) -> str:
    return "".join(
        r.choice("23456789") if c == "N" else r.choice(string.digits) if c == "#" else c for c in form
    )


def phone(r: Random) -> tuple[str, str]:
    """Returns a number with how it is written."""
    country, abroad, at_home = r.choice(PLANS)
    kind = r.random()
    if kind < 0.35:
        return _digits(r, at_home), "{}"
    number = _digits(r, abroad)
    if kind < 0.6:
        return f"+{country} {number}", "{}"
    bare = "".join(filter(str.isdigit, number))
    if kind < 0.75:
        return f"+{country}{bare}", "{}"
    if kind < 0.85:
        joined = number if "(" in number else number.replace(" ", "-")
        return f"+{country}-{joined}", "{}"
    if kind < 0.92:
        return f"00{country} {number}", "{}"
    return bare, r.choice(UNGROUPED)


# --- cards ----------------------------------------------------------------------------------------

ISSUERS: tuple[tuple[Callable[[Random], str], int], ...] = (
    (lambda r: "4", 16),
    (lambda r: "4", 13),
    (lambda r: "4", 19),
    (lambda r: str(r.randint(51, 55)), 16),
    (lambda r: str(r.randint(2221, 2720)), 16),
    (lambda r: r.choice(("34", "37")), 15),
    (lambda r: r.choice(("6011", "65", str(r.randint(644, 649)))), 16),
    (lambda r: r.choice((str(r.randint(300, 305)), "36", "38", "39")), 14),
    (lambda r: str(r.randint(3528, 3589)), 16),
    (lambda r: "62", 16),
    (lambda r: "62", 19),
    (lambda r: r.choice(("5018", "5020", "5038", "6304", "6759", "6761")), 16),
    (lambda r: str(r.randint(2200, 2204)), 16),
)


def _check_digit(number: str) -> str:
    total = 0
    for place, digit in enumerate(reversed(number)):
        value = int(digit) * (2 if place % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return str(-total % 10)


def card(r: Random) -> str:
    prefix, length = r.choice(ISSUERS)
    number = prefix(r)
    number += "".join(r.choices(string.digits, k=length - 1 - len(number)))
    number += _check_digit(number)
    gap = r.choice(("", "", "", " ", " ", "-", "-", ".", "  ", "\u00a0", "\u2011"))
    if length == 15 and gap:
        return gap.join((number[:4], number[4:10], number[10:]))
    return gap.join(number[place : place + 4] for place in range(0, length, 4)) if gap else number


# --- keys and tokens ------------------------------------------------------------------------------

ALNUM = string.ascii_letters + string.digits
URLSAFE = ALNUM + "-_"
HEX = "0123456789abcdef"


def _of(r: Random, letters: str, length: int) -> str:
    return "".join(r.choices(letters, k=length))


def _jwt(r: Random) -> str:
    parts = (
        {"alg": "HS256", "typ": "JWT"},
        {"sub": _of(r, string.digits, 10), "iat": r.randint(10**9, 2 * 10**9)},
    )
    head = ".".join(base64.urlsafe_b64encode(json.dumps(p).encode()).decode().rstrip("=") for p in parts)
    return f"{head}.{_of(r, URLSAFE, 43)}"


def _pem(r: Random) -> str:
    kind = r.choice(("RSA ", "EC ", "", "OPENSSH ", "ENCRYPTED "))
    body = "\n".join(_of(r, ALNUM + "+/", 64) for _ in range(r.randint(2, 12)))
    return f"-----BEGIN {kind}PRIVATE KEY-----\n{body}\n-----END {kind}PRIVATE KEY-----"


TOKENS: tuple[Maker, ...] = (
    lambda r: r.choice(("AKIA", "ASIA")) + _of(r, string.ascii_uppercase + "234567", 16),
    lambda r: f"gh{r.choice('pousr')}_{_of(r, ALNUM, 36)}",
    lambda r: f"github_pat_{_of(r, ALNUM, 22)}_{_of(r, ALNUM, 59)}",
    lambda r: f"glpat-{_of(r, URLSAFE, 20)}",
    lambda r: (
        f"xox{r.choice('bpas')}-{_of(r, string.digits, 12)}-{_of(r, string.digits, 12)}-{_of(r, ALNUM, 24)}"
    ),
    lambda r: f"https://hooks.slack.com/services/T{_of(r, ALNUM, 8)}/B{_of(r, ALNUM, 8)}/{_of(r, ALNUM, 24)}",
    lambda r: f"{r.choice(('sk', 'rk', 'pk'))}_{r.choice(('live', 'test'))}_{_of(r, ALNUM, 24)}",
    lambda r: f"AIza{_of(r, URLSAFE, 35)}",
    lambda r: f"sk-{_of(r, ALNUM, 48)}",
    lambda r: f"sk-proj-{_of(r, URLSAFE, 60)}7",
    lambda r: f"sk-ant-api03-{_of(r, URLSAFE, 93)}AA",
    lambda r: f"hf_{_of(r, string.ascii_letters, 34)}",
    lambda r: f"npm_{_of(r, ALNUM, 36)}",
    lambda r: f"pypi-AgEIcHlwaS5vcmc{_of(r, URLSAFE, 130)}",
    lambda r: f"SG.{_of(r, URLSAFE, 22)}.{_of(r, URLSAFE, 43)}",
    _jwt,
    _pem,
    lambda r: f"gsk_{_of(r, ALNUM, 52)}",
    lambda r: f"xai-{_of(r, ALNUM, 80)}",
    lambda r: f"pplx-{_of(r, ALNUM, 48)}",
    lambda r: f"r8_{_of(r, ALNUM, 37)}",
    lambda r: f"dapi{_of(r, HEX, 32)}",
    lambda r: f"dckr_pat_{_of(r, URLSAFE, 27)}",
    lambda r: f"ATATT3xFfGF0{_of(r, URLSAFE, 171)}={_of(r, HEX.upper(), 8)}",
    lambda r: f"ntn_{_of(r, ALNUM, 46)}",
    lambda r: f"secret_{_of(r, ALNUM, 43)}",
    lambda r: f"lin_api_{_of(r, ALNUM, 40)}",
    lambda r: f"figd_{_of(r, URLSAFE, 40)}",
    lambda r: f"PMAK-{_of(r, HEX, 24)}-{_of(r, HEX, 34)}",
    lambda r: f"NRAK-{_of(r, string.ascii_uppercase + string.digits, 27)}",
    lambda r: f"sbp_{_of(r, HEX, 40)}",
    lambda r: f"sntrys_eyJpYXQiOjE2{_of(r, ALNUM, 80)}=_{_of(r, ALNUM, 43)}",
    lambda r: f"sntryu_{_of(r, HEX, 64)}",
    lambda r: f"tskey-auth-k{_of(r, ALNUM, 10)}CNTRL-{_of(r, ALNUM, 32)}",
    lambda r: f"rubygems_{_of(r, HEX, 48)}",
    lambda r: f"https://discord.com/api/webhooks/1{_of(r, string.digits, 18)}/{_of(r, URLSAFE, 68)}",
    lambda r: f"M{_of(r, ALNUM, 25)}.G{_of(r, URLSAFE, 5)}.{_of(r, ALNUM, 37)}A",
    lambda r: f"1//0{_of(r, URLSAFE, 99)}",
)
PASSWORDS: tuple[Maker, ...] = (
    lambda r: _of(r, ALNUM, r.randint(8, 24)) + "1",
    lambda r: _of(r, ALNUM + "!@#%^*-_+.", r.randint(8, 20)) + "x",
    lambda r: r.choice(("hunter2", "Sommer2024!", "correcthorse", "tr0ub4dor", "S3cret#pw")),
)
WRITTEN = (
    "password={}",
    "PASSWORD: {}",
    'db_password = "{}"',
    "DATABASE_PASSWORD='{}'",
    '{{"api_key": "{}"}}',
    "apiKey={}",
    "X-Api-Key: {}",
    "client_secret={}",
    "AWS_SECRET_ACCESS_KEY={}",
    "access_token={}&state=1",
    "Authorization: Bearer {}",
    '"Authorization": "Basic {}"',
    "postgres://shop:{}@db.internal:5432/shop",
    "https://deploy:{}@git.example.org/x.git",
    "--password {}",
    "passwd: {}",
    "//registry.npmjs.org/:_authToken={}",
    '\\"refresh_token\\": \\"{}\\"',
    "SMTP_PASS={}",
    "DB_PASS: {}",
    "pass={}",
    "pw={}",
    '{{"env":{{"DB_PASS":"{}"}}}}',
    '{{"password":{{"value":"{}"}}}}',
    '{{"credentials":{{"secret":"{}"}}}}',
    '{{"name":"password","value":"{}"}}',
    "<password>{}</password>",
    "curl -u shop:{}",
)
DATABASES = (
    "postgresql://app:{}@db/app",
    "mysql://root:{}@db.example.org:3306/app",
    "mongodb://u:{}@h1:27017,h2:27017/db",
)


def secret(r: Random) -> tuple[str, str]:
    """Returns a secret with how it is written."""
    if r.random() < 0.5:
        return r.choice(TOKENS)(r), "{}"
    if r.random() < 0.1:
        return "p" + _of(r, ALNUM + "@/!", r.randint(6, 20)) + "1", r.choice(DATABASES)
    written = r.choice(WRITTEN)
    value = r.choice(PASSWORDS)(r)
    if "@" in written or "&" in written or "Bearer" in written or "Basic" in written or "X-" in written:
        value = _of(r, ALNUM, 20)
    return value, written


KINDS: dict[str, Maker] = {"ipv6": ipv6, "card": card}
WRITTEN_KINDS: dict[str, Callable[[Random], tuple[str, str]]] = {
    "email": written_email,
    "ipv4": written_ipv4,
    "uuid": written_uuid,
    "phone": phone,
    "secret": secret,
}


def positives(kind: str, r: Random, count: int) -> Iterator[tuple[str, str]]:
    """Yields texts, and what is in them."""
    for _ in range(count):
        value, written = WRITTEN_KINDS[kind](r) if kind in WRITTEN_KINDS else (KINDS[kind](r), "{}")
        sentence = r.choice(SENTENCES)
        yield sentence.format(written.format(value)), value


# --- what must stay -------------------------------------------------------------------------------


def _isbn13(r: Random) -> str:
    number = "978" + _of(r, string.digits, 9)
    check = -sum(int(d) * (3 if i % 2 else 1) for i, d in enumerate(number)) % 10
    return f"ISBN {number[:3]}-{number[3]}-{number[4:8]}-{number[8:12]}-{check}"


def _id(r: Random) -> str:
    task = r.choice(("example", "repo-health", "täglich_2"))
    return f"exec-{r.randint(1_600_000_000_000, 1_900_000_000_000)}-{task}"


def _date(r: Random) -> str:
    return f"{r.randint(1990, 2039)}-{r.randint(1, 12):02}-{r.randint(1, 28):02}"


def _time(r: Random) -> str:
    return f"{r.randint(0, 23):02}:{r.randint(0, 59):02}:{r.randint(0, 59):02}"


NEGATIVES: dict[str, Maker] = {
    "version": lambda r: r.choice(
        (
            f"version {r.randint(0, 30)}.{r.randint(0, 30)}.{r.randint(0, 30)}",
            f"v{r.randint(0, 9)}.{r.randint(0, 30)}.{r.randint(0, 99)}.{r.randint(0, 9)}",
            f"version {r.randint(0, 9)}.{r.randint(0, 30)}.{r.randint(0, 99)}.{r.randint(0, 9)}",
            f"requests=={r.randint(0, 9)}.{r.randint(0, 30)}.{r.randint(0, 9)}",
            f"Chrome/{r.randint(90, 140)}.0.0.0 Safari/537.36",
            f"lodash@{r.randint(0, 9)}.{r.randint(0, 30)}.{r.randint(0, 30)}",
            f"numpy>={r.randint(0, 9)}.{r.randint(0, 30)}.0.1",
            f"oid 1.3.6.1.4.1.{r.randint(1, 9999)}.2",
            f"pytest {r.randint(1, 9)}.{r.randint(0, 30)}.{r.randint(0, 30)}.{r.randint(0, 9)}",
            f"kernel {r.randint(2, 6)}.{r.randint(0, 30)}.0.{r.randint(0, 99)}",
            f"ver. {r.randint(0, 9)}.{r.randint(0, 30)}.{r.randint(0, 30)}.{r.randint(0, 9)}",
            f"tag {r.randint(0, 9)}.{r.randint(0, 30)}.{r.randint(0, 30)}.{r.randint(0, 9)}",
            f"{r.randint(0, 9)}.{r.randint(0, 30)}.{r.randint(0, 30)}.{r.randint(0, 9)}.dev{r.randint(0, 9)}",
        )
    ),
    "timestamp": lambda r: r.choice(
        (
            f"{_date(r)}T{_time(r)}Z",
            f"{_date(r)} {_time(r)},{r.randint(0, 999):03}",
            f"{_date(r)}T{_time(r)}.{r.randint(0, 999999):06}+0{r.randint(0, 9)}:00",
            f"{r.randint(1, 28):02}.{r.randint(1, 12):02}.{r.randint(1990, 2039)} {_time(r)}",
            f"{r.randint(1, 12):02}/{r.randint(1, 28):02}/{r.randint(1990, 2039)} at {r.randint(1, 12)}:30",
            f"from {_date(r)} to {_date(r)}",
            f"epoch {r.randint(10**9, 2 * 10**9)}",
            f"at={r.randint(10**12, 2 * 10**12)}",
            f"{_date(r).replace('-', '')}T{_time(r).replace(':', '')}Z",
            f"took {_time(r)}.{r.randint(0, 99)}",
        )
    ),
    "hash": lambda r: r.choice(
        (
            f"sha256 {_of(r, HEX, 64)}",
            f"commit {_of(r, HEX, 40)}",
            f"md5={_of(r, HEX, 32)}",
            f"{_of(r, HEX, 7)}..{_of(r, HEX, 7)}",
            f"sha512-{base64.b64encode(r.randbytes(64)).decode()}",
            f'etag "{_of(r, HEX, 32)}-{r.randint(1, 99)}"',
        )
    ),
    "money": lambda r: r.choice(
        (
            f"${r.randint(1, 999)},{r.randint(0, 999):03},{r.randint(0, 999):03}.{r.randint(0, 99):02}",
            f"{r.randint(1, 999)}.{r.randint(0, 999):03}.{r.randint(0, 999):03},{r.randint(0, 99):02} €",
            f"{r.randint(1, 999)} {r.randint(0, 999):03} {r.randint(0, 999):03} CHF",
            f"EUR {r.randint(1000, 999999)}.{r.randint(0, 99):02}",
            f"+{r.randint(1, 99)}.{r.randint(0, 99):02} %",
        )
    ),
    "book": lambda r: r.choice(
        (
            _isbn13(r),
            f"ISBN 0{_of(r, string.digits, 9)}",
            f"ISSN {_of(r, string.digits, 4)}-{_of(r, string.digits, 4)}",
        )
    ),
    "place": lambda r: r.choice(
        (
            f"{r.uniform(-90, 90):.6f}, {r.uniform(-180, 180):.6f}",
            f'{{"lat": {r.uniform(-90, 90):.7f}, "lon": {r.uniform(-180, 180):.7f}}}',
            f"+{r.uniform(10, 89):.4f}-{r.uniform(100, 179):.4f}/",
        )
    ),
    "hardware": lambda r: r.choice(
        (
            ":".join(f"{r.getrandbits(8):02x}" for _ in range(6)),
            "-".join(f"{r.getrandbits(8):02X}" for _ in range(6)),
            ":".join(f"{r.getrandbits(8):02x}" for _ in range(8)),
        )
    ),
    "our ids": lambda r: r.choice(
        (
            _id(r),
            f"{_id(r)}/measure/count[{r.randint(0, 99)}]#{r.randint(1, 3)}",
            f"trace {_of(r, HEX, 32)} span {_of(r, HEX, 16)}",
            f"idempotency key {_of(r, HEX, 64)}",
            f"run_id={UUID(int=r.getrandbits(128), version=4)}",
            f"'workflow_run_id': '{UUID(int=r.getrandbits(128), version=4)}'",
        )
    ),
    "path": lambda r: r.choice(
        (
            f"/srv/app/releases/{r.randint(20200101000000, 20291231000000)}/bin/run",
            f"tests/unit/test_{_of(r, string.ascii_lowercase, 8)}.py:{r.randint(1, 999)}:{r.randint(1, 99)}",
            f"https://example.org/a/{r.randint(1, 10**6)}?page={r.randint(1, 99)}#top",
            f"C:\\Users\\Public\\{_of(r, ALNUM, 8)}.txt",
            f"images/logo@{r.randint(2, 4)}x.png",
            "git@github.com:owner/repo.git",
        )
    ),
    "code": lambda r: r.choice(
        (
            "std::vector<std::string> names = abc::def::get();",
            f"x = items[{r.randint(0, 9)}::{r.randint(2, 9)}]",
            f"rows[{r.randint(100, 999)}:{r.randint(1000, 9999)}:{r.randint(2, 9)}]",
            "@pytest.fixture\ndef a(): ...",
            "password = getpass.getpass()",
            "token: str | None = None",
            'api_key = os.environ["API_KEY"]',
            "password: '{{ secrets.db }}'",
            f"max_tokens={r.randint(1, 9999)} tokens={r.randint(1, 9999)}",
            "if token == expected: next_token()",
            "key: value, keys = sorted(d)",
            f"pass: {r.randint(1, 999)} tests",
            f"--- PASS: TestLogin{r.randint(1, 9)} (0.00s)",
            "session_id: demo",
            "pin: 8080",
            "cookie: accepted terms",
            "credential: file not found",
            "invalid token: '}'",
            f"#{_of(r, HEX, 6)} rgba({r.randint(0, 255)}, {r.randint(0, 255)}, 0)",
        )
    ),
    "number": lambda r: r.choice(
        (
            str(r.randint(0, 10 ** r.randint(1, 12))),
            f"{r.randint(1, 10**9)} of {r.randint(1, 10**9)} bytes",
            f"order {r.randint(10**9, 10**10)}",
            f"0.{_of(r, string.digits, 16)}",
            f"{r.random() * 1e6}",
            f"rows {r.randint(1, 99999)}-{r.randint(1, 99999)}",
            f"[{r.randint(1, 9999)}, {r.randint(1, 9999)}, {r.randint(1, 9999)}, {r.randint(1, 9999)}]",
            f"ticket {_of(r, string.ascii_uppercase, 3)}-{r.randint(1, 99999)}",
            f"account {r.randint(10**15, 2 * 10**15)}",
            f"+1{_of(r, string.digits, 7)}",
            f"gained +{r.randint(10**9, 2 * 10**9 - 1)} bytes",
            f"{r.randint(100, 199)} {r.randint(200, 999)} {r.randint(1000, 9999)}",
            f"lines {r.randint(100, 199)}-{r.randint(200, 999)}-{r.randint(1000, 9999)}",
        )
    ),
    "prose": lambda r: r.choice(
        (
            "The password must be at least eight characters long.",
            "Invalid token: the session has expired.",
            "Call me when the 12 files are ready, about 3:30.",
            "He said: secret gardens are for everyone, @anna agrees.",
            "Meet @ 5 p.m.; see section 1.2.3 and table 4-5.",
            "Asia and Africa; the key: be kind.",
            "The authorization was refused: ask an owner.",
        )
    ),
}


def negatives(kind: str, r: Random, count: int) -> Iterator[str]:
    """Yields texts in which nothing is personal."""
    for _ in range(count):
        yield r.choice(SENTENCES).format(NEGATIVES[kind](r))
