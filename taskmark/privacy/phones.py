"""Phone numbers: international ones, national ones by their grouping, any others after a word for phone.

Digits alone are no phone number: most of those in records count, date or name something.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from taskmark.privacy.detecting import Span
from taskmark.privacy.digits import DIGITS, digits_of

_GAP: Final = "[ \u00a0\u2011.\\-/]"
_EXTENSION: Final = r"(?:,? ?(?:x|ext\.?|extension|#|Durchwahl|poste|доб\.?) ?\d{1,6})?"
_BEFORE: Final = r"(?<![\w+$€£¥#])(?<!\d[.,])(?<![\w)][\-/])(?<!\d{3}[ \u00a0])"
_AFTER: Final = r"(?!\w|[.,]\d|[:/\-]\w|[ \u00a0]?[%€$£])"
"""A part of something longer, a fraction, a time or a sum is no phone number."""

_REST: Final = rf"[1-9](?:{_GAP}{{0,2}}(?:\( ?0? ?\d{{0,5}} ?\){_GAP}{{0,2}})?\d){{6,14}}(?!\d){_EXTENSION}"
_WITH_PLUS: Final = re.compile(rf"\+ ?{_REST}")
_WITH_ZEROS: Final = re.compile(rf"00(?<![\w.\-/]00)(?<!\d,00){_GAP}?{_REST}")
_NATIONAL: Final = re.compile(
    _BEFORE
    + "(?:"
    + "|".join(
        (
            # (212) 555-0100, (030) 123456, (11) 91234-5678
            rf"(?:[18]{_GAP}?)?\(\d{{2,6}}\){_GAP}?\d{{2,8}}(?:{_GAP}\d{{2,5}}){{0,4}}",
            # 212-555-0100, 1-800-555-0100
            rf"(?:1{_GAP})?[2-9]\d{{2}}{_GAP}\d{{3}}{_GAP}\d{{4}}",
            # 030 12345678, 06 12 34 56 78, 020 7946 0958, 0171/1234567, 07911123456
            rf"0[1-9]\d{{0,4}}(?:{_GAP}\d{{1,8}}){{1,5}}",
            r"0[1-9]\d{8,9}",
            # 8 912 345-67-89
            rf"8{_GAP}\d{{3}}{_GAP}\d{{3}}{_GAP}\d{{2}}{_GAP}?\d{{2}}",
            # 138 1234 5678, 98765 43210, 11 91234-5678, 74 2995-4546
            rf"1[3-9]\d{_GAP}\d{{4}}{_GAP}\d{{4}}",
            r"[6-9]\d{4} \d{5}",
            r"\d{2}[ -](?:9\d{4}[ -]|\d{4}-)\d{4}",
            # 612 34 56 78, 601-234-567
            r"[679]\d{2}[ .-]\d{2}[ .-]\d{2}[ .-]\d{2}",
            r"[5-9]\d{2}-\d{3}-\d{3}",
        )
    )
    + ")"
    + _EXTENSION
    + _AFTER
)
_WORDS_TEXT: Final = """
    phone phones telephone tel tele telefon telefono teléfono téléphone tél telefone telefoon
    telefonnummer rufnummer telefoonnummer mobile mobiles mobil handy móvil movil celular cellulare cell
    portable fax whatsapp sms hotline dial call called calling ring anrufen appelez appeler appel
    телефон телефона тел моб звоните puhelin puhelinnumero telefonszám τηλέφωνο هاتف טלפון numer โทร
    phonenumber mobilenumber telno telefonu
"""
_WORDS: Final = frozenset(_WORDS_TEXT.split())
_FILLERS_TEXT: Final = """
    number no num nr nummer numero número номер is ist est me us him her them at on le au my your e164
    telefonu under unter value
"""
_FILLERS: Final = frozenset(_FILLERS_TEXT.split())
_UNSPACED: Final = (
    "电话",
    "電話",
    "電話番号",
    "手机",
    "手機",
    "携帯",
    "전화",
    "전화번호",
    "휴대폰",
    "手机号",
    "手机号码",
    "电话号码",
)
_LETTERS: Final = re.compile(r"[^\W\d_]+")
_LOOSE: Final = re.compile(r"[+(]?\d(?:[ \u00a0().\-/]{0,2}\d){5,14}(?!\w|[ .]?\d)")
_DATE: Final = re.compile(
    r"(?:19|20)\d\d([-./ ])(?:0[1-9]|1[0-2])\1[0-3]\d"
    r"|(?:0?[1-9]|[12]\d|3[01])([./-])(?:0?[1-9]|[12]\d|3[01])\2(?:19|20)?\d\d(?![./-]?\d)"
)
_SMALL: Final = re.compile(r"2[1-689]|3[578]|42|5[09]|6[789]")
"""How the codes of countries begin that have numbers of five digits."""
_COORDINATE: Final = re.compile(r"\+?\d{1,3}\.\d{3,8}(?:-\d{1,3}\.\d+)?\Z")
_AREA: Final = re.compile(r"\(|0[1-9]\d{0,2}-\d{2,3} ")
"""What makes eight digits enough."""
_NUMBERED: Final = re.compile(
    r"(?:ISBN(?:-1[03])?:?|\b(?:lines?|rows?|records?|bytes|pages?|ports?|columns?|items?|range):?) ?\Z",
    re.IGNORECASE,
)
_COUNTED: Final = re.compile(
    r" ?(?:bytes?|[kmgt]i?b|lines?|rows?|records?|items?|tokens?|points?|times?|[mµn]s|pixels?|px)\b",
    re.IGNORECASE,
)
"""Words before and after numbers that name books and lines, or count."""
_CAMEL: Final = re.compile(r"([a-z])(?=[A-Z])")
_TAIL: Final = 16
"""Characters that an extension may take, and a look at what follows."""
_BACK: Final = 32
_YEAR: Final = re.compile(r"\((?:1[89]|20)\d\d\)")


def find(text: str) -> Iterator[Span]:
    """Yields phone numbers with their extensions."""
    if "+" in text:
        for match in _WITH_PLUS.finditer(text):
            before = text[match.start() - 1 : match.start()]
            if not before.isalnum() and before != "_" and _is_international(text, match):
                yield match.span()
    if "00" in text:
        yield from (m.span() for m in _WITH_ZEROS.finditer(text) if len(digits_of(m[0])) >= 11)
    for run in DIGITS.finditer(text):
        if _DATE.fullmatch(run[0]):
            continue
        if not run[0].isdigit() or run[0][0] == "0":
            yield from _national(text, run)
        if span := _in_context(text, run):
            yield span


def is_named(key: str, value: Any) -> bool:
    """Whether what stands under a name such as `mobile_number` is one."""
    return bool(_LOOSE.fullmatch(str(value).strip())) and _tells_of_phones(_CAMEL.sub(r"\1 ", key[-64:]))


def _national(text: str, run: re.Match[str]) -> Iterator[Span]:
    for match in _NATIONAL.finditer(text, run.start(), min(len(text), run.end() + _TAIL)):
        if _is_national(match[0]) and not _NUMBERED.search(text, max(0, match.start() - 10), match.start()):
            yield match.span()


def _in_context(text: str, run: re.Match[str]) -> Span | None:
    """Returns any number that stands after a word for phone."""
    match = _LOOSE.match(text, run.start())
    if match is None or _DATE.match(match[0]):
        return None
    return match.span() if _tells_of_phones(text[max(0, match.start() - _BACK) : match.start()]) else None


def _tells_of_phones(before: str) -> bool:
    """Whether the last word, but for such as `number is`, is one for phone."""
    for word in reversed(_LETTERS.findall(before.lower())):
        if word in _WORDS or word.endswith(_UNSPACED):
            return True
        if word not in _FILLERS:
            return False
    return False


def _is_international(text: str, match: re.Match[str]) -> bool:
    """Whether there are as many digits as a number has, and no word that says that they count something."""
    found = match[0]
    digits = digits_of(found)
    ungrouped = found[1:].isdigit()
    shortest = 11 if digits[0] in "17" else 9 if ungrouped and not _SMALL.match(digits) else 8
    if len(digits) < shortest or _COORDINATE.match(found):
        return False
    return not (ungrouped and _COUNTED.match(text, match.end()))


def _is_national(found: str) -> bool:
    digits = digits_of(found.split("x", maxsplit=1)[0].split("#", maxsplit=1)[0])
    return (
        (8 if _AREA.match(found) else 9) <= len(digits) <= 16
        and not _DATE.match(found)
        and not _YEAR.match(found)
    )
