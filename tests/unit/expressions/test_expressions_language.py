"""What the expression language can say."""

import copy
import os
import subprocess
import sys

import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import Markup

from taskmark.errors import InvalidExpression
from taskmark.task import expressions
from taskmark.task.expressions import check, evaluate, render, render_value
from taskmark.task.expressions import test as holds

NAMES = {
    "inputs": {"file": "a.txt", "amount": 7, "fee": 2, "tags": ["b", "a", "B"], "none": None, "yes": True},
    "steps": {"count": {"output": {"stdout": "12 a.txt\n", "items": [1, 2], "json": '{"k": [1]}'}}},
    "rows": [{"name": "x", "n": 3, "at": {"k": 1}}, {"name": "y", "n": 1, "at": {"k": 2}}],
    "text": Markup("<b>"),
}

VALUES = [
    ("inputs.amount > 0", True),
    ("inputs.amount - inputs.fee", 5),
    ("steps.count.output.stdout.split()[0] | int", 12),
    ("steps.count.output.items", [1, 2]),
    ("steps.count.output['items'][-1]", 2),
    ("inputs['file'][0]", "a"),
    ("inputs.amount / 2", 3.5),
    ("inputs.amount // 2 + inputs.amount % 2", 4),
    ("2 ** 10 * 2.5", 2560.0),
    ("2 ** -1", 0.5),
    ("-inputs.amount", -7),
    ("not inputs.none", True),
    ("inputs.yes and inputs.none is none", True),
    ("inputs.none or 'x'", "x"),
    ("0 < inputs.fee < inputs.amount", True),
    ("inputs.amount == inputs.fee", False),
    ("'a' in inputs.tags and 'z' not in inputs.tags", True),
    ("'file' in inputs", True),
    ("'.t' in inputs.file", True),
    ("inputs.file in ['a.txt']", True),
    ("inputs.file ~ '-' ~ inputs.amount ~ inputs.none ~ inputs.yes", "a.txt-7nulltrue"),
    ("'a' + 'b'", "ab"),
    ("[1] + [2]", [1, 2]),
    ("'ab' * 2", "abab"),
    ("2 * [0]", [0, 0]),
    ("'ab' * -1", ""),
    ("(1, 2)", [1, 2]),
    ("{'a': {'b': (1,)}}", {"a": {"b": [1]}}),
    ("'big' if inputs.amount > 5 else 'small'", "big"),
    ("rows[0:1]", [NAMES["rows"][0]]),
    ("inputs.file[:1]", "a"),
    ("inputs.file[::-1]", "txt.a"),
    ("inputs.nope is defined", False),
    ("inputs.nope is undefined", True),
    ("inputs.nope | default('d')", "d"),
    ("inputs.none | default('d', true)", "d"),
    ("inputs.file | d('d')", "a.txt"),
    ("text", "<b>"),
    ("text | upper", "<B>"),
    # filters
    ("inputs.file | upper | lower | title", "A.Txt"),
    ("'ab c' | capitalize", "Ab c"),
    ("7 | string", "7"),
    ("' x ' | trim", "x"),
    ("'xax' | trim('x')", "a"),
    ("'aaa' | replace('a', 'b')", "bbb"),
    ("'aaa' | replace('a', 'b', 2)", "bba"),
    ("inputs.tags | join(', ')", "b, a, B"),
    ("rows | join('-', attribute='n')", "3-1"),
    ("[1, none, [2]] | join('|')", "1|null|[2]"),
    ("{'b': 1, 'a': 'é'} | tojson", '{"a": "é", "b": 1}'),
    ("{'a': [1]} | tojson(indent=1)", '{\n "a": [\n  1\n ]\n}'),
    ("steps.count.output.json | fromjson", {"k": [1]}),
    ("'12' | int + 1", 13),
    ("'1.9' | int", 1),
    ("'x' | int", 0),
    ("'x' | int(-1)", -1),
    ("'ff' | int(0, 16)", 255),
    ("[] | int", 0),
    ("'1.5' | float", 1.5),
    ("'x' | float(2.0)", 2.0),
    ("2.345 | round(2)", 2.35),
    ("2.5 | round", 2.0),
    ("2.1 | round(0, 'ceil')", 3.0),
    ("2.19 | round(1, 'floor')", 2.1),
    ("(-3) | abs", 3),
    ("[0.1, 0.2, 0.3] | sum", 0.6),
    ("[1, 2] | sum", 3),
    ("rows | sum(attribute='n', start=1)", 5),
    ("rows | length + (inputs.file | count)", 7),
    ("rows | first", NAMES["rows"][0]),
    ("inputs.tags | last", "B"),
    ("'ab' | list", ["a", "b"]),
    ("inputs.tags | reverse", ["B", "a", "b"]),
    ("'ab' | reverse", "ba"),
    ("{'a': 1} | items", [["a", 1]]),
    ("{'a': 1} | list", ["a"]),
    ("[1, 2, 3] | batch(2)", [[1, 2], [3]]),
    ("inputs.tags | sort", ["a", "b", "B"]),
    ("inputs.tags | sort(case_sensitive=true, reverse=true)", ["b", "a", "B"]),
    ("rows | sort(attribute='n') | map(attribute='name')", ["y", "x"]),
    ("rows | map(attribute='at.k') | list", [1, 2]),
    ("inputs.tags | unique", ["b", "a"]),
    ("inputs.tags | map('upper')", ["B", "A", "B"]),
    ("[3, 1] | min + ([3, 1] | max)", 4),
    ("rows | max(attribute='n')", NAMES["rows"][0]),
    ("{'b': 1, 'a': 2} | dictsort", [["a", 2], ["b", 1]]),
    ("rows | selectattr('n', 'gt', 2) | map(attribute='name')", ["x"]),
    ("rows | rejectattr('n', 'gt', 2) | map(attribute='name')", ["y"]),
    ("[0, 1, 2] | select('odd')", [1]),
    ("[0, 1, 2] | reject('even') | list", [1]),
    ("[0, 1] | select", [1]),
    # tests
    ("4 is even and 3 is odd and 9 is divisibleby 3", True),
    ("inputs.file is string and inputs is mapping and rows is sequence", True),
    ("1 is number and 1 is integer and 1.0 is float and true is boolean", True),
    ("1 in [1] and 1 is in [1]", True),
    # methods
    ("'a,b'.split(',')", ["a", "b"]),
    ("'a b'.split()", ["a", "b"]),
    ("'a\\nb'.splitlines()", ["a", "b"]),
    ("' x '.strip() ~ 'x '.rstrip() ~ ' x'.lstrip()", "xxx"),
    ("'-'.join(['a', 'b'])", "a-b"),
    ("'aa'.replace('a', 'b', 1)", "ba"),
    ("'aa'.replace('a', 'b')", "bb"),
    ("'ab'.startswith('a') and 'ab'.endswith('b')", True),
    ("'aXa'.count('a') + 'ab'.index('b') + [1, 1].count(1) + [2].index(2)", 5),
    ("'a'.upper() ~ 'B'.lower() ~ 'x y'.title()", "AbX Y"),
    ("'v1'.removeprefix('v')", "1"),
]


@pytest.mark.parametrize(("source", "value"), VALUES)
def test_an_expression_has_its_value(source, value):
    got = evaluate(source, NAMES)
    assert got == value
    assert type(got) is type(value)


def test_the_environment_is_jinjas_immutable_sandbox():
    assert isinstance(expressions._environment, ImmutableSandboxedEnvironment)


def test_an_expression_holds_unless_its_value_is_empty_zero_null_or_false():
    assert holds("inputs.amount", NAMES)
    assert not any(holds(source, NAMES) for source in ("''", "0", "none", "false", "[]", "{}"))


def test_a_template_that_is_one_expression_keeps_the_type():
    assert render("{{ steps.count.output.items }}", NAMES) == [1, 2]
    assert render("{{- inputs.amount -}}", NAMES) == 7
    assert render("{# note #}{{ inputs.yes }}", NAMES) is True


def test_any_other_template_is_text_with_json_for_what_is_no_text():
    assert render(" {{ inputs.amount }}", NAMES) == " 7"
    assert render("{{ inputs.yes }}{{ inputs.none }}", NAMES) == "truenull"
    assert render("{{ inputs.tags }} {{ {'k': 1.5} }}\n", NAMES) == '["b", "a", "B"] {"k": 1.5}\n'


def test_text_without_braces_is_returned_as_it_is():
    assert render("a % {b} } %} {# c #}\r\n", {}) == "a % {b} } %} {# c #}\r\n"


def test_templates_have_loops_conditions_and_variables():
    template = (
        "{% set head = 'n' %}{% for row in rows if row.n > 0 %}{{ loop.index }}/{{ loop.length }} "
        "{{ row.name }}{{ ', ' if not loop.last }}{% else %}none{% endfor %}"
        "{% if head == 'n' %}!{% elif head %}?{% endif %}"
    )
    assert render(template, NAMES) == "1/2 x, 2/2 y!"


def test_raw_blocks_keep_braces():
    assert render("{% raw %}{{ x }}{% endraw %}", {}) == "{{ x }}"


def test_rendering_a_value_reaches_every_text_but_no_key():
    value = {"{{ a }}": ["{{ inputs.amount }}", ("x{{ inputs.fee }}", 1, None, True)], "m": {"k": "plain"}}
    assert render_value(value, NAMES) == {"{{ a }}": [7, ["x2", 1, None, True]], "m": {"k": "plain"}}


def test_a_result_shares_nothing_with_the_names():
    names = {"d": {"l": [1]}}
    evaluate("d", names)["d_l"] = 1
    evaluate("d.l", names).append(2)
    assert names == {"d": {"l": [1]}}


def test_names_may_be_any_mapping():
    from types import MappingProxyType

    assert evaluate("a.b", MappingProxyType({"a": {"b": 1}})) == 1


def test_evaluating_leaves_the_names_as_they_are():
    before = copy.deepcopy(NAMES)
    for source, _ in VALUES:
        evaluate(source, NAMES)
    render("{% set inputs = 1 %}{% for rows in rows %}{% endfor %}{{ inputs }} ", NAMES)
    assert before == NAMES


MISTAKES = [
    ("inputs.fiel", "`inputs.fiel` is not defined; did you mean `file`?", 0),
    ("1 + inptus.file", "`inptus` is not defined; did you mean `inputs`?", 4),
    ("inputs['fiel']", "`inputs.fiel` is not defined; did you mean `file`?", 0),
    ("rows[0].name ~ rows[0].nmae", "`rows.0.nmae` is not defined; did you mean `name`?", 15),
    ("(rows | first).nmae", "`nmae` is not defined; did you mean `name`?", None),
    ("nope is defined or (rows | last).name.nmae", "a text has no key `nmae`", None),
    ("rows | map(attribute='nmae') | list", "`nmae` is not defined; did you mean `name`?", None),
    ("[zzzz]", "`zzzz` is not defined", 1),
    ("zzzz.a.b", "`zzzz` is not defined", 0),
    ("zzzz['a']", "`zzzz` is not defined", 0),
    ("inputs[zzzz]", "`zzzz` is not defined", 7),
    ("inputs.file.nope", "a text has no key `nope`", None),
    ("inputs.file.split", "`split` is a method; call it: `split(…)`", None),
    ("inputs[1]", "a mapping has no item a number", None),
    ("rows['x']", "a list has no item `x`", None),
    ("rows[5]", "there is no item 5: it has 2", None),
    ("[] | first", "there is no first item: it is empty", None),
    ("[] | max", "No aggregated item, sequence was empty.", None),
    ("1 if false", "the condition is false and there is no `else`", None),
    ("(1 if false) | length", "the condition is false and there is no `else`", None),
    ("inputs.amount +", "unexpected 'end of template' (at character 15)", 14),
    ("", "the expression is empty (at character 1)", 0),
    ("a b", "unexpected `b` after the expression (at character 3)", 2),
    ("a ; b", "unexpected `;` after the expression (at character 3)", 2),
    ("a & b", "unexpected char '&' (at character 3)", 2),
    ("(a]", "unexpected ']', expected ')' (at character 3)", 2),
    ("a | uppr", "there is no filter `uppr`; did you mean `upper`? (at character 5)", 4),
    ("a is strin", "there is no test `strin`; did you mean `string`? (at character 3)", 2),
    (
        "len(a)",
        "there is no function `len`; expressions have filters instead: `value | filter` (at character 1)",
        0,
    ),
    ("a.items()", "the filter `items` gives pairs of key and value (at character 2)", 1),
    ("a.splitt()", "did you mean `split`? (at character 2)", 1),
    ("inputs.amount / 0", "`inputs.amount / 0` cannot be evaluated: division by zero", None),
    ("inputs.amount < 'a'", "cannot be evaluated: '<' not supported", None),
    ("inputs.file + 1", "`+` does not work for a text and a number; `~` joins anything as text", None),
    ("inputs.file - 1", "`-` does not work for a text and a number", None),
    ("inputs.file * 1.5", "`*` does not work for a text and a number", None),
    ("inputs * 2", "`*` does not work for a mapping and a number", None),
    ("1 + none", "`+` does not work for a number and null", None),
    ("5 | list", "a number cannot be looped over", None),
    ("5 | length", "a number has no length", None),
    ("5[1:]", "a number has no slices", None),
    ("[1] | items", "a list has no keys", None),
    ("inputs.split()", "a mapping has no method `split`", None),
    ("[1].split()", "a list has no method `split`", None),
    ("none.split()", "null has no method `split`", None),
    ("','.join([1])", "a number is no text; the filter `join` joins anything", None),
    ("['a'] | sum", "`sum` adds numbers, not a text", None),
    ("[true] | sum", "`sum` adds numbers, not a boolean", None),
    ("[1] | batch(0)", "`batch` takes a size of at least 1", None),
    ("{1: 2}", "the keys of a mapping are texts, not a number", None),
    ("'{' | fromjson", "`fromjson` got text that is no JSON", None),
    ("1.5 | round(99)", "`round` takes -20 to 20 places", None),
    ("'a' is odd", "a text is not odd", None),
    ("1 | default(fallback=1, fallback=2)", "cannot be compiled: keyword argument repeated", None),
    ("inputs.file[9].nope", "there is no item 9: it has 5", None),
    ("rows[0].at.nope.k", "`rows.0.at.nope` is not defined", 0),
    ("a\r\nb", "unexpected `b` after the expression (at character 4)", 3),
]


@pytest.mark.parametrize(("source", "message", "offset"), MISTAKES)
def test_a_mistake_is_named_and_placed(source, message, offset):
    with pytest.raises(InvalidExpression) as raised:
        evaluate(source, NAMES)
    assert message in str(raised.value)
    assert raised.value.offset == offset


@pytest.mark.parametrize("value", [{1}, {1: 2}, object(), float("nan"), b"x", "\ud800", {"\ud800": 1}])
def test_only_json_comes_out(value):
    with pytest.raises(InvalidExpression):
        evaluate("x", {"x": value})


def test_a_key_that_looks_like_a_method_is_data():
    assert evaluate("x.items ~ x.split", {"x": {"items": 1, "split": 2}}) == "12"


def test_long_sources_are_shortened_in_messages():
    with pytest.raises(InvalidExpression, match="…` cannot be evaluated: division by zero"):
        evaluate("1 / 0 + " + " + ".join(["1"] * 40), {})


def test_checking_reads_but_does_not_evaluate():
    check("nobody.knows > 1 / 0")
    check("plain text", template=True)
    check("{{ a }} {% if b %}c{% endif %}", template=True)
    with pytest.raises(InvalidExpression, match="unknown tag"):
        check("{% nope %}", template=True)
    with pytest.raises(InvalidExpression, match="'endif'"):
        check("{% if a %}", template=True)


DETERMINISTIC = """
from taskmark.task.expressions import evaluate, render, references
from taskmark.errors import InvalidExpression
names = {"d": {"b": 1, "a": [2, "x"], "c": None}, "l": ["b", "a", "B"]}
print(evaluate("[d | tojson, d | items, l | unique, l | sort, d ~ '', ([0.1] * 3) | sum]", names))
print(render("{% for k in d %}{{ k }}{{ d[k] }}{% endfor %}", names), references("d.a ~ l ~ x.y[z]"))
for wrong in ("d.bb", "a.b ~ c ~ e", "l | uniq", "l.cuont()", "d is strnig"):
    try:
        evaluate(wrong, names)
    except InvalidExpression as error:
        print(error)
"""


def test_nothing_depends_on_the_hash_seed():
    def run(seed):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        return subprocess.run(
            [sys.executable, "-c", DETERMINISTIC],
            env=environment,
            capture_output=True,
            check=True,
            timeout=60,
        ).stdout

    outputs = {run(seed) for seed in ("0", "1", "4242")}
    assert len(outputs) == 1
    assert b"did you mean" in outputs.pop()
