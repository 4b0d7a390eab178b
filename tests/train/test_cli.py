"""The training verbs: one JSON object, one line of result, one line of error."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from corpus.cli.main import main
from corpus.settings import Home

Call = Callable[..., tuple[str, str]]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Run the command line; return stdout and stderr; `code` is the exit code expected."""

    def run(*words: object, code: int = 0) -> tuple[str, str]:
        monkeypatch.setattr(sys, "argv", ["woolgather", *map(str, words)])
        with pytest.raises(SystemExit) as left:
            main()
        out, err = capsys.readouterr()
        assert (left.value.code or 0) == code, err
        return out, err

    return run


@pytest.fixture
def mixed(table: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every mixture name stand for the small table."""
    monkeypatch.setattr("train.data.open_mixture", lambda name, home: table)


@pytest.mark.usefixtures("mixed")
def test_plan_check_run_and_resume(call: Call, home: Home, base: Path) -> None:
    options = ["--base", base, "--mixture", "m", "--steps", 3, "--lr", "1e-2", "--name", "mine"]
    options += ["--set", "batch.rows=4", "--set", "sequence_length=128"]
    planned = json.loads(call("train", "plan", *options, "--json")[0])
    assert planned["steps"] == 3
    shown, _ = call("train", "check", *options)
    assert "«Red, green." in shown
    assert "ok    packed rows do not see each other" in shown

    out, err = call("train", "run", *options)
    assert out.startswith("trained 3 steps, loss ")
    assert out.endswith(f"lora in {home.runs / 'mine' / 'adapter'}\n")
    assert "    lang  CN" in err
    done = json.loads(call("train", "run", "--resume", "mine", "--json", "--quiet")[0])
    keys = ("run", "path", "steps", "loss", "eval", "tags", "output")
    assert all(key in done for key in keys)
    assert done["steps"] == 3

    listed = json.loads(call("runs", "--json")[0])["runs"]
    assert [(one["run"], one["finished"], one["steps"]) for one in listed] == [("mine", True, 3)]
    assert "mine" in call("runs")[0]


@pytest.mark.usefixtures("mixed")
def test_a_run_file_and_a_preset_compose(call: Call, base: Path, tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(f"base_model: {base}\nmixture: m\nsteps: 5\nbatch: {{rows: 8, micro: 4}}\n")
    planned = json.loads(call("train", "plan", file, "--preset", "alpaca_lora", "--json")[0])
    assert planned["steps"] == 5
    assert planned["packs"] == planned["rows"]


def test_merge_verify_and_chat(call: Call, trained: Any, tmp_path: Path) -> None:
    out, _ = call("merge", "--adapter", trained.output, "--out", tmp_path / "m")
    assert out.startswith("merged 14 of 21 tensors, KL ")
    assert call("verify", tmp_path / "m")[0].startswith("21 tensors are as merged")
    asked = ["chat", "Name 3 colours.", "--max-new-tokens", 5, "--json"]
    live = json.loads(call(*asked, "--adapter", trained.output, "--compare")[0])
    merged = json.loads(call(*asked, "--base", tmp_path / "m")[0])
    assert merged["answer"] == live["answer"]
    assert merged["template"] == "alpaca"
    assert "without_adapter" in live


def test_a_dialogue_remembers(call: Call, trained: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    monkeypatch.setattr(sys, "stdin", io.StringIO("Hi\n\nName 3 colours.\n"))
    out, err = call("chat", "--adapter", trained.output, "--max-new-tokens", 4, "--json")
    assert [json.loads(line)["instruction"] for line in out.splitlines()] == [
        "Hi",
        "Name 3 colours.",
    ]
    assert "Ctrl-C stops an answer, Ctrl-D ends" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "plan"], "run: base_model is missing. Give --base MODEL"),
        (["train", "run", "none.yaml"], "none.yaml: cannot be read: No such file or directory"),
        (["train", "run", "--resume", "none"], "run 'none' is not in "),
        (
            ["train", "plan", "--base", "b", "--mixture", "m", "--method", "x"],
            "supported: lora, ada",
        ),
        (["train", "check", "--base", "/no", "--mixture", "m"], "expected a folder or a hub id"),
        (["merge", "--adapter", "none", "--out", "out"], "none: expected an adapter folder"),
        (["verify", "none"], "none: expected a merge.json"),
        (["chat", "Hi"], "Give --base or --adapter"),
        (["chat", "Hi", "--base", "/no", "--top-p", "2"], "top_p must be above 0"),
    ],
)
@pytest.mark.usefixtures("mixed")
def test_wrong_input_is_one_line(call: Call, words: list[str], message: str) -> None:
    out, err = call(*words, code=1)
    assert message in err
    assert out == ""
    assert all("Traceback" not in line for line in err.splitlines())


def test_a_missing_extra_is_one_line(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    _, err = call("chat", "Hi", "--base", "b", code=1)
    assert err == "train needs torch. Install it: pip install 'woolgather[train]'\n"


def test_runs_lists_nothing_and_unfinished(call: Call, home: Home) -> None:
    assert call("runs")[0].startswith("no runs in ")
    (home.runs / "half").mkdir(parents=True)
    assert "unfinished" in call("runs")[0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["--base", "/nowhere/llama"], "model '/nowhere/llama': expected a folder or a hub id"),
        (["--set", "batch.rowz=3"], "--set: batch.rowz is unknown"),
        (["--set", "eval.best=total"], "best needs evaluations on the way: set eval.steps too"),
        (["--set", "eval={steps: 1, best: 'lang:FR'}"], "expected one of lang:CN, lang:EN"),
    ],
)
@pytest.mark.usefixtures("mixed")
def test_a_run_that_cannot_begin_is_one_line(
    call: Call, home: Home, base: Path, settings: list[str], message: str
) -> None:
    out, err = call("train", "run", "--base", base, "--mixture", "m", *settings, "--quiet", code=1)
    assert (out, len(err.splitlines())) == ("", 1)
    assert message in err
    assert not list(home.runs.glob("*"))


def test_a_mixture_without_rows_is_one_line(
    call: Call, base: Path, table_of: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = table_of([])
    monkeypatch.setattr("train.data.open_mixture", lambda name, home: empty)
    _, err = call("train", "run", "--base", base, "--mixture", "m", "--quiet", code=1)
    assert err == (
        "mixture table: expected rows to train on, got none."
        " Look at it: woolgather mix show table\n"
    )


@pytest.mark.usefixtures("mixed")
def test_a_full_disk_is_one_line(call: Call, home: Home, base: Path) -> None:
    import resource

    words = ["train", "run", "--base", base, "--mixture", "m", "--steps", 3, "--name", "mine"]
    words += ["--set", "batch.rows=4", "--set", "sequence_length=128", "--set", "save.steps=1"]
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        _, err = call(*words, "--quiet", code=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert len(err.splitlines()) == 1
    assert "checkpoint-1: cannot be written: " in err
    assert err.endswith("Make room, and continue: woolgather train run --resume mine\n")
    assert call("train", "run", "--resume", "mine")[0].startswith("trained 3 steps")
    assert (home.runs / "mine" / "losses.html").is_file()
