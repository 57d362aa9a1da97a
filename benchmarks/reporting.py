"""How results are shown: what the machine was, a table, and JSON."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median, quantiles
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


def arguments(about: str | None) -> argparse.ArgumentParser:
    """Returns a parser with the options that every benchmark has."""
    parser = argparse.ArgumentParser(description=(about or "").split("\n")[0])
    parser.add_argument("-o", "--output", choices=["table", "json"], default="table")
    parser.add_argument("--save", type=Path, metavar="FILE", help="write the results there as JSON too")
    parser.add_argument("--quick", action="store_true", help="only see that everything runs")
    return parser


def give(results: Mapping[str, Any], options: argparse.Namespace, show: Callable[[Any], None]) -> None:
    """Prints the results as JSON, or as what `show` makes of them, and saves them if that was wished."""
    text = json.dumps(results, indent=2, ensure_ascii=False)
    if options.save:
        options.save.parent.mkdir(parents=True, exist_ok=True)
        options.save.write_text(text + "\n")
    if options.output == "json":
        print(text)
    else:
        show(results)


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


def spread(found: Sequence[float]) -> dict[str, float]:
    """Returns the median of ratios, and their range."""
    return {"median": round(median(found), 2), "least": round(min(found), 2), "most": round(max(found), 2)}


def percentiles(took: Sequence[float]) -> dict[str, float]:
    """Returns the median and the 95th percentile of milliseconds."""
    cuts = quantiles(took, n=20, method="inclusive")
    return {"p50_ms": round(cuts[9], 2), "p95_ms": round(cuts[18], 2)}


def say(message: str) -> None:
    """Tells on stderr how far it is."""
    print(message, file=sys.stderr, flush=True)


def _cell(value: object) -> str:
    return f"{value:,.2f}" if isinstance(value, float) else str(value)
