"""Trained weights as publications: whole, not empty, with tokenizer, template, settings and a card.

No torch here: of weights only their bytes are read.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Collection
from dataclasses import dataclass
from dataclasses import replace as changed
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import yaml

from corpus.atomic import write_text
from corpus.errors import PublishError
from corpus.license import Licensed, Verdict, notice_text, verdict_of
from corpus.license.classes import OBLIGATIONS
from corpus.mixture.lock import LOCK
from corpus.publish.dataset import check_repo
from corpus.publish.folder import CARD, Publication, put_folder
from corpus.publish.licenses import LICENSE, TO_ACCEPT, check_accepted, hub_license
from corpus.publish.model_card import card_text
from corpus.publish.trained import (
    ADAPTER_CONFIG,
    CERTIFICATE,
    HUB_ID,
    PASSPORT,
    RESULT,
    SETTINGS,
    TEMPLATE,
    Trained,
    read_json,
    read_trained,
    without_places,
)
from corpus.publish.weights_check import MANIFEST, WEIGHTS, check_weights
from corpus.registry import suggest
from corpus.settings import Home

NOTICE = "NOTICE"
COPIED = (
    *(WEIGHTS, "*.safetensors.index.json", "*.py", TEMPLATE),
    *("tokenizer.json", "tokenizer.model", "special_tokens_map.json", "added_tokens.json"),
    *("chat_template.jinja", "vocab.json", "vocab.txt", "merges.txt"),
)
NAMING = ("config.json", "generation_config.json", "tokenizer_config.json", ADAPTER_CONFIG)
"""Files of libraries that may name a place on this machine."""

PLACE_KEYS = ("base_model_name_or_path", "_name_or_path", "name_or_path", "tokenizer_file")
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Request:
    """What the user says of the weights that no file says."""

    repo: str
    base: str | None = None
    """Hub id of the base model, where the run names a folder."""
    datasets: tuple[str, ...] = ()
    """Hub ids of the rows that it learned from."""
    accepted: tuple[str, ...] = ()
    """Sources of unknown or research-only licence that are accepted by name."""


def build_weights_folder(
    folder: Path,
    run: Path | None,
    out: Path,
    home: Home,
    request: Request,
    *,
    replace_other: bool = False,
    say: Say = lambda line: None,
) -> Publication:
    """Write the folder of an adapter or a model; weights are linked where the disk is the same.

    Args:
        folder: what `find_adapter` or `find_model` has found.
        run: the folder of its run, None where it is gone.
        replace_other: whether another publication at `out` gives way; then it is ours, and
            weights are linked into it.

    Raises:
        PublishError: weights are damaged or empty, a licence is not accepted, or something else
            is at `out`.
    """
    check_repo(request.repo)
    for name in (request.base, *request.datasets):
        if name is not None and not HUB_ID.fullmatch(name):
            raise PublishError(
                f"{name!r}: expected ORG/NAME on the Hub. Write it so, or leave it out."
            )
    check_weights(folder)
    told = read_trained(folder, run, request.repo, base=request.base, datasets=request.datasets)
    verdict = _verdict(told, home)
    taken = _check_accepted(verdict, run, request.accepted)
    told = changed(told, verdict=verdict, accepted=tuple(taken))
    if not told.is_base_on_hub:
        say(f"the base model is the folder {told.base}: name it as others know it: --base ORG/NAME")
    left = [name for name in _names(folder) if not _is_known(name)]
    if left:
        say(f"left out, since no loader asks for it: {', '.join(left)}")

    def write(new: Path) -> None:
        for name in _names(folder):
            if any(fnmatch(name, pattern) for pattern in COPIED):
                _put(folder / name, new / name, link=replace_other)
        _write_facts(folder, new, told)
        _write_licences(new, told)
        write_text(new / CARD, card_text(told))

    made = put_folder(out, home, write, replace=replace_other, say=say)
    return changed(made, verdict=told.verdict)


def _names(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir() if one.is_file() and one.name[0] != ".")


def _is_known(name: str) -> bool:
    written = (*NAMING, PASSPORT, SETTINGS, CERTIFICATE, MANIFEST, CARD)
    return name in written or any(fnmatch(name, pattern) for pattern in COPIED)


def _put(source: Path, target: Path, *, link: bool) -> None:
    if link and fnmatch(source.name, WEIGHTS):
        try:
            os.link(source.resolve(), target)
            return
        except OSError:  # Another disk, or one that has no links.
            pass
    shutil.copyfile(source, target)


def _write_facts(folder: Path, new: Path, told: Trained) -> None:
    """Write what names places on this machine anew, without them."""
    for name in NAMING:
        if (folder / name).is_file():
            found = read_json(folder / name)
            named = _without_named_places(found, told.base)
            if named == found:
                shutil.copyfile(folder / name, new / name)
            else:
                write_text(new / name, _json(named))
    base = {"base_model": told.base}
    write_text(new / PASSPORT, _json(without_places(told.passport) | base))
    if told.settings:
        settings = without_places(told.settings) | base
        text = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
        write_text(new / SETTINGS, text)
    if told.result is not None:
        write_text(new / RESULT, _json(without_places(told.result) | base))
    if told.certificate is not None:
        write_text(new / CERTIFICATE, _json(without_places(told.certificate) | base))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1) + "\n"


def _without_named_places(found: dict[str, Any], base: str) -> dict[str, Any]:
    named = dict(found)
    for key in PLACE_KEYS:
        if isinstance(named.get(key), str) and "/" in named[key]:
            named[key] = base if key == PLACE_KEYS[0] else without_places(named[key])
    return named


def _write_licences(new: Path, told: Trained) -> None:
    verdict = told.verdict
    if verdict is None:
        return
    if verdict.sources:
        holds = "It was trained on rows of these sources:"
        write_text(new / NOTICE, notice_text(told.title, verdict, holds=holds))
    if "license_link" in hub_license(verdict):
        lines = [
            f"The rows that {told.title} was trained on are not under one licence. All of these",
            "hold together, beside the licence of the base model:",
            "",
            f"  {verdict.license}",
            *(f"  {term} terms" for term in verdict.terms),
            "",
            f"Class: {verdict.license_class}. Allowed use: {', '.join(verdict.uses)}.",
            *(f"- {OBLIGATIONS[one]}" for one in verdict.obligations if one in OBLIGATIONS),
        ]
        write_text(new / LICENSE, "\n".join(lines) + "\n")


def _verdict(told: Trained, home: Home) -> Verdict | None:
    """Return the verdict with its sources where the mixture is still here, else without."""
    mixture = told.mixture
    if mixture is None:
        return told.verdict
    lock = home.mixtures / str(mixture["name"]) / str(mixture["digest"]) / LOCK
    if not lock.is_file():
        return told.verdict
    return verdict_of(
        Licensed(
            name=one["name"],
            license=one["license"],
            terms=tuple(one["terms"]),
            title=one["title"],
            home=one["home"],
            license_url=one["license_url"],
            citation=one["citation"],
            said=one["license_says"],
        )
        for one in read_json(lock)["sources"]
    )


def _check_accepted(
    verdict: Verdict | None, run: Path | None, accepted: Collection[str]
) -> list[str]:
    """Return the sources that are published from although their licence is not an open one.

    Raises:
        PublishError: one is not accepted by name.
    """
    if verdict is None or verdict.sources:
        return check_accepted(verdict or verdict_of([]), accepted)
    # The mixture is gone: its run still names the sources that decided the verdict.
    said = read_json(run / RESULT).get("license") if run is not None else None
    offenders = said["decided_by"] if said and verdict.license_class in TO_ACCEPT else []
    refused = [one for one in offenders if one not in accepted]
    if refused:
        options = " ".join(f"--accept-license {one}" for one in refused)
        raise PublishError(
            f"expected licences that allow publishing, got {verdict.license_class} rows of"
            f" {', '.join(refused)}. Take it on yourself: {options}"
        )
    return list(offenders)


def find_adapter(name: str, home: Home) -> tuple[Path, Path]:
    """Return the folders of an adapter and of its run, by the run's name in the home or a path.

    Raises:
        PublishError: there is no finished run with an adapter.
    """
    run = _run_folder(name, home)
    if not (run / RESULT).is_file():
        raise PublishError(
            f"run {run.name} is not finished. Go on: woolgather train run --resume {run.name}"
        )
    if (run / "model" / "config.json").is_file():
        raise PublishError(
            f"run {run.name} trained a whole model, no adapter. Publish that: woolgather publish"
            f" model {run / 'model'}"
        )
    if not (run / "adapter" / ADAPTER_CONFIG).is_file():
        raise PublishError(f"{run / 'adapter'}: expected the run's adapter, got none")
    return run / "adapter", run


def _run_folder(name: str, home: Home) -> Path:
    path = home.runs / name
    if not path.is_dir() and Path(name).is_dir():
        path = Path(name).resolve()
    if (path / ADAPTER_CONFIG).is_file():
        path = path.parent
    if (path / SETTINGS).is_file():
        return path
    if path.is_dir():
        raise PublishError(f"{path}: expected the folder of a run, got one without {SETTINGS}")
    known = [one.name for one in home.runs.glob("*") if one.is_dir()]
    raise PublishError(f"run {name!r} is not in {home.runs}.{suggest(name, known)}")


def find_model(folder: Path, home: Home) -> tuple[Path, Path | None]:
    """Return a folder that holds a model, and the folder of its run where it is still here.

    Raises:
        PublishError: it holds no model of ours.
    """
    folder = folder.resolve()
    if (folder / ADAPTER_CONFIG).is_file():
        raise PublishError(
            f"{folder}: expected a model, got an adapter. Publish it: woolgather publish adapter"
            f" {folder.parent}; or merge it first: woolgather merge"
        )
    for name in ("config.json", PASSPORT):
        if not (folder / name).is_file():
            raise PublishError(
                f"{folder}: expected a model that woolgather merged or trained, got no {name}"
            )
    passport = read_json(folder / PASSPORT)
    name = str(passport.get("run", ""))
    merged = str(passport.get("adapter", ""))
    places = [Path(merged).parent] if merged else [folder.parent]
    found = [one for one in (*places, home.runs / name) if name and _is_of(one, passport)]
    if not merged and name and not found:
        raise PublishError(
            f"run {name} is not finished. Go on: woolgather train run --resume {name}"
        )
    return folder, found[0] if found else None


def _is_of(run: Path, passport: dict[str, Any]) -> bool:
    """Tell whether a folder is of the run that a passport names."""
    if not (run / RESULT).is_file():
        return False
    result = read_json(run / RESULT)
    same = result.get("mixture_digest") == passport.get("mixture", {}).get("digest")
    return bool(same and result.get("run") == passport["run"])
