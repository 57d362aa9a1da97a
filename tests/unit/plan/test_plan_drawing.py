"""Drawings: every phase and edge once, safe whatever names say, and nothing over anything else."""

import re
from xml.etree import ElementTree

import pytest

from taskmark.contracts import StepStatus
from taskmark.plan.drawing.layout import BOX_HEIGHT, BOX_WIDTH, layout
from taskmark.plan.drawing.lettering import plain, shortened, width, wrapped
from taskmark.plan.drawing.mermaid import mermaid
from taskmark.plan.drawing.picture import MARKS, picture_of, picture_of_plan
from taskmark.plan.drawing.svg import MANY_PHASES, svg
from taskmark.plan.drawing.tree import ASCII, tree
from taskmark.task.model import Phase, Step, TaskDefinition

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = [
    "quotes \" and ' and `",
    "<script>alert(1)</script>",
    "]]></text><a href='javascript:x'>",
    "end",
    'a["x"] --> b; %%{init: {}}%% #quot; style p1 fill:#fff',
    "control \x00 \x1b[31m \u202e \uffff",
    "zwei\nZeilen\r\n---\ntitle: x",
    "投資委員會會議" * 20,
    "W" * 300,
    "&amp; &lt; ü 🚀",
    " ",
]


def phase(slug, *needs, steps=1, **options):
    made = tuple(Step(id=f"{slug}{n}", kind="tool", value="shell") for n in range(steps))
    return Phase(**{"name": slug, "slug": slug, "depends_on": needs, "steps": made} | options)


def picture(*phases, name="T"):
    return picture_of(TaskDefinition(id="t", name=name, phases=phases))


def hostile():
    phases = [phase(f"p{n}", *(f"p{m}" for m in range(n)), name=name) for n, name in enumerate(HOSTILE)]
    states = list(StepStatus)
    found = picture(*phases, name="".join(HOSTILE))
    stated = {f"p{n}": (states[n % len(states)].value, "") for n in range(1, len(HOSTILE))}
    return found.with_states("completed_with_errors", stated)


DIAMOND = (phase("a"), phase("b", "a"), phase("c", "b"), phase("d", "a", "c", "a"))


# --- the picture ----------------------------------------------------------------------------------


def test_a_phase_is_noted_with_what_is_special_about_it():
    gate = Step(id="g", kind="approval", value="g")
    special = phase("a", steps=2, parallel=True, for_each="inputs.x", condition="true")
    boxes = picture(special, phase("b", steps=1), Phase(name="c", slug="c", steps=(gate, gate))).boxes
    assert [box.note for box in boxes] == [
        "2 steps, side by side, for each item, conditional",
        "1 step",
        "2 steps, 2 gates",
    ]


def test_an_execution_has_a_state_for_every_phase_and_notes_of_its_own():
    found = picture(*DIAMOND).with_states("running", {"a": ("completed", ""), "b": ("running", "0/1 steps")})
    assert [(box.status, box.note) for box in found.boxes] == [
        ("completed", "1 step"),
        ("running", "0/1 steps"),
        ("pending", "1 step"),
        ("pending", "1 step"),
    ]


def test_the_answer_of_the_query_gives_the_same_picture():
    phases = [
        {"name": one.name, "slug": one.slug, "dependsOn": list(one.depends_on), "steps": [{}]}
        for one in DIAMOND
    ]
    answer = {"task": "T", "waves": [["a"], ["b"], ["c"], ["d"]], "phases": phases}
    assert picture_of_plan(answer) == picture(*DIAMOND)
    assert picture_of_plan({"task": None, "waves": [], "phases": []}).boxes == ()


def test_every_state_has_a_mark():
    assert set(MARKS) == {status.value for status in StepStatus}


# --- letters --------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [*HOSTILE, "half \ud800"])
@pytest.mark.parametrize("lines", [1, 2, 3])
def test_wrapped_text_fits_and_loses_nothing_without_an_ellipsis(text, lines):
    found = wrapped(plain(text), 10, lines)
    assert 1 <= len(found) <= lines
    assert all(width(line) <= 10 for line in found)
    whole = "".join("".join(found).split())
    expected = "".join(plain(text).split())
    assert whole == expected or (found[-1].endswith("…") and expected.startswith(whole[:-1]))


def test_short_text_stays_as_it_is_and_combining_marks_take_no_room():
    assert shortened("short", 10) == "short"
    assert width("e\u0301") == width("e")
    assert wrapped("two words", 4, 2) == ["two", "words"]


# --- the tree -------------------------------------------------------------------------------------


def test_the_tree_has_a_line_per_wave_and_phase_with_what_it_waits_for():
    lines = [f"{line.lead}{line.text}{line.about}" for line in tree(picture(*DIAMOND[:2], phase("x")))]
    assert lines == [
        "├─ Wave 1",
        "│  ├─ a · 1 step",
        "│  └─ x · 1 step",
        "└─ Wave 2",
        "   └─ b · 1 step · after a",
    ]


def test_the_tree_can_do_without_unicode_branches():
    assert all(line.lead.isascii() and line.continued.isascii() for line in tree(picture(*DIAMOND), ASCII))


# --- Mermaid --------------------------------------------------------------------------------------

NODE = re.compile(r'    p\d+\["(?:[\w ]|#\d+;|<br/>)*"\]')
EDGE = re.compile(r"    p\d+ --> p\d+")
STYLE = re.compile(r"    classDef [a-z]+ [a-z0-9:#,\- ]+|    class p\d+(,p\d+)* [a-z]+")
TITLE = re.compile(r'title: "(?:[\w ]|\\U[0-9A-F]{8})*"')


def test_names_never_become_syntax_of_mermaid():
    lines = mermaid(hostile()).rstrip("\n").split("\n")
    assert (lines[0], lines[2], lines[3]) == ("---", "---", "flowchart LR")
    assert TITLE.fullmatch(lines[1])
    assert all(NODE.fullmatch(line) or EDGE.fullmatch(line) or STYLE.fullmatch(line) for line in lines[4:])
    assert sum(bool(NODE.fullmatch(line)) for line in lines) == len(HOSTILE)


def test_mermaid_has_every_edge_and_the_class_of_every_state():
    text = mermaid(picture(*DIAMOND).with_states("running", {"a": ("failed", "")}))
    assert [line.strip() for line in text.split("\n") if "-->" in line] == [
        "p1 --> p2",
        "p2 --> p3",
        "p1 --> p4",
        "p3 --> p4",
    ]
    assert "    class p1 failed" in text
    assert "    class p2,p3,p4 pending" in text


# --- SVG ------------------------------------------------------------------------------------------


def test_an_svg_is_xml_without_scripts_links_or_handlers_whatever_names_say():
    text = svg(hostile())
    root = ElementTree.fromstring(text)
    tags = {element.tag.removeprefix(SVG) for element in root.iter()}
    assert tags == {"svg", "title", "style", "defs", "marker", "path", "rect", "g", "text"}
    attributes = {name for element in root.iter() for name in element.attrib}
    assert not {name for name in attributes if name.startswith("on") or "href" in name or name == "style"}
    titles = [element.text for element in root.iter(f"{SVG}title")]
    assert any("<script>alert(1)</script>" in (title or "") for title in titles)


def test_states_are_told_by_a_symbol_and_a_title_too():
    root = ElementTree.fromstring(svg(hostile()))
    boxes = [one for one in root.iter(f"{SVG}g") if "phase" in one.get("class", "").split()]
    symbols = {one.get("class"): one.find(f".//{SVG}path").get("d") for one in boxes}
    assert len(symbols) == len(set(symbols.values())) == len(StepStatus)
    assert all(one.get("class").split()[1] in one.find(f"{SVG}title").text for one in boxes)


def test_a_picture_without_states_has_no_symbols_and_no_legend():
    assert 'class="mark"' not in svg(picture(*DIAMOND))


def test_too_many_phases_are_refused_and_none_are_drawn_as_nothing():
    with pytest.raises(ValueError, match="too many"):
        svg(picture(*(phase(f"p{n}") for n in range(MANY_PHASES + 1))))
    ElementTree.fromstring(svg(picture()))


def test_a_single_phase_is_at_the_origin():
    plan = layout(picture(phase("a")).waves)
    assert (plan.width, plan.height) == (BOX_WIDTH, BOX_HEIGHT)
    assert plan.edges == ()
