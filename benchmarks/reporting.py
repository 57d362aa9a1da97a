"""How results are shown: what the machine was, a table, and JSON."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]


def machine() -> dict[str, object]:
    """Returns what the numbers depend on, the load of others included."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "load": [round(one, 2) for one in os.getloadavg()],
    }


def as_json(results: Mapping[str, object]) -> None:
    """Prints everything as JSON."""
    print(json.dumps(results, indent=2, ensure_ascii=False))


def table(title: str, rows: Sequence[Row]) -> None:
    """Prints rows under their names: text to the left, numbers to the right."""
    if not rows:
        return
    names = list(rows[0])
    cells = [[_cell(row[name]) for name in names] for row in rows]
    widths = [max(len(name), *(len(line[i]) for line in cells)) for i, name in enumerate(names)]
    right = [isinstance(rows[0][name], int | float) for name in names]
    print(f"\n{title}")
    for line in [names, *cells]:
        padded = [c.rjust(w) if r else c.ljust(w) for c, w, r in zip(line, widths, right, strict=True)]
        print("  " + "  ".join(padded).rstrip())


def say(message: str) -> None:
    """Tells on stderr how far it is."""
    print(message, file=sys.stderr, flush=True)


def _cell(value: object) -> str:
    return f"{value:,.2f}" if isinstance(value, float) else str(value)
