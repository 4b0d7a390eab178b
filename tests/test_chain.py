"""The chain as a user runs it: the demo, then every command of the quick start."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
WOOLGATHER = Path(sys.executable).with_name("woolgather")
FILES = ("samples", "recipes", "catalog.yaml", "docs")


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with what a clone has that commands name."""
    folder = tmp_path_factory.mktemp("clone")
    for name in FILES:
        (folder / name).symlink_to(ROOT / name)
    return folder


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user does."""
    environment = {
        **os.environ,
        "WOOLGATHER_HOME": str(folder / "home"),
        "HF_HUB_OFFLINE": "1",
        "TMPDIR": str(folder),
    }
    command = [str(WOOLGATHER), *words]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def demo(clone: Path) -> dict[str, Any]:
    """Run the demo once; return what it says of itself."""
    done = run(clone, "demo", "--out", "woolgather-demo", "--json")
    assert done.returncode == 0, done.stderr
    facts: dict[str, Any] = json.loads(done.stdout)
    return facts


@pytest.mark.train
@pytest.mark.timeout(600)
def test_the_demo_learns_with_lora(demo: dict[str, Any]) -> None:
    lora = demo["lora"]
    assert lora["fall"] >= 0.05, "the last ten losses lie at least 5 % below the first ten"
    assert lora["eval"]["end"] < lora["eval"]["start"], "the holdout's loss falls too"
    assert {"EN", "CN"} <= set(lora["tags"]["train"]["lang"])


@pytest.mark.train
@pytest.mark.timeout(600)
def test_the_demos_losses_by_tag_add_up(demo: dict[str, Any]) -> None:
    sums = [
        (sum(one["sum"] for one in tag.values()), sum(one["tokens"] for one in tag.values()))
        for tag in demo["lora"]["tags"]["train"].values()
    ]
    assert len({tokens for _, tokens in sums}) == 1
    assert max(total for total, _ in sums) == pytest.approx(min(total for total, _ in sums))


@pytest.mark.train
@pytest.mark.timeout(600)
def test_the_demos_page_opens_offline(demo: dict[str, Any]) -> None:
    page = Path(demo["report"]).read_text(encoding="utf-8")
    assert "<script" not in page
    assert not re.search(r"https?://", page)
    assert page.count("<svg") >= 5
    assert all(answer[:20] in page for answer in demo["answers"].values() if answer.isalnum())


@pytest.mark.train
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
def test_the_adapter_changes_the_logits(demo: dict[str, Any]) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    adapter = Path(demo["merged"]["adapter"])
    base = AutoModelForCausalLM.from_pretrained(demo["merged"]["base_model"])
    ids = torch.arange(10, 30)[None]  # (1, 20) int64
    with torch.no_grad():
        without = base(input_ids=ids).logits
        live = PeftModel.from_pretrained(base, str(adapter))(input_ids=ids).logits
        merged = AutoModelForCausalLM.from_pretrained(demo["merged"]["path"])(input_ids=ids).logits
    assert (live - without).abs().max() > 1e-3
    assert torch.allclose(live, merged, atol=1e-4)


@pytest.mark.train
@pytest.mark.timeout(600)
def test_a_second_demo_finds_everything_done(clone: Path, demo: dict[str, Any]) -> None:
    done = run(clone, "demo", "--out", "woolgather-demo", "--json")
    again = json.loads(done.stdout)
    assert again["mixture"] == demo["mixture"]
    assert again["lora"] == demo["lora"]


def quickstart() -> list[str]:
    """Return the commands of the quick start and of the README, in order."""
    pages = [
        (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/quickstart.md")
    ]
    return [line[2:] for page in pages for line in page.splitlines() if line.startswith("$ ")]


@pytest.mark.train
@pytest.mark.timeout(900)
def test_every_command_of_the_quick_start_works(clone: Path, demo: dict[str, Any]) -> None:
    commands = quickstart()
    assert len(commands) > 20
    for command in commands:
        program, *words = shlex.split(command)
        assert program == "woolgather"
        if "--out" in words and words[0] != "demo":
            shutil.rmtree(clone / words[words.index("--out") + 1], ignore_errors=True)
        done = run(clone, *words)
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        assert done.stdout or done.stderr, command
