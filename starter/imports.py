"""Remembers the code of the modules that Temporal's sandbox imports anew for each workflow.

Each instance runs the modules' bodies again, which is what keeps workflows apart. To look for the files and
to read them again as well would be most of the cost of a small workflow, and would give a worker whose files
are replaced while it lives a mixture of old code and new.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType

PACKAGES = frozenset({"taskmark", "workflows"})


def remember_code() -> None:
    """Lets this process remember from now on; to ask for it twice changes nothing."""
    if not any(isinstance(finder, Remembering) for finder in sys.meta_path):
        sys.meta_path.insert(0, Remembering())


class Remembering(MetaPathFinder):
    """Finds a module of ours once; what is not an ordinary source file is left to the other finders."""

    def __init__(self) -> None:
        self._known: dict[str, ModuleSpec] = {}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Returns a specification of its own for each import, with the one loader that knows the code."""
        if fullname.partition(".")[0] not in PACKAGES:
            return None
        known = self._known.get(fullname) or self._find(fullname, path, target)
        return copy.copy(known)

    def _find(self, name: str, path: Sequence[str] | None, target: ModuleType | None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target)
        if spec is None or type(spec.loader) is not SourceFileLoader:
            return None
        spec.loader = _Loader(spec.loader.name, spec.loader.path)
        self._known[name] = spec
        return spec


class _Loader(SourceFileLoader):
    """Reads the file once."""

    _code: CodeType | None = None

    def get_code(self, fullname: str) -> CodeType | None:
        """Returns the module's code."""
        if self._code is None:
            self._code = super().get_code(fullname)
        return self._code
