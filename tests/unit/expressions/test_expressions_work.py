"""What an evaluation costs, and templates that are always text."""

import pytest

from taskmark.errors import InvalidExpression
from taskmark.task.expressions import Work, evaluate, render_text, render_value


def cost(source, names, evaluation=evaluate):
    work = Work()
    evaluation(source, names, work)
    return work.spent


def test_the_price_depends_on_the_expression_and_its_data_alone():
    names = {"items": list(range(1000))}
    assert cost("items | sum", names) == cost("items | sum", names) > cost("items | length", names) > 0
    assert cost("items | sum", {"items": list(range(10))}) < cost("items | sum", names)


def test_all_texts_of_a_value_are_paid_from_one_account():
    template = "{{ 'x' * 5000 }}"
    one, two = cost(template, {}, render_value), cost([template, template], {}, render_value)
    assert two == 2 * one > 0


def test_what_fails_has_been_paid_for():
    work = Work()
    with pytest.raises(InvalidExpression):
        evaluate("('x' * 200000) | length + 'a'", {}, work)
    assert work.spent > 0


@pytest.mark.parametrize(
    ("template", "text"),
    [("plain", "plain"), ("{{ n }}", "1"), ("n is {{ n }}", "n is 1"), ("{{ d }}", '{"ä": [1, null]}')],
)
def test_a_template_as_text_is_text_even_if_it_is_one_value(template, text):
    assert render_text(template, {"n": 1, "d": {"ä": [1, None]}}) == text
