"""Downloads Temporal's command line as its SDK does: `python -m starter.embedded.download FOLDER VERSION`.

In a process of its own: the SDK starts what it downloaded, and a download cannot be interrupted otherwise.
"""

from __future__ import annotations

import asyncio
import os
import sys


async def download(folder: str, version: str) -> None:
    """Leaves the binary in the folder. Raises what the SDK raises, such as `RuntimeError` without network."""
    from temporalio.testing import WorkflowEnvironment

    environment = await WorkflowEnvironment.start_local(
        download_dest_dir=folder, dev_server_download_version=version, ui=False
    )
    await environment.shutdown()


def main() -> None:
    """Ends at once: at the interpreter's own end the SDK (1.35) aborts one process in eight, work done."""
    try:
        asyncio.run(download(sys.argv[1], sys.argv[2]))
        code = 0
    except RuntimeError as error:
        print(error, file=sys.stderr, flush=True)
        code = 1
    os._exit(code)


if __name__ == "__main__":
    main()
