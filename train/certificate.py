"""The certificate of a merge: how near the merged model is to what was trained, tensor by tensor.

Made by `train.merge`, read by `woolgather verify`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from corpus.errors import TrainError
from train.generate import load_speaker
from train.render import Turn, encode_prompt
from train.tensors import digests_of, weight_files

CERTIFICATE = "merge.json"
MAX_KL = 1e-3
"""A merged model further than this from its live adapter (nats a token) is not published."""

PROMPTS = (
    "Name three primary colours and say where each is found in nature.",
    "请用两三句话解释为什么天空是蓝色的。",
    "請列出五種常見的水果，並說明它們的產地。",
    "Write a short Python function that returns the sum of a list.",
)


def check_merge(
    base: str | Path,
    adapter: Path,
    merged: Path,
    *,
    dtype: str = "auto",
    quantize: str = "none",
    exact: bool = True,
    trust_remote_code: bool = False,
) -> dict[str, float]:
    """Compare the merged model with base + live adapter at every token of the prompts.

    `dtype` and `quantize` are how the live base is held; without `exact` a difference is only
    reported.

    Raises:
        TrainError: they differ by more than rounding.
    """
    code = {"trust_remote_code": trust_remote_code}
    live = _logits(base, adapter, dtype=dtype, quantize=quantize, **code)
    ours = _logits(merged, None, dtype="auto", **code)
    a, b = (torch.log_softmax(one, -1) for one in (live, ours))
    check = {
        "max_logit_error": float((live - ours).abs().max()),
        "kl": float((a.exp() * (a - b)).sum(-1).mean().clamp_min(0)),
        "top1": float((live.argmax(-1) == ours.argmax(-1)).float().mean()),
        "prompts": len(PROMPTS),
        "tokens": len(live),
    }
    if exact and not check["kl"] <= MAX_KL:
        raise TrainError(
            f"the merged model is not what was trained: KL {check['kl']:.1e} nats a token from the"
            f" live adapter, expected at most {MAX_KL:.0e}; nothing was written"
        )
    return check


def _logits(base: str | Path, adapter: Path | None, **loading: Any) -> torch.Tensor:
    """Return the float32 logits of all prompt tokens: (tokens, vocabulary)."""
    speaker = load_speaker(base, adapter, **loading)
    rows = []
    for prompt in PROMPTS:
        ids = encode_prompt(speaker.tokenizer, speaker.template, [Turn(prompt)])
        with torch.no_grad():
            rows.append(speaker.model(torch.tensor([ids]), use_cache=False).logits[0].float())
    return torch.cat(rows)


def verify_merged(folder: Path) -> dict[str, Any]:
    """Compare every tensor of a merged model with its certificate.

    Raises:
        TrainError: there is no certificate, or a tensor is missing, strange or changed.
    """
    file = folder / CERTIFICATE
    if not file.is_file():
        raise TrainError(f"{folder}: expected a {CERTIFICATE}, which woolgather merge writes")
    certificate = json.loads(file.read_text(encoding="utf-8"))
    found: dict[str, str] = {}
    for one in weight_files(folder):
        found |= digests_of(one)
    expected = certificate["sha256"]
    bad = sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name))
    if bad:
        raise TrainError(f"{folder}: {len(bad)} tensors differ from {CERTIFICATE}, first {bad[0]}")
    return {"path": str(folder), "tensors": len(found), "check": certificate["check"]}
