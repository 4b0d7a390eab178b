"""Head and cross-entropy in one: equal to plain logits, in a tenth of the memory."""

from __future__ import annotations

import runpy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from corpus.errors import TrainError
from train import kernels
from train.kernels import Head, chunked, fastest

WIDTH, VOCABULARY, TOKENS = 16, 300, 37
BENCHMARK = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "loss.py"))


def plain(hidden: torch.Tensor, targets: torch.Tensor, head: Head) -> torch.Tensor:
    """Logits of everything at once, and torch's own cross-entropy."""
    logits = head.layer(hidden).float() * head.scale
    if head.cap:
        logits = torch.tanh(logits / head.cap) * head.cap
    return torch.nn.functional.cross_entropy(logits, targets, reduction="none")


def make_head(*, trains: bool = False, bias: bool = False, **changes: Any) -> Head:
    torch.manual_seed(0)
    layer = torch.nn.Linear(WIDTH, VOCABULARY, bias=bias).requires_grad_(trains)
    return Head(layer, VOCABULARY, **changes)


def results(kernel: Any, head: Head) -> list[torch.Tensor]:
    """Return losses, and the gradients of a weighted sum of them by hidden states and weights."""
    torch.manual_seed(1)
    hidden = (torch.randn(TOKENS, WIDTH) * 3).requires_grad_()
    targets = torch.randint(VOCABULARY, (TOKENS,))
    losses = kernel(hidden, targets, head)
    weights = [one for one in head.layer.parameters() if one.requires_grad]
    return [
        losses.detach(),
        *torch.autograd.grad((losses * torch.rand(TOKENS)).sum(), [hidden, *weights]),
    ]


@pytest.mark.parametrize("rows", [1, 8, TOKENS, 100])
@pytest.mark.parametrize(
    "head",
    [
        {},
        {"bias": True},
        {"scale": 0.25},
        {"cap": 2.0, "scale": 3.0},
        {"trains": True},
        {"trains": True, "bias": True, "cap": 2.0},
    ],
    ids=str,
)
def test_losses_and_gradients_equal_plain_logits(
    head: dict[str, Any], rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "ROWS", rows)
    monkeypatch.setitem(kernels.CHUNK, "cpu", 0)
    made = make_head(**head)
    expected, found = results(plain, made), results(chunked, made)
    assert len(found) == 2 + bool(head.get("trains")) * (1 + bool(head.get("bias")))
    for ours, theirs in zip(found, expected, strict=True):
        assert float((ours - theirs).abs().max()) < 1e-5


def test_a_certain_wrong_answer_has_its_full_loss() -> None:
    # The target's probability underflows to 0, its loss does not.
    layer = torch.nn.Linear(1, 2, bias=False).requires_grad_(False)
    layer.weight.copy_(torch.tensor([[0.0], [300.0]]))
    hidden = torch.ones(1, 1, requires_grad=True)
    losses = chunked(hidden, torch.tensor([0]), Head(layer, 2))
    assert losses.tolist() == [300.0]
    assert torch.autograd.grad(losses.sum(), hidden)[0].tolist() == [[300.0]]


@pytest.mark.parametrize("trains", [False, True])
def test_no_token_gives_no_loss_and_a_zero_gradient(trains: bool) -> None:
    hidden = torch.zeros(3, WIDTH, requires_grad=True)
    losses = chunked(hidden[:0], torch.zeros(0, dtype=torch.int64), make_head(trains=trains))
    assert losses.shape == (0,)
    (gradient,) = torch.autograd.grad(losses.sum(), hidden)
    assert not gradient.any()


def test_bfloat16_heads_give_float32_losses() -> None:
    head = make_head()
    expected = results(plain, head)
    losses, slopes = results(
        lambda hidden, *rest: chunked(hidden.bfloat16(), *rest),
        replace(head, layer=head.layer.bfloat16()),
    )
    assert losses.dtype == torch.float32
    assert float((losses - expected[0]).abs().max()) < 0.05
    assert float((slopes - expected[1]).norm() / expected[1].norm()) < 0.02


def test_evaluation_asks_for_no_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.autograd, "grad", None)
    head, hidden = make_head(), torch.randn(TOKENS, WIDTH, requires_grad=True)
    targets = torch.randint(VOCABULARY, (TOKENS,))
    with torch.no_grad():
        assert not chunked(hidden, targets, head).requires_grad


@pytest.mark.parametrize(("trains", "n_tokens"), [(False, 2048), (True, 3072)])
def test_extra_memory_is_a_tenth_of_plain_logits(
    trains: bool, n_tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A quarter of 32,000 pieces, and of the logits that a chunk may hold.
    monkeypatch.setitem(kernels.CHUNK, "cpu", kernels.CHUNK["cpu"] // 4)
    layer = torch.nn.Linear(WIDTH, 8000, bias=False).requires_grad_(trains)
    head, hidden = Head(layer, 8000), torch.randn(n_tokens, WIDTH, requires_grad=True)
    targets = torch.randint(8000, (n_tokens,))

    def peak(kernel: Any) -> int:
        with BENCHMARK["Made"]() as counted:
            torch.autograd.grad(kernel(hidden, targets, head).sum(), hidden)
        return counted.peak

    assert peak(chunked) < peak(plain) / 10


def test_a_kernel_that_cannot_be_had_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TrainError, match=r"loss: liger: it is not installed\. .* liger-kernel\."):
        fastest(make_head(), "liger", "none")
    monkeypatch.setattr(kernels.importlib.util, "find_spec", lambda name: name)
    with pytest.raises(TrainError, match=r"loss: cce: it needs a CUDA GPU\. Set loss: auto\."):
        fastest(make_head(), "cce", "none")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    wrapped = replace(make_head(), layer=torch.nn.Sequential())
    with pytest.raises(TrainError, match="plain linear head, got Sequential"):
        fastest(wrapped, "cce", "none")
    with pytest.raises(TrainError, match="which distributed: zero3 shards"):
        fastest(make_head(), "liger", "zero3")


def test_without_a_gpu_the_own_kernel_is_chosen() -> None:
    assert fastest(make_head(), "auto", "none") == ("chunked", chunked)
    assert fastest(make_head(), "chunked", "none") == ("chunked", chunked)


def theirs(hidden: Any, weight: Any, targets: Any, *, bias: Any, **options: Any) -> Any:
    """What kernels of others compute, told to return every loss."""
    assert options == {"reduction": "none", "softcap": None}
    logits = torch.nn.functional.linear(hidden, weight, bias)
    return torch.nn.functional.cross_entropy(logits, targets, reduction="none")


def alike(hidden: Any, *rest: Any, **options: Any) -> Any:
    """Right losses, but every token gets the mean gradient."""
    losses = theirs(hidden, *rest, **options)
    return losses.detach() + (losses - losses.detach()).mean()


@pytest.fixture
def as_if_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """A right and a wrong kernel of others, on a processor that poses as a GPU."""
    found = {kernels.FUSED["liger"]: theirs, kernels.FUSED["cce"]: alike}
    monkeypatch.setattr(kernels, "load", found.__getitem__)
    monkeypatch.setattr(kernels, "GPU", "cpu")
    monkeypatch.setattr(kernels, "TRIED", 64)
    monkeypatch.setattr(kernels.importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)


@pytest.mark.usefixtures("as_if_cuda")
@pytest.mark.parametrize("slow", ["chunked", "liger"])
def test_auto_takes_the_fastest_kernel_that_agrees(
    slow: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = {"chunked": 1.0, "liger": 1.0, slow: 2.0}
    trial, names = kernels._trial, iter(["chunked", "liger", "cce"])
    monkeypatch.setattr(
        kernels, "_trial", lambda *given: (trial(*given)[0], seconds.get(next(names), 0.1))
    )
    name, kernel = fastest(make_head(scale=0.5), "auto", "ddp")
    assert name == ({"chunked", "liger"} - {slow}).pop()
    head = make_head(scale=0.5, bias=True)
    for ours, others in zip(results(kernel, head), results(plain, head), strict=True):
        assert float((ours - others).abs().max()) < 1e-5


@pytest.mark.usefixtures("as_if_cuda")
def test_a_named_kernel_with_wrong_gradients_is_refused() -> None:
    assert fastest(make_head(), "liger", "none")[0] == "liger"
    with pytest.raises(TrainError, match=r"loss: cce: its losses or gradients are off by [0-9]"):
        fastest(make_head(), "cce", "none")
