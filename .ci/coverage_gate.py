"""Fails if lines or branches are covered less than asked: `coverage_gate.py REPORT PERCENT`.

Coverage's own limit is on both together, where well-covered lines can hide branches that are not.
"""

import json
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BROWSING = ("taskmark/tools/browser.py", "taskmark/tools/browsing_")
"""What no test can run on a machine without a browser: it says nothing of the tests there."""


def shares(report: str, left_out: Sequence[str] = ()) -> dict[str, float]:
    """Returns the covered percent of lines and of branches in a JSON report, without files that begin so."""
    totals: Counter[str] = Counter()
    for name, file in json.loads(report)["files"].items():
        if not name.startswith(tuple(left_out)):
            totals.update({key: value for key, value in file["summary"].items() if isinstance(value, int)})
    lines, branches = totals["num_statements"], totals["num_branches"]
    return {
        "lines": 100 * totals["covered_lines"] / lines if lines else 100.0,
        "branches": 100 * totals["covered_branches"] / branches if branches else 100.0,
    }


def main(path: str, least: str) -> int:
    """Returns 1 and says what is missing if one of the shares is below the least."""
    left_out = () if any(map(shutil.which, BROWSERS)) else BROWSING
    if left_out:
        print("There is no browser here, so what uses one is left out.")
    found = shares(Path(path).read_text(encoding="utf-8"), left_out)
    print(", ".join(f"{name} {share:.1f} %" for name, share in found.items()))
    low = [name for name, share in found.items() if share < float(least)]
    if low:
        print(f"error: {' and '.join(low)} below {least} %", file=sys.stderr)
    return 1 if low else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
