"""Hostile expressions and templates: none reads, runs, loops or allocates beyond its limits."""

# ruff: noqa: E501 - tables are easier to read with many short sources to a line

import time
import tracemalloc

import pytest

from taskmark.errors import InvalidExpression
from taskmark.task import expressions

# What a slow machine under measurement still keeps; an attack that works takes minutes, or never ends.
CPU_SECONDS = 2.0
MEMORY = 64 * 1024 * 1024


def names():
    """A little data, a lot of data, and a shape that is awkward to print."""
    deep = inner = []
    for _ in range(99):
        inner.append([])
        inner = inner[0]
    inner.extend(range(20_000))
    return {
        "x": 1,
        "s": "a" * 200_000,
        "xs": list(range(1_000)),
        "big": list(range(100_000)),
        "d": {"a": {"b": 1}},
        "rows": [{"a": n, "t": "k" * 50} for n in range(2_000)],
        "cells": [[n, str(n), n / 3] for n in range(12_000)],
        "deep": deep,
        "num": 10**1_200,
        "floats": [n / 7 for n in range(100_000)],
        "dd": {f"k{n}": n for n in range(50_000)},
        "same": ["a" * 5_000] * 400,
        "mix": "ab " * 60_000,
    }


NAMES = names()

ESCAPES = [
    "''.__class__.__mro__", "x.__class__", "''['__class__']", "x | attr('__class__')", "self", "self.__init__",
    "[1] | map(attribute='__class__') | list", "[''] | map('attr', '__class__') | list", "cycler.__init__",
    "rows | map(attribute='__class__.__mro__') | list", "rows | selectattr('__class__') | list",
    "rows | sort(attribute='__class__')", "rows | sum(attribute='__init__.__globals__')", "lipsum.__globals__",
    "range(10**9)", "namespace(a=1)", "dict(a=1)", "joiner()", "cycler(1)", "lipsum()", "caller()", "super()",
    "x.__init__.__globals__['os'].popen('id')", "''.format(1)", "'{0.__class__}'.format(1)", "_",
    "'{0.__class__}'.format_map(d)", "''.encode()", "''.translate(d)", "xs.append(1)", "xs.sort()", "xs.clear()",
    "xs.insert(0, 1)", "d.update(a=1)", "d.pop('a')", "d.clear()", "d.setdefault('z', 1)", "xs.__len__()",
    "x.real", "x.numerator", "1.5.hex()", "true.real", "none.__class__", "config", "request", "varargs", "loop",
    "__import__('os')", "open('/etc/passwd')", "x(1)", "(x)(1)", "d['a'](1)", "[x][0]()", "s.split(*xs)",
    "s.split(**d)", "x | default(**d)", "x is callable", "x is sameas(1)", "x is filter", "x | pprint", "x | safe",
    "x | random", "d | xmlattr", "s | urlize", "'%s' | format(1)", "xs | groupby('a')", "x | e", "d | attr('a')",
    "x := 1", "lambda: 1", "[i for i in xs]", "x; y", "import os", "x\x00y", "x`y", "\ud800", "'\\ud800'", "x }}{{ y",
]  # fmt: skip

BOMBS = [
    "(9**9)**(9**9)", "2**5000", "(-8)**0.5", "10.0**400", "1e308*10", "1e999", "2**4000*2**4000", "9"*8_000,
    "0x" + "f"*8_000, "('f'*200000) | int(0, 16)", "('9'*200000) | float", "'x'*10**9", "10**9*'x'", "[0]*10**8",
    "s*100000", "s + s", "s ~ s", "[s]*30 ~ ''", "big + big + big + big + big + big", "[big]*5 | tojson",
    "'%1000000000d' % 1", "'%1000000000d' is odd", "'%99999999d' is divisibleby(3)", "'%99999999d' is even",
    "s.replace('a', 'b'*100)", "s | replace('', 'xxxxxxxxxx')", "s.replace('', s)", "s.join(xs)", "big | join(s)",
    "s.join(['a', 'b', 'c'])", "s.split('a') | map('upper') | list", "xs | map('join', s) | list",
    "big | map('string') | list", "big | sort | sort | sort | sort", "big == big == big == big == big == big",
    "big in [big, big, big, big, big]", "big | unique", "rows | map(attribute=s) | list", "xs | select('eq', xs)",
    "rows | sort(attribute='t') | sort(attribute='t') | sort(attribute='t')", "xs | select('in', big) | list",
    "cells | sort", "cells | tojson", "cells | tojson(indent=8)", "deep | tojson(indent=8)", "xs | batch(0)",
    "xs | batch(10**9, 'x')", "xs | slice(10**9)", "'x' | center(10**9)", "'x' | indent(10**9)", "s.zfill(10**9)",
    "'a b' | wordwrap(1)", "s.ljust(10**9)", "s.expandtabs(10**9)", "xs | tojson(indent=10**9)", "xs[::0]",
    "d | tojson(indent='" + "x"*100 + "')", "1 | round(10**9)", "1.5 | round(-10**9)", "1.5 | round(-10**9, 'ceil')",
    "[[1], [2]] | sum(start=[])", "('['*100000) | fromjson", "('{\"a\":'*40000) | fromjson", "'NaN' | fromjson",
    "'1e999' | fromjson", "('9'*5000) | fromjson", "s | fromjson", "s.title().title().title()",
    "(s | sort and " * 20 + "x)", "'abc' in s or " * 50 + "x", "xs[10**100]", "{xs: 1}", "d[xs]", "s | list | sort",
]  # fmt: skip

# What multiplies: a little work per item, items that share one large part, numbers and letters that grow.
GROWING = [
    "([num]*100000)", "([[num]*100]*1000) | map('tojson') | list", "([num]*100000) | tojson", "num*num", "num**2",
    "([num]*100000) | join", "([num]*100000) ~ ''", "([num]*50000) | map('string') | list", "2.0**9999", "10**1233",
    "([num]*20000) | map('string') | map('int') | list", "(10**1200)**1.5", "''*num", "[]*num", "xs[-10**30]", "x/0",
    "([s]*100) | map('upper') | list", "([s]*100) | unique | list", "([s]*100) | sort", "([big]*30) | map('sum') | list",
    "([big]*30) | map('list') | list", "([same]*300) | map('join') | list", "([dd]*40) | map('dictsort') | list",
    "([dd]*40) | map('tojson') | list", "([mix]*40) | map('title') | list", "([s]*30) | map('list') | list",
    "([s]*30) | map('reverse') | list", "([s]*60) | map('replace', 'a', 'b') | list", "('\ufb01'*200000) | upper",
    "('\u0130'*200000) | lower", "same | map('replace', 'a', 'b'*999) | list", "same | select('in', same) | list",
    "rows | map(attribute='a.'*5000) | list", "rows | selectattr('t', 'eq', s) | list", "cells | sort | sort | sort",
    "floats | map('string') | map('float') | map('round', 20) | list", "floats | tojson", "s | batch(1) | list | tojson",
    "xs | map('default', big) | map('sum') | list", "(s | list) * 2 | length", "dd | items | list | sort | unique | list",
    "('{' ~ '\"a\":{'*999 ~ '}'*999) | fromjson", "('1_'*2000 ~ '1') | int | string | int ** 2", "1 | batch(big)",
]  # fmt: skip

NESTING = [
    "(" * 8_000, "[" * 8_000, "{" * 8_000, "-" * 8_000 + "1", "not " * 2_000 + "1", "1" + "+1" * 4_000, "x[" * 2_000,
    "x" + ".a" * 4_000, "x" + "[0]" * 2_500, "x" + " | abs" * 1_600, "1 if 1 else " * 600 + "1", "x and " * 1_300 + "x",
    "x ~ " * 1_990 + "x", "[" + "x," * 1_900 + "1]", "x" + " is odd" * 1_000, "x < " * 1_800 + "x", "x" * 9_000,
    "x" + "+x" * 62, "x" + ".a" * 62, "x" + " | abs" * 62, "[" * 25 + "x" + "]" * 25, "a" * 8_193, "x.a" + "(" * 3_000,
]  # fmt: skip

TEMPLATES = [
    "{% for a in xs %}{% for b in xs %}{% for c in xs %}{% endfor %}{% endfor %}{% endfor %}",
    "{% for a in big %}{% for b in big %}x{% endfor %}{% endfor %}", "{% for a in xs %}{{ s }}{% endfor %}",
    "{% for a in s %}{% for b in s %}{% endfor %}{% endfor %}", "{{ s }}{{ s }}", "{% for a in 5 %}{% endfor %}",
    "{% for i in xs %}" + "{{ i }}" * 490 + "{% endfor %}", "{% for i in xs %}{{ big | sort }}{% endfor %}",
    "{% for i in xs if big | sum %}{% endfor %}", "{% for i in big %}{% if big == big %}{% endif %}{% endfor %}",
    "{% for a in xs %}" * 30 + "{% endfor %}" * 30, "{% if x %}" * 400 + "{% endif %}" * 400, "{{ x }}" * 1_100,
    "{% if xs %}" + "{% elif x %}" * 600 + "{% endif %}", "x" * 70_000 + "{{ x }}", "{{ '" + "x" * 9_000 + "' }}",
    "{% set a = [0] %}" + "{% set a = [a, a] %}" * 90 + "{{ a }}", "{{ xs }}{#" + "x" * 9_000 + "#}",
    "{% set a = [0] %}" + "{% set a = [a, a] %}" * 90 + "{{ a == a }}",
    "{% set a = [0] %}" + "{% set a = [a, a] %}" * 150 + "{{ a }}",
    "{% set a = [0] %}" + "{% set a = a + a %}" * 90 + "{{ a | length }}",
    "{% set a = 'x' %}" + "{% set a = a ~ a %}" * 90, "{% set a = 2 %}" + "{% set a = a * a %}" * 90,
    "{% set a = {} %}" + "{% set a = {'a': a, 'b': a} %}" * 90 + "{{ a | tojson }}",
    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "{% include '/etc/passwd' %}", "{% import 'x' as y %}",
    "{% extends 'x' %}", "{% from 'x' import y %}", "{% block b %}{% endblock %}", "{% do xs.append(1) %}",
    "{% call x() %}{% endcall %}", "{% filter upper %}{% endfilter %}", "{% set a %}x{% endset %}",
    "{% set d.a = 1 %}", "{% autoescape true %}{% endautoescape %}", "{% with a = 1 %}{% endwith %}",
    "{% for a in d recursive %}{{ loop(a) }}{% endfor %}", "{% for a in xs %}{{ loop }}{% endfor %}",
    "{% for a in xs %}{{ loop.__class__ }}{% endfor %}", "{% for a in xs %}{{ loop._iterator }}{% endfor %}",
    "{% for a in xs %}{{ loop.cycle(1, 2) }}{% endfor %}", "{% for a in xs %}{{ loop.changed(1) }}{% endfor %}",
    "{% for self in xs %}{{ self }}{% endfor %}", "{{ self.blocks }}", "{{ x", "{% if x", "{{ '", "{% unknown %}",
    "{% for (a, (b, c)) in xs %}{% endfor %}", "{% for a in nope %}{% endfor %}", "{% debug %}", "{% trans %}",
]  # fmt: skip

HEAVY = [
    "9**9**9**9", "[" + "x," * 990 + "x]", "x" + " ~ x" * 990, "x < " * 900 + "x", "x" + " + x" * 54, "s[:50000] | list",
    "x" + " if x else x" * 15, "(" * 23 + "x" + ")" * 23, "[" * 23 + "x" + "]" * 23, "not " * 15 + "x", "big | sum",
    "x" + " and x" * 55, "x" + " | abs" * 55, "{" + ",".join(f"'k{n}': x" for n in range(450)) + "}", "deep",
    "cells == cells", "cells | map('tojson') | list", "big[:10000] | map('string') | list", "s[:50000].split('a')", "cells",
    "big[:5000] | select('odd') | map('abs') | sort", "s.replace('a', 'b')", "s.count('a'*999 ~ 'b')",
    "s.find('a'*99999 ~ 'b' ~ 'a'*9999)", "s.replace('a'*999 ~ 'b', '')", "('9'*5000) | int", "xs[:10**100]",
    "s.count('')", "'' | map('attr', '__class__') | list",
]  # fmt: skip

HEAVY_TEMPLATES = [
    "{{ x }}" * 600, "{% for i in xs[:100] %}" + "{{ d.a.b ~ loop.index }}" * 150 + "{% endfor %}", "{% raw %}",
    "{% for i in big[:50000] %}{% endfor %}", "{% for i in xs %}{% for j in xs[:10] %}{{ i * j }}{% endfor %}{% endfor %}",
    "{% for i in big[:20000] %}{% if i is odd %}{{ loop.index }}{% endif %}{% endfor %}", "{% set loop = 1 %}{{ loop }}.",
    "{% set _result = 1 %}{{ x }}", "{{ x }}" + "y" * 60_000,
]  # fmt: skip


def timed(run, source):
    """Runs it uncompiled, and returns what it raised; it must not use more time than it may."""
    expressions._compiled.cache_clear()
    began, error = time.thread_time(), None
    try:
        run(source, NAMES)
    except InvalidExpression as raised:
        error = raised
    assert time.thread_time() - began < CPU_SECONDS
    return error


def test_there_are_more_than_a_hundred_attacks():
    assert len(ESCAPES + BOMBS + GROWING + NESTING + TEMPLATES) > 250


@pytest.mark.parametrize("source", ESCAPES + BOMBS + GROWING + NESTING, ids=lambda source: ascii(source[:40]))
def test_a_hostile_expression_is_refused_in_time(source):
    assert timed(expressions.evaluate, source)


@pytest.mark.parametrize("source", TEMPLATES, ids=lambda source: source[:40])
def test_a_hostile_template_is_refused_in_time(source):
    assert timed(expressions.render, source)


@pytest.mark.parametrize("source", HEAVY, ids=lambda source: source[:40])
def test_a_heavy_expression_ends_in_time(source):
    assert timed(expressions.evaluate, source) is None


@pytest.mark.parametrize("source", HEAVY_TEMPLATES, ids=lambda source: source[:40])
def test_a_heavy_template_ends_in_time(source):
    assert timed(expressions.render, source) is None


GREEDY = [source for source in BOMBS if "tojson" in source or "*" in source or "replace" in source]


@pytest.mark.parametrize(
    "source",
    [*GREEDY, *GROWING, "deep", "s.split('a') | list", "s | list"],
    ids=lambda source: ascii(source[:40]),
)
def test_no_expression_takes_much_memory(source):
    tracemalloc.start()
    try:
        expressions.evaluate(source, NAMES)
    except InvalidExpression:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < MEMORY


def test_many_templates_in_one_value_share_one_limit():
    with pytest.raises(InvalidExpression, match="units of work"):
        expressions.render_value(["{{ big | length }}{{ xs | sum }}"] * 500, NAMES)


def test_a_value_is_rendered_to_a_limited_depth():
    value = "{{ x }}"
    for _ in range(5_000):
        value = [value]
    with pytest.raises(InvalidExpression, match="nested deeper"):
        expressions.render_value(value, NAMES)


def test_a_result_passes_much_text_through_but_not_any():
    assert len(expressions.evaluate("s", {"s": "x" * 1_000_000})) == 1_000_000
    with pytest.raises(InvalidExpression, match="characters"):
        expressions.evaluate("[s, s, s]", {"s": "x" * 1_000_000})


def test_no_attack_changed_a_name():
    for source in (*ESCAPES, *TEMPLATES[:10]):
        for run in (expressions.evaluate, expressions.render):
            try:
                run(source, NAMES)
            except InvalidExpression:
                continue
    assert names() == NAMES
