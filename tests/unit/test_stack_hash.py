"""One bug has one hash, wherever and whenever it strikes; another bug has another."""

from __future__ import annotations

import random
import traceback
import uuid
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskmark.stack_hash import stack_hash

PYTHON = """Traceback (most recent call last):
  File "/srv/app/venv/lib/python3.11/site-packages/httpx/_client.py", line 914, in send
    response = self._send(request)
               ^^^^^^^^^^^^^^^^^^^
  File "/home/ann/project/pipeline/load.py", line 12, in read
    raise ValueError(f"row {number} of {path} is broken")
ValueError: row 17 of /home/ann/project/data/in.csv is broken in exec-1767323045678-demo
"""

SAME = [
    PYTHON.replace("line 12", "line 99").replace("line 914", "line 1"),
    PYTHON.replace("row 17", "row 4711"),
    PYTHON.replace("/home/ann/project", "/builds/7/checkout"),
    PYTHON.replace("/srv/app/venv/lib/python3.11/", "/opt/python/lib/python3.12/"),
    PYTHON.replace("exec-1767323045678-demo", "exec-1767323049999-other-task"),
    PYTHON.replace("               ^^^^^^^^^^^^^^^^^^^\n", ""),
    PYTHON.replace("/home/ann/project/data/in.csv", "/tmp/tmpab12cd9x/in.csv"),
    PYTHON.replace("\n", "\r\n"),
]
OTHER = [
    PYTHON.replace("in read", "in write"),
    PYTHON.replace("load.py", "store.py"),
    PYTHON.replace("ValueError", "KeyError"),
    PYTHON.replace("is broken", "is empty"),
    PYTHON.replace("raise ValueError", "raise checked"),
    PYTHON.replace("httpx/_client.py", "httpx/_api.py"),
    PYTHON + "\nDuring handling of the above exception, another exception occurred:\nOSError: gone\n",
    "",
]


@pytest.mark.parametrize("other", SAME)
def test_numbers_ids_and_folders_do_not_count(other: str) -> None:
    assert stack_hash(other) == stack_hash(PYTHON)


@pytest.mark.parametrize("other", OTHER)
def test_functions_modules_types_and_messages_count(other: str) -> None:
    assert stack_hash(other) != stack_hash(PYTHON)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("no user 0x7f3a", "no user 0x11"),
        (f"no {uuid.UUID(int=1)}", f"no {uuid.UUID(int=2)}"),
        ("commit 8fa1b2c3d4e5f607", "commit 0123456789abcdef01"),
        ("at 2026-01-02T03:04:05.678Z", "at 2027-11-12T13:14:15.999999+02:00"),
        ("after 3.25 s at 10.0.0.7:8080", "after 12.5 s at 10.0.0.12:80"),
        ("    at read (/home/ann/app/load.js:10:5)", "    at read (/srv/app/load.js:12:7)"),
        ("at com.example.Load.read(Load.java:42)", "at com.example.Load.read(Load.java:43)"),
        (r'  File "C:\Users\ann\app\load.py", line 3, in read', '  File "/srv/app/load.py", line 4, in read'),
    ],
)
def test_what_differs_from_run_to_run_is_left_out(one: str, other: str) -> None:
    assert stack_hash(one) == stack_hash(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("in parse_v1", "in parse_v2"),
        ("in parse12", "in parse13"),
        ("    at read (/srv/app/load.js:10:5)", "    at load (/srv/app/load.js:10:5)"),
        ("KeyError: 'name'", "KeyError: 'price'"),
        ('  File "/srv/a/__init__.py", line 1, in f', '  File "/srv/b/__init__.py", line 1, in f'),
        ("defaced", "beaded"),
    ],
)
def test_names_are_kept(one: str, other: str) -> None:
    assert stack_hash(one) != stack_hash(other)


_paths = st.lists(st.from_regex(r"[a-z]{1,8}", fullmatch=True), max_size=4).map("/".join)


@given(line=st.integers(1, 10**6), number=st.integers(0, 10**12), folder=_paths, seed=st.integers(0, 2**32))
def test_any_line_number_id_and_folder_gives_one_hash(line: int, number: int, folder: str, seed: int) -> None:
    name = uuid.UUID(int=random.Random(seed).getrandbits(128), version=4)
    told = (
        f'  File "/{folder}/load.py", line {line}, in read\n'
        f"ValueError: row {number} of {name} in /{folder}/in.csv at 0x{seed:x}, exec-{number}-demo"
    )
    plain = (
        '  File "/load.py", line 1, in read\n'
        f"ValueError: row 1 of {uuid.UUID(int=0)} in /in.csv at 0x1, exec-1-demo"
    )
    assert stack_hash(told) == stack_hash(plain)


@given(text=st.text())
def test_any_text_has_a_hash_and_always_the_same(text: str) -> None:
    assert stack_hash(text) == stack_hash(text)
    assert len(stack_hash(text)) == 64


def _stack(function: Callable[[int], object], value: int) -> str:
    try:
        function(value)
    except Exception as error:
        return "".join(traceback.format_exception(error))
    raise AssertionError("it did not fail")


def _divide(value: int) -> float:
    return value / 0


def _refuse(value: int) -> None:
    raise LookupError(f"nothing under {value}")


def test_real_stacks_of_one_bug_are_one_and_those_of_two_are_two() -> None:
    assert stack_hash(_stack(_refuse, 1)) == stack_hash(_stack(_refuse, 22))
    assert stack_hash(_stack(_refuse, 1)) != stack_hash(_stack(_divide, 1))
