"""A run file: what it sets, and errors that name its line."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from llmeval.core import UsageError
from llmeval.run_file import RunFile, RunFileOptions, read_run_file
from llmeval.tasks.options import TaskOptions


def write(folder: Path, text: str) -> Path:
    path = folder / "run.yaml"
    path.write_text(text)
    return path


def test_its_options_are_those_of_a_run() -> None:
    assert set(RunFileOptions.model_fields) == {field.name for field in fields(TaskOptions)}
    assert TaskOptions(**RunFileOptions().model_dump()) == TaskOptions()


def test_only_what_it_sets_overrides_a_default(tmp_path: Path) -> None:
    file = read_run_file(write(tmp_path, "model: pocket\noptions: {limit: 3, seed: 1234}\n"))
    assert file.set_options() == {"limit": 3, "seed": 1234}
    assert RunFile().set_options() == {}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("model: [\n", "run.yaml:2: not YAML"),
        ("", "the file is empty"),
        ("- a\n", "run.yaml:1: a list stands at the top"),
        ("modle: x\n", "run.yaml:1: field 'modle': unknown field (did you mean 'model'?)"),
        ("model: x\nlimit: 3\n", "run.yaml:2: field 'limit': it belongs elsewhere (put it under o"),
        ("dtype: x\n", "put it under model_settings:)"),
        ("options:\n  limit: '3'\n", "run.yaml:2: field 'options.limit': should be a valid int"),
        ("options:\n  limit: 0\n", "run.yaml:2: field 'options.limit'"),
        ("options:\n  limt: 3\n", "did you mean 'limit'?"),
        ("tasks: a\n", "run.yaml:1: field 'tasks': should be a valid list, not 'a'"),
        ("window: 0\n", "run.yaml:1: field 'window'"),
        ("max_errors: 2.0\n", "run.yaml:1: field 'max_errors'"),
        ("model_settings:\n  dtpye: x\n", "run.yaml:2: field 'model_settings.dtpye'"),
        ("model_settings:\n  dtype: int3\n", "run.yaml:2: field 'model_settings.dtype'"),
    ],
)
def test_an_error_names_file_line_field_and_mend(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_run_file(write(tmp_path, text))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_prices_stand_in_a_run_file_one_below_the_other(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("model: openai:m\nmodel_settings: {price_input: 2.5, price_output: 10}\n")
    assert read_run_file(file).model_settings == {"price_input": 2.5, "price_output": 10}
