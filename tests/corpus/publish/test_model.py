"""Adapters and models are published whole, with a card that says what result.json says."""

from __future__ import annotations

import hashlib
import json
import re
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard

from corpus.cli.main import main
from corpus.errors import PublishError
from corpus.license import Licensed, verdict_of
from corpus.publish import Publication
from corpus.publish.weights import Request, build_weights_folder, find_adapter, find_model
from corpus.settings import Home

PLACE = "/data/somebody/private place/llama-tiny"
NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?(?:e[-+]\d+)?")
SETTINGS = {
    "base_model": PLACE,
    "mixture": "/data/somebody/mixtures/wool",
    "name": "r",
    "template": "alpaca",
    "method": {"type": "lora", "r": 8, "targets": ["q_proj"]},
    "optimizer": {"lr": 0.0002, "betas": [0.9, 0.999]},
    "sequence_length": 1024,
    "quantize": "nf4",
}
VERDICT = verdict_of([Licensed("alpaca", "CC-BY-NC-4.0"), Licensed("gsm8k/train", "MIT")])


def group(total: float, tokens: int) -> dict[str, float]:
    return {"loss": total / tokens, "sum": total, "tokens": tokens}


RESULT: dict[str, Any] = {
    "run": "r",
    "path": "/data/somebody/runs/r",
    "output": "/data/somebody/runs/r/adapter",
    "method": "lora",
    "base_model": PLACE,
    "quantize": "nf4",
    "mixture": "wool",
    "mixture_digest": "ab" * 32,
    "measured_on": "ab" * 32,
    "license": VERDICT.as_json(),
    "template": "alpaca",
    "steps": 1234,
    "loss": 1.23456,
    "losses": [2.5, 1.23456],
    "eval": {"start": 2.71828, "end": 1.41421},
    "best": {"by": "lang:CN", "loss": 1.41421, "step": 1200},
    "stopped_early": True,
    "tags": {
        "train": {
            "source": {"alpaca": group(300.5, 120), "x|<b>*": group(100.25, 1080)},
            "lang": {"EN": group(300.5, 120), "CN": group(100.25, 1080)},
        },
        "eval": {"source": {"alpaca": group(33.3, 12)}, "lang": {"CN": group(7.7, 9)}},
    },
    "rows": 15011,
    "refused": {"too long | for it": 7},
    "learned_tokens": 1200,
    "seen_tokens": 98765,
    "tokens_per_second": 423.64,
    "trainable": 17920,
    "parameters": 191040,
    "trainable_share": 17920 / 191040,
    "memory_bytes": 612368384,
    "seconds": {"train": 12.34, "total": 15.07},
    "loss_kernel": "chunked",
    "environment": {
        "versions": {"woolgather": "0.1.0", "torch": "2.13.0"},
        "python": "3.11.7",
        "platform": "Linux-6.1_x",
        "device": "NVIDIA <H200>",
        "threads": 4,
        "cores": 16,
    },
}


def safetensors(tensors: dict[str, bytes]) -> bytes:
    """Return a file of bytes as tensors of uint8."""
    header, end = {}, 0
    for name, data in tensors.items():
        place = [end, end + len(data)]
        header[name] = {"dtype": "U8", "shape": [len(data)], "data_offsets": place}
        end += len(data)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + b"".join(tensors.values())


@dataclass
class Made:
    """A run as training leaves it, written by hand."""

    run: Path
    folder: Path

    def write(self, name: str, content: Any) -> None:
        """Write a file of the output."""
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        (self.folder / name).write_bytes(data)

    def seal(self) -> None:
        (self.folder / "manifest.json").unlink(missing_ok=True)
        files = {one.name: one.read_bytes() for one in self.folder.iterdir() if one.is_file()}
        listed = {
            name: [len(data), hashlib.sha256(data).hexdigest()] for name, data in files.items()
        }
        (self.folder / "manifest.json").write_text(json.dumps(listed))


MakeRun = Callable[..., Made]
ZERO_A, SOME_B = "layers.0.lora_A.weight", "layers.0.lora_B.weight"


@pytest.fixture
def make_run(home: Home) -> MakeRun:
    """Return what writes a finished run."""

    def make(kind: str = "adapter", **changes: Any) -> Made:
        made = Made(home.runs / "r", home.runs / "r" / kind)
        made.folder.mkdir(parents=True)
        result = {**RESULT, **changes}
        (made.run / "result.json").write_text(json.dumps(result))
        for folder in (made.run, made.folder):
            (folder / "run.yaml").write_text(yaml.safe_dump({**SETTINGS, "name": "r"}))
        passport = {"kind": kind, "base_model": result["base_model"], "template": "alpaca"}
        passport |= {"mixture": {"name": "wool", "digest": "ab" * 32}, "run": "r"}
        passport |= {"prompt": "### Instruction:\n{instruction}\n\n### Response:"}
        made.write("woolgather.json", passport)
        made.write("template.yaml", b"name: alpaca\n")
        made.write("tokenizer.json", {"model": {}})
        made.write("tokenizer_config.json", {"name_or_path": PLACE, "eos_token": "</s>"})
        if kind == "adapter":
            config = {"peft_type": "LORA", "base_model_name_or_path": PLACE, "r": 8}
            made.write("adapter_config.json", config)
            tensors = {ZERO_A: b"\1\2\3", SOME_B: b"\0\0\7\0"}
            made.write("adapter_model.safetensors", safetensors(tensors))
        else:
            made.write("config.json", {"model_type": "llama", "_name_or_path": PLACE})
            made.write("model.safetensors", safetensors({"w": b"\1" * 9}))
        made.seal()
        return made

    return make


def build(made: Made, home: Home, out: Path, **said: Any) -> Publication:
    request = Request(**{"repo": "org/lora", **said})
    return build_weights_folder(made.folder, made.run, out, home, request)


def certificate(made: Made, **changes: Any) -> dict[str, Any]:
    """Return what merging certifies of a folder with one tensor."""
    told = json.loads((made.folder / "woolgather.json").read_text())
    check = {"max_logit_error": 2.5e-6, "kl": 3.25e-9, "top1": 1.0, "prompts": 4, "tokens": 97}
    return {
        **told,
        "path": "/data/somebody/merged",
        "adapter": str(made.run / "adapter"),
        "onto": "dequantised",
        "tensors": 291,
        "changed": 224,
        "untied": False,
        "check": check,
        "sha256": {"w": hashlib.sha256(b"\1" * 9).hexdigest()},
        **changes,
    }


def tables(text: str) -> list[list[list[str]]]:
    """Return the cells of every table of a card."""
    found: list[list[list[str]]] = [[]]
    for line in text.splitlines():
        if line.startswith("| "):
            cells = [one.strip() for one in re.split(r"(?<!\\)\|", line)[1:-1]]
            if set("".join(cells)) - set("-: "):
                found[-1].append(cells)
        elif found[-1]:
            found.append([])
    return found[:-1] if not found[-1] else found


def test_the_folder_has_all_that_loading_needs_and_no_place(
    make_run: MakeRun, home: Home, tmp_path: Path
) -> None:
    made = make_run()
    made.write("notes.txt", b"mine")
    said: list[str] = []
    request = Request("org/lora", base="org/llama", datasets=("org/wool",))
    found = build_weights_folder(
        made.folder, made.run, tmp_path / "out", home, request, say=said.append
    )
    assert [name for name, _ in found.files] == [
        *(
            "LICENSE",
            "README.md",
            "adapter_config.json",
            "adapter_model.safetensors",
            "result.json",
        ),
        *("run.yaml", "template.yaml", "tokenizer.json", "tokenizer_config.json"),
        "woolgather.json",
    ]
    assert said == ["left out, since no loader asks for it: notes.txt"]
    texts = {name: (found.path / name).read_text(errors="replace") for name, _ in found.files}
    assert [
        name for name, text in texts.items() if "private place" in text or "/somebody" in text
    ] == []
    assert json.loads(texts["adapter_config.json"]) == {
        **{"peft_type": "LORA", "r": 8},
        "base_model_name_or_path": "org/llama",
    }
    assert json.loads(texts["tokenizer_config.json"])["eos_token"] == "</s>"
    assert yaml.safe_load(texts["run.yaml"])["base_model"] == "org/llama"
    kept = json.loads(texts["result.json"])
    changed = {"path": "r", "output": "adapter", "base_model": "org/llama"}
    assert kept == {**RESULT, **changed}
    weights = made.folder / "adapter_model.safetensors"
    assert (found.path / weights.name).read_bytes() == weights.read_bytes()


def test_every_number_of_the_card_is_that_of_the_result(
    make_run: MakeRun, home: Home, tmp_path: Path
) -> None:
    made = build(make_run(), home, tmp_path / "out", base="org/llama")
    text = (made.path / "README.md").read_text()
    losses, by_tag, settings, counts, machine = tables(text.partition("\n---\n")[2])
    assert [row[1] for row in losses[1:]] == ["2.7183", "1.4142", "1.4142", "0.3340", "1.2346"]
    assert losses[3][0] == "lowest of `lang:CN` on held-out rows, at step 1,200: these weights"
    assert by_tag[1:] == [
        ["source", "`alpaca`", "2.5042", "120", "2.7750", "12"],
        ["source", "`x\\|<b>*`", "0.0928", "1,080", "–", "–"],
        ["lang", "`EN`", "2.5042", "120", "–", "–"],
        ["lang", "`CN`", "0.0928", "1,080", "0.8556", "9"],
    ]
    assert dict(counts[1:]) == {
        "parameters trained": f"{RESULT['trainable']:,}",
        "parameters": f"{RESULT['parameters']:,}",
        "share trained %": f"{100 * RESULT['trainable_share']:.4f}",
        "optimizer steps": "1,234",
        "rows learned from": "15,011",
        "rows left out: too long \\| for it": "7",
        "tokens learned, over all epochs": "1,200",
        "tokens seen, over all epochs": "98,765",
    }
    told = {name.strip("`"): json.loads(value.strip("`")) for name, value in settings[1:]}
    assert told["optimizer.betas"] == [0.9, 0.999]
    assert (told["method.r"], told["base_model"], told["mixture"]) == (8, "org/llama", "wool")
    assert dict(machine[1:])["device"] == "NVIDIA &lt;H200&gt;"
    assert dict(machine[1:])["tokens a second"] == "423.6"
    assert dict(machine[1:])["most memory, MiB"] == "584"
    assert dict(machine[1:])["seconds in all"] == "15.1"


def test_the_card_is_valid_for_the_hub(make_run: MakeRun, home: Home, tmp_path: Path) -> None:
    words = {"base": "org/llama", "datasets": ("org/wool",)}
    made = build(make_run(), home, tmp_path / "out", **words)
    card = ModelCard.load(made.path / "README.md", ignore_metadata_errors=False)
    data = card.data.to_dict()
    assert data == {
        "base_model": "org/llama",
        "base_model_relation": "adapter",
        "library_name": "peft",
        "pipeline_tag": "text-generation",
        "language": ["en", "zh"],
        "license": "other",
        "license_name": "cc-by-nc-4.0-and-mit",
        "license_link": "LICENSE",
        "datasets": ["org/wool"],
        "tags": ["woolgather", "instruction-tuning", "lora"],
    }
    assert "Licence class of its rows: **non-commercial**" in card.text
    assert "- To do: no commercial use." in card.text
    assert "Trained on a base quantised to `nf4`" in card.text
    assert "The run was stopped early" in card.text
    for program in re.findall(r"```python\n(.*?)```", card.text, re.DOTALL):
        compile(program, "card", "exec")
    assert "PeftModel.from_pretrained(base, 'org/lora')" in card.text
    assert "### Instruction:\\nName three primary colours." in card.text
    assert "woolgather chat --base org/llama --adapter lora" in card.text
    assert "LICENSE" in dict(made.files)


def test_a_base_in_a_folder_is_named_without_its_place(
    make_run: MakeRun, home: Home, tmp_path: Path
) -> None:
    made = build(make_run(), home, tmp_path / "out")
    card = ModelCard.load(made.path / "README.md")
    assert card.data.base_model is None
    assert "`llama-tiny`" in card.text
    assert "The base model was a folder" in card.text


def test_nothing_is_said_that_nobody_knows(make_run: MakeRun, home: Home, tmp_path: Path) -> None:
    known = {"eval": {}, "best": None, "stopped_early": False, "license": None}
    tags = {"train": {"source": {"a": group(2, 1)}, "lang": {"ML": group(2, 1)}}, "eval": {}}
    made = build(make_run(**known, tags=tags), home, tmp_path / "out")
    card = ModelCard.load(made.path / "README.md", ignore_metadata_errors=False)
    assert (card.data.license, card.data.language, card.data.datasets) == ("unknown", None, None)
    assert "held-out rows, before" not in card.text
    assert "- No rows were held out" in card.text
    assert "Nothing is known of the licences" in card.text


def test_a_merged_model_has_its_certificate(make_run: MakeRun, home: Home, tmp_path: Path) -> None:
    made = make_run("model")
    passport = json.loads((made.folder / "woolgather.json").read_text())
    made.write("woolgather.json", {**passport, "adapter": str(made.run / "adapter")})
    (made.folder / "manifest.json").unlink()
    made.write("merge.json", certificate(made))
    assert find_model(made.folder, home) == (made.folder, made.run)
    found = build(made, home, tmp_path / "out", base="org/llama")
    card = ModelCard.load(found.path / "README.md", ignore_metadata_errors=False)
    assert card.data.to_dict()["base_model_relation"] == "finetune"
    assert card.data.library_name == "transformers"
    merge = dict(tables(card.text)[4][1:])
    assert merge == {
        "merged onto the base": "dequantised",
        "tensors": "291",
        "tensors changed": "224",
        "head untied from the embeddings": "no",
        "KL from the live adapter, nats a token": "3.25e-09",
        "largest difference of a logit": "2.50e-06",
        "same likeliest token, share": "1.0000",
        "prompts compared": "4",
        "tokens compared": "97",
    }
    assert json.loads((found.path / "merge.json").read_text())["adapter"] == "adapter"
    made.write("merge.json", certificate(made, check=None))
    card = ModelCard.load(build(made, home, tmp_path / "two").path / "README.md")
    assert "- The merged weights were not compared with the live adapter." in card.text


def test_a_merged_model_whose_run_is_gone_is_published_without_losses(
    make_run: MakeRun, home: Home, tmp_path: Path
) -> None:
    made = make_run("model")
    passport = json.loads((made.folder / "woolgather.json").read_text())
    made.write("woolgather.json", {**passport, "adapter": "/gone/adapter", "run": "gone"})
    (made.folder / "manifest.json").unlink()
    folder, run = find_model(made.folder, home)
    assert run is None
    request = Request("org/lora")
    found = build_weights_folder(folder, run, tmp_path / "out", home, request)
    assert "nothing is known" in (found.path / "README.md").read_text()
    assert "result.json" not in dict(found.files)


def damage_weights(made: Made) -> None:
    file = made.folder / "adapter_model.safetensors"
    data = bytearray(file.read_bytes())
    data[-2] ^= 1
    file.write_bytes(bytes(data))


def cut_weights(made: Made) -> None:
    (made.folder / "manifest.json").unlink()
    file = made.folder / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])


def empty_weights(made: Made) -> None:
    tensors = {ZERO_A: b"\1\2\3", SOME_B: b"\0\0\0\0"}
    made.write("adapter_model.safetensors", safetensors(tensors))
    made.seal()


def lose_a_file(made: Made) -> None:
    (made.folder / "tokenizer.json").unlink()


def name_a_shard(made: Made) -> None:
    made.write("model.safetensors.index.json", {"weight_map": {"a": "model-2.safetensors"}})


def lose_weights(made: Made) -> None:
    (made.folder / "adapter_model.safetensors").unlink()


def break_result(made: Made) -> None:
    (made.run / "result.json").write_text("{")


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (damage_weights, r"adapter_model\.safetensors: not as it was written"),
        (cut_weights, r"adapter_model\.safetensors: not a whole safetensors file"),
        (empty_weights, "the adapter is empty: what training changes first is zero"),
        (lose_a_file, r"tokenizer\.json is missing, which manifest\.json names"),
        (name_a_shard, r"model-2\.safetensors is missing, which model\.safetensors\.index\.json"),
        (lose_weights, r"expected \*\.safetensors, got none"),
        (break_result, r"result\.json: expected a file that training wrote, got: Expecting"),
    ],
)
def test_damaged_weights_are_refused_in_one_line(
    make_run: MakeRun, home: Home, tmp_path: Path, damage: Callable[[Made], None], told: str
) -> None:
    made = make_run()
    damage(made)
    with pytest.raises(PublishError, match=told) as failed:
        build(made, home, tmp_path / "out")
    assert "\n" not in str(failed.value)
    assert not (tmp_path / "out").exists()


def test_a_changed_tensor_of_a_merged_model_is_found(
    make_run: MakeRun, home: Home, tmp_path: Path
) -> None:
    made = make_run("model")
    made.write("merge.json", certificate(made))
    made.write("model.safetensors", safetensors({"w": b"\1" * 8 + b"\2"}))
    (made.folder / "manifest.json").unlink()
    with pytest.raises(PublishError, match=r"1 tensors differ from merge\.json, first w\. Merge"):
        build(made, home, tmp_path / "out")


def test_runs_are_found_by_name_and_path(make_run: MakeRun, home: Home) -> None:
    made = make_run()
    for name in ("r", str(made.run), str(made.folder)):
        assert find_adapter(name, home) == (made.folder, made.run)
    with pytest.raises(PublishError, match=r"run 'rr' is not in .*Did you mean 'r'"):
        find_adapter("rr", home)
    with pytest.raises(
        PublishError, match=r"got an adapter\. Publish it: woolgather publish adapt"
    ):
        find_model(made.folder, home)
    (made.run / "result.json").unlink()
    with pytest.raises(
        PublishError, match=r"run r is not finished\. Go on: woolgather train run --"
    ):
        find_adapter("r", home)


def test_whole_models_and_strange_folders_are_told_apart(
    make_run: MakeRun, home: Home, tmp_path: Path
) -> None:
    made = make_run("model")
    assert find_model(made.folder, home) == (made.folder, made.run)
    with pytest.raises(PublishError, match=r"no adapter\. Publish that: woolgather"):
        find_adapter("r", home)
    (made.run / "result.json").unlink()
    with pytest.raises(PublishError, match="run r is not finished"):
        find_model(made.folder, home)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(PublishError, match=r"merged or trained, got no woolgather\.json"):
        find_model(tmp_path, home)


def test_rows_of_no_open_licence_are_accepted_by_name(
    make_run: MakeRun, home: Home, tmp_path: Path
) -> None:
    closed = verdict_of([Licensed("sharegpt", "unknown"), Licensed("gsm8k", "MIT")]).as_json()
    made = make_run(license=closed)
    with pytest.raises(
        PublishError, match=r"got unknown rows of sharegpt\. .*--accept-license share"
    ):
        build(made, home, tmp_path / "out")
    found = build(made, home, tmp_path / "out", accepted=("sharegpt",))
    card = ModelCard.load(found.path / "README.md", ignore_metadata_errors=False)
    assert card.data.license == "unknown"
    assert "for research only, accepted by name: `sharegpt`." in card.text


def test_the_lock_of_the_mixture_names_every_source(
    make_run: MakeRun, home: Home, tmp_path: Path
) -> None:
    keys = {"title": "T", "home": None, "license_url": None, "citation": None, "license_says": {}}
    sources = [
        {"name": "alpaca", "license": "CC-BY-NC-4.0", "terms": [], **keys},
        {"name": "odd", "license": "CC-BY-ND-4.0", "terms": [], **keys},
    ]
    folder = home.mixtures / "wool" / ("ab" * 32)
    folder.mkdir(parents=True)
    (folder / "mixture.lock").write_text(json.dumps({"sources": sources}))
    made = make_run()
    with pytest.raises(PublishError, match=r"odd \(CC-BY-ND-4.0: research-only\)"):
        build(made, home, tmp_path / "out")
    found = build(made, home, tmp_path / "out", accepted=("odd",))
    notice = (found.path / "NOTICE").read_text()
    assert "It was trained on rows of these sources:\n\nalpaca (T)" in notice


def test_names_that_are_no_ids_are_refused(make_run: MakeRun, home: Home, tmp_path: Path) -> None:
    made = make_run()
    for said in ({"base": "llama"}, {"datasets": ("a/b/c",)}):
        with pytest.raises(PublishError, match="expected ORG/NAME on the Hub"):
            build(made, home, tmp_path / "out", **said)


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return what calls `publish`: exit code, stdout, stderr."""

    def call(*words: object) -> tuple[int, str, str]:
        line = ["woolgather", "--home", str(home.path), "publish", *(str(one) for one in words)]
        monkeypatch.setattr(sys, "argv", [*line, "--repo", "org/lora"])
        with pytest.raises(SystemExit) as done:
            main()
        captured = capsys.readouterr()
        return int(done.value.code or 0), captured.out, captured.err

    return call


def test_nothing_is_sent_that_is_not_agreed_to(
    hub: Any, make_run: MakeRun, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    make_run()
    code, out, error = run("adapter", "r")
    assert (code, out) == (1, "")
    assert error == (
        "sending to the Hub: expected your agreement, got none. Add --yes to agree, or --dry-run to"
        " look first.\n"
    )
    for option in (("--dry-run",), ("--to", tmp_path / "out")):
        code, out, _ = run("adapter", "r", *option)
        assert code == 0
        assert "adapter_model.safetensors" in out
        assert "nothing was sent, org/lora would be private" in out
    assert not hub.ledger.requests
    monkeypatch.setattr("corpus.cli.publish.can_ask", lambda session: True)
    asked: list[str] = []
    monkeypatch.setattr("typer.confirm", lambda text, err: asked.append(text))
    assert run("adapter", "r", "--public")[0] == 1
    assert re.fullmatch(
        r"send 10 of 10 files, [\d,]+ bytes, to the new public model repository org/lora as"
        r" somebody\. Go on\?",
        asked[0],
    )
    assert not hub.repositories


def test_an_adapter_is_sent_and_sent_again(hub: Any, make_run: MakeRun, run: Run) -> None:
    made = make_run()
    first = json.loads(run("adapter", "r", "--yes", "--json")[1])
    second = json.loads(run("adapter", made.run, "--yes", "--json")[1])
    assert first["sent"]["files"] == len(first["files"]) == 10
    assert (second["sent"]["files"], second["digest"]) == (0, first["digest"])
    weights = (made.folder / "adapter_model.safetensors").read_bytes()
    assert hub.content("org/lora", "adapter_model.safetensors", "model") == weights
    assert hub.repository("org/lora", "model").private
    # In the home weights are linked, not copied.
    kept = Path(first["path"]) / "adapter_model.safetensors"
    assert kept.stat().st_ino == (made.folder / "adapter_model.safetensors").stat().st_ino
