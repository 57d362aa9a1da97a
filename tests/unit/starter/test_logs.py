"""What a worker's log tells of what others do for it."""

from __future__ import annotations

import http.server
import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from starter.cli import logs
from taskmark.settings import Settings


@pytest.fixture
def loggers() -> Iterator[None]:
    """Leaves the process's loggers as they were."""
    names = [logging.getLogger(name) for name in ("", *logs.QUIET)]
    levels, handlers = [one.level for one in names], list(names[0].handlers)
    yield
    for one, level in zip(names, levels, strict=True):
        one.setLevel(level)
    for handler in [one for one in names[0].handlers if one not in handlers]:
        names[0].removeHandler(handler)
        handler.close()


@pytest.mark.parametrize("level", ["info", "debug"])
@pytest.mark.usefixtures("loggers")
def test_the_address_of_a_request_is_in_no_log(tmp_path: Path, level: str) -> None:
    """It may be the secret by which a hook is called."""
    log = logs.to_file(Settings(state_dir=tmp_path, root=tmp_path, log_level=level))
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    answering = threading.Thread(target=server.handle_request)
    answering.start()
    with httpx2.Client() as client:
        client.get(f"http://127.0.0.1:{server.server_port}/hooks/T0a1B2c3")
    answering.join()
    server.server_close()
    logging.getLogger("taskmark").info("done")
    assert "done" in log.read_text()
    assert "T0a1B2c3" not in log.read_text()
