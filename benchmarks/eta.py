"""How good estimates are, on simulated tasks whose laws are known: whether intervals hold the truth as often
as they say, and how far off they are compared with what one would do otherwise.

    python benchmarks/eta.py [-o json] [--runs 500] [--first-seed 700000] [--quick]

Seeds below 600,000 were used while the estimator was made, so they prove nothing.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import eta_worlds, reporting  # noqa: E402 - found by the path above
from taskmark.plan.eta.estimator import estimate  # noqa: E402 - the same
from taskmark.plan.eta.known import learn  # noqa: E402 - the same
from taskmark.plan.experience import Experience, Timed  # noqa: E402 - the same
from taskmark.task.model import Phase, Step, TaskDefinition  # noqa: E402 - the same

LOOKS = (10.0, 25.0, 50.0, 75.0, 90.0)
SHARES = (0.1, 0.5, 0.9)
"""The quantiles that an estimate says: the two ends of its interval, and its middle."""
LEAST, MOST = 5, 20
"""How many earlier executions are known."""
POOLED, FAMILY = (0.75, 0.85), (0.70, 0.90)
NAIVE, USUAL = 0.5, 1.0
LARGE_MS = 20.0


@dataclass(frozen=True)
class Answer:
    """One estimate and the truth, in shares of what the execution took in all."""

    family: str
    look: float
    truth: float
    said: tuple[float, float, float]
    naive: float
    """Elapsed time over percent."""
    usual: float
    """The mean of earlier executions less the elapsed time."""

    @property
    def holds(self) -> bool:
        """Whether the truth lies in the interval."""
        return self.said[0] <= self.truth <= self.said[2]


def loss(truth: float, said: Sequence[float]) -> float:
    """Returns the mean pinball loss of three quantiles (Koenker and Bassett 1978)."""
    pairs = zip(said, SHARES, strict=True)
    return fmean(max(share * (truth - one), (share - 1) * (truth - one)) for one, share in pairs)


def answers(family: str, seed: int) -> Iterator[Answer]:
    """Yields what is said of one execution, once per look."""
    world, random = eta_worlds.world(family, seed), Random(f"runs {family} {seed}")
    count = random.randint(LEAST, MOST)
    runs = [eta_worlds.Player(world, number, random).play() for number in range(count)]
    past = learn(world.definition, eta_worlds.experience_of(runs))
    usual = fmean(run.worked for run in runs)
    run = eta_worlds.Player(world, count, random, LOOKS).play()
    for moment in run.moments:
        eta = estimate(world.definition, moment.states, past, moment.now)
        said = (eta.low, eta.remaining_seconds, eta.high)
        yield Answer(
            family=family,
            look=max(look for look in LOOKS if look <= moment.percent),
            truth=1 - moment.worked / run.worked,
            said=(said[0] / run.worked, said[1] / run.worked, said[2] / run.worked),
            naive=moment.worked * (100 / moment.percent - 1) / run.worked,
            usual=max(usual - moment.worked, 0.0) / run.worked,
        )


def judged(name: str, found: Sequence[Answer]) -> dict[str, Any]:
    """Returns how good some answers were."""
    ours = fmean(loss(one.truth, one.said) for one in found)
    return {
        "of": name,
        "estimates": len(found),
        "holds": round(fmean(one.holds for one in found), 3),
        "below": round(fmean(one.truth < one.said[0] for one in found), 3),
        "above": round(fmean(one.truth > one.said[2] for one in found), 3),
        "width": round(fmean(one.said[2] - one.said[0] for one in found), 3),
        "loss": round(ours, 4),
        "to elapsed/percent": round(ours / fmean(loss(one.truth, [one.naive] * 3) for one in found), 3),
        "to mean-elapsed": round(ours / fmean(loss(one.truth, [one.usual] * 3) for one in found), 3),
    }


def missed(families: Sequence[dict[str, Any]], pooled: dict[str, Any]) -> list[str]:
    """Returns the targets that are missed."""
    found = [f"{row['of']}: {row['holds']}" for row in families if not FAMILY[0] <= row["holds"] <= FAMILY[1]]
    if not POOLED[0] <= pooled["holds"] <= POOLED[1]:
        found.append(f"pooled: {pooled['holds']}")
    losing = (
        row["of"]
        for row in [*families, pooled]
        if row["to elapsed/percent"] > NAIVE or row["to mean-elapsed"] >= USUAL
    )
    return [*found, *(f"{name}: loss" for name in losing)]


# --- what one estimate costs ----------------------------------------------------------------------


def costs(repeat: int) -> list[dict[str, Any]]:
    """Returns what learning from twenty executions costs, and one estimate of it, for a plan of 500 steps."""
    shapes = (("in sequence", {}), ("side by side", {"parallel": True}))
    return [{"500 steps": name, **_cost(repeat, *_large(options))} for name, options in shapes]


def _cost(repeat: int, definition: TaskDefinition, experience: Experience) -> dict[str, float]:
    learning = min(_timed(lambda: learn(definition, experience)) for _ in range(3))
    past = learn(definition, experience)
    took = [_timed(lambda: estimate(definition, {}, past, eta_worlds.BEGAN)) for _ in range(repeat)]
    return {"learning_ms": round(learning, 1), **reporting.percentiles(took)}


def _large(options: dict[str, Any]) -> tuple[TaskDefinition, Experience]:
    random = Random(1)
    steps = tuple(Step(id=f"s{n}", kind="tool", value="work") for n in range(500))
    phases = tuple(
        Phase(name=f"p{n}", slug=f"p{n}", steps=steps[50 * n : 50 * n + 50], **options) for n in range(10)
    )
    seconds = {step.id: [random.lognormvariate(0, 0.5) for _ in range(MOST)] for step in steps}
    timed = {step: Timed(tuple(enumerate(taken)), (1.0,), MOST) for step, taken in seconds.items()}
    return TaskDefinition(id="large", name="large", phases=phases), Experience(MOST, steps=timed)


def _timed(act: Any) -> float:
    begin = time.perf_counter()
    act()
    return 1000 * (time.perf_counter() - begin)


def main() -> None:
    """Measures and shows."""
    parser = reporting.arguments(__doc__)
    parser.add_argument("--runs", type=int, default=500, help="executions per family")
    parser.add_argument("--first-seed", type=int, default=700_000)
    options = parser.parse_args()
    seeds = range(options.first_seed, options.first_seed + (10 if options.quick else options.runs))
    found: list[Answer] = []
    for family in eta_worlds.FAMILIES:
        reporting.say(f"{family}: {len(seeds)} executions")
        found += [answer for seed in seeds for answer in answers(family, seed)]
    families = [judged(f, [one for one in found if one.family == f]) for f in eta_worlds.FAMILIES]
    pooled = judged("all", found)
    results = {
        "machine": reporting.machine(),
        "seeds": [seeds.start, seeds.stop - 1],
        "families": [*families, pooled],
        "progress": [judged(f"{x:.0f} %", [one for one in found if one.look == x]) for x in LOOKS],
        "costs": costs(3 if options.quick else 50),
        "missed": missed(families, pooled),
    }
    reporting.give(results, options, show)


def show(results: dict[str, Any]) -> None:
    """Prints the tables."""
    print(f"seeds {results['seeds'][0]} to {results['seeds'][1]}; all in shares of what an execution took")
    reporting.table("by kind of task", results["families"])
    reporting.table("by progress", results["progress"])
    reporting.table("what it costs", results["costs"])
    print("\nmissed: " + ("; ".join(results["missed"]) or "none"))


if __name__ == "__main__":
    main()
