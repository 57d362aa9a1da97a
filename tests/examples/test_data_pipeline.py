"""The task `data-pipeline` on a real server, with a worker that is killed, and its functions."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from examples_folder import ROOT, Example, eventually, example, http
from hypothesis import given
from hypothesis import strategies as st

from taskmark.contracts import TaskResult
from taskmark.task import check_file
from tasks.data_pipeline import conversion, database, readings, report, source

TASK = ROOT / "tasks" / "data-pipeline.md"
SAMPLE = ROOT / "tasks" / "data_pipeline" / "sample" / "readings.csv"
MALFORMED = ["line 10", "line 25", "line 40", "line 56"]
"""Where the sample is malformed."""


@pytest.fixture(scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Example]:
    """A folder whose tasks may call the loopback."""
    folder = tmp_path_factory.mktemp("pipeline")
    network = {"http_allow_private": "true", "http_allow_hosts": "127.0.0.1"}
    async with example(folder, heartbeat_seconds="1", **network) as here:
        yield here


@pytest.fixture(scope="module")
async def sample(place: Example) -> TaskResult:
    """What came of the sample, which is what is read with nothing configured."""
    return await place.run("data-pipeline")


def rows(
    place: Example, name: str, what: str = "* FROM readings ORDER BY station, time"
) -> list[tuple[Any, ...]]:
    """What a query of a database in the folder gives; nothing if it has not come to be yet."""
    try:
        with closing(sqlite3.connect(f"file:{place.folder / name}?mode=ro", uri=True)) as connection:
            return connection.execute(f"SELECT {what}").fetchall()
    except sqlite3.OperationalError:
        return []


def expected() -> pd.DataFrame:
    """The sample's good records as pandas converts them."""
    frame = pd.read_csv(SAMPLE)
    frame = frame.drop([int(place.removeprefix("line ")) - 2 for place in MALFORMED])
    frame["temperature"] = frame.temperature.astype(float)
    in_f = frame.unit == "F"
    frame.loc[in_f, "temperature"] = ((frame.temperature[in_f] - 32) * 5 / 9).round(2)
    frame["time"] = pd.to_datetime(frame.time, utc=True).dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    frame["humidity"] = frame.humidity.astype(float)
    return frame.sort_values(["station", "time"])


def items(count: int) -> list[dict[str, Any]]:
    """So many good records as JSON has them."""
    start = datetime(2024, 1, 1, tzinfo=UTC)
    return [
        {
            "station": f"s{number % 3}",
            "time": (start + timedelta(hours=number)).isoformat(),
            "temperature": 10 + number / 8,
            "unit": "C",
            "humidity": 50,
        }
        for number in range(count)
    ]


# --- the task -------------------------------------------------------------------------------------


def test_the_task_file_has_no_errors_and_no_warnings():
    assert check_file(TASK).diagnostics == ()


async def test_without_any_input_the_sample_is_loaded_converted_and_reported(place, sample):
    done = sample
    assert (done.status, done.outputs["added"], done.outputs["rejected"]) == ("completed", 60, 4)
    frame = expected()
    loaded = rows(place, "reports/data-pipeline/readings.db")
    columns = ["station", "time", "temperature", "humidity"]
    assert [row[:4] for row in loaded] == list(frame[columns].itertuples(index=False, name=None))
    aside = json.loads((place.folder / done.outputs["set_aside"]).read_text())
    assert [one["place"] for one in aside] == MALFORMED
    page = (place.folder / done.outputs["report"]).read_text()
    means = frame.groupby("station").temperature.mean()
    assert all(f"| {station} | 12 |" in page for station in means.index)
    assert all(f" {mean:.1f} |" in page for mean in means)
    assert all(f"| {one} |" in page for one in MALFORMED)


async def test_readings_are_fetched_over_http_once_more_after_a_failure_and_changed_where_they_changed(place):
    """A second run leaves rows and report as they are; a corrected reading changes its row and no other."""
    answers = [(503, "text/plain", "later")]
    document = items(9)

    def answer(_path: str) -> tuple[int, str, str]:
        return answers.pop() if answers else (200, "application/json", json.dumps(document))

    where = {"database": "reports/http/readings.db", "reports": "reports/http"}
    with http(answer) as url:
        first = await place.run("data-pipeline", url=f"{url}/readings?key=secret", **where)
        assert (first.status, first.steps["fetch"].attempts) == ("completed", 2)
        assert first.outputs["added"] == 9
        before = rows(place, where["database"]), (place.folder / "reports/http/report.md").read_bytes()
        assert b"/readings`" in before[1]
        again = await place.run("data-pipeline", url=f"{url}/readings?key=secret", **where)
        after = rows(place, where["database"]), (place.folder / "reports/http/report.md").read_bytes()
        assert after == before
        assert [again.outputs[name] for name in ("added", "changed", "unchanged")] == [0, 0, 9]
        document[4]["temperature"] = -3.0
        corrected = await place.run("data-pipeline", url=f"{url}/readings", **where)
    assert [corrected.outputs[name] for name in ("added", "changed", "unchanged")] == [0, 1, 8]


async def test_too_many_malformed_records_end_the_task_before_anything_is_loaded(place):
    document = [*items(3), {"station": "s9"}, 7]
    with http(lambda _path: (200, "application/json", json.dumps(document))) as url:
        done = await place.run("data-pipeline", url=url, database="bad/readings.db", reports="bad")
    assert done.status == "failed"
    assert "Too many records are malformed, so nothing was loaded: 2 of 5; item 4: " in done.error.message
    assert [
        one["record"] for one in json.loads((place.folder / "bad/rejected.json").read_text())
    ] == document[3:]
    assert not (place.folder / "bad/readings.db").exists()
    assert done.phases["load"].status == "skipped"


async def test_a_worker_killed_in_the_middle_of_the_load_costs_nothing(place, sample):
    """Every batch is loaded and counted once, and the report is that of an undisturbed run."""
    inputs = {"database": "kill/readings.db", "reports": "kill", "batchSize": 10}
    execution = await place.client.start("data-pipeline", inputs)
    loads = "count(*), sum(added), sum(unchanged) FROM loads"
    await asyncio.to_thread(eventually, lambda: (rows(place, "kill/readings.db", loads) or [(0,)])[0][0] > 0)
    place.kill_worker()
    assert rows(place, "kill/readings.db", loads)[0][0] < 6, "it was over before the kill"
    place.start_worker()
    done = await place.client.wait(execution, timeout=60)
    assert done.status == "completed"
    assert [done.outputs[name] for name in ("added", "changed", "unchanged")] == [60, 0, 0]
    assert rows(place, "kill/readings.db", loads) == [(6, 60, 0)]
    assert rows(place, "kill/readings.db") == rows(place, "reports/data-pipeline/readings.db")
    assert (place.folder / "kill/report.md").read_bytes() == (
        place.folder / sample.outputs["report"]
    ).read_bytes()


# --- which records are readings -------------------------------------------------------------------

GOOD = {"station": "a", "time": "2024-01-01T00:00Z", "temperature": "1.5", "unit": "c", "humidity": 50}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"station": ""}, "station is missing"),
        ({"station": "a b"}, "station is 'a b'"),
        ({"station": 7}, "which is no text"),
        ({"time": "yesterday"}, "it is a moment such as"),
        ({"time": "2024-01-01T00:00"}, "without an offset"),
        ({"time": "0001-01-01T00:00+14:00"}, "it is a moment such as"),
        ({"temperature": "n/a"}, "which is no number"),
        ({"temperature": True}, "which is no number"),
        ({"temperature": "nan"}, "which is no number"),
        ({"temperature": None}, "temperature is missing"),
        ({"temperature": 61}, "which no weather has"),
        ({"temperature": 61, "unit": "F"}, ""),
        ({"unit": "K"}, "it is C or F"),
        ({"humidity": 0}, "a percentage above 0"),
        ({"humidity": 100.1}, "a percentage above 0"),
        ({"humidity": 10**400}, "which is no number"),
    ],
)
def test_a_record_is_a_reading_or_is_rejected_with_the_reason(changes, reason):
    found = readings.separate([{**GOOD, **changes}])
    assert [reason in one["reason"] for one in found["rejected"]] == ([True] if reason else [])
    assert len(found["readings"]) == (0 if reason else 1)


@given(st.integers(-14 * 60, 14 * 60))
def test_the_same_moment_is_the_same_reading_whatever_its_offset(minutes):
    moment = datetime(2024, 3, 1, 12, tzinfo=UTC)
    other = moment.astimezone(timezone(timedelta(minutes=minutes))).isoformat()
    found = readings.separate([{**GOOD, "time": "2024-03-01T12:00:00Z"}, {**GOOD, "time": other}])
    assert [one["reason"] for one in found["rejected"]] == ["item 1 is of the same station and time"]


anything = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(source.COLUMNS), inner),
    max_leaves=8,
)


@given(st.lists(anything, max_size=6))
def test_no_record_is_lost_whatever_it_is(document):
    found = readings.separate(document)
    assert len(found["readings"]) + len(found["rejected"]) == found["total"] == len(document)


def test_rows_of_another_length_are_set_aside_with_their_line():
    header, good = "unit,humidity,time,station,temperature,note", 'C,50,2024-01-01T00:00Z,a,1,"two\nlines"'
    found = readings.separate("\r\n".join(["\ufeff" + header, good, "", "C,50", ""]))
    assert len(found["readings"]) == 1
    assert [(one["place"], one["record"]) for one in found["rejected"]] == [("line 5", ["C", "50"])]


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ("", "must name the columns"),
        ("<html>", "must name the columns"),
        ("station,time\n", "it lacks temperature, unit, humidity"),
        ('[{"station"', "cannot be read"),
        ('{"station": 1}', "no list of records: it is a dict"),
        (5, "no list of records"),
    ],
)
def test_a_document_without_records_is_refused_with_the_reason(document, reason):
    with pytest.raises(source.UnreadableSource, match=reason):
        readings.separate(document)


def test_more_records_than_one_run_takes_are_refused_before_anything_is_done():
    with pytest.raises(readings.TooManyRecords, match="the source has 2,001 records and one run takes 2,000"):
        readings.separate([GOOD] * 2001)


# --- conversion, database, report -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("temperature", "humidity", "dew_point"), [(20, 50, 9.3), (25, 60, 16.7), (10, 80, 6.7), (-5, 70, -9.6)]
)
def test_dew_points_are_those_of_the_tables(temperature, humidity, dew_point):
    assert conversion.dew_point(temperature, humidity) == pytest.approx(dew_point, abs=0.06)


@given(st.floats(-90, 60))
def test_saturated_air_is_at_its_dew_point(temperature):
    assert conversion.dew_point(temperature, 100) == pytest.approx(temperature, abs=1e-6)


ROW = {
    "station": "a",
    "time": "2024-01-01T00:00:00Z",
    "temperature": 1.5,
    "humidity": 50.0,
    "dew_point": -7.8,
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TASKMARK_IDEMPOTENCY_KEY", "one")
    return tmp_path


def test_an_attempt_repeated_after_its_commit_counts_nothing_twice(here, monkeypatch):
    first = database.load("a/b.db", [ROW])
    assert first == {"added": 1, "changed": 0, "unchanged": 0}
    assert database.load("a/b.db", [ROW]) == first
    monkeypatch.setenv("TASKMARK_IDEMPOTENCY_KEY", "two")
    assert database.load("a/b.db", [{**ROW, "temperature": 2}]) == {"added": 0, "changed": 1, "unchanged": 0}


def test_a_batch_is_loaded_whole_or_not_at_all(here):
    with pytest.raises(database.UnusableDatabase):
        database.load("b.db", [ROW, {**ROW, "time": None}])
    assert database.load("b.db", [ROW])["added"] == 1


@pytest.mark.parametrize("path", ["../b.db", "/tmp/b.db", "link/b.db", "folder", "file/b.db", "file"])
def test_what_is_no_database_under_the_root_is_refused(here, path):
    (here / "link").symlink_to("/tmp")
    (here / "folder").mkdir()
    (here / "file").write_text("no database at all " * 100)
    with pytest.raises(database.UnusableDatabase, match=path):
        database.load(path, [ROW])


def test_a_page_shows_some_rejected_records_counts_the_others_and_breaks_no_table(here):
    rejected = [{"place": f"line {n}", "reason": "a|b\nc", "record": {"x": "|"}} for n in range(52)]
    page = report.render("none.db", "x.csv", [], rejected)
    assert page.count("| line ") == report.MOST_REJECTED
    assert "And 2 more." in page
    assert "a\\|b c" in page
    assert "The source has no readings." in page


def test_the_readme_of_the_sample_counts_its_records():
    text = SAMPLE.read_text()
    found = readings.separate(text)
    assert [one["place"] for one in found["rejected"]] == MALFORMED
    assert len(list(csv.reader(io.StringIO(text)))) - 1 == found["total"] == 64
    assert f"Four of its {found['total']} records" in (SAMPLE.parent / "README.md").read_text()
