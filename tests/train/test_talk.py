"""chat and predict on the command line: every kind of adapter answers, every misfit is one line."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from corpus.cli.main import main
from train.config import Method
from train.generate import Sampling, load_speaker
from train.methods import METHODS
from train.model import load_base, quiet_libraries
from train.render import Turn, encode_prompt

Call = Callable[..., tuple[str, str]]
SHORT = Sampling(max_new_tokens=6)


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
def asked(tmp_path: Path) -> Path:
    file = tmp_path / "asked.jsonl"
    rows = [{"id": n, "instruction": f"Name {n} colours."} for n in range(5)]
    file.write_text("".join(json.dumps(one) + "\n" for one in rows))
    return file


def test_predict_writes_rows_and_answers_and_goes_on(
    call: Call, trained: Any, asked: Path, tmp_path: Path
) -> None:
    out = tmp_path / "new" / "out.jsonl"
    options = ["--adapter", trained.output, "--data", asked, "--out", out, "--max-new-tokens", 4]
    said, _ = call("predict", *options, "--limit", 2, "--compare")
    assert said == f"answered 2 rows, 0 were there: {out}\n"
    told = json.loads(call("predict", *options, "--compare", "--json")[0])
    assert told == {"rows": 5, "new": 3, "path": str(out)}
    made = [json.loads(line) for line in out.read_text().splitlines()]
    assert [one["id"] for one in made] == list(range(5))
    alone = json.loads(
        call("chat", made[4]["instruction"], *options[:2], *options[-2:], "--compare", "--json")[0]
    )
    assert (made[4]["prediction"], made[4]["without_adapter"]) == (
        alone["answer"],
        alone["without_adapter"],
    )
    _, err = call("predict", *options, "--temperature", 1, code=1)
    assert "it was begun with another temperature, compare. Choose another --out" in err


def test_a_preset_is_changed_by_what_is_given(
    call: Call, trained: Any, tmp_path: Path, asked: Path
) -> None:
    out = tmp_path / "out.jsonl"
    options = ["--sampling", "chinese_alpaca", "--max-new-tokens", 3, "--cot-trigger", "yes"]
    call("predict", "--adapter", trained.output, "--data", asked, "--out", out, *options)
    told = json.loads((tmp_path / "out.jsonl.made_of.json").read_text())
    assert (told["temperature"], told["top_p"], told["max_new_tokens"]) == (0.2, 0.9, 3)
    assert told["trigger"]["zh"] == "先思考，再决定"


def test_a_trigger_stands_in_the_prompt(call: Call, trained: Any) -> None:
    options = ["--adapter", trained.output, "--max-new-tokens", 3, "--json"]
    shown = json.loads(call("chat", "Name 3 colours.", *options, "--cot-trigger", "Slowly.")[0])
    plain = json.loads(call("chat", "Name 3 colours.\nSlowly.", *options)[0])
    assert shown == plain


def test_ctrl_c_stops_an_answer_and_not_the_chat(
    call: Call, trained: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from train.generate import Speaker

    real, seen = Speaker.answer, []

    def answer(self: Any, line: str, *words: Any, **options: Any) -> str:
        seen.append((line, len(options["history"])))
        if line == "stop me":
            raise KeyboardInterrupt
        return real(self, line, *words, **options)

    monkeypatch.setattr(Speaker, "answer", answer)
    monkeypatch.setattr(sys, "stdin", io.StringIO("Hi\nstop me\nName 3 colours.\n"))
    out, err = call("chat", "--adapter", trained.output, "--max-new-tokens", 3, "--json")
    assert seen == [("Hi", 0), ("stop me", 1), ("Name 3 colours.", 1)]
    assert [json.loads(one)["instruction"] for one in out.splitlines()] == ["Hi", "Name 3 colours."]
    assert "stopped" in err


def test_a_dialogue_that_grows_too_long_is_told_and_goes_on(
    call: Call, trained: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = "Name colours. " * 200
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{long}\nHi\n"))
    out, err = call("chat", "--adapter", trained.output, "--max-new-tokens", 3, "--json")
    assert "pass the 512 positions of the model. Shorten the prompt" in err
    assert [json.loads(one)["instruction"] for one in out.splitlines()] == ["Hi"]


@pytest.mark.parametrize("kind", sorted(set(METHODS) - {"full", "embeddings"}))
def test_every_kind_of_adapter_answers_as_its_model_computes(
    base: Path, tmp_path: Path, kind: str
) -> None:
    from train.output import save_weights

    torch.manual_seed(0)
    with quiet_libraries():
        live = METHODS[kind].build(load_base(base), Method(type=kind), 10)
        for one in live.parameters():
            if one.requires_grad:
                one.data += (2.0 if kind == "ia3" else 0.3) * torch.randn_like(one)
        save_weights(live, tmp_path)
    speaker = load_speaker(base, tmp_path, template="alpaca")
    prompts = [
        encode_prompt(speaker.tokenizer, speaker.template, [Turn(text)])
        for text in ("Hi", "Name 3 colours. 请介绍第1个城市。")
    ]
    live.eval()
    expected = []
    for prompt in prompts:
        made: list[int] = []
        for _ in range(SHORT.max_new_tokens):
            with torch.no_grad():
                ids = torch.tensor([prompt + made])
                step = live(ids, attention_mask=torch.ones_like(ids), use_cache=False).logits
            made.append(int(step[0, -1].argmax()))
            if made[-1] in speaker.end_tokens():
                break
        expected.append(speaker.tokenizer.decode(made, skip_special_tokens=True).strip())
    bare = load_speaker(base, template="alpaca").reply(prompts, SHORT)
    assert speaker.reply(prompts, SHORT) == expected
    assert speaker.reply(prompts, SHORT, adapter=False) == bare
    assert expected != bare


@pytest.fixture
def copy(trained: Any, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained.output, tmp_path / "copy"))


def test_an_adapter_for_another_base_is_told(
    call: Call, base: Path, copy: Path, tmp_path: Path
) -> None:
    from train.tiny import TinyShape, make_llama

    other = shutil.copytree(base, tmp_path / "other")
    make_llama(other, 700, TinyShape(layers=2, width=96))
    _, err = call("chat", "Hi", "--base", other, "--adapter", copy, code=1)
    assert "expected the base model that the adapter was trained on" in err
    assert f"got {other} with model.layers.0." in err
    make_llama(other, 700, TinyShape(layers=1, width=64))
    _, err = call("chat", "Hi", "--base", other, "--adapter", copy, code=1)
    assert f"got {other} with no model.layers.1." in err
    assert err.count("\n") == 1


def test_a_vocabulary_that_does_not_match_is_told(call: Call, copy: Path) -> None:
    passport = json.loads((copy / "woolgather.json").read_text())
    (copy / "woolgather.json").write_text(json.dumps(passport | {"vocabulary": 9000}))
    _, err = call("chat", "Hi", "--adapter", copy, code=1)
    assert "expected a base model of at least 9000 tokens" in err


def test_a_damaged_adapter_is_told(call: Call, copy: Path) -> None:
    weights = load_file(copy / "adapter_model.safetensors")
    name = next(one for one in weights if ".lora_B." in one)
    weights[name] = weights[name][:5].contiguous()
    save_file(weights, copy / "adapter_model.safetensors")
    _, err = call("chat", "Hi", "--adapter", copy, code=1)
    assert "the adapter does not fit" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--base", "b", "--sampling", "loud"], "--sampling: 'loud' is unknown. Known: alpaca_cot"),
        (["--temperature", "-1"], "temperature, top_k and no_repeat_ngram_size must be at least 0"),
        (["--top-k", "4"], "top_p and top_k need a temperature above 0"),
    ],
)
def test_wrong_options_are_one_line(call: Call, words: list[str], message: str) -> None:
    assert message in call("chat", "Hi", *words, code=1)[1]


def test_comparing_needs_an_adapter(call: Call, base: Path) -> None:
    _, err = call("chat", "Hi", "--base", base, "--compare", code=1)
    assert err == "--compare: expected an adapter to leave out. Give --adapter\n"


def test_a_template_without_its_tokens_is_told(call: Call, base: Path) -> None:
    _, err = call("chat", "Hi", "--base", base, "--template", "chatml", code=1)
    assert err.startswith("template chatml: expected a tokenizer with <|im_start|>, <|im_end|>")


def test_what_is_absent_is_said_without_torch(base: Path, tmp_path: Path) -> None:
    lines = [
        ["chat", "Hi", "--adapter", "none"],
        ["chat", "Hi", "--base", "/none"],
        ["chat", "Hi", "--base", str(base), "--compare"],
        ["predict", "--base", str(base), "--data", "none.jsonl", "--out", "out.jsonl"],
        ["merge", "--adapter", "none", "--out", "x"],
        ["verify", "none"],
    ]
    program = (
        "import sys\nfrom corpus.cli.main import main\n"
        f"for words in {lines!r}:\n"
        "    sys.argv = ['woolgather', *words]\n"
        "    try:\n        main()\n    except SystemExit as left:\n        assert left.code == 1\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert len(done.stderr.splitlines()) == len(lines)
