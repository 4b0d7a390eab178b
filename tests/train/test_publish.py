"""A trained adapter has a card of its own, and opens with plain peft from where it was sent."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from corpus.publish.hub import send
from corpus.publish.weights import Request, build_weights_folder, find_adapter, find_model
from corpus.settings import Home

SERVER = Path(__file__).parent.parent / "corpus" / "publish" / "server.py"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Serve a Hub over loopback that this process sends to."""
    from huggingface_hub import constants

    spec = importlib.util.spec_from_file_location("publish_server", SERVER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "publish_server", module)
    spec.loader.exec_module(module)
    with module.serving() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("HF_TOKEN", module.TOKEN)
        yield server


def silent(line: str) -> None:
    """Say nothing, agree to all."""


LOAD = """
import json, sys, torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

base, folder, prompt = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained("org/lora")
ids = tokenizer(prompt, return_tensors="pt").input_ids
logits = []
for name in (None, folder, "org/lora"):
    model = AutoModelForCausalLM.from_pretrained(base)
    with torch.no_grad():
        logits.append((PeftModel.from_pretrained(model, name) if name else model)(ids).logits)
same = [torch.equal(one, logits[2]) for one in logits[:2]]
print(json.dumps({"ids": ids[0].tolist(), "as_base": same[0], "as_local": same[1]}))
"""


def test_a_trained_adapter_opens_by_its_name_on_the_hub(
    hub: Any, trained: Any, base: Path, tokenizer: Any, home: Home, tmp_path: Path
) -> None:
    from train.render import Turn, encode_prompt, load_template

    folder, run = find_adapter(trained.path, home)
    out = home.publications / "org--lora"
    made = build_weights_folder(folder, run, out, home, Request("org/lora", base="org/tiny"))
    send(made, "org/lora", "adapter", home, public=False, agree=silent, say=silent)

    prompt = json.loads((made.path / "woolgather.json").read_text())["prompt"]
    asked = prompt.replace("{instruction}", "A?")
    environment = {key: one for key, one in os.environ.items() if not key.startswith("HF_")}
    environment |= {"HF_ENDPOINT": hub.url, "HF_TOKEN": hub.token, "HF_HOME": str(tmp_path)}
    command = [sys.executable, "-c", LOAD, str(base), str(folder), asked]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    ids = encode_prompt(tokenizer, load_template("alpaca", tokenizer), [Turn("A?")])
    found = json.loads(done.stdout.splitlines()[-1])
    assert found == {"ids": ids, "as_base": False, "as_local": True}


def test_training_writes_the_card_that_publishing_computes(
    trained: Any, home: Home, tmp_path: Path
) -> None:
    folder, run = find_adapter(trained.path, home)
    made = build_weights_folder(folder, run, tmp_path / "out", home, Request("org/lora"))
    cards = [(one / "README.md").read_text() for one in (folder, made.path)]
    tables = [[line for line in card.splitlines() if line[:2] == "| "] for card in cards]
    assert tables[0] == tables[1]
    assert len(tables[0]) > 80
    assert f"| held-out rows, after training | {trained.eval['end']:.4f} |" in tables[0]
    assert f"`{trained.mixture_digest}`" in cards[0]
    assert "# trained\n" in cards[0]
    assert str(run.parent) not in cards[0] + cards[1]
    assert (folder / "template.yaml").read_bytes() == (made.path / "template.yaml").read_bytes()


def test_a_merged_model_is_published_with_what_its_certificate_says(
    trained: Any, home: Home, tmp_path: Path
) -> None:
    from train.merge import merge

    merge(Path(trained.output), tmp_path / "merged")
    merged = json.loads((tmp_path / "merged" / "merge.json").read_text())
    folder, run = find_model(tmp_path / "merged", home)
    assert run == Path(trained.path)
    made = build_weights_folder(folder, run, tmp_path / "out", home, Request("org/merged"))
    card = (made.path / "README.md").read_text()
    assert f"| KL from the live adapter, nats a token | {merged['check']['kl']:.2e} |" in card
    assert f"| tensors changed | {merged['changed']} |" in card
    assert "base_model_relation: finetune" not in card  # The base is a folder, no name of the Hub.
    assert {"merge.json", "template.yaml", "tokenizer.json"} <= set(dict(made.files))
    assert "### Instruction:\\nName three primary colours." in card
