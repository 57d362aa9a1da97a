"""Runs the few tests that failed once more, alone, and names the unsteady ones: `second_look.py MOST`.

Real servers on a machine that others use too now and then answer late, and thousands of tests meet that more
often than one does. A fault fails here again; what passes is named, to be mended, and not passed over.
"""

import json
import subprocess
import sys
from pathlib import Path

FAILED = Path(".pytest_cache/v/cache/lastfailed")


def main(most: str) -> int:
    """Returns 1 if more than `most` tests failed, or one of them fails again."""
    failed = sorted(json.loads(FAILED.read_text(encoding="utf-8"))) if FAILED.exists() else []
    if not 0 < len(failed) <= int(most):
        return 1
    print(f"\nA second look at {len(failed)} of the tests, alone:", *failed, sep="\n  ", flush=True)
    again = subprocess.run([sys.executable, "-m", "pytest", "-q", "-m", "not soak", *failed], check=False)
    if again.returncode == 0:
        print("UNSTEADY, passed when run alone:", *failed, sep="\n  ", flush=True)
    return again.returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
