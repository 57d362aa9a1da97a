"""The benchmarks run; what they say is not judged, because it depends on the machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]


def results(part: str, save: Path, *more: str) -> dict[str, Any]:
    """Returns what a benchmark saved, in its smallest size."""
    words = [sys.executable, str(ROOT / "benchmarks" / f"{part}.py"), "--quick", "--save", str(save), *more]
    own = {name: value for name, value in os.environ.items() if not name.startswith("TASKMARK_")}
    done = subprocess.run(words, cwd=ROOT, env=own, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout
    found: dict[str, Any] = json.loads(save.read_text())
    return found


def test_the_linter_is_measured_by_shape_and_size(tmp_path: Path) -> None:
    rows = results("lint", tmp_path / "lint.json")["check"]
    assert {row["shape"] for row in rows} == {"usual", "short", "folded"}


@pytest.mark.soak
def test_both_engines_do_the_same_work_and_leave_what_is_counted(tmp_path: Path) -> None:
    found = results("engine", tmp_path / "engine.json")
    assert len(found["timed"]) == 6
    for one in found["counted"]:
        assert one["taskmark"]["events"] <= 1.2 * one["handwritten"]["events"]
        assert one["taskmark"]["workflow_tasks"] <= 1.2 * one["handwritten"]["workflow_tasks"]


@pytest.mark.soak
def test_what_an_agent_costs_beside_its_model_is_timed(tmp_path: Path) -> None:
    found = results("agents", tmp_path / "agents.json")
    assert len(found["agents"]) == 6
    assert found["whole_step_ms"] > 0


@pytest.mark.soak
def test_the_layers_of_a_worker_are_told_apart(tmp_path: Path) -> None:
    layers = results("layers", tmp_path / "layers.json")["ms_per_step"]["layers"]
    assert {"SDK core, Rust", "SDK, Python", "our workflow code"} <= set(layers)


@pytest.mark.soak
def test_each_single_thing_takes_some_time(tmp_path: Path) -> None:
    rows = results("small", tmp_path / "small.json")["small"]
    assert all(row["value"] > 0 for row in rows)


@pytest.mark.soak
def test_what_people_decide_is_timed_while_tasks_run(tmp_path: Path) -> None:
    rows = results("control", tmp_path / "control.json")["control"]
    decided, seen = (
        ["pause → last new step", "approve → next step"],
        ["progress: the query", "progress of doors"],
    )
    assert [row["what"] for row in rows] == [*decided, *seen]


def test_each_question_to_the_store_is_timed_and_found_by_an_index(tmp_path: Path) -> None:
    """On SQLite; PostgreSQL reads tables as small as here whole, and rightly so."""
    words = ["--part", "questions", "--database", "sqlite"]
    [found] = results("store", tmp_path / "store.json", *words)["databases"]
    assert {one["question"] for one in found["questions"] if not one["indexed"]} == set()
    assert all(one["p95_ms"] > 0 for one in (*found["questions"], *found["writes"]))


@pytest.mark.soak
def test_backfill_and_recording_are_measured_on_both_databases(tmp_path: Path) -> None:
    found = results("store", tmp_path / "store.json")
    assert [one["database"] for one in found["databases"]] == ["sqlite", "postgresql"]
    assert all(row["per_second"] > 0 for one in found["backfill"] for row in (*one["files"], one["temporal"]))
    assert all(row["on_ms_per_step"] > 0 for row in found["recording"])
