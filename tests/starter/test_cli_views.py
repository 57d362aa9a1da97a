"""The live view fits its terminal and says what matters; plain lines tell each change once."""

from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from rich.console import Console

from starter.beats import Beat, Beats
from starter.cli import terminal
from starter.cli.live import LiveView
from starter.cli.picture import decisions, headline, paused, rows, step_row
from starter.cli.plain import PlainView, changes
from starter.cli.printable import duration, one_line, printable, rough, size
from taskmark.contracts import Eta, Paused, PhaseView, Progress, StepStatus, StepView, Wait

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
NOW = START + timedelta(seconds=95)
ID = "exec-1795255014245-release"


def step(name: str, status: str = "running", **fields: object) -> StepView:
    base = {"id": name, "kind": "tool", "name": name, "status": status, "started_at": START}
    return StepView.model_validate(base | fields)


def phase(name: str, *steps: StepView, status: str = "running", **fields: object) -> PhaseView:
    counts: dict[str, int] = {}
    for one in steps:
        counts[one.status.value] = counts.get(one.status.value, 0) + 1
    base = {
        "name": name,
        "slug": name,
        "status": status,
        "steps": steps,
        "counts": counts,
        "started_at": START,
    }
    return PhaseView.model_validate(base | fields)


def progress(*phases: PhaseView, status: str = "running", **fields: object) -> Progress:
    base = {"execution_id": ID, "task": "Release", "status": status, "phases": phases, "started_at": START}
    return Progress.model_validate(base | fields)


def wait(kind: str = "approval", name: str = "go", **fields: object) -> Wait:
    return Wait.model_validate({"kind": kind, "name": name, "prompt": "Go on?", "since": START, **fields})


def drawn(
    shown: Progress | None,
    width: int = 80,
    height: int = 24,
    trouble: str = "",
    beats: Beats | None = None,
) -> list[str]:
    console = Console(width=width, height=height, force_terminal=True, color_system=None)
    view = LiveView(console, clock=lambda: NOW)
    if shown:
        view.show(shown)
    if trouble:
        view.trouble(trouble)
    view.hear(beats or {})
    with console.capture() as captured:
        console.print(view.picture())
    return captured.get().rstrip("\n").split("\n")


LONG = "A name that is much longer than any terminal of eighty columns could ever show on one line, truly"


@pytest.mark.parametrize(("width", "height"), [(80, 24), (200, 50), (40, 10), (20, 8)])
def test_the_picture_fits_the_terminal_whatever_the_task(width, height):
    many = [phase(f"{LONG} {n}", *(step(f"{LONG} {k}") for k in range(30))) for n in range(30)]
    lines = drawn(progress(*many, percent=43.0), width, height)
    assert len(lines) <= height
    assert max(map(len, lines)) <= width


def test_a_phase_shows_its_steps_attempts_and_errors():
    failed = step("check", "failed", attempt=3, error="exit code 2", finished_at=NOW)
    text = "\n".join(drawn(progress(phase("Build", failed, step("compile"), step("later", "pending")))))
    assert "✗ tool: check  attempt 3 · exit code 2" in text
    assert "1/3" in text
    assert "1 min 35 s" in text


def test_steps_without_room_are_counted_and_the_urgent_ones_stay():
    steps = [step(f"s{n}", "completed") for n in range(100)] + [step("bad", "failed"), step("ask", "waiting")]
    lines = drawn(progress(phase("Loop", *steps)), height=12)
    text = "\n".join(lines)
    assert "bad" in text
    assert "ask" in text
    assert "completed" in text
    assert len(lines) <= 12


def test_phases_without_room_are_counted():
    ended = [phase(f"e{n}", status="completed") for n in range(20)]
    coming = [phase(f"c{n}", status="pending") for n in range(20)]
    text = "\n".join(drawn(progress(*ended, phase("now", step("x")), *coming), height=14))
    assert "20 phases ended" in text
    assert "▶ now" in text
    assert "more phases" in text


def test_what_waits_comes_with_the_exact_command():
    deadline = NOW + timedelta(minutes=5)
    lines = drawn(progress(phase("Ask"), status="waiting", waiting=(wait(deadline=deadline),)), height=30)
    assert any("approval “go”: Go on?" in line and "until" in line for line in lines)
    assert f"    → taskmark approve {ID} go" in [line.rstrip() for line in lines]


def test_a_deadline_that_has_passed_is_not_shown():
    lines = drawn(progress(status="waiting", waiting=(wait(deadline=START),)))
    assert not any("until" in line for line in lines)


@pytest.mark.parametrize(
    ("waits", "commands"),
    [
        (
            wait("approval", "a b"),
            [f"taskmark approve {ID} 'a b'", f"taskmark reject {ID} 'a b' --comment why"],
        ),
        (wait(approvers=("ann",)), [f"taskmark approve {ID} go --by ann"]),
        (wait("question"), [f"taskmark answer {ID} go VALUE"]),
        (wait("question", answer_schema={"enum": ["eu", "us"]}), [f"taskmark answer {ID} go eu"]),
        (wait("retry", "build"), [f"taskmark retry {ID} build", f"taskmark skip {ID} build"]),
        (wait("budget", "cost"), [f"taskmark raise {ID} cost LIMIT"]),
    ],
)
def test_each_kind_of_wait_has_its_commands(waits, commands):
    assert decisions(ID, waits)[: len(commands)] == commands


def test_what_waits_in_a_sub_task_is_decided_there():
    """Also if the execution itself has a gate of that name."""
    below = f"{ID}/a/sub"
    both = (wait(step="go"), wait(step="go", execution=below))
    assert [decisions(ID, one, both)[0] for one in both] == [
        f"taskmark approve {ID} go",
        f"taskmark approve {below} go",
    ]
    assert decisions(ID, wait("retry", "part", execution=below))[0] == f"taskmark retry {below} part"


def test_gates_that_share_a_name_have_commands_of_their_own():
    """The items of a phase, also while only one of them waits; and steps that were called the same."""
    items = (wait(step="go[0]"), wait(step="go[1]"))
    assert [decisions(ID, one, items)[0] for one in items] == [
        f"taskmark approve {ID} 'go[0]'",
        f"taskmark approve {ID} 'go[1]'",
    ]
    assert decisions(ID, items[0], items[:1])[0] == f"taskmark approve {ID} 'go[0]'"
    same = (wait(step="a_go"), wait(step="b_go"), wait("question", step="c"))
    assert [decisions(ID, one, same)[0].split()[-1] for one in same[:2]] == ["a_go", "b_go"]
    assert decisions(ID, same[2], same)[0] == f"taskmark answer {ID} go VALUE"
    agents = (
        wait("question", "go/ann", step="s[0]", asker="ann"),
        wait("question", "go/bob", step="s[0]", asker="bob"),
    )
    assert [decisions(ID, one, agents)[0].split()[-2] for one in agents] == ["go/ann", "go/bob"]
    assert f"    → taskmark approve {ID} 'go[1]'" in [
        line.rstrip() for line in drawn(progress(phase("Ask"), status="waiting", waiting=items), height=30)
    ]


def test_before_the_first_answer_the_picture_says_so_or_why_not():
    assert drawn(None) == ["waiting for the first answer …"]
    assert drawn(None, trouble="no worker answered") == ["no worker answered"]


def test_trouble_takes_the_place_of_the_footer():
    assert drawn(progress(), trouble="no worker answered")[-1] == "no worker answered"
    assert "Ctrl-C" in drawn(progress())[-1]


def test_names_from_elsewhere_cannot_move_the_cursor():
    evil = "x\x1b[2J\r\x07\u202e"
    lines = drawn(
        progress(phase(evil, step(evil, "failed", error=evil)), task=evil, waiting=(wait(name=evil),))
    )
    assert not any(character in "".join(lines) for character in "\x1b\r\x07\u202e")


def test_without_unicode_the_picture_is_ascii(monkeypatch):
    monkeypatch.setattr("starter.cli.live.unicode_fits", lambda: False)
    text = "".join(drawn(progress(phase("Build", step("x"), percent=50), waiting=(wait(prompt="?"),))))
    assert "#######-------" in text
    assert text.isascii()
    assert drawn(None)[0].isascii()


def test_the_title_keeps_its_place_whatever_is_said_of_the_end():
    """The bar is as long as the terminal is wide, so it does not jump as words come and go."""
    eta = Eta(remaining_seconds=200, low=100, high=400)
    bars = [drawn(progress(percent=50, eta=one))[1].partition("  ")[0] for one in (None, eta)]
    assert bars[0] == bars[1]


def test_a_pause_says_by_whom_and_why():
    paused = Paused(reason="maintenance", by="ann")
    lines = drawn(progress(phase("Build"), status="pausing", paused=paused, in_flight=2), width=120)
    assert lines[1].rstrip().endswith("1 min 35 s · pausing (2 in flight)")
    assert lines[2].rstrip() == "paused by ann: maintenance"
    assert drawn(progress(status="paused", paused=Paused()))[2].strip() == ""


def test_a_pause_says_since_when_how_and_when_it_ends_by_itself():
    one = Paused(by="ann", since=START, mode="now", until=START + timedelta(hours=1), then="abort")
    since, until = (f"{at.astimezone():%Y-%m-%d %H:%M}" for at in (START, START + timedelta(hours=1)))
    assert paused(one) == f", now by ann since {since} (ends the task at {until})"
    again = one.model_copy(update={"then": "resume", "mode": "", "by": ""})
    assert paused(again) == f" since {since} (goes on by itself at {until})"


def test_a_running_step_shows_its_message_and_whether_it_lives():
    steps = [step(name, attempt=1) for name in ("says", "silent", "lost", "offered")]
    steps.append(step("again", attempt=2, error="exit code 2: a reason that is rather long"))
    beats = {
        ("Build", "says"): Beat("\x1b[2J line 7", NOW),
        ("Build", "silent"): Beat("last words", NOW - timedelta(seconds=25)),
        ("Build", "lost"): Beat("", NOW, lost=2),
        ("Build", "offered"): Beat("", NOW - timedelta(seconds=70), taken=False),
        ("Build", "again"): Beat("line 9", NOW),
    }
    lines = [line[6:66].rstrip() for line in drawn(progress(phase("Build", *steps)), beats=beats)]
    assert lines[4:9] == [
        "tool: says  �[2J line 7",
        "tool: silent  silent for 25 s  last words",
        "tool: lost  2 workers lost",
        "tool: offered  no worker for 1 min",
        "tool: again  attempt 2  line 9 · before: exit code 2: a rea…",
    ]


def test_only_running_steps_have_a_message_and_narrow_terminals_none():
    beats = {("Build", name): Beat("line 7", NOW) for name in ("a", "b")}
    shown = progress(phase("Build", step("a", "completed", finished_at=NOW), step("b")))
    assert sum("line 7" in line for line in drawn(shown, beats=beats)) == 1
    assert not any("line 7" in line for line in drawn(shown, width=40, beats=beats))


def test_a_step_with_items_says_how_many_are_done():
    lines = drawn(progress(phase("Loop", step("each", items_total=12, items_done=5))))
    assert any("5/12" in line for line in lines)


def test_a_final_headline_stops_the_clock():
    ended = progress(status="failed", updated_at=START + timedelta(seconds=10), percent=10)
    assert headline(ended, NOW) == "10 % · 10 s · failed"


def test_skipped_phases_and_retried_ones_say_so():
    found = rows(progress(phase("a", status="skipped"), phase("b", attempt=2)), NOW, 20)
    assert [row.note for row in found] == ["skipped", "attempt 2"]


def test_an_attempt_says_of_how_many_where_that_is_known():
    def of(number, most):
        step = StepView(
            id="x",
            kind="tool",
            name="x",
            status="running",
            attempt=number,
            max_attempts=most,
            started_at=START,
        )
        return step_row(step, NOW).note

    assert [of(1, 3), of(2, 3), of(2, None), of(4, 3)] == ["", "attempt 2/3", "attempt 2", "attempt 4"]


def test_the_live_view_gives_the_terminal_back():
    console = Console(width=80, height=24, force_terminal=True)
    with console.capture() as captured:
        view = LiveView(console, clock=lambda: NOW)
        with view:
            view.show(progress(phase("Build", step("x"))))
            view.draw()
        view.draw()
        view.close()
    text = captured.get()
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1
    assert "Ctrl-C" not in text.rpartition("Build")[2]


@pytest.mark.parametrize(("width", "up"), [(60, 10), (100, 0), (120, 0)])
def test_lines_that_a_narrower_terminal_has_broken_are_taken_away(width, up):
    """Of the eight lines, those of the phase and of its two steps take two rows each there."""
    console = Console(width=100, height=24, force_terminal=True)
    view = LiveView(console, clock=lambda: NOW)
    view.show(progress(phase("Build", step("x"), step("y"))))
    with console.capture(), view:
        view.draw()
        console.width = width
        console.file = file = StringIO()
        view.draw()
    assert (f"\x1b[{up}A\r\x1b[J" in file.getvalue()) == bool(up)
    assert ("\x1b[J" in file.getvalue()) == bool(up)


# --- plain lines ----------------------------------------------------------------------------------


def test_each_change_is_told_once():
    told: list[str] = []
    view = PlainView(told.append, clock=lambda: START)
    states = [
        progress(phase("Build", step("compile", "pending"), status="pending")),
        progress(phase("Build", step("compile"))),
        progress(phase("Build", step("compile"))),
        progress(
            phase("Build", step("compile", "completed", finished_at=NOW), status="completed", finished_at=NOW)
        ),
    ]
    with view:
        for state in states:
            view.show(state)
            view.draw()
    view.close()
    assert told == [
        "03:04:05 task Release running",
        "03:04:05 phase Build started",
        "03:04:05 step Build: compile completed after 1 min 35 s",
        "03:04:05 phase Build completed after 1 min 35 s",
    ]


def test_what_a_step_says_is_told_if_it_is_new_and_at_most_every_ten_seconds():
    told: list[str] = []
    seconds = iter(range(0, 600, 4))
    now = [START]

    def clock() -> datetime:
        return now[0]

    view = PlainView(told.append, clock=clock)
    view.show(progress(phase("Build", step("compile"), step("done", "completed", finished_at=NOW))))
    told.clear()
    for said in ("one", "one", "two", "three", "three", "three", "", "three"):
        now[0] = START + timedelta(seconds=next(seconds))
        view.hear({("Build", "compile"): Beat(said), ("Build", "done"): Beat("over")})
    assert told == [
        "03:04:05 step Build: compile says: one",
        "03:04:17 step Build: compile says: three",
    ]


def test_steps_of_a_large_phase_say_nothing():
    told: list[str] = []
    view = PlainView(told.append, clock=lambda: START)
    view.show(progress(phase("Loop", *(step(f"s{n}") for n in range(30)))))
    told.clear()
    view.hear({("Loop", f"s{n}"): Beat("here") for n in range(30)})
    assert told == []


def test_a_large_phase_tells_tenths_and_failures_only():
    def state(done: int) -> Progress:
        steps = [step(f"s{n}", "completed" if n < done else "running") for n in range(1, 200)]
        return progress(phase("Loop", step("bad", "failed", error="no"), *steps))

    lines = [
        line for done in range(1, 201) for line in changes(state(done - 1) if done > 1 else None, state(done))
    ]
    assert [line for line in lines if line.startswith("step")] == ["step Loop: bad failed: no"]
    assert len(lines) <= 13
    assert "phase Loop 50 %" in lines


def test_attempts_retries_and_waits_are_told():
    before = progress(phase("Build", step("x", attempt=1), attempt=1))
    after = progress(
        phase("Build", step("x", attempt=2, error="no luck"), attempt=2),
        status="waiting",
        waiting=(wait(),),
        paused=Paused(reason="r"),
    )
    assert list(changes(before, after)) == [
        "phase Build starts again, attempt 2",
        "step Build: x, attempt 2: no luck",
        "task Release waiting: r",
        "waiting for approval “go”: Go on?",
        f"    taskmark approve {ID} go",
        f"    taskmark reject {ID} go --comment why",
    ]
    assert list(changes(after, after)) == []


def test_a_skipped_step_says_why_but_not_each_of_a_skipped_phase():
    before = progress(phase("Build", step("x", status="pending"), step("y")))
    after = progress(phase("Build", step("x", status="skipped", reason="its `if` is false"), step("y")))
    assert list(changes(before, after)) == ["step Build: x skipped: its `if` is false"]
    whole = progress(
        phase("Build", step("x", status="skipped"), step("y", status="skipped"), status="skipped")
    )
    assert list(changes(before, whole)) == ["phase Build skipped"]


def test_a_skipped_phase_does_not_start():
    before = progress(phase("Build", status="pending"))
    after = progress(phase("Build", status="skipped", started_at=None))
    assert list(changes(before, after)) == ["phase Build skipped"]


def test_trouble_is_told_once_until_it_is_over():
    told: list[str] = []
    view = PlainView(told.append)
    view.trouble("nobody answers")
    view.trouble("nobody answers")
    view.show(progress())
    view.trouble("nobody answers")
    assert sum("nobody answers" in line for line in told) == 2


# --- terminals and texts --------------------------------------------------------------------------


class Terminal:
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("variables", "animated"),
    [({}, True), ({"TERM": "dumb"}, False), ({"CI": "1"}, False), ({"CI": "false"}, True)],
)
def test_only_a_real_terminal_is_animated(monkeypatch, variables, animated):
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert not terminal.is_animated()
    monkeypatch.setattr("sys.stderr", Terminal())
    monkeypatch.setattr("sys.stdin", Terminal())
    assert terminal.is_animated() is animated
    assert terminal.person_present() is (variables.get("CI") != "1")


@pytest.mark.parametrize(("encoding", "fits"), [("utf-8", True), ("ascii", False), ("nonsense", False)])
def test_marks_follow_the_encoding_of_the_terminal(monkeypatch, encoding, fits):
    monkeypatch.setattr(Terminal, "encoding", encoding)
    monkeypatch.setattr("sys.stderr", Terminal())
    assert terminal.unicode_fits() is fits


def test_colors_follow_no_color_and_force_color(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    terminal.say("hello", style="red")
    assert "\x1b[31m" in capsys.readouterr().err
    monkeypatch.setenv("NO_COLOR", "1")
    terminal.say("hello", style="red")
    assert "\x1b[31m" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0.0 s"),
        (0.44, "0.4 s"),
        (12.4, "12 s"),
        (200, "3 min 20 s"),
        (7500, "2 h 05 min"),
        (270_000, "3 d 3 h"),
    ],
)
def test_durations_read_as_people_say_them(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "1 s"),
        (4.2, "5 s"),
        (59.5, "1 min"),
        (100, "2 min"),
        (7200, "2 h"),
        (9000, "2.5 h"),
        (200_000, "2.3 d"),
    ],
)
def test_estimates_are_rounded(seconds, text):
    assert rough(seconds) == text


@pytest.mark.parametrize(("count", "text"), [(10, "10 bytes"), (2048, "2 KiB"), (3 * 1024 * 1024, "3.0 MiB")])
def test_sizes_have_units(count, text):
    assert size(count) == text


def test_printable_keeps_text_and_shows_what_is_not():
    assert printable("plain ü 中\n\t") == "plain ü 中\n\t"
    assert printable("a\r\nb\x1b[0m\x9b") == "a\nb\ufffd[0m\ufffd"
    assert one_line(" a\n b\t c ") == "a b c"


def test_every_status_has_a_mark():
    from starter.cli.picture import PLAIN_MARKS
    from taskmark.plan.drawing.picture import MARKS

    assert set(MARKS) == set(PLAIN_MARKS) == {status.value for status in StepStatus}
