"""What is read quickly means what the libraries say it means, to the last place."""

import random

from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from taskmark.errors import InvalidExpression
from taskmark.task.expressions import _compiled, _is_literal
from taskmark.task.expressions.grammar import Reference
from taskmark.task.expressions.quick import is_prose
from taskmark.task.expressions.quick import read_quickly as read_expression
from taskmark.task.source_text import Findings
from taskmark.task.yaml_nodes import YamlSource, _Builder
from taskmark.task.yaml_quick import read_quickly as read_yaml

PACE = settings(deadline=None, max_examples=400, suppress_health_check=[HealthCheck.too_slow])
SEEDS = st.integers(0, 2**32 - 1)

# --- YAML -----------------------------------------------------------------------------------------

ODD = [
    *"abzA09_-./:,#'\"[]{}()=+*!?<>|$;%@&^~\\` ",
    "\u2028", "\xa0", "\u0301", "\x85", "\t", "\ufeff", "\x00", "\x7f", "\u3000", "\U0001f600", "é", "…",
    "--", "...", "- ", ": ", " #", "{{", "}}", "true", "null", "1.5", "<<",
]  # fmt: skip
EVERYDAY = [
    "a", "-l", "data/x y", "http://a.b/c?d=e", "1", "1.5", "true", "null", "a:b", "10:30", "~", "-5",
    "--flag", ".5", "a, b", "a  b", "@x", "a'b", 'a"b', "x#y", "a #b", "...", "é", "'x'",
    '"{{ inputs.file }}"', "''",
]  # fmt: skip
BROKEN_LINES = ["", " ", "    ", "# c", "  # c", "---", "- a", "...", "\t", "  - b", "a"]


class Yaml:
    """Writes YAML that is nearly always read quickly, and now and then something else."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)

    def odd(self) -> str:
        return "".join(self.chance.choice(ODD) for _ in range(self.chance.randint(0, 6)))

    def value(self, depth: int = 0) -> str:
        kind = self.chance.randint(0, 5 if depth < 4 else 3)
        blank = self.chance.choice(["", " ", "  "])
        match kind:
            case 0 | 1:
                return self.chance.choice(EVERYDAY)
            case 2:
                return self.odd()
            case 3:
                quote = self.chance.choice("'\"")
                return quote + self.odd().replace(quote, "") + quote
            case 4:
                return (
                    f"[{','.join(blank + self.value(depth + 1) for _ in range(self.chance.randint(0, 3)))}]"
                )
            case _:
                keys = [self.chance.choice(["a", "b", "k-1", "_x", "1", "a b"]) for _ in range(2)]
                colon = self.chance.choice([": ", ": ", ":  ", ":", " : "])
                return f"{{{','.join(blank + key + colon + self.value(depth + 1) for key in keys)}{blank}}}"

    def lines(self, indent: int, depth: int = 0) -> list[str]:
        found: list[str] = []
        for _ in range(self.chance.randint(1, 3)):
            key = " " * indent + self.chance.choice(["a", "b", "c", "d", "e-f", "_g", "h1", "x y"])
            deeper = indent + self.chance.choice([0, 1, 2, 2, 2, 4])
            match self.chance.randint(0, 4 if depth < 4 else 2):
                case 3:
                    found += [f"{key}:", *self.lines(deeper, depth + 1)]
                case 4:
                    items = [f"{' ' * deeper}- {self.value()}" for _ in range(self.chance.randint(0, 3))]
                    found += [f"{key}:", *items]
                case _:
                    found.append(f"{key}: {self.value()}{self.chance.choice(['', '', ' '])}")
            if self.chance.random() < 0.08:
                found.append(self.chance.choice(BROKEN_LINES))
        return found


def agrees(lines: list[str]) -> bool:
    """Whether the lines were read quickly; checks that the library gives the same and says nothing."""
    source, findings = YamlSource(lines, 7), Findings("")
    quick = read_yaml(source)
    if quick is not None:
        assert quick == _Builder(source, findings).build()
        assert findings.diagnostics == []
    return quick is not None


@PACE
@given(SEEDS)
def test_yaml_read_quickly_gives_the_nodes_of_the_yaml_library(seed: int) -> None:
    lines = Yaml(seed).lines(random.Random(seed).randint(0, 4))
    note(repr(lines))
    agrees(lines)


def test_a_good_part_of_that_yaml_is_read_quickly() -> None:
    assert sum(agrees(Yaml(seed).lines(2)) for seed in range(500)) > 50


# --- expressions ----------------------------------------------------------------------------------

OPERANDS = [
    "inputs.a", "a.b.c", "b[0]", "a['x-y']", "1", "1.5", "'x'", "true", "item", "a.split()[0]", "a.in",
    "a.strip('x').y", "a.is.not", 'a["q\']z"]', "a.b | length", "a|int", "a|upper | lower",
]  # fmt: skip
JOINS = [" and ", " or not ", "==", "!=", " < ", " > ", "+", " - ", "*", "/", " in ", "-", " * ", "<="]
WORDS = [
    *OPERANDS, *JOINS, "b[00]", "0", "007", "00.5", "None", "not", "if", "else", "for", "is", "odd", "self",
    "**", "//", "%", "~", "| foo", "|default('x')", "|round (1)", " ", "  ", "(", ")", "[", "]", ".", "['x']",
    ",", "_u", "a__b", "é", "a.é", "loop", "{{", "}}", "{%", "%}", "{#", "#}", "{", "}", "text", "\n", "\r\n",
    "1e5", "1_000", "0x1", "a.true", "true.x", "'a' 'b'", "=", "..", ".upper", "x.keys()", "[-1]", "\\", "`",
    "#",
]  # fmt: skip


def expression(chance: random.Random) -> str:
    """Returns an everyday expression, that with one thing wrong in it, or just words."""
    if chance.random() < 0.4:
        return "".join(chance.choice(WORDS) + chance.choice(["", " "]) for _ in range(chance.randint(1, 9)))
    source = chance.choice(["", "not "]) + chance.choice(OPERANDS)
    for _ in range(chance.choice([0, 0, 1, 2, 3, 9])):
        source += chance.choice(JOINS) + chance.choice(OPERANDS)
    if chance.random() < 0.4:
        at = chance.randint(0, len(source))
        source = source[:at] + chance.choice(WORDS) + source[at + chance.randint(0, 2) :]
    return source


def slowly(source: str, *, template: bool) -> tuple[Reference, ...] | None:
    try:
        return _compiled(source, template).tree.references
    except InvalidExpression:
        return None


@PACE
@given(SEEDS)
def test_an_expression_read_quickly_refers_to_what_the_grammar_says(seed: int) -> None:
    source = expression(random.Random(seed))
    note(repr(source))
    quick = read_expression(source, template=False)
    assert quick is None or quick == slowly(source, template=False)
    assert not is_prose(source) or slowly(source, template=False) is None


@PACE
@given(SEEDS)
def test_a_template_read_quickly_refers_to_what_the_grammar_says(seed: int) -> None:
    chance = random.Random(seed)
    before, behind = (
        chance.choice(["", "x ", "{", "{a: ", "\n"]),
        chance.choice(["", "}", "{{ a }}", "{# x", "%}"]),
    )
    source = f"{before}{{{{ {expression(chance)} }}}}{behind}"
    note(repr(source))
    quick = read_expression(source, template=True)
    assert quick is None or _is_literal(source) or quick == slowly(source, template=True)


def test_everyday_expressions_are_read_quickly() -> None:
    for source in (*OPERANDS, "a.b == 0 and not inputs.c > 3", "steps.a.output.stdout.split()[0] | int"):
        assert read_expression(source, template=False) is not None, source
    assert is_prose("inputs.a > 0 - Part 1 must be there")
