"""Becomes an MCP server that speaks over two descriptors.

A script of its own, started by `mcp_stdio.py` under the launcher: what a command reads and prints goes to
and comes from whoever runs it, and what an MCP server does is a conversation. Only modules of the interpreter
itself, because every server pays for its start.

    mcp_start.py READING,WRITING WORD…
"""

from __future__ import annotations

import os
import signal
import sys

NOT_EXECUTABLE, NOT_FOUND = 126, 127


def main(words: list[str]) -> int:
    """Turns this process into the server; returns an exit code, as shells have it, only if it cannot."""
    ours = [int(number) for number in words[0].split(",")]
    for stream, descriptor in enumerate(ours):
        os.dup2(descriptor, stream)
    for descriptor in ours:
        os.close(descriptor)
    for number in (
        signal.SIGPIPE,
        signal.SIGXFSZ,
    ):  # this interpreter ignores them, and a program inherits that
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvp(words[1], words[1:])  # noqa: S606  # no shell is the point
    except OSError as error:
        sys.stderr.write(f"{os.path.basename(words[1])}: {error.strerror}\n")
        return NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
