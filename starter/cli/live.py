"""The live view: a tree of phases and steps, redrawn in place on stderr."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from starter.cli.picture import PLAIN_MARKS, Row, headline, rows
from starter.cli.printable import duration, one_line
from starter.cli.terminal import stderr, unicode_fits
from taskmark.plan.drawing.picture import MARKS

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live
    from rich.text import Text

    from taskmark.contracts import Progress

WIDEST = 120
"""Columns used of a wide terminal: lines that are read together stay together."""
NARROW = 50
"""Columns below which only names are shown."""
AROUND = 6
"""Lines that are not phases and steps: title, bar, blanks and footer."""
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
        self._live: Live | None = None

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

    def trouble(self, message: str) -> None:
        """Says under the tree why there is no newer progress."""
        self._trouble = message

    def draw(self) -> None:
        """Draws what is known, at the time it is now."""
        if self._live is not None:
            self._live.update(self.picture(), refresh=True)

    def close(self) -> None:
        """Draws a last time, without the footer, and gives the terminal back."""
        if self._live is not None:
            live, self._live = self._live, None
            live.update(self.picture(final=True), refresh=True)
            live.stop()

    def picture(self, *, final: bool = False) -> RenderableType:
        """Returns what is to be seen now."""
        from rich.text import Text

        if self._progress is None:
            told = "" if final else self._trouble or "waiting for the first answer …"
            return Text(told, style="dim", no_wrap=True, overflow="ellipsis")
        now = self._clock()
        tree = rows(self._progress, now, max(self._console.height - AROUND, 4))
        lines = [self._title(self._progress), self._bar(self._progress, now), Text("")]
        lines += [self._line(row) for row in tree]
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

    def _bar(self, progress: Progress, now: datetime) -> Text:
        told = headline(progress, now)
        width = max(min(self._width - len(told) - 2, 40), 10)
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
