"""Models that bring their own code: run only where that is allowed, and trained as they ask."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from corpus.errors import TrainError
from corpus.settings import Home
from train.inputs import prefix_inputs
from train.merge import merge
from train.model import load_base, load_shape, load_tokenizer, quiet_libraries
from train.targets import TABLE

KINDS = [
    *("baichuan", "chatglm", "moss"),
    *(pytest.param(one, marks=pytest.mark.slow) for one in ("internlm", "internlm2", "chatglm2")),
]


def _logits(model: Any, rows: list[list[int]]) -> torch.Tensor:
    model.eval()
    with torch.no_grad():
        return torch.cat([model(input_ids=torch.tensor([ids])).logits[0] for ids in rows])


@pytest.mark.parametrize("name", KINDS)
def test_a_model_with_code_of_its_own_trains_unpacked(
    name: str,
    foreign: Callable[[str], Path],
    a_run: Callable[..., Any],
    table: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from peft import PeftModel
    from safetensors.torch import load_file

    import train.run

    folder, seen, save = foreign(name), [], train.run.save_output

    def spy(model: Any, prepared: Any, *args: Any, **options: Any) -> Path:
        seen.extend([model, prepared])
        return save(model, prepared, *args, **options)

    monkeypatch.setattr(train.run, "save_output", spy)
    run = a_run(
        base_model=str(folder),
        trust_remote_code=True,
        template="chatglm" if name == "chatglm" else "alpaca",
        packing=False,
        steps=3,
    )
    packed = run.model_copy(update={"packing": True, "name": "packed"})
    with pytest.raises(TrainError, match="Set packing: false"):
        train.run.run_training(packed, Home(tmp_path), mixture=table)
    result = train.run.run_training(run, Home(tmp_path), mixture=table)
    live, prepared = seen
    assert live.loss_kernel == "chunked"
    # Its own class, whose forward nobody has touched, row by row.
    with quiet_libraries():
        plain = load_base(folder, trust_remote_code=True)
    del plain.forward, plain.base_model.forward
    assert result.eval["start"] == pytest.approx(_loss(plain, prepared.holdout.store), rel=1e-5)
    assert result.eval["end"] < result.eval["start"]
    weights = load_file(Path(result.output) / "adapter_model.safetensors")
    assert all(bool(one.any()) for key, one in weights.items() if "lora_B" in key)
    adapted = {key.split(".lora_")[0].rpartition(".")[2] for key in weights}
    assert adapted == set(TABLE[plain.config.model_type].of("lora"))
    rows = [prepared.train.store.row(number)[0].tolist() for number in (0, 1, 2)]
    before, after = _logits(plain, rows), _logits(live, rows)
    assert float((after - before).abs().max()) > 1e-4
    with quiet_libraries():
        again = load_base(folder, trust_remote_code=True)
        again = PeftModel.from_pretrained(again, result.output)
        assert torch.allclose(_logits(again, rows), after, atol=1e-6, rtol=1e-6)
        merged = again.merge_and_unload()
    assert float((_logits(merged, rows) - after).abs().max()) <= 1e-5 * float(after.abs().max())
    written = tmp_path / "merged"
    with pytest.raises(TrainError, match="code that it brings itself"):
        merge(Path(result.output), written)
    done = merge(Path(result.output), written, trust_remote_code=True)
    assert done["check"] is not None
    assert done["check"]["kl"] < 1e-6
    with quiet_libraries():
        whole = load_base(written, trust_remote_code=True)
    assert float((_logits(whole, rows) - after).abs().max()) <= 1e-5 * float(after.abs().max())


def _loss(model: Any, store: Any) -> float:
    total, tokens = 0.0, 0
    for number in range(len(store)):
        ids, learned = store.row(number)
        logits = _logits(model, [ids.tolist()])[:-1]
        wanted = torch.from_numpy(ids[1:].astype("int64"))
        losses = torch.nn.functional.cross_entropy(logits, wanted, reduction="none")
        total += float(losses[torch.from_numpy(learned[1:].astype(bool))].sum())
        tokens += int(learned[1:].sum())
    return total / tokens


def test_code_runs_only_when_the_run_says_so(foreign: Callable[[str], Path]) -> None:
    folder = foreign("moss")
    for load in (load_base, load_shape):
        with pytest.raises(TrainError) as caught:
            load(folder)
        assert str(caught.value) == (
            f"{folder}: this model needs code that it brings itself (modeling_moss.py). Read it;"
            " then allow it to run: --set trust_remote_code=true in a run, --trust-remote-code"
            " elsewhere"
        )
    shape = load_shape(folder, trust_remote_code=True)
    assert {one.device.type for one in shape.parameters()} == {"meta"}


def test_a_tokenizer_with_code_of_its_own_needs_the_same_permission(
    base: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "own"
    shutil.copytree(base, folder)
    for name in ("tokenizer.json", "tokenizer.model"):
        (folder / name).unlink(missing_ok=True)
    config = {"auto_map": {"AutoTokenizer": ["tokenization_own.Own", None]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "tokenization_own.py").write_text("raise RuntimeError('it ran')\n")
    with pytest.raises(TrainError, match=r"tokenization_own\.py.*trust_remote_code=true"):
        load_tokenizer(folder)
    with pytest.raises(TrainError, match="cannot be loaded: it ran"):
        load_tokenizer(folder, trust_remote_code=True)


def test_a_shipped_architecture_never_runs_the_code_beside_it(base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "llama"
    shutil.copytree(base, folder)
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoModelForCausalLM": "modeling_evil.Evil"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "modeling_evil.py").write_text("raise RuntimeError('it ran')\n")
    assert type(load_base(folder)).__name__ == "LlamaForCausalLM"


def test_prefix_inputs_are_those_that_chatglm_makes_itself(foreign: Callable[[str], Path]) -> None:
    folder = foreign("chatglm")
    model = load_base(folder, trust_remote_code=True)
    config = model.config
    mark, start = config.gmask_token_id, config.bos_token_id
    ids = torch.tensor([[7, 8, 9, mark, start, 20, 21, 22], [7, 8, mark, 9, 9, start, 20, 21]])
    masks, positions = model.transformer.masks_and_positions(ids)
    made = prefix_inputs(config, ids)
    assert torch.equal(made["attention_mask"], masks)
    assert torch.equal(made["position_ids"], positions)
    assert positions[0].tolist() == [[0, 1, 2, 3, 3, 3, 3, 3], [0, 0, 0, 0, 1, 2, 3, 4]]


def test_padding_on_either_side_changes_no_logit_of_chatglm(foreign: Callable[[str], Path]) -> None:
    model = load_base(foreign("chatglm"), trust_remote_code=True).eval()
    row = [7, 8, 9, model.config.gmask_token_id, model.config.bos_token_id, 20, 21, 22]
    alone = _logits(model, [row])
    right = _logits(model, [[*row, 0, 0, 0]])[: len(row)]
    with torch.no_grad():
        left = model(
            input_ids=torch.tensor([[0, 0, 0, *row]]),
            attention_mask=torch.tensor([[0, 0, 0, *[1] * len(row)]]),
        ).logits[0, 3:]
    for padded in (right, left):
        assert torch.allclose(padded, alone, atol=1e-5)
    # The prompt reads both ways: its last token moves the first one's logits.
    other = _logits(model, [[7, 8, 10, *row[3:]]])
    assert float((other[0] - alone[0]).abs().max()) > 1e-3
    later = _logits(model, [[*row[:-1], 23]])
    assert torch.equal(later[: len(row) - 1], alone[:-1])


def test_a_row_without_its_marks_is_told(foreign: Callable[[str], Path]) -> None:
    model = load_base(foreign("chatglm"), trust_remote_code=True)
    with pytest.raises(TrainError, match=r"one <sop> in every row.*got \[0\].*template: chatglm"):
        model(input_ids=torch.tensor([[7, 8, 9]]))
