"""What tests of language models share: a server that speaks their protocols, and where tools come from."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from model_server import ModelServer, model_server


@pytest.fixture
def server() -> Iterator[ModelServer]:
    """A provider of language models."""
    with model_server() as running:
        yield running
