"""What a source reads, and where."""

import pytest

from taskmark.errors import InvalidExpression
from taskmark.task.expressions import Reference, references


def paths(source, *, template=False):
    return [".".join(reference.path) for reference in references(source, template=template)]


EXPRESSIONS = [
    ("inputs.file", ["inputs.file"]),
    ("inputs['file'].name[0]", ["inputs.file.name.0"]),
    ("a.b + a.b", ["a.b", "a.b"]),
    ("steps[inputs.id].output", ["steps", "inputs.id"]),
    ("a.b[c:].d", ["a.b", "c"]),
    ("a.text.split(b.sep)[0] | int", ["a.text", "b.sep"]),
    ("x | default(y.z)", ["x", "y.z"]),
    ("late.a if first.b else last.c", ["late.a", "first.b", "last.c"]),
    ("x is in y.z", ["x", "y.z"]),
    ("{'k': v.w, 'l': [u]}", ["v.w", "u"]),
    ("rows | map(attribute='name')", ["rows"]),
    ("1 + 2", []),
]


@pytest.mark.parametrize(("source", "expected"), EXPRESSIONS)
def test_an_expression_reads_the_longest_chains_in_order(source, expected):
    assert paths(source) == expected


TEMPLATES = [
    ("no braces", []),
    ("{{ a.b }} and {{ c }}", ["a.b", "c"]),
    ("{% for r in t.rows if r.ok and x.y %}{{ r.n }}{{ loop.index }}{{ z }}{% else %}{{ r }}{% endfor %}",
     ["t.rows", "x.y", "z", "r"]),
    ("{% for k, (v, w) in d %}{{ k ~ v ~ w }}{% endfor %}{{ k }}", ["d", "k"]),
    ("{{ s }}{% set s = a.b %}{{ s.c }}", ["s", "a.b"]),
    ("{% if p.q %}{{ r }}{% elif t %}{{ u }}{% else %}{{ v }}{% endif %}", ["p.q", "r", "t", "u", "v"]),
    ("{# {{ no }} #}{% raw %}{{ no }}{% endraw %}{{ yes }}", ["yes"]),
]  # fmt: skip


@pytest.mark.parametrize(("source", "expected"), TEMPLATES)
def test_a_template_reads_free_names_only(source, expected):
    assert paths(source, template=True) == expected


@pytest.mark.parametrize(
    "source",
    [
        "x {{ aa.b }} {{- bb.c -}}   {{ cc }}\n{% if d %} {%- for i in e %}{{ i }}{% endfor %}{% endif %}",
        "line\r\n{{ aa }}\r\n\r\n{{ bb['k'] }}\rold{{ cc }}",
        "{# aa {{ bb }} #}{{ cc }}{% raw %}{{ dd }}{% endraw %}{{ 'ee' ~ ee }}",
    ],
)
def test_an_offset_is_the_place_of_the_name_in_the_source(source):
    found = references(source, template=True)
    assert found
    assert all(source.startswith(reference.path[0], reference.offset) for reference in found)


def test_offsets_count_characters_of_the_source():
    assert references("'é\\n' ~  a.b") == (Reference(("a", "b"), 9),)


def test_what_cannot_be_read_raises():
    with pytest.raises(InvalidExpression):
        references("a +")
