"""Bank account numbers (IBAN): of a country's length, in groups of four or with the right check digits."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from taskmark.privacy.detecting import Span

_HEAD: Final = re.compile(r"(?<![A-Za-z0-9_])[A-Z]{2}(?:[0-9]{2}[ \u00a0-]?[A-Z]{1,4}[ \u00a0-]?)?\Z")
"""What stands before the first long run of digits: the country, and perhaps a bank's letters."""
_LONGEST_HEAD: Final = 10
_GAP: Final = re.compile(r"[ \u00a0-]")
_LENGTHS_TEXT: Final = """
    NO15 BE16 DK18 FI18 FO18 GL18 NL18 MK19 SI19 AT20 BA20 EE20 KZ20 LT20 LU20 XK20 CH21 HR21 LI21 LV21
    BG22 BH22 CR22 DE22 GB22 GE22 IE22 ME22 RS22 VA22 AE23 GI23 IL23 IQ23 TL23 AD24 CZ24 ES24 MD24 PK24
    RO24 SA24 SE24 SK24 TN24 VG24 LY25 PT25 ST25 IS26 TR26 FR27 GR27 IT27 MC27 MR27 SM27 AL28 AZ28 BY28
    CY28 DO28 GT28 HU28 LB28 PL28 SV28 BR29 EG29 PS29 QA29 UA29 JO30 KW30 MU30 MT31 SC31 LC32
"""
_LENGTHS: Final = {each[:2]: int(each[2:]) for each in _LENGTHS_TEXT.split()}


def find(text: str, digits: int) -> Iterator[Span]:
    """Yields the account number whose digits begin there; in groups also one with a slip in it, as what is
    left would be digits of somebody's account."""
    if not text[max(0, digits - 2) : digits].strip(" \u00a0-").isupper():
        return
    if head := _HEAD.search(text, max(0, digits - _LONGEST_HEAD), digits):
        start = head.start()
        length = _LENGTHS.get(text[start : start + 2])
        if length and text[start + 2 : start + 4].isdigit() and (end := _end(text, start, length)):
            yield start, end


def _end(text: str, start: int, length: int) -> int | None:
    """Returns where an account number of that length ends that begins there."""
    joined, spaced = start + length, start + length + (length - 1) // 4
    if _is_joined(text[start:joined], length) and not text[joined : joined + 1].isalnum():
        return joined
    groups = _GAP.split(text[start:spaced])
    fours = all(len(group) == 4 for group in groups[:-1]) and len("".join(groups)) == length
    if fours and "".join(groups).isalnum() and not text[spaced : spaced + 1].isalnum():
        return spaced
    return None


def _is_joined(account: str, length: int) -> bool:
    if len(account) != length or not (account.isascii() and account.isalnum()):
        return False
    return int("".join(str(int(sign, 36)) for sign in account[4:] + account[:4])) % 97 == 1
