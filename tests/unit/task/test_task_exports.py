"""The package gives its public names and loads nothing before they are used."""

import subprocess
import sys

import pytest

import taskmark.task


def test_every_public_name_is_there() -> None:
    assert all(callable(getattr(taskmark.task, name)) for name in taskmark.task.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = taskmark.task.nothing


def test_importing_the_package_and_its_data_modules_loads_no_yaml_and_no_templates() -> None:
    code = (
        "import sys, taskmark.task, taskmark.task.model, taskmark.task.packing, taskmark.task.durations;"
        "print([name for name in ('ruamel.yaml', 'jinja2', 'taskmark.task.parser') if name in sys.modules])"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "[]"
