"""The graph of phases: in which order, how many at once, and how long at least.

A checked definition has no cycles and no unknown dependencies; functions raise `ValueError` for one
that has a cycle all the same.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from taskmark.task.model import TaskDefinition


def order(definition: TaskDefinition) -> tuple[str, ...]:
    """Returns the slugs so that every phase comes after what it depends on, otherwise as in the file.

    Raises `ValueError` if there is a cycle.
    """
    position = {phase.slug: place for place, phase in enumerate(definition.phases)}
    missing = {phase.slug: len(set(phase.depends_on)) for phase in definition.phases}
    after = followers(definition)
    ready = [place for slug, place in position.items() if not missing[slug]]
    done: list[str] = []
    while ready:
        slug = definition.phases[heapq.heappop(ready)].slug
        done.append(slug)
        for follower in after[slug]:
            missing[follower] -= 1
            if not missing[follower]:
                heapq.heappush(ready, position[follower])
    if len(done) < len(position):
        stuck = [slug for slug in position if missing[slug]]
        raise ValueError(f"phases depend on each other in a circle: {', '.join(stuck)}")
    return tuple(done)


def waves(definition: TaskDefinition) -> tuple[tuple[str, ...], ...]:
    """Returns the slugs in groups: each phase in the first group after all that it depends on."""
    needs = _needs(definition)
    depth: dict[str, int] = {}
    for slug in order(definition):
        depth[slug] = 1 + max((depth[need] for need in needs[slug]), default=-1)
    groups: list[list[str]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    for phase in definition.phases:
        groups[depth[phase.slug]].append(phase.slug)
    return tuple(map(tuple, groups))


def dependents(definition: TaskDefinition, slug: str) -> tuple[str, ...]:
    """Returns every phase that needs this one, directly or through others, as in the file."""
    after = followers(definition)
    found, todo = {slug}, [slug]
    while todo:
        fresh = [follower for follower in after[todo.pop()] if follower not in found]
        found.update(fresh)
        todo.extend(fresh)
    return tuple(phase.slug for phase in definition.phases if phase.slug in found and phase.slug != slug)


def width(definition: TaskDefinition) -> int:
    """Returns how many phases can run at the same time at most, within `maxConcurrentPhases`.

    Phases of which none needs another are an antichain; the largest is as large as the smallest number
    of chains that cover the graph (Dilworth), and that is the number of phases less a largest matching.
    """
    after = _after(definition)
    widest = len(after) - _matching(after)
    return min(widest, definition.max_concurrent_phases or widest)


def critical_path(definition: TaskDefinition, seconds: Mapping[str, float]) -> float:
    """Returns the seconds of the longest way through the graph; a phase without an entry takes none."""
    needs = _needs(definition)
    end: dict[str, float] = {}
    for slug in order(definition):
        start = max((end[need] for need in needs[slug]), default=0.0)
        end[slug] = start + seconds.get(slug, 0.0)
    return max(end.values(), default=0.0)


def _needs(definition: TaskDefinition) -> dict[str, tuple[str, ...]]:
    return {phase.slug: phase.depends_on for phase in definition.phases}


def followers(definition: TaskDefinition) -> dict[str, list[str]]:
    """Returns for each phase those that name it in `dependsOn`, as in the file."""
    found: dict[str, list[str]] = {phase.slug: [] for phase in definition.phases}
    for phase in definition.phases:
        for need in dict.fromkeys(phase.depends_on):
            found[need].append(phase.slug)
    return found


def _after(definition: TaskDefinition) -> list[int]:
    """Returns for each phase, as bits by position in the order, the phases that need it."""
    slugs = order(definition)
    position = {slug: place for place, slug in enumerate(slugs)}
    next_ones = followers(definition)
    after = [0] * len(slugs)
    for place in reversed(range(len(slugs))):
        for follower in next_ones[slugs[place]]:
            after[place] |= 1 << position[follower] | after[position[follower]]
    return after


def _matching(after: list[int]) -> int:
    """Returns the size of a largest matching between phases and phases after them."""
    owner: dict[int, int] = {}
    return sum(_augment(after, owner, place) for place in range(len(after)))


def _augment(after: list[int], owner: dict[int, int], start: int) -> bool:
    """Gives `start` a partner, moving others to new ones where needed; says whether that worked."""
    todo, unseen, came_from = [start], (1 << len(after)) - 1, {}
    while todo:
        place = todo.pop()
        choices = after[place] & unseen
        unseen &= ~choices
        while choices:
            partner = choices.bit_length() - 1
            choices ^= 1 << partner
            came_from[partner] = place
            if partner not in owner:
                _hand_over(owner, came_from, start, partner)
                return True
            todo.append(owner[partner])
    return False


def _hand_over(owner: dict[int, int], came_from: dict[int, int], start: int, partner: int) -> None:
    held = {place: held for held, place in owner.items()}
    while True:
        place = came_from[partner]
        owner[partner] = place
        if place == start:
            return
        partner = held[place]
