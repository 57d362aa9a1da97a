"""Cycles and reachability in the graph of what depends on what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Edges = Mapping[str, Sequence[str]]


class Graph:
    """A directed graph over known nodes; edges to unknown nodes are left out."""

    def __init__(self, edges: Edges) -> None:
        self._edges = {node: [other for other in others if other in edges] for node, others in edges.items()}
        self._bits = {node: 1 << index for index, node in enumerate(self._edges)}
        self._reach: dict[str, int] = {}
        self.cycles: list[list[str]] = []
        """Each as a path that ends where it began; no node is in two of them."""
        in_cycle: set[str] = set()
        for node in self._edges:
            self._visit(node, in_cycle)

    def reaches(self, start: str, end: str) -> bool:
        """Whether there is a path of at least one edge. In a graph with cycles it may miss some."""
        return bool(self._reach.get(start, 0) & self._bits.get(end, 0))

    def reachable(self, start: str) -> list[str]:
        """Returns every node that a path from `start` leads to, in the order of the nodes."""
        return [node for node in self._edges if self.reaches(start, node)]

    def _visit(self, root: str, in_cycle: set[str]) -> None:
        """Walks in depth without recursion: a chain of phases may be longer than Python's stack."""
        if root in self._reach:
            return
        path = {root: iter(self._edges[root])}
        while path:
            node = next(reversed(path))
            other = next(path[node], None)
            if other is None:
                del path[node]
                self._reach[node] = self._collect(node)
            elif other in path:
                self._note_cycle(list(path), other, in_cycle)
            elif other not in self._reach:
                path[other] = iter(self._edges[other])

    def _collect(self, node: str) -> int:
        reach = 0
        for other in self._edges[node]:
            reach |= self._bits[other] | self._reach.get(other, 0)
        return reach

    def _note_cycle(self, path: list[str], other: str, in_cycle: set[str]) -> None:
        cycle = path[path.index(other) :]
        if in_cycle.isdisjoint(cycle):
            in_cycle.update(cycle)
            self.cycles.append([cycle[-1], *cycle])
