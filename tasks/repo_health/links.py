"""Links and anchors of the markdown files: whether what they lead to is there."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import pairwise
from typing import Final
from urllib.parse import unquote, urlsplit

from markdown_it import MarkdownIt
from markdown_it.token import Token

from tasks.repo_health.area import Area, counted, table
from tasks.repo_health.git import Blob, Deadline, Repository, shown

SECONDS: Final = 45.0
MARKDOWN: Final = (".md", ".markdown")
MOST_FILES: Final = 1000
LARGEST: Final = 256 * 1024
"""Bytes of a document that is parsed."""
MOST_URLS: Final = 50
"""Of the web that are returned, to be asked for by another step."""
LONGEST_URL: Final = 500
ATTRIBUTE: Final = re.compile(
    r"<[a-zA-Z][^<>]{0,300}?\s(href|src|id|name)\s*=\s*[\"']([^\"'<>\s]{1,500})[\"']"
)
NOT_ON_THE_WEB: Final = re.compile(r"localhost|127\.|0\.0\.0\.0|\[|example\.|\.(test|local|invalid|example)$")


@dataclass
class Document:
    """What a markdown file offers and asks for."""

    path: str
    anchors: set[str] = field(default_factory=set)
    links: list[tuple[str, int]] = field(default_factory=list)
    """Targets, with the line of the paragraph that they are in."""


@dataclass(frozen=True)
class Broken:
    """A link that leads nowhere."""

    path: str
    line: int
    target: str
    reason: str

    def row(self) -> tuple[str, str, str]:
        """Returns what is shown of it, the target as people read it."""
        return f"{shown(self.path)}:{self.line}", shown(unquote(self.target)), self.reason


def examine(repo: str, commit: str) -> Area:
    """Checks relative links and anchors of all markdown files, and collects the links to the web."""
    repository, deadline = Repository.open(repo, commit), Deadline(SECONDS)
    files = repository.files()
    docs = [one for one in files if one.suffix in MARKDOWN and one.size <= LARGEST]
    read = [document(blob, text) for blob, text in repository.texts(docs[:MOST_FILES], deadline)]
    links = [(one, target, line) for one in read for target, line in one.links]
    site = Site(files, read)
    broken = [found for one, target, line in links if (found := site.check(one, target, line)) is not None]
    unread = sum(one.suffix == ".rst" for one in files)
    urls = sorted({target for _, target, _ in links if on_the_web(target)})
    return Area(
        "Links",
        max(100 - 10 * len(broken), 0) if read else None,
        f"{counted(len(broken), 'broken link')} of {sum(within(target) for _, target, _ in links):,} within "
        f"{counted(len(read), 'markdown file')}; {counted(len(urls), 'address', 'addresses')} of the web"
        + (f"; {counted(unread, 'file')} of reStructuredText not read" if unread else ""),
        ["Repair the links below; readers meet them first"] if broken else [],
        ("where", "link", "problem"),
        **table([one.row() for one in broken]),
        cut=deadline.cut or len(docs) > MOST_FILES,
        facts={"broken": len(broken), "links": len(links), "urls": urls[:MOST_URLS], "addresses": len(urls)},
    )


def within(target: str) -> bool:
    """Whether a target lies in the repository, as far as its form says."""
    scheme, host, path, fragment = split(target)
    return not (scheme or host or "{" in target) and bool(path or fragment)


def on_the_web(target: str) -> bool:
    """Whether a target is an address that anybody could open."""
    parts = split(target)
    host = parts[1].rpartition("@")[2].partition(":")[0] if parts else ""
    plain = target.isascii() and target.isprintable() and len(target) <= LONGEST_URL
    return bool(host) and plain and parts[0] in ("http", "https") and not NOT_ON_THE_WEB.search(host)


def split(target: str) -> tuple[str, str, str, str]:
    """Returns scheme, host, path and fragment; all empty for what is no address at all."""
    try:
        parts = urlsplit(target)
    except ValueError:
        return "", "", "", ""
    return parts.scheme, parts.netloc, unquote(parts.path), unquote(parts.fragment)


def document(blob: Blob, text: str) -> Document:
    """Reads the links and anchors of a markdown file."""
    found = Document(blob.path)
    line = 1
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    for token in tokens:
        line = token.map[0] + 1 if token.map else line
        if token.type == "inline":
            read_inline(found, token, line)
        elif token.type == "html_block":
            read_html(found, token.content, line)
    found.anchors |= set(heading_anchors(tokens))
    return found


def read_inline(found: Document, token: Token, line: int) -> None:
    """Takes the links of a paragraph."""
    for child in token.children or ():
        target = child.attrGet("href") or child.attrGet("src")
        if target:
            found.links.append((str(target), line))
        elif child.type == "html_inline":
            read_html(found, child.content, line)
        line += child.type in ("softbreak", "hardbreak")


def read_html(found: Document, content: str, line: int) -> None:
    """Takes the links and anchors of HTML in markdown."""
    for name, value in ATTRIBUTE.findall(content):
        if name in ("id", "name"):
            found.anchors.add(value.lower())
        else:
            found.links.append((value, line))


def heading_anchors(tokens: Sequence[Token]) -> Iterator[str]:
    """Yields the anchors that code hosts give to headings; a repeated heading gets a number."""
    used: dict[str, int] = {}
    for before, token in pairwise(tokens):
        if before.type == "heading_open":
            words = "".join(
                child.content for child in token.children or () if child.type in ("text", "code_inline")
            )
            slug = re.sub(r"[^\w\- ]", "", words.strip().lower()).replace(" ", "-")
            number = used.get(slug, 0)
            used[slug] = number + 1
            yield f"{slug}-{number}" if number else slug


class Site:
    """All that links may lead to."""

    def __init__(self, files: Sequence[Blob], documents: Sequence[Document]) -> None:
        self._anchors = {one.path: one.anchors for one in documents}
        self._paths = {blob.path for blob in files}
        for blob in files:
            parent = posixpath.dirname(blob.path)
            while parent and parent not in self._paths:
                self._paths.add(parent)
                parent = posixpath.dirname(parent)
        self._paths.add(".")

    def check(self, source: Document, target: str, line: int) -> Broken | None:
        """Returns what is wrong with a link within the repository, if something is."""
        if not within(target):
            return None
        _, _, path, fragment = split(target)
        place = self._place(source, path)
        if place == ".." or place.startswith("../"):
            return None  # a page of the code host, such as ../../issues
        if not path:
            place = source.path
        elif place not in self._paths and f"{place}.md" not in self._paths:
            return Broken(source.path, line, target, "no such file")
        anchors = self._anchors.get(place)
        if fragment and anchors is not None and fragment.lower() not in anchors:
            near = get_close_matches(fragment.lower(), sorted(anchors), n=1, cutoff=0.8)
            hint = f"; #{shown(near[0], 80)} is" if near else ""
            return Broken(source.path, line, target, f"no such heading{hint}")
        return None

    def _place(self, source: Document, path: str) -> str:
        """Returns the path in the repository that a link means; `/` is its top."""
        start = "" if path.startswith("/") else posixpath.dirname(source.path)
        return posixpath.normpath(posixpath.join(start, path.lstrip("/") if not start else path))
