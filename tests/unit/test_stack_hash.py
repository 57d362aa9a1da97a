"""One bug has one hash, wherever and whenever it strikes; another bug has another."""

from __future__ import annotations

import random
import time
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


FRAMES = """Traceback (most recent call last):
  File "/srv/app/load.py", line 12, in read
    raise problem('/data/{}.csv', order_17)
"""


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("OSError: No such file: '/data/alice.csv'", "OSError: No such file: '/data/bob.csv'"),
        ("OSError: No such file: '/data/alice.csv'", "OSError: No such file: '/home/x/my own/bob'"),
        ("OSError: no 'data/alice.csv'", "OSError: no 'other data/deeper/bob.csv'"),
        ("OSError: no 'alice.csv'", 'OSError: no "bob.txt"'.replace('"', "'")),
        ("OSError: no ./alice", "OSError: no ../a/bob"),
        ("OSError: no /data/alice.csv", "OSError: no /var/bob"),
        (r"OSError: no 'C:\\data\\alice.csv'", "OSError: no '/data/bob.csv'"),
        ("Error: ENOENT, open '/data/alice.csv'", "Error: ENOENT, open '/data/bob.csv'"),
        ("  | OSError: no '/data/alice.csv'", "  | OSError: no '/data/bob.csv'"),
        (
            "ApiError: No such customer: 'cus_9s6XKzkNRiz8i3'",
            "ApiError: No such customer: 'cus_4QFJOjw2pOmAGJ'",
        ),
        ("ApiError: cus_9s6XKzkNRiz8i3", "ApiError: cus_AbQzLkPwXyNmRt"),
        ("ApiError: order_17 is gone", "ApiError: order_18 is gone"),
        ("ApiError: order_17_item_2 is gone", "ApiError: order_18_item_31 is gone"),
        (
            "StepFailed: exec-1767323045678-demo/load[3]#2 broke",
            "StepFailed: exec-1767323045999-demo/read broke",
        ),
        ("StepFailed: exec-1767323045678-demo broke", "StepFailed: exec-key-0123456789abcdef-other broke"),
        (
            "StepFailed: exec-a-2026-01-02T03:04:05Z/load broke",
            "StepFailed: exec-b-2027-01-02T03:04:05Z broke",
        ),
        ("Error: job 01ARZ3NDEKTSV4RRFFQ69G5FAV", "Error: job 01BX5ZZKBKACTAV9WEVGEMMVRZ"),
    ],
)
def test_paths_and_ids_in_messages_do_not_count(one: str, other: str) -> None:
    assert stack_hash(FRAMES + one) == stack_hash(FRAMES + other)
    assert stack_hash(one) == stack_hash(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("OSError: No such file: '/data/a.csv'", "OSError: Is a directory: '/data/a.csv'"),
        ("OSError: No such file: '/data/a.csv'", "OSError: No such file: 'alice'"),
        ("KeyError: 'user.name'", "KeyError: 'user.price'"),
        ("ApiError: No such customer: 'cus_9s6XKzkNRiz8i3'", "ApiError: No such charge: 'ch_9s6XKzkNRiz8i3'"),
        ("ApiError: order_17 is gone", "ApiError: item_17 is gone"),
        ("NameError: name 'load_sha256' is not defined", "NameError: name 'load_base64' is not defined"),
        ("NameError: name 'parse_v1' is not defined", "NameError: name 'parse_v2' is not defined"),
        ("NameError: name 'get_user_name' is not defined", "NameError: name 'get_user_price' is not defined"),
        ("TypeError: no Base64Decoder", "TypeError: no Base32Decoder"),
        ("TypeError: unsupported 'text/html'", "TypeError: unsupported 'application/json'"),
        ("TypeError: bad operand for '/'", "TypeError: bad operand for '*'"),
    ],
)
def test_what_else_messages_say_counts(one: str, other: str) -> None:
    assert stack_hash(FRAMES + one) != stack_hash(FRAMES + other)
    assert stack_hash(one) != stack_hash(other)


@pytest.mark.parametrize(
    ("old", "new"), [("/data/{}.csv", "/data/other.csv"), ("order_17", "order_18"), ("load.py", "save.py")]
)
def test_frames_count_with_the_paths_and_names_in_their_code(old: str, new: str) -> None:
    """What stands in a program is the same in every run."""
    assert stack_hash(FRAMES + "E: x") != stack_hash(FRAMES.replace(old, new) + "E: x")


_words = st.from_regex(r"[a-z]{3,12}", fullmatch=True)


@given(
    one=st.tuples(_words, _words, _words), other=st.tuples(_words, _words, _words), seed=st.integers(0, 2**32)
)
def test_bugs_that_differ_in_a_name_a_type_or_a_word_have_two_hashes(
    one: tuple[str, str, str], other: tuple[str, str, str], seed: int
) -> None:
    """Whatever ids and paths there are; and the same with others is one."""

    def told(words: tuple[str, str, str], chance: random.Random) -> str:
        function, kind, word = words
        folder, number = chance.choice(["/srv", "/home/ann/x", "C:/data"]), chance.randrange(10**6)
        return (
            f'Traceback (most recent call last):\n  File "{folder}/load.py", line {number}, in {function}\n'
            f"    raise problem\n{kind.title()}Error: {word} '{folder}/{number}.csv' of order_{number}"
        )

    chance = random.Random(seed)
    assert stack_hash(told(one, chance)) == stack_hash(told(one, chance))
    assert (stack_hash(told(one, chance)) == stack_hash(told(other, chance))) == (one == other)


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


@pytest.mark.parametrize(
    "piece", ["'a/", "'a /", "/", "a_1", "aB1", "exec-a-", "exec-1-a/", "'", "a.b ", "C:\\\\"]
)
def test_a_hostile_message_takes_no_more_than_its_length(piece: str) -> None:
    """What is not linear would take minutes."""
    begin = time.process_time()
    stack_hash((piece * 2**17)[: 2**17])
    assert time.process_time() - begin < 20


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
