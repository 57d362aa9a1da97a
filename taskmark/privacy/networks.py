"""Network addresses: IPv4, and IPv6 in all its forms."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import AddressValueError, IPv6Address
from typing import Final

from taskmark.privacy.detecting import Span

_OCTET: Final = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_IPV4: Final = re.compile(
    rf"(?<![0-9A-Za-z_])(?<![0-9]\.){_OCTET}(?:\.{_OCTET}){{3}}(?!\.?\d)(?![A-Za-z_])", re.ASCII
)
_CALLED_VERSION: Final = re.compile(
    r"(?:\b(?:versions?|ver\.?|rev|revision|release|build|section|oid|(?:upgraded?|downgraded?|update) to)"
    r"[\"']?[ :=\"']{1,4}v?"
    r"|\b(?:Chrome|Chromium|Edg\w*|OPR|Safari|Firefox|Version|Mozilla|HeadlessChrome|curl|Electron)/)\Z",
    re.IGNORECASE,
)
_LIKE_VERSION: Final = re.compile(
    r"(?:[=~<>!]=[ ]?|[~^][ ]?|(?<!\S)@[\w.-]+/[\w.-]+@|\btags?[\"']?[ :=\"']{1,4}v?"
    r"|\b(?:kernel|linux|python|pytest|pip|setuptools|wheel|numpy|pandas|java|jdk|ruby|perl|php|gcc|clang"
    r"|cmake|openssl|glibc|chrome|chromium|firefox|safari|android|ios|macos) )\Z",
    re.IGNORECASE,
)
"""Signs of packages and names of programs: what follows is a version unless it is an address for sure."""
_VERSION_AFTER: Final = re.compile(
    r"[.-](?:(?:dev|post|rc|alpha|beta)\.?|a|b|cp|py|r)\d|[.-](?:final|snapshot|generic|ga)\b"
    r"|\.(?:tar|t?gz|zip|whl|egg|jar|war|deb|rpm|apk|exe|msi|dmg|pkg|dist-info|nupkg)\b",
    re.IGNORECASE,
)
_PRIVATE: Final = re.compile(r"192\.168\.|172\.(?:1[6-9]|2\d|3[01])\.|169\.254\.")
_HIGH: Final = re.compile(r"10\.|1\d\d\.|2\d\d\.")
"""The first number is too high for most versions, or the one of private networks."""
_BACK: Final = 48
_NOBODY: Final = frozenset({"127.0.0.1", "0.0.0.0", "255.255.255.255", "255.255.255.0"})  # noqa: S104 - not bound to
"""They name no machine that is anybody's."""

COLONS: Final = re.compile(r":(?::|(?:[0-9A-Fa-f]{1,4}:){5})")
"""What every IPv6 address has, and times and hardware addresses have not."""
DOTS: Final = re.compile(r"\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]")
_GROUPS: Final = re.compile(r"[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,8}(?:\.[0-9]{1,3}){0,3}")
_ZONE: Final = re.compile(r"%[A-Za-z0-9][\w.~-]{0,31}")
_MACHINE: Final = re.compile(r"(?:[0-9A-Fa-f]{2}:){7}[0-9A-Fa-f]{2}")
"""Eight pairs: the hardware's own address (EUI-64)."""
_TYPICAL: Final = re.compile(r"(?:fe[89ab]|f[cd]|ff0|2[0-9a-f]{3}:|64:ff9b|::ffff:)", re.IGNORECASE)
_TELLING: Final = re.compile(r"(?=[0-9A-Fa-f]*\d)[0-9A-Fa-f]{3,4}")


def find_ipv4(text: str) -> Iterator[Span]:
    """Yields addresses, but no version numbers as far as what stands around tells, and not the loopback's."""
    for match in _IPV4.finditer(text):
        if match[0] not in _NOBODY and not _is_version(text, *match.span()):
            yield match.span()


def _is_version(text: str, start: int, end: int) -> bool:
    """Whether words or signs make it one; addresses of private networks are none, whatever stands there."""
    if _PRIVATE.match(text, start):
        return False
    back = max(0, start - _BACK)
    if _CALLED_VERSION.search(text, back, start):
        return True
    if _HIGH.match(text, start):
        return False
    return bool(_VERSION_AFTER.match(text, end) or _LIKE_VERSION.search(text, back, start))


def find_ipv6(text: str) -> Iterator[Span]:
    """Yields addresses with their zones, but no times, hardware addresses, slices and names of code."""
    for match in _GROUPS.finditer(text):
        if (span := _trimmed(text, *match.span())) and _is_ipv6(text[slice(*span)]):
            zone = _ZONE.match(text, span[1])
            yield span[0], zone.end() if zone else span[1]


def _trimmed(text: str, start: int, end: int) -> Span | None:
    """Returns where the address itself can be: without a name before it and punctuation around it."""
    if text[start - 1 : start].isalnum() or text[start - 1 : start] == "_":
        start = text.index(":", start)  # the end of a word, as in `IPv6:`
    if text.startswith(":", start) and not text.startswith("::", start):
        start += 1
    elif text[start - 1 : start].isalnum() or text[start - 1 : start] == "_":
        return None  # `name::other`
    after = text[end : end + 1]
    if after.isalnum() or after in {":", "_"}:
        return None
    if text[start:end].endswith(":") and (text[end - 3 : end] == ":::" or text[end - 2 : end] != "::"):
        end -= 1
    if (
        text[start - 1 : start] == "["
        and start > 1
        and (text[start - 2].isalnum() or text[start - 2] in "_])")
    ):
        return None  # a slice
    return start, end


def _is_ipv6(address: str) -> bool:
    if address.count(":") < 2 or _MACHINE.fullmatch(address):
        return False
    try:
        value = IPv6Address(address)
    except AddressValueError:
        return False
    if int(value) < 2:
        return False  # nothing, and the loopback
    groups = [group for group in address.split(":") if group]
    return "::" not in address or len(groups) > 2 or _is_telling(address, groups)


def _is_telling(address: str, groups: list[str]) -> bool:
    """Whether a short form is an address rather than `a::b` of some language."""
    return bool(_TYPICAL.match(address)) or any(_TELLING.fullmatch(group) for group in groups)
