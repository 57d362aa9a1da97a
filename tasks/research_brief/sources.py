"""Sources: which there are, and the text of one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Final

MOST: Final = 40
"""Sources of one brief."""
LONGEST: Final = 40_000
"""Characters of one source that are read."""
ADDRESS: Final = re.compile(r"https?://", re.IGNORECASE)
TEXTS: Final = (".txt", ".md", ".rst", ".html", ".htm")
"""What is read of a folder."""
MARKUP: Final = re.compile(r"<(!doctype|html|head|body)\b", re.IGNORECASE)
UNREAD: Final = frozenset(("script", "style", "noscript", "template", "nav", "header", "footer", "svg"))
BLOCKS: Final = frozenset(
    ("p", "div", "section", "article", "li", "ul", "ol", "br", "tr", "table", "blockquote")
)
HEADINGS: Final = frozenset(("h1", "h2", "h3", "h4", "h5", "h6", "title"))


class NoSources(ValueError):
    """There is nothing to read."""

    category = "logic"
    hint = "give addresses (https://…), files, or folders with .txt, .md or .html files, all under the root"


def listed(sources: Sequence[str]) -> list[dict[str, Any]]:
    """Returns each source once, numbered from 1: addresses and files; of a folder, the texts in it.

    Whether a file is there and may be read, whoever reads it says. Raises `NoSources`.
    """
    names = list(dict.fromkeys(name for source in sources for name in _expanded(str(source).strip())))
    if not names:
        raise NoSources("there are no sources")
    if len(names) > MOST:
        raise NoSources(f"{len(names)} sources are more than the {MOST} that one brief may have")
    return [
        {"number": number, "source": name, "is_address": bool(ADDRESS.match(name))}
        for number, name in enumerate(names, 1)
    ]


def _expanded(source: str) -> Iterator[str]:
    folder = Path(source)
    if ADDRESS.match(source) or not source:
        yield from [source] if source else []
    elif folder.is_dir():
        if not folder.resolve().is_relative_to(Path.cwd().resolve()):
            raise NoSources(f"{source!r} is outside of the root")
        yield from sorted(str(file) for file in folder.iterdir() if file.suffix.lower() in TEXTS)
    else:
        yield source


def plain(content: Any) -> str:
    """Returns the text of what was read: HTML without its marks, and not more than a model can read.

    Raises `NoSources` if there is none.
    """
    text = content if isinstance(content, str) else ""
    if MARKUP.search(text[:2000]):
        page = _Page()
        page.feed(text)
        page.close()
        text = "".join(page.parts)
    text = re.sub(r"[ \t]+", " ", text.replace("\r\n", "\n"))
    text = re.sub(r"\n\s*\n\s*", "\n\n", text).strip()
    if not text:
        raise NoSources("it has no text")
    return text[:LONGEST]


class _Page(HTMLParser):
    """Gathers what a reader of a page sees."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._unread = 0

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        """Begins an element."""
        self._unread += tag in UNREAD
        self._part(tag)

    def handle_endtag(self, tag: str) -> None:
        """Ends one."""
        self._unread = max(0, self._unread - (tag in UNREAD))
        self._part(tag)

    def handle_data(self, data: str) -> None:
        """Takes text."""
        if not self._unread:
            self.parts.append(data)

    def _part(self, tag: str) -> None:
        if tag in HEADINGS or tag in BLOCKS:
            self.parts.append("\n\n")
