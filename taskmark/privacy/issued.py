"""Keys and tokens by the form that their issuers gave them, whatever stands around."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from taskmark.privacy.detecting import Span

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
    ("hvs.", r"\bhvs\.[\w-]{20,300}"),  # Vault
    ("hvb.", r"\bhvb\.[\w-]{20,300}"),
    ("glc_", r"\bglc_[A-Za-z0-9+/=]{32,400}"),  # Grafana
    ("AGE-SECRET-KEY-1", r"AGE-SECRET-KEY-1[0-9A-Z]{58}"),
    ("gsk_", r"(?<![A-Za-z0-9])gsk_[A-Za-z0-9]{20,255}"),  # Groq
    ("xai-", r"(?<![A-Za-z0-9])xai-[A-Za-z0-9]{20,255}"),
    ("pplx-", r"(?<![A-Za-z0-9])pplx-[A-Za-z0-9]{20,255}"),  # Perplexity
    ("r8_", r"(?<![A-Za-z0-9])r8_[A-Za-z0-9]{30,60}"),  # Replicate
    ("dapi", r"(?<![A-Za-z0-9])dapi[0-9a-f]{32}(?:-\d)?(?![0-9a-f])"),  # Databricks
    ("dckr_", r"dckr_[po]at_[\w-]{20,60}"),  # Docker
    ("ATATT", r"(?<![A-Za-z0-9])ATATT[\w=-]{20,400}"),  # Atlassian
    ("ntn_", r"(?<![A-Za-z0-9])ntn_[A-Za-z0-9]{30,60}"),  # Notion
    ("secret_", r"(?<![A-Za-z0-9])secret_(?=[A-Za-z]*\d)[A-Za-z0-9]{40,50}(?!\w)"),
    ("lin_", r"(?<![A-Za-z0-9])lin_(?:api|oauth)_[A-Za-z0-9]{30,80}"),  # Linear
    ("fig", r"(?<![A-Za-z0-9])fig[dour]_[\w-]{30,80}"),  # Figma
    ("PMAK-", r"PMAK-[0-9a-f]{24}-[0-9a-f]{34}"),  # Postman
    ("NR", r"\bNR(?:AK|II|IQ|JS|SP|RA)-[A-Za-z0-9_-]{19,64}"),  # New Relic
    ("sbp_", r"(?<![A-Za-z0-9])sbp_(?:v\d_)?[0-9a-f]{40,64}"),  # Supabase
    ("sntry", r"sntry[su]_[\w+/=-]{30,500}"),  # Sentry
    ("tskey-", r"tskey-[a-z]{2,12}-[A-Za-z0-9]{6,40}-[A-Za-z0-9]{16,64}"),  # Tailscale
    ("rubygems_", r"rubygems_[0-9a-f]{48}"),
    ("/api/webhooks/", r"discord(?:app)?\.com/api/webhooks/\d{15,21}/[\w-]{40,100}"),
    ("1//0", r"(?<![\w/])1//0[\w-]{30,500}"),  # Google's refresh tokens
)
_PATTERNS: Final = tuple((mark, re.compile(pattern)) for mark, pattern in _ISSUED)
_INNER: Final = tuple((mark, pattern) for mark, pattern in _PATTERNS if re.fullmatch(r"[\w-]+", mark))
_OUTER: Final = tuple((mark, pattern) for mark, pattern in _PATTERNS if (mark, pattern) not in _INNER)
_STRETCH: Final = re.compile(r"[A-Za-z0-9_-]{16,}")
"""Everything in the list has such a stretch, with the mark in it unless the mark has a dot or a slash. Most
texts have few: that is what makes it fast to look for so many marks."""
_RUN: Final = re.compile(r"[A-Za-z0-9_.+=:/-]{16,}")
"""Everything in the list is part of such a run."""
_DOTTED: Final = re.compile(r"(?<![\w.-])[MNO][\w-]{22,28}\.[\w-]{6}\.[\w-]{27,45}(?![\w.-])")
"""A bot's token of Discord, which has no mark but its dots."""
_DOTS: Final = re.compile(r"\.[\w-]{6}\.[\w-]{27}")
_SHORTEST_DOTTED: Final = 58

_KEY_BLOCK: Final = re.compile(r"-----BEGIN (?:[A-Z0-9]+ ){0,4}PRIVATE KEY(?: BLOCK)?-----")
_KEY_END: Final = re.compile(r"-----END (?:[A-Z0-9]+ ){0,4}PRIVATE KEY(?: BLOCK)?-----")


def find(text: str) -> Iterator[Span]:
    """Yields keys and tokens, and private keys as a whole."""
    if stretches := "\n".join(_STRETCH.findall(text)):
        marked = [pattern for mark, pattern in _INNER if mark in stretches]
        marked += [pattern for mark, pattern in _OUTER if mark in text]
        for run in _RUN.finditer(text) if marked or _DOTS.search(text) else ():
            yield from _issued(text, run, marked)
    if "-----BEGIN" in text:
        yield from _key_blocks(text)


def _issued(text: str, run: re.Match[str], marked: list[re.Pattern[str]]) -> Iterator[Span]:
    start, end = run.span()
    for pattern in marked:
        yield from (match.span() for match in pattern.finditer(text, start, end))
    if end - start >= _SHORTEST_DOTTED and run[0].count(".") > 1:
        yield from (match.span() for match in _DOTTED.finditer(text, start, end))


def _key_blocks(text: str) -> Iterator[Span]:
    """Yields private keys; one whose end was cut off goes on to the end of the text."""
    position = 0
    while begin := _KEY_BLOCK.search(text, position):
        end = _KEY_END.search(text, begin.end())
        position = end.end() if end else len(text)
        yield begin.start(), position
