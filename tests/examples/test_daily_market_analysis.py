"""The task `daily-market-analysis` on a real server; its figures against pandas; what it understands."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
import pytest
from examples_folder import ROOT, Example, eventually, example
from hypothesis import given
from hypothesis import strategies as st

from taskmark.task import check_file
from tasks.daily_market_analysis import editor, question, selection, words
from tasks.investment_committee.market import UnknownTicker

TASK = ROOT / "tasks" / "daily-market-analysis.md"
AGENTS = sorted({name for team in selection.TEAMS.values() for name in team})
exactly = pytest.approx


@pytest.fixture(scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Example]:
    async with example(tmp_path_factory.mktemp("market")) as here:
        yield here


# --- the task -------------------------------------------------------------------------------------


def test_the_task_file_has_no_errors_and_no_warnings():
    assert check_file(TASK).diagnostics == ()


@pytest.mark.parametrize(
    ("inputs", "asked", "say"),
    [
        ({}, ["trend-watcher", "volatility-watcher", "price-watcher"], "S&P 500 index, 2018-12-31; signs: "),
        (
            {"question": "Compare it with oil, and is spring, say April, a good time?", "ticker": "NASDAQ"},
            ["correlation-watcher", "season-watcher", "volatility-watcher"],
            "NASDAQ Composite index, 2018-12-31; signs: ",
        ),
        (
            {"question": "How volatile is gold?"},
            [],
            "There are no prices of gold, only of SP500, NASDAQ, WTI.",
        ),
    ],
)
async def test_the_agents_that_the_question_calls_for_answer_it_within_the_limit(place, inputs, asked, say):
    """Only they run; for a question that cannot be answered, nobody does and the answer says why."""
    done = await place.run("daily-market-analysis", **inputs)
    assert (done.status, done.outputs["asked"]) == ("completed", asked)
    assert done.outputs["answered"] is bool(asked)
    assert done.outputs["answer"].startswith(say)
    assert list(done.outputs["findings"]) == asked
    eventually(lambda: sorted(agents_in_history(place, done.execution_id)) == sorted(asked))
    assert (done.finished_at - done.started_at).total_seconds() < 30


def agents_in_history(place: Example, execution: str) -> list[str]:
    """The agents of which the history says that they answered."""
    attempts = place.client.wiring.history.attempts(execution, "findings")
    return [one.agent for one in attempts if one.agent is not None and one.status == "completed"]


# --- figures --------------------------------------------------------------------------------------


def ask(
    text: str, ticker: str | None = None, silent: tuple[str, ...] = ()
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The answer and what each agent found, step after step in this process, without the engine."""
    reading = asdict(question.classify(text, ticker))
    chosen = selection.choose(reading["words"])
    phases = {
        "question_classification": {"outputs": {"reading": reading}},
        "contextual_agent_selection": {"outputs": chosen},
    }
    found = {name: function(name)("", {"phases": phases}) for name in chosen["agents"]}
    said = [None if name in silent else one for name, one in found.items()]
    return editor.answer("", {"phases": {**phases, "rapid_analysis": {"outputs": {"findings": said}}}}), found


def function(agent: str) -> Any:
    """The function that an agent's file names as its model."""
    named = check_file(TASK).definition.agents[agent].model
    module, name = str(named).removeprefix("python:").split(":")
    return getattr(importlib.import_module(module), name)


def closes(ticker: str, year: int) -> pd.Series:
    """The prices up to the end of a year, read with pandas."""
    file = ROOT / "tasks/investment_committee/data" / f"{ticker.lower()}.csv"
    return pd.read_csv(file, parse_dates=["date"], index_col="date").close[: f"{year}-12-31"]


@pytest.fixture(params=[("SP500", 2018), ("NASDAQ", 2008), ("WTI", 2014)], ids=str)
def scene(request: pytest.FixtureRequest) -> tuple[pd.Series, dict[str, dict[str, Any]]]:
    """Prices, and the figures of every agent about them."""
    ticker, year = request.param
    asked = ["trend and risk and drawdown", "season: January, June", "compare with the market", "price"]
    figures = {}
    for one in asked:
        _, found = ask(f"{one} at the end of {year}", ticker)
        figures |= {name.removesuffix("-watcher"): finding["figures"] for name, finding in found.items()}
    assert len(figures) == len(AGENTS)
    return closes(ticker, year), figures


def percent(value: float) -> Any:
    return exactly(100 * value, abs=0.00501)


def test_price_figures(scene):
    prices, figures = scene
    year = prices[-252:]
    assert figures["price"] == {
        "close": prices.iloc[-1],
        "change_21_days_pct": percent(prices.pct_change(21).iloc[-1]),
        "change_252_days_pct": percent(prices.pct_change(252).iloc[-1]),
        "low_252_days": year.min(),
        "high_252_days": year.max(),
        "place_in_range_pct": percent((year.iloc[-1] - year.min()) / (year.max() - year.min())),
    }


def test_trend_figures(scene):
    prices, figures = scene
    fast, slow = prices.rolling(50).mean().iloc[-1], prices.rolling(200).mean().iloc[-1]
    logs, days = np.log(prices[-200:]), np.arange(200)
    slope = np.polyfit(days, logs, 1)[0]
    assert figures["trend"] == {
        "average_50_days": exactly(fast, abs=0.00501),
        "average_200_days": exactly(slow, abs=0.00501),
        "growth_annual_pct": percent(np.exp(slope * 252) - 1),
        "fit_ratio": exactly(np.corrcoef(days, logs)[0, 1] ** 2, abs=0.0000501),
        "signs_up": sum((prices.iloc[-1] > slow, fast > slow, slope > 0)),
    }


def test_volatility_figures(scene):
    prices, figures = scene
    logs = np.log(prices).diff().dropna()
    history = logs.rolling(21).std().dropna() * np.sqrt(252)
    assert figures["volatility"] == {
        "volatility_21_days_pct": percent(history.iloc[-1]),
        "volatility_252_days_pct": percent(logs[-252:].std() * np.sqrt(252)),
        "percentile_pct": percent((history <= history.iloc[-1] * (1 + 1e-12)).mean()),
        "daily_move_pct": percent(logs[-21:].std()),
        "var_95_pct": percent(-np.quantile(prices.pct_change().dropna()[-252:], 0.05)),
    }


def test_drawdown_figures(scene):
    prices, figures = scene
    falls = 1 - prices / prices.cummax()
    trough = falls.idxmax()
    windows = [prices.iloc[end - 253 : end] for end in range(len(prices), 252, -21)]
    deepest = [(1 - window / window.cummax()).max() for window in windows]
    assert figures["drawdown"] == {
        "drawdown_pct": percent(falls.iloc[-1]),
        "drawdown_worst_pct": percent(falls.max()),
        "worst_peak_date": prices[:trough].idxmax().date().isoformat(),
        "worst_trough_date": trough.date().isoformat(),
        "drawdown_90th_percentile_pct": percent(np.quantile(deepest, 0.9)),
        "gain_to_peak_pct": percent(prices.max() / prices.iloc[-1] - 1),
    }


def test_season_figures(scene):
    prices, figures = scene
    monthly = prices.groupby(prices.index.to_period("M")).last().pct_change().dropna()
    own = monthly[monthly.index.month.isin([1, 6])]
    other = monthly[~monthly.index.month.isin([1, 6])]
    error = np.sqrt(own.var() / len(own) + other.var() / len(other))
    assert figures["season"] == {
        "months": "January, June",
        "mean_pct": percent(own.mean()),
        "mean_other_pct": percent(other.mean()),
        "t_statistic": exactly((own.mean() - other.mean()) / error, abs=0.0000501),
        "months_observed": len(own),
    }


def test_correlation_figures(scene):
    prices, figures = scene
    year = prices.index[-1].year
    for name, value in figures["correlation"].items():
        other = closes(name.removeprefix("correlation_").upper(), year)
        both = pd.concat([prices, other], axis=1, join="inner").pct_change().dropna()[-252:]
        assert value == exactly(both.corr().iloc[0, 1], abs=0.0000501)
    assert len(figures["correlation"]) == 2


# --- what is understood ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "subject", "topics"),
    [
        ("How is the S&P 500?", "SP500", ["overview"]),
        ("How are tech stocks doing?", "NASDAQ", ["overview"]),
        ("is crude going UP", "WTI", ["trend"]),
        ("How deep did the S&P fall?", "SP500", ["drawdown"]),
        ("Does oil move together with the Nasdaq?", "NASDAQ", ["correlation"]),
        ("Is December good for oil?", "WTI", ["season"]),
        ("May I ask how risky the market is?", "SP500", ["volatility"]),
        ("Could I lose 2000 USD with stocks?", "SP500", ["drawdown"]),
    ],
)
def test_topics_and_market_are_read_from_the_words(text, subject, topics):
    reading = question.classify(text)
    assert (reading.subject, reading.topics) == (subject, topics)


@pytest.mark.parametrize(
    ("text", "ticker", "reason"),
    [
        ("What is the weather like?", None, "names no market"),
        ("What is the weather like?", "WTI", "Nothing that prices can tell was recognised"),
        ("How volatile is AAPL?", None, "There are no prices of AAPL"),
        ("How volatile is bitcoin?", "SP500", "There are no prices of bitcoin"),
        ("How risky was oil in 1999?", None, "which allows answers for the years 2001 to 2018"),
        ("How risky was oil in 2030?", None, "The prices reach from 1999-01-04 to 2018-12-28"),
        ("Is the NASDAQ overvalued?", None, "neither earnings nor dividends"),
        ("Is oil driven by inflation?", None, "no data about the economy"),
        ("   ", None, "names no market"),
    ],
)
def test_what_cannot_be_answered_is_refused_with_the_reason(text, ticker, reason):
    said, found = ask(text, ticker)
    assert (said["answered"], found) == (False, {})
    assert reason in said["answer"]
    assert words.ABILITIES in said["answer"]


@pytest.mark.parametrize(
    ("text", "ticker", "limit"),
    [
        ("Will oil rise tomorrow?", None, "Prices to come cannot be computed"),
        ("Why did oil crash?", None, "Prices do not tell the reasons"),
        ("Should I buy stocks?", None, "This is no investment advice"),
        ("Does gold hedge the S&P 500?", None, "There are no prices of gold"),
        ("Was oil riskier in 2008 than in 2009?", None, "Only one year can be looked at; this is 2008"),
        ("Which way is oil going?", "SP500", "The question names WTI; this is about SP500"),
    ],
)
def test_what_is_beside_an_answer_is_said(text, ticker, limit):
    said, _ = ask(text, ticker)
    assert said["answered"]
    assert any(sentence.startswith(limit) for sentence in said["limits"])


def test_a_year_means_what_was_known_at_its_end():
    said, _ = ask("How deep did the S&P 500 fall in 2008?")
    assert "as of 2008-12-31" in said["understood"]
    assert "until 2008-11-20" in said["answer"]


def test_an_unknown_ticker_is_not_tried_again():
    with pytest.raises(UnknownTicker, match="no prices for ticker 'DAX'"):
        question.classify("How is it?", "DAX")


VOCABULARY = "S&P 500,oil,NASDAQ,gold,AAPL,market,risk,trend,fall,March,compare,price,why,will,2008,1999,USD"


@given(st.text(max_size=60) | st.lists(st.sampled_from(VOCABULARY.split(",")), max_size=12).map(" ".join))
def test_every_question_gets_three_to_five_agents_or_a_reason(text):
    reading = question.classify(text)
    chosen = selection.choose(reading.words)["agents"]
    assert len(chosen) == len(set(chosen))
    assert selection.FEWEST <= len(chosen) <= selection.MOST if reading.words else reading.limits


def test_who_did_not_answer_or_was_not_asked_is_named():
    everything = "trend, risk, drawdown, season, correlation and price of the S&P 500"
    said, _ = ask(everything, silent=("drawdown-watcher",))
    assert said["limits"] == [
        "drawdown-watcher did not answer",
        "price-watcher was not asked, because others fit better",
    ]
    assert "drawdown-watcher" not in said["findings"]


# --- agents ---------------------------------------------------------------------------------------


def test_every_agent_that_can_be_selected_is_one_that_the_analysis_may_ask():
    phases = {phase.slug: phase for phase in check_file(TASK).definition.phases}
    assert sorted(phases["rapid_analysis"].agents) == AGENTS


@pytest.mark.parametrize("name", [*AGENTS, "market-editor"])
def test_a_prompt_asks_for_the_fields_that_the_function_answers(name):
    prompt = (ROOT / "agents" / f"{name}.md").read_text()
    form = json.loads(re.search(r"```json\n(.*?)```", prompt, re.DOTALL)[1])
    said, found = ask("Compare month, price, fall, risk and trend of stocks with others")
    if name not in ("market-editor", *said["findings"]):
        _, found = ask("price of the S&P 500")
    answer = said if name == "market-editor" else found[name]
    assert form.keys() == answer.keys()
    assert form.get("figures", {}).keys() <= answer.get("figures", {}).keys()
