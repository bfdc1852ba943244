"""Whatever is wrong in a task's YAML is one line: file, line, field, and the mend."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmeval.core import UsageError
from llmeval.tasks.native import load_native, read_header, scan
from llmeval.tasks.native.yaml_source import read_document
from llmeval.tasks.options import TaskOptions, Workbench

GOOD = """\
task: good
type: generate
data: {path: rows.jsonl}
prompt: "{{ question }}"
answer: answer
scorers: [exact]
"""


def complaint(path: Path) -> str:
    with pytest.raises(UsageError) as caught:
        load_native(path, TaskOptions(), Workbench())
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith(str(path))
    return text.removeprefix(str(path))


def complain(folder: Path, content: str | bytes) -> str:
    path = folder / "task.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return complaint(path)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", ": the file is empty"),
        ("# nothing\n", ": the file is empty"),
        ("- task: a\n", ":1: a list stands at the top"),
        ("just text\n", ":1: a bare text stands at the top"),
        ("task: a\ntype:\n\t- b\n", ":3: not YAML: "),
        (b"task: a\ntype: \xff\n", ":2: not UTF-8 (save it as UTF-8)"),
        ("task: a\nb: {\n", ":3: not YAML: "),
        ("task: a: b\n", ":1: not YAML: mapping values are not allowed"),
        ("task: a\n---\ntask: b\n", ":2: not YAML: "),
        ("task: a\ntype: choice\ntask: b\n", ":3: field 'task' stands here and in line 1"),
        (f"{GOOD}fewshot:\n  num: 1\n  num: 2\n", ":9: field 'fewshot.num' stands here"),
        ("task: !function a.b\n", ":1: the tag !function is not read here"),
        ("task: \x00\n", ": not YAML: "),
        ("a: &a {x: 1}\nb:\n  <<: *a\n", ":3: '<<' is not read here"),
        (f"a: {'[' * 1000}", ":1: nested deeper than 50 levels"),
        ("[" * 100_000, ":1: nested deeper than 50 levels"),
        ("a: &x [*x]\n", ":1: its aliases make it endless or huge"),
    ],
)
def test_a_file_that_is_no_task_is_refused_with_its_line(
    tmp_path: Path, content: str | bytes, expected: str
) -> None:
    assert complain(tmp_path, content).startswith(expected)


def test_tabs_are_named(tmp_path: Path) -> None:
    assert "spaces, not tabs" in complain(tmp_path, "task: a\ntype:\n\t- b\n")


def test_an_alias_bomb_is_refused_at_once(tmp_path: Path) -> None:
    letters = "abcdefghij"
    lines = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    for before, name in itertools.pairwise(letters):
        lines.append(f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]")
    assert "aliases" in complain(tmp_path, "\n".join(lines))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("type: generate\n", ""), ":1: field 'type': it is missing"),
        (("generate", "generat"), ":2: field 'type': unknown type 'generat' (did you mean 'gene"),
        (("prompt:", "promt:"), ":4: field 'promt': unknown field; and 1 more fault (did you mean"),
        (("answer: answer\n", ""), ":1: field 'answer': it is missing (add it)"),
        (("path:", "file:"), ":3: field 'data.file': unknown field"),
        (("{path: rows.jsonl}", "rows.jsonl"), ":3: field 'data': should hold fields, not 'rows"),
        (("{path: rows.jsonl}", "{path: a, id: b}"), ":3: field 'data': needs exactly one source"),
        (("{{ question }}", "question"), ":4: field 'prompt': reads no field of the row"),
        (("[exact]", "[exat]"), ":6: field 'scorers[0].type': unknown type 'exat' (did you mean"),
        (("[exact]", "[]"), ":6: field 'scorers': "),
        (("[exact]", "exact"), ":6: field 'scorers': should be a valid list, not 'exact'"),
        (
            ("[exact]", "\n  - exact\n  - {type: exact, ingore: [case]}"),
            ":8: field 'scorers[1].ingore': unknown field (did you mean 'ignore'?)",
        ),
        (
            ("[exact]", "[{type: regex, pattern: '('}]"),
            ":6: field 'scorers[0].pattern': no regular expression",
        ),
        (
            ("[exact]", "[{type: regex, pattern: 'a', group: 2}]"),
            ":6: field 'scorers[0]': the pattern has no group 2",
        ),
        (
            ("[exact]", "[exact]\nmax_tokens: '5'"),
            ":7: field 'max_tokens': should be a valid integer, not '5'",
        ),
        (("[exact]", "[exact]\nversion: 1.10"), ":7: field 'version': a bare 1.10"),
        (("[exact]", "[exact]\ntemperature: -1"), ":7: field 'temperature': should be greater"),
        (("[exact]", "[exact]\nfewshot: {num: no}"), ":7: field 'fewshot.num': "),
        (("task: good", "task: 'no good'"), ":1: field 'task': "),
    ],
)
def test_a_wrong_field_is_named_with_its_line(
    tmp_path: Path, change: tuple[str, str], expected: str
) -> None:
    assert complain(tmp_path, GOOD.replace(*change)).startswith(expected)


def test_templates_are_compiled_when_the_task_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"question": "q", "answer": "a"}\n')
    said = complain(tmp_path, GOOD.replace("{{ question }}", "{{ question"))
    assert said.startswith(": prompt is no Jinja")


def test_a_misspelt_field_of_the_row_is_named_with_row_and_fields(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"question": "q", "answer": "a"}\n')
    said = complain(tmp_path, GOOD.replace("{{ question }}", "{{ qestion }}"))
    assert said == (
        ": row 0: prompt: 'qestion' is undefined, did you mean 'question'? "
        "(the row's fields: question, answer)"
    )


def test_missing_data_name_the_file(tmp_path: Path) -> None:
    path = tmp_path / "task.yaml"
    path.write_text(GOOD)
    with pytest.raises(UsageError, match="does not exist"):
        load_native(path, TaskOptions(), Workbench())


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert complaint(tmp_path / "none.yaml") == ": no such file"


def test_a_suite_cannot_list_itself(tmp_path: Path) -> None:
    said = complain(tmp_path, "task: all\ntype: suite\ntasks: [mmlu, all]\n")
    assert said.startswith(":1: the suite lists itself: 'all'")


def test_a_malformed_file_does_not_hide_the_others(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("task: [\n")
    (tmp_path / "b.yaml").write_text(f"{GOOD}description: |\n  First line.\n  Second line.\n")
    (tmp_path / "notes.txt").write_text("no task")
    first, second = scan(tmp_path)
    assert (first.name, first.type) == ("a", "malformed")
    assert "a.yaml:2: not YAML" in first.description
    assert (second.name, second.type, second.description) == ("good", "generate", "First line.")


def test_a_header_needs_a_name(tmp_path: Path) -> None:
    path = tmp_path / "task.yaml"
    path.write_text("type: choice\n")
    with pytest.raises(UsageError, match="the field 'task' is missing"):
        read_header(path)


@settings(max_examples=100, deadline=None)
@given(content=st.one_of(st.binary(max_size=60), st.text("a:-[]{}&*!|>'\"#\n\t ,0", max_size=60)))
def test_no_file_content_raises_anything_but_a_usage_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes | str
) -> None:
    path = tmp_path_factory.mktemp("any") / "task.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    try:
        document = read_document(path)
    except UsageError as error:
        assert "\n" not in str(error)
    else:
        assert isinstance(document.data, dict)
        assert all(line >= 1 for line in document.lines.values())
