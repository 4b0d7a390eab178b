"""The card of trained weights: README.md of an adapter or model, computed from its run's files.

Training writes it into its output; publishing computes it again, for the repository's name.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from corpus.license.classes import OBLIGATIONS
from corpus.publish.card_made import flat
from corpus.publish.licenses import LICENSE, hub_license
from corpus.publish.markdown import code, fence, inline, shown, table
from corpus.publish.trained import (
    OUR_PEFT_TYPE,
    TEMPLATE,
    Trained,
    read_trained,
    without_places,
)

LANGUAGES = {"EN": ("en",), "CN": ("zh",), "EN/CN": ("en", "zh")}
"""Language tags of sources to the Hub's codes; ML says that there are others, not which."""

TAGS = ("source", "lang", "task", "gen", "category")
UNSHOWN = ("name", "resume", "trackers")
"""Settings that decide no number."""

QUESTION = "Name three primary colours."

Lines = list[str]


def output_card(output: Path) -> str:
    """Return the card of what a run has just written: the adapter or model in its folder."""
    return card_text(read_trained(output, output.parent, None))


def card_text(told: Trained) -> str:
    """Return the card."""
    pieces: tuple[Callable[[Trained], Lines], ...] = (
        _introduction,
        _loading,
        _losses,
        _by_tag,
        _rows,
        _settings,
        _merge,
        _hardware,
        _limits,
    )
    lines = [line for piece in pieces for line in piece(told)]
    return front_matter(told) + "\n" + "\n".join(lines).rstrip("\n") + "\n"


def front_matter(told: Trained) -> str:
    """Return the metadata that the Hub reads, between its two lines of dashes."""
    languages = _languages(told)
    relation = "adapter" if told.kind == "adapter" else "finetune"
    base = {"base_model": told.base, "base_model_relation": relation}
    method = [str(told.result["method"])] if told.result else []
    found: dict[str, Any] = {
        **(base if told.is_base_on_hub else {}),
        "library_name": _library(told),
        "pipeline_tag": "text-generation",
        **({"language": languages} if languages else {}),
        **(hub_license(told.verdict) if told.verdict else {"license": "unknown"}),
        **({"datasets": list(told.datasets)} if told.datasets else {}),
        "tags": ["woolgather", "instruction-tuning", *method],
    }
    text = yaml.safe_dump(found, sort_keys=False, allow_unicode=True, width=10_000)
    return f"---\n{text}---\n"


def _library(told: Trained) -> str:
    if told.kind == "model":
        return "transformers"
    return "woolgather" if told.peft_type == OUR_PEFT_TYPE else "peft"


def _languages(told: Trained) -> list[str]:
    tags = told.result["tags"]["train"].get("lang", {}) if told.result else {}
    return list(dict.fromkeys(code for tag in tags for code in LANGUAGES.get(tag, ())))


def _introduction(told: Trained) -> Lines:
    method = told.result["method"] if told.result else "unknown"
    what = f"An adapter ({code(method)}) for" if told.kind == "adapter" else "A model made from"
    mixture = f" on the mixture {code(told.mixture['name'])}" if told.mixture else ""
    lines = [
        f"# {inline(told.title)}",
        "",
        f"{what} {code(told.base)}, trained by woolgather{mixture}.",
        "",
    ]
    if not told.is_base_on_hub:
        lines += ["The base model was a folder; its name here is only what that folder was called."]
        lines += [""]
    return lines


def _loading(told: Trained) -> Lines:
    model = [
        "from transformers import AutoModelForCausalLM, AutoTokenizer",
        "",
        f"tokenizer = AutoTokenizer.from_pretrained({told.repo!r})",
    ]
    if told.kind == "adapter":
        model.insert(0, "from peft import PeftModel")
        model += [
            f"base = AutoModelForCausalLM.from_pretrained({told.base!r})",
            f"model = PeftModel.from_pretrained(base, {told.repo!r})",
        ]
    else:
        model.append(f"model = AutoModelForCausalLM.from_pretrained({told.repo!r})")
    lines = ["## Load it", ""]
    if _library(told) != "woolgather":
        lines += [*fence("\n".join([*model, *_asking(told)]), "python"), ""]
    else:
        lines += ["peft has no adapter of this kind; woolgather itself loads it.", ""]
    return [*lines, *_template(told), *_chat(told)]


def _asking(told: Trained) -> Lines:
    prompt = told.passport.get("prompt")
    if prompt is None:
        lines = [
            f'messages = [{{"role": "user", "content": {QUESTION!r}}}]',
            "inputs = tokenizer.apply_chat_template(",
            '    messages, add_generation_prompt=True, return_tensors="pt", return_dict=True',
            ")",
        ]
    else:
        text = str(prompt).replace("{instruction}", QUESTION)
        lines = [f'inputs = tokenizer({text!r}, return_tensors="pt")']
    answer = "model.generate(**inputs, max_new_tokens=128)[0]"
    return [*lines, f"print(tokenizer.decode({answer}, skip_special_tokens=True))"]


def _template(told: Trained) -> Lines:
    name = code(str(told.passport.get("template", "unknown")))
    if told.passport.get("prompt") is None:
        return [f"Prompts are of the template {name}.", ""]
    return [f"Prompts are of the template {name}: [{TEMPLATE}]({TEMPLATE}).", ""]


def _chat(told: Trained) -> Lines:
    folder = shlex.quote(told.title if told.is_published else told.repo)
    option = f"--base {shlex.quote(told.base)} --adapter" if told.kind == "adapter" else "--base"
    commands = [f"woolgather chat {option} {folder} {shlex.quote(QUESTION)}"]
    if told.is_published:
        commands.insert(0, f"hf download {shlex.quote(told.repo)} --local-dir {folder}")
    return [
        "By woolgather, with the very template of the training:",
        "",
        *fence("\n".join(commands), "sh"),
        "",
    ]


def _losses(told: Trained) -> Lines:
    result = told.result
    if result is None:
        return ["## Losses", "", "The files of the run are not at hand: nothing is known.", ""]
    rows: list[tuple[str, str | int]] = [
        (f"held-out rows, {name} training", loss_text(result["eval"][key]))
        for name, key in (("before", "start"), ("after", "end"))
        if key in result["eval"]
    ]
    if result["best"]:
        best = result["best"]
        by = f"lowest of {code(best['by'])} on held-out rows, at step {shown(best['step'])}"
        rows.append((f"{by}: these weights", loss_text(best["loss"])))
    sums = result["tags"]["train"]["source"].values()
    mean = sum(one["sum"] for one in sums) / sum(one["tokens"] for one in sums)
    rows.append(("training rows, mean over the run", loss_text(mean)))
    rows.append(("training rows, last line of the log", loss_text(result["loss"])))
    return [
        "## Losses",
        "",
        "In nats a learned token; held-out rows were not trained on.",
        "",
        *table(("measured on", "loss"), rows),
    ]


def loss_text(loss: float) -> str:
    """Write a loss with the four digits that cards have."""
    return f"{loss:.4f}"


def _by_tag(told: Trained) -> Lines:
    if told.result is None:
        return []
    train, held = told.result["tags"]["train"], told.result["tags"]["eval"]
    rows = []
    for tag in TAGS:
        values = dict.fromkeys([*train.get(tag, {}), *held.get(tag, {})])
        for value in values:
            cells = [_cells(of.get(tag, {}).get(value)) for of in (train, held)]
            rows.append((tag, code(value), *cells[0], *cells[1]))
    heads = ("tag", "value", "training loss", "tokens", "held-out loss", "tokens")
    return ["By tag: training over the whole run, held-out rows after it.", "", *table(heads, rows)]


def _cells(group: dict[str, Any] | None) -> tuple[str, str]:
    return (loss_text(group["loss"]), shown(group["tokens"])) if group else ("–", "–")


def _rows(told: Trained) -> Lines:
    mixture, verdict = told.mixture, told.verdict
    lines = ["## Rows and licence", ""]
    if mixture:
        lines.append(f"- Mixture {code(mixture['name'])}, digest {code(mixture['digest'])}.")
    lines += [
        f"- Published as [{one}](https://huggingface.co/datasets/{one})." for one in told.datasets
    ]
    if verdict is None:
        lines.append("- Nothing is known of the licences of its rows.")
    else:
        lines += [
            f"- Licence class of its rows: **{verdict.license_class}**; allowed use:"
            f" {', '.join(verdict.uses)}.",
            f"- Licence: {code(verdict.license)}"
            + "".join(f", with {code(term)} terms" for term in verdict.terms)
            + ".",
            *(f"- To do: {OBLIGATIONS[one]}." for one in verdict.obligations if one in OBLIGATIONS),
            *(f"- Contradiction: {code(one)}." for one in verdict.conflicts),
        ]
        if "license_link" in hub_license(verdict):
            lines.append(f"- [{LICENSE}]({LICENSE}) has the whole.")
    if told.accepted:
        named = ", ".join(code(name) for name in told.accepted)
        lines.append(
            f"- Published although unknown or for research only, accepted by name: {named}."
        )
    lines.append("- The verdict is on the rows alone: the base model's own licence holds as well.")
    return [*lines, ""]


def _settings(told: Trained) -> Lines:
    known = {key: one for key, one in told.settings.items() if key not in UNSHOWN}
    if not known:
        return []
    known = without_places(known) | {"base_model": told.base}
    rows = [(code(key), code(value)) for key, value in flat(known)]
    lines = ["## Settings", "", *table(("setting", "value"), rows)]
    result = told.result
    if result is not None:
        counts = [
            ("parameters trained", result["trainable"]),
            ("parameters", result["parameters"]),
            ("share trained %", f"{100 * result['trainable_share']:.4f}"),
            ("optimizer steps", result["steps"]),
            ("rows learned from", result["rows"]),
            *((f"rows left out: {inline(why)}", n) for why, n in result["refused"].items()),
            ("tokens learned, over all epochs", result["learned_tokens"]),
            ("tokens seen, over all epochs", result["seen_tokens"]),
        ]
        lines += table(("count", "number"), [(name, shown(value)) for name, value in counts])
    return lines


def _merge(told: Trained) -> Lines:
    made = told.certificate
    if made is None:
        return []
    rows: list[tuple[str, str]] = [
        ("merged onto the base", inline(str(made["onto"]))),
        ("tensors", shown(made["tensors"])),
        ("tensors changed", shown(made["changed"])),
        ("head untied from the embeddings", "yes" if made["untied"] else "no"),
    ]
    check = made["check"]
    if check:
        rows += [
            ("KL from the live adapter, nats a token", f"{check['kl']:.2e}"),
            ("largest difference of a logit", f"{check['max_logit_error']:.2e}"),
            ("same likeliest token, share", f"{check['top1']:.4f}"),
            ("prompts compared", shown(check["prompts"])),
            ("tokens compared", shown(check["tokens"])),
        ]
    return [
        "## Merge",
        "",
        "The adapter was merged into the base's weights; [merge.json](merge.json) certifies it,"
        " with the sha256 of every tensor: `woolgather verify FOLDER` compares them.",
        "",
        *table(("merge", "value"), rows),
    ]


def _hardware(told: Trained) -> Lines:
    result = told.result
    if result is None:
        return []
    env = result["environment"]
    rows: list[tuple[str, str]] = [
        ("device", inline(str(env["device"]))),
        ("cores", shown(env["cores"])),
        ("threads", shown(env["threads"])),
        ("platform", inline(str(env["platform"]))),
        ("Python", inline(str(env["python"]))),
        *((inline(name), inline(str(one))) for name, one in env["versions"].items()),
        ("loss kernel", inline(str(result["loss_kernel"]))),
        ("tokens a second", shown(round(result["tokens_per_second"], 1))),
        ("most memory, MiB", shown(round(result["memory_bytes"] / 2**20))),
        ("seconds in all", shown(round(result["seconds"]["total"], 1))),
    ]
    return ["## Hardware and versions", "", *table(("what", "value"), rows)]


def _limits(told: Trained) -> Lines:
    lines = ["## Known limits", ""]
    result = told.result
    if result is not None and not result["eval"]:
        lines.append("- No rows were held out: how well it answers what it never saw is unknown.")
    if result is not None and result["stopped_early"]:
        lines.append("- The run was stopped early, since held-out losses fell no more.")
    quantize = str((result or told.passport).get("quantize", "none"))
    if quantize != "none":
        lines.append(
            f"- Trained on a base quantised to {code(quantize)}: on other weights of the base its"
            " answers differ."
        )
    if told.certificate is not None and not told.certificate["check"]:
        lines.append("- The merged weights were not compared with the live adapter.")
    return [
        *lines,
        "- Losses say how well answers like those of the mixture are foretold, not whether what it"
        " says is true. No benchmark was run.",
        "- It may have learned false statements, bias and personal data from rows that nobody has"
        " read all of.",
        "- Computed from the files of the run; nobody has filled anything in by hand.",
        "",
    ]
