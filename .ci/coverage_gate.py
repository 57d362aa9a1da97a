"""Fails if lines or branches are covered less than asked: `coverage_gate.py REPORT PERCENT`.

Coverage's own limit is on both together, where well-covered lines can hide branches that are not.
"""

import json
import sys
from pathlib import Path


def shares(report: str) -> dict[str, float]:
    """Returns the covered percent of lines and of branches in a JSON report."""
    totals = json.loads(report)["totals"]
    lines, branches = totals["num_statements"], totals["num_branches"]
    return {
        "lines": 100 * totals["covered_lines"] / lines if lines else 100.0,
        "branches": 100 * totals["covered_branches"] / branches if branches else 100.0,
    }


def main(path: str, least: str) -> int:
    """Returns 1 and says what is missing if one of the shares is below the least."""
    found = shares(Path(path).read_text(encoding="utf-8"))
    print(", ".join(f"{name} {share:.1f} %" for name, share in found.items()))
    low = [name for name, share in found.items() if share < float(least)]
    if low:
        print(f"error: {' and '.join(low)} below {least} %", file=sys.stderr)
    return 1 if low else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
