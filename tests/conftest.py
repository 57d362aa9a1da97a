"""The order of the files: each folder's are spread over the whole run.

Tests run beside each other. Those of one folder want the same, most of all the processor: the ones that kill
processes beside each other take so long that they fail, and beside those that wait for a server they do not.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sorts the files; the tests of each stay together and in their order."""
    folders: dict[str, list[Path]] = defaultdict(list)
    for path in dict.fromkeys(item.path for item in items):
        folders[path.relative_to(HERE).parts[0]].append(path)
    place = {
        path: (number + 0.5) / len(paths) for paths in folders.values() for number, path in enumerate(paths)
    }
    items.sort(key=lambda item: place[item.path])
