"""E-mail addresses: found by their `@`, with what stands before and after it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from taskmark.privacy.detecting import Span

_LONGEST_LOCAL: Final = 66
"""64 characters, and quotes around them."""
_FOREIGN: Final = r"\u00c0-\u1fff\u2c00-\u2fef\u3040-\ufaff\U00010000-\U0010ffff"
"""Letters of other scripts with the marks that belong to them, but no punctuation."""
_LETTER: Final = rf"[A-Za-z0-9{_FOREIGN}]"
_LABEL: Final = rf"{_LETTER}(?:[A-Za-z0-9_{_FOREIGN}-]{{0,61}}{_LETTER})?"
_DOMAIN: Final = re.compile(
    rf"(?P<sign>@|%40)(?:(?:{_LABEL}\.){{1,10}}(?:[Xx][Nn]--[A-Za-z0-9-]{{2,59}}|[A-Za-z]{{2,24}}|[{_FOREIGN}]{{2,30}})"
    r"|\[(?:IPv6:)?[0-9A-Fa-f:.]{3,45}\])"
)
_PLAIN_BACKWARDS: Final = re.compile(rf"[\w!#$%&'*+/=?^`{{|}}~.{_FOREIGN}-]{{1,64}}")
_QUOTED_BACKWARDS: Final = re.compile(r'"(?=[^"\n]*[^\W_])(?:[^"\n\\]\\?){1,62}"(?!\\)')
_USERINFO: Final = re.compile(r"://[^\s/?#]*\Z")
_MORE_USERINFO: Final = re.compile(r"(?::[^\s/?#]{0,256})?@")
_URL_PART: Final = re.compile(r"[/?&=#;]")
_BLANK: Final = re.compile(r"\s")
_LONGEST_URL: Final = 1_000
_ASSIGNED: Final = re.compile(r"\A[A-Za-z_]\w*=(?=.)")
_PUNCTUATION: Final = "'`{|}/=&?*!.#"
_NO_DOMAIN: Final = re.compile(
    r"v?\d+\.\d|.*\.(?:png|jpe?g|gif|webp|svg|service|socket|timer|json|ya?ml|toml|txt|tgz|gz|zip|whl|js|html?)\Z",
    re.IGNORECASE | re.DOTALL,
)
"""What follows an `@` in names of files, packages and units."""


def find(text: str) -> Iterator[Span]:
    """Yields addresses: plain, quoted, with tags, of international names, of address literals."""
    for domain in _DOMAIN.finditer(text):
        at, end = domain.span()
        length = _local(text, at)
        if (
            length
            and not _NO_DOMAIN.match(text, domain.end("sign"), end)
            and not _is_remote(text, at, length, end)
        ):
            yield at - length, end


def _local(text: str, at: int) -> int:
    """Returns how long the part before the `@` is."""
    window = text[max(0, at - _LONGEST_LOCAL) : at]
    if window.endswith('"') and (quoted := _QUOTED_BACKWARDS.match(window[::-1])):
        return quoted.end()
    plain = _PLAIN_BACKWARDS.match(window[::-1])
    if plain is None:
        return 0
    cut = _URL_PART.search(plain[0])
    if cut and _is_in_url(text, at):
        return cut.start()
    return len(_ASSIGNED.sub("", plain[0][::-1]).lstrip(_PUNCTUATION))


def _is_in_url(text: str, at: int) -> bool:
    begin = text.rfind("://", max(0, at - _LONGEST_URL), at)
    return begin >= 0 and not _BLANK.search(text, begin, at)


def _is_remote(text: str, at: int, length: int, end: int) -> bool:
    """Whether it is the user of an address such as `ssh://git@host` or `git@host:path`; a user may be an
    e-mail address, too, and then the host comes after another `@`."""
    if text[at - length : at] == "git":
        return True
    user = _USERINFO.search(text, max(0, at - length - 2 * _LONGEST_LOCAL), at)
    return user is not None and not _MORE_USERINFO.match(text, end)
