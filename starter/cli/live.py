"""The live view: a tree of phases and steps, redrawn in place on stderr."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from starter.cli.picture import PLAIN_MARKS, Row, aside, headline, paused, rows
from starter.cli.printable import duration, in_ascii, one_line
from starter.cli.terminal import stderr, unicode_fits
from taskmark.plan.drawing.picture import MARKS

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from starter.beats import Beats
    from taskmark.contracts import Progress

WIDEST = 120
"""Columns used of a wide terminal: lines that are read together stay together."""
NARROW = 50
"""Columns below which only names are shown."""
SHORTEST_BAR = 10
AROUND = 4
"""Lines that are neither head nor tree: blanks and footer, and the one where the cursor stands."""
FOOTER = "Ctrl-C leaves; the execution is kept"
STYLES = {
    "running": "bold cyan",
    "waiting": "bold yellow",
    "completed": "green",
    "failed": "bold red",
    "skipped": "dim",
    "cancelled": "dim",
    "pending": "dim",
}


class LiveView:
    """Shows progress in place. Use as a context manager; `close` leaves the last picture standing."""

    def __init__(self, console: Console | None = None, clock: Callable[[], datetime] | None = None) -> None:
        self._console = console or stderr()
        self._clock = clock or (lambda: datetime.now(UTC))
        self._unicode = unicode_fits()
        self._progress: Progress | None = None
        self._trouble = ""
        self._announced = ""
        self._beats: Beats = {}
        self._live: Live | None = None
        self._drawn: tuple[int, list[int]] = (0, [])
        """How wide the terminal was when it was drawn last, and how long the lines were."""

    def __enter__(self) -> LiveView:
        from rich.live import Live

        # Redrawn by whoever watches, at most four times a second: no thread writes in between.
        self._live = Live(console=self._console, auto_refresh=False, vertical_overflow="crop")
        self._live.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def show(self, progress: Progress) -> None:
        """Takes the newest progress."""
        self._progress, self._trouble = progress, ""

    def hear(self, beats: Beats) -> None:
        """Takes what running steps say."""
        self._beats = beats

    def announce(self, message: str) -> None:
        """Says it under the bar, until there is something newer to say."""
        self._announced = f"{self._clock().astimezone():%H:%M} {message}"

    def trouble(self, message: str) -> None:
        """Says under the tree why there is no newer progress."""
        self._trouble = message

    def draw(self) -> None:
        """Draws what is known, at the time it is now."""
        if self._live is not None:
            picture = self.picture()
            self._make_up_for_a_narrower_terminal(picture)
            self._live.update(picture, refresh=True)

    def _make_up_for_a_narrower_terminal(self, picture: Text) -> None:
        """Takes away what was drawn last if the terminal has broken its lines since: whoever redraws in place
        goes up by as many rows as there were, and what is above of them would stay."""
        width, (wide, lengths) = self._console.width, self._drawn
        self._drawn = (width, [line.cell_len for line in picture.split(allow_blank=True)])
        if width < wide:
            had = sum(max(math.ceil(length / wide), 1) for length in lengths)
            has = sum(max(math.ceil(length / width), 1) for length in lengths)
            back = f"\x1b[{had - 1}B" if had > 1 else ""
            self._console.file.write(f"\x1b[{has - 1}A\r\x1b[J{back}" if has > 1 else "\r\x1b[J")

    def close(self) -> None:
        """Draws a last time, without the footer, and gives the terminal back."""
        if self._live is not None:
            live, self._live = self._live, None
            live.update(self.picture(final=True), refresh=True)
            live.stop()

    def picture(self, *, final: bool = False) -> Text:
        """Returns what is to be seen now."""
        picture = self._picture(final=final)
        if not self._unicode:
            picture.plain = in_ascii(picture.plain)
        return picture

    def _picture(self, *, final: bool) -> Text:
        from rich.text import Text

        if self._progress is None:
            told = "" if final else self._trouble or "waiting for the first answer …"
            return Text(told, style="dim", no_wrap=True, overflow="ellipsis")
        now = self._clock()
        head = [self._title(self._progress), self._bar(self._progress, now), *self._notes(self._progress)]
        height = max(self._console.height - len(head) - AROUND, 4)
        tree = rows(self._progress, now, height, self._beats)
        lines = [*head, Text(""), *(self._line(row) for row in tree)]
        if not final:
            lines += [Text(""), Text(self._trouble or FOOTER, style="dim")]
        # Long commands break where the terminal ends, so that they can be copied; the rest fits.
        return Text("\n").join(lines)

    @property
    def _width(self) -> int:
        return min(self._console.width, WIDEST)

    def _title(self, progress: Progress) -> Text:
        from rich.text import Text

        title = Text(one_line(progress.task or progress.execution_id), style="bold")
        if progress.task:
            title.append(f"  {progress.execution_id}", style="not bold dim")
        title.truncate(self._width, overflow="ellipsis")
        return title

    def _notes(self, progress: Progress) -> Iterator[Text]:
        """Yields what stands under the bar: time for people and the budget, why it is paused, and what was
        announced last."""
        from rich.text import Text

        why = paused(progress.paused) if progress.paused else ""
        besides = aside(progress, self._width)
        for told, style in ((besides, ""), (why and f"paused{why}", "yellow"), (self._announced, "cyan")):
            if told:
                note = Text(told, style=style)
                note.truncate(self._width, overflow="ellipsis")
                yield note

    def _bar(self, progress: Progress, now: datetime) -> Text:
        # As long as the terminal is wide, not as the words leave it room: else it would jump with them.
        width = max(self._width // 6, SHORTEST_BAR)
        told = headline(progress, now, self._width - width - 2)
        style = {"failed": "red", "timed_out": "red", "completed": "green"}.get(progress.status.value, "cyan")
        line = self._share(progress.percent / 100, width, style).append(f"  {told}")
        line.truncate(self._width, overflow="ellipsis")
        return line

    def _share(self, share: float, width: int, style: str) -> Text:
        from rich.text import Text

        full, empty = ("━", "─") if self._unicode else ("#", "-")
        done = round(min(max(share, 0), 1) * width)
        return Text.assemble((full * done, style), (empty * (width - done), "dim"))

    def _line(self, row: Row) -> Text:
        from rich.text import Text

        if row.command:
            return Text(f"    {'→' if self._unicode else '->'} {row.command}", style="yellow")
        mark = (MARKS if self._unicode else PLAIN_MARKS).get(row.status, " ")
        style = STYLES.get(row.status, "dim")
        quiet = style if row.status in ("pending", "skipped", "cancelled", "") else ""
        line = Text.assemble("    " if row.level else "", (f"{mark} ", style), (row.text, quiet))
        if row.note:
            line.append(f"  {row.note}", style="red" if row.status == "failed" else "yellow")
        if row.said and self._width >= NARROW:
            line.append(f"  {row.said}", style="dim")
        right = self._right(row)
        line.truncate(self._width - right.cell_len, overflow="ellipsis", pad=True)
        return line.append_text(right)

    def _right(self, row: Row) -> Text:
        """Returns what stands in columns at the right: how much of a phase is done, and the time."""
        from rich.text import Text

        right = Text("  ")
        if self._width < NARROW:
            return right
        if row.share is not None:
            right.append_text(self._share(row.share, 14, "cyan"))
        if row.count:
            right.append(f"{row.count:>9}", style="dim")
        seconds = "" if row.seconds is None else duration(row.seconds)
        return right.append(f"{seconds:>12}", style="dim")
