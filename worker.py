"""Runs a worker: `python worker.py`."""

from starter.cli.entry import main

if __name__ == "__main__":
    main(["worker"])
