"""The same work through Taskmark, DBOS and Prefect, in alternating rounds.

    make bench-peers
    .venv/bin/python benchmarks/peers.py [-o json] [--rounds 3] [--minutes 25] [--quick]

Each engine has one program that starts the work and does it; what servers it needs run beside it. CPU is that
of the program and of its servers, until they are quiet again after the round. DBOS and Prefect come from
`.venv-peers`, which `make bench-peers` makes.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import engine, peers_set_up, reporting, servers  # noqa: E402 - found by the path above
from benchmarks.program import Failed, Program, started  # noqa: E402 - the same
from benchmarks.programs.lines import Shape  # noqa: E402 - the same

PROGRAMS = ROOT / "benchmarks/programs"
ROUND_SECONDS = 150
REST_SECONDS = 5
QUANTITIES = ("seconds", "cpu", "program_mb", "servers_mb", "seconds_until_quiet")
Rows = list[dict[str, float]]
Engines = dict[str, Program]


@contextmanager
def taskmark() -> Iterator[Program]:
    with engine.place() as (settings, environment):
        folder = Path(settings.root)
        words: servers.Command = [sys.executable, PROGRAMS / "in_taskmark.py"]
        with started(words, folder, engine.usual(os.environ) | environment) as program:
            yield program


@contextmanager
def dbos_on_sqlite() -> Iterator[Program]:
    with servers.scratch_folder() as folder:
        words: servers.Command = [
            peers_set_up.PYTHON,
            PROGRAMS / "in_dbos.py",
            f"sqlite:///{folder}/dbos.sqlite",
        ]
        with started(words, folder, _environment()) as program:
            yield program


@contextmanager
def dbos_on_postgresql() -> Iterator[Program]:
    with servers.scratch_folder() as folder, servers.postgresql() as database:
        words: servers.Command = [peers_set_up.PYTHON, PROGRAMS / "in_dbos.py", database.url]
        with started(words, folder, _environment(), [database.process]) as program:
            yield program


@contextmanager
def prefect_on_sqlite() -> Iterator[Program]:
    with servers.prefect(_prefect(), _environment()) as server, _flows(server) as program:
        yield program


@contextmanager
def prefect_on_postgresql() -> Iterator[Program]:
    with servers.postgresql() as database:
        url = database.url.replace("postgresql:", "postgresql+asyncpg:", 1)
        environment = _environment() | {"PREFECT_SERVER_DATABASE_CONNECTION_URL": url}
        with servers.prefect(_prefect(), environment) as server, _flows(server, database) as program:
            yield program


@contextmanager
def _flows(server: servers.Server, *others: servers.Server) -> Iterator[Program]:
    with servers.scratch_folder() as folder:
        environment = _environment() | {"PREFECT_HOME": str(folder), "PREFECT_API_URL": server.url}
        below = [one.process for one in (server, *others)]
        words: servers.Command = [peers_set_up.PYTHON, PROGRAMS / "in_prefect.py"]
        with started(words, folder, environment, below) as program:
            yield program


ENGINES: dict[str, Callable[[], AbstractContextManager[Program]]] = {
    "Taskmark": taskmark,
    "DBOS, SQLite": dbos_on_sqlite,
    "DBOS, PostgreSQL": dbos_on_postgresql,
    "Prefect, SQLite": prefect_on_sqlite,
    "Prefect, PostgreSQL": prefect_on_postgresql,
}
OURS = "Taskmark"


def _prefect() -> Path:
    return peers_set_up.VENV / "bin/prefect"


def _environment() -> dict[str, str]:
    """Returns an environment in which nobody is told of anything, and the loopback address needs no proxy."""
    own = ("TASKMARK_", "PREFECT_", "DBOS_")
    kept = {name: value for name, value in engine.usual(os.environ).items() if not name.startswith(own)}
    return kept | {
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
    }


def works(*, quick: bool) -> dict[str, Shape]:
    """Returns the rounds' work; `quick` only shows that everything runs."""
    many, times = (2, 1) if quick else (40, 3)
    alone = Shape(4, 5, parallel=False, times=times)
    at_once = replace(alone, at_once=many, times=1)
    return {
        "sequential, alone": alone,
        "parallel, alone": replace(alone, parallel=True),
        f"sequential, {many} at once": at_once,
        f"parallel, {many} at once": replace(at_once, parallel=True),
    }


class Comparison:
    """The engines that are still in it, and why others are not."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._own: dict[str, ExitStack] = {}
        self.engines: Engines = {}
        self.out: dict[str, str] = {}

    def start(self) -> None:
        """Starts every engine, and lets each do a little, so that nothing is measured that is done once."""
        for name, start in ENGINES.items():
            self._own[name] = self._stack.enter_context(ExitStack())
            with self._leaving_if_it_fails(name, "its start"):
                self.engines[name] = self._own[name].enter_context(start())
                self.ask(name, Shape(4, 5, parallel=False))
                self.ask(name, Shape(4, 5, parallel=True))
                reporting.say(f"{name}: ready")

    def rest(self) -> list[dict[str, Any]]:
        """Returns what the engines take while nobody asks for anything."""
        before = {name: program.cpu() for name, program in self.engines.items()}
        time.sleep(REST_SECONDS)
        for name, program in self.engines.items():
            program.at_rest = (program.cpu() - before[name]) / REST_SECONDS
        return [_at_rest(name, program) for name, program in self.engines.items()]

    def rounds(self, work: str, shape: Shape, count: int, until: float) -> dict[str, Rows]:
        """Lets the engines take turns, each round beginning with another, while there is time for more."""
        found: dict[str, Rows] = {name: [] for name in self.engines}
        begin = time.monotonic()
        for number in range(count):
            now = time.monotonic()
            if number and now + (now - begin) / number > until:
                break
            for name in _rotated(list(self.engines), number):
                with self._leaving_if_it_fails(name, work):
                    found[name].append(self.ask(name, shape))
        return {name: rows for name, rows in found.items() if rows}

    def ask(self, name: str, shape: Shape) -> dict[str, float]:
        """Does the work once. Raises `Failed`."""
        return self.engines[name].round(shape, ROUND_SECONDS)

    @contextmanager
    def _leaving_if_it_fails(self, name: str, during: str) -> Iterator[None]:
        try:
            yield
        except (Failed, servers.Missing, OSError, ValueError) as error:
            self.engines.pop(name, None)
            self.out[name] = f"{during}: {error}"
            reporting.say(f"{name} is out of it: {self.out[name]}")
            self._own[name].close()


def _rotated(names: list[str], by: int) -> list[str]:
    by %= max(len(names), 1)
    return names[by:] + names[:by]


def _at_rest(name: str, program: Program) -> dict[str, Any]:
    own, below = program.megabytes()
    return {
        "engine": name,
        "version": program.version,
        "cpu_percent": round(100 * program.at_rest, 1),
        "program_mb": round(own, 1),
        "servers_mb": round(below, 1),
    }


def measure(rounds: int, minutes: float, *, quick: bool) -> dict[str, Any]:
    """Runs everything and returns the results."""
    begun, timed = reporting.machine(), []
    with ExitStack() as stack:
        comparison = Comparison(stack)
        comparison.start()
        rest = comparison.rest()
        begin, each = time.monotonic(), minutes * 60 / len(works(quick=quick))
        for number, (name, shape) in enumerate(works(quick=quick).items(), 1):
            until = begin + number * each
            timed.append(_timed(name, shape, comparison.rounds(name, shape, rounds, until)))
            reporting.say(f"{name}: done")
    ended = reporting.machine()["load"]
    return {"machine": begun | {"load_after": ended}, "rest": rest, "timed": timed, "out": comparison.out}


def _timed(name: str, shape: Shape, found: Mapping[str, Rows]) -> dict[str, Any]:
    steps = shape.total // shape.times
    return {
        "work": name,
        "steps": steps,
        "engines": {name: _summary(rows, steps, found.get(OURS, [])) for name, rows in found.items()},
    }


def _summary(rows: Rows, steps: int, ours: Rows) -> dict[str, Any]:
    """Returns one engine's medians, and Taskmark's part of each, round by round."""
    medians = {key: round(median(row[key] for row in rows), 4) for key in QUANTITIES}
    both = [(_with_all_memory(our), _with_all_memory(row)) for our, row in zip(ours, rows, strict=False)]
    ratios = {
        key: reporting.spread([our[key] / max(row[key], 1e-9) for our, row in both]) for key in RATIOS if both
    }
    return {
        "rounds": len(rows),
        **medians,
        "steps_per_second": round(steps / medians["seconds"], 1),
        "ratios": ratios,
    }


RATIOS = ("seconds", "cpu", "megabytes")


def _with_all_memory(row: dict[str, float]) -> dict[str, float]:
    return row | {"megabytes": row["program_mb"] + row["servers_mb"]}


def show(results: dict[str, Any]) -> None:
    """Prints the tables."""
    print(f"machine: {results['machine']}")
    reporting.table("At rest", results["rest"])
    title = "The same work (medians; × is Taskmark's part of the engine's, with its range)"
    reporting.table(title, [row for one in results["timed"] for row in _rows(one)])
    for name, reason in results["out"].items():
        print(f"\n{name} fell out: {reason}")


def _rows(one: dict[str, Any]) -> list[dict[str, Any]]:
    names = list(one["engines"])
    return [_row(one["work"] if name == names[0] else "", name, one["engines"][name]) for name in names]


def _row(work: str, name: str, found: dict[str, Any]) -> dict[str, Any]:
    return {
        "work": work,
        "engine": name,
        "time, s": float(found["seconds"]),
        "steps/s": float(found["steps_per_second"]),
        "CPU, s": float(found["cpu"]),
        "program, MB": float(found["program_mb"]),
        "servers, MB": float(found["servers_mb"]),
        "busy after, s": float(found["seconds_until_quiet"]),
        "× time": _said(found, "seconds"),
        "× CPU": _said(found, "cpu"),
        "× memory": _said(found, "megabytes"),
    }


def _said(found: dict[str, Any], key: str) -> str:
    ratio = found["ratios"].get(key)
    return f"{ratio['median']:.2f} ({ratio['least']:.2f}-{ratio['most']:.2f})" if ratio else ""


def main() -> int:
    parser = reporting.arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="of each engine and each work")
    parser.add_argument("--minutes", type=float, default=25, help="after which no further round begins")
    options = parser.parse_args()
    if not peers_set_up.is_made():
        reporting.say("error: DBOS and Prefect are not installed.\n  fix: make bench-peers")
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything that was started ends
    results = measure(1 if options.quick else options.rounds, options.minutes, quick=options.quick)
    reporting.give(results, options, show)
    return 0 if any(len(one["engines"]) > 1 for one in results["timed"]) else 1


if __name__ == "__main__":
    sys.exit(main())
