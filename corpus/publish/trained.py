"""What is known of trained weights: passport, settings, result and certificate, from their folders.

Training writes these files; a model card is computed from them. Places on this machine stay out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from corpus.errors import PublishError
from corpus.license import Verdict

PASSPORT = "woolgather.json"
SETTINGS = "run.yaml"
RESULT = "result.json"
CERTIFICATE = "merge.json"
ADAPTER_CONFIG = "adapter_config.json"
TEMPLATE = "template.yaml"

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
OUR_PEFT_TYPE = "WOOLGATHER_BOTTLENECK"
"""Adapters that peft has no type for, and does not open."""


@dataclass(frozen=True, slots=True)
class Trained:
    """All that a model card is computed from."""

    kind: str
    """adapter or model"""
    passport: dict[str, Any]
    base: str
    """Hub id of the base model, or the last name of its folder."""
    repo: str
    """`ORG/NAME` on the Hub; before it is published, run and folder."""
    is_published: bool
    settings: dict[str, Any]
    result: dict[str, Any] | None
    certificate: dict[str, Any] | None
    peft_type: str | None
    verdict: Verdict | None
    """On the licences of the rows that it learned from; None where nobody knows them."""
    datasets: tuple[str, ...] = ()
    """Hub ids of the rows, where they are known."""
    accepted: tuple[str, ...] = ()
    """Sources that are published from although their licence is unknown or research-only."""

    @property
    def is_base_on_hub(self) -> bool:
        """Tell whether anybody can load the base by its name."""
        return is_hub_id(self.base)

    @property
    def mixture(self) -> dict[str, Any] | None:
        """Return name and digest of what it was trained on, None where nobody knows it."""
        return self.passport.get("mixture")

    @property
    def title(self) -> str:
        """Return the name of the repository, or of the run."""
        org, _, name = self.repo.rpartition("/")
        return name if self.is_published else org


def read_trained(
    folder: Path,
    run: Path | None,
    repo: str | None,
    *,
    base: str | None = None,
    verdict: Verdict | None = None,
    datasets: tuple[str, ...] = (),
    accepted: tuple[str, ...] = (),
) -> Trained:
    """Return what is known of the weights in a folder.

    Args:
        run: the folder of the run that they are of; None where it is gone.
        repo: None where they are not published.
        base: Hub id of the base model, where the run names a folder.
        verdict: left out: as the run's result says it.

    Raises:
        PublishError: a file is not as it was written.
    """
    passport = read_json(folder / PASSPORT)
    result = read_json(run / RESULT) if run is not None else None
    config = read_json(folder / ADAPTER_CONFIG) if (folder / ADAPTER_CONFIG).is_file() else {}
    merged = (folder / CERTIFICATE).is_file()
    own = folder if (folder / SETTINGS).is_file() else run
    said = (result or {}).get("license")
    return Trained(
        kind=str(passport["kind"]),
        passport=passport,
        base=base or bare(str(passport["base_model"])),
        repo=repo or f"{folder.parent.name}/{folder.name}",
        is_published=repo is not None,
        settings=read_yaml(own / SETTINGS) if own is not None else {},
        result=result,
        certificate=read_json(folder / CERTIFICATE) if merged else None,
        peft_type=config.get("peft_type"),
        verdict=verdict or (verdict_from_json(said) if said else None),
        datasets=datasets,
        accepted=accepted,
    )


def read_json(path: Path) -> dict[str, Any]:
    """Return what a file of ours says.

    Raises:
        PublishError: it is absent or damaged.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(found, dict):
            return found
        reason = "no object"
    except FileNotFoundError:
        reason = "no such file"
    except (OSError, ValueError) as error:
        reason = str(error)
    raise PublishError(f"{path}: expected a file that training wrote, got: {reason}")


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the settings of a run.

    Raises:
        PublishError: they are absent or damaged.
    """
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise PublishError(f"{path}: expected the settings of a run, got: {reason}") from error
    return dict(found) if isinstance(found, dict) else {}


def is_hub_id(name: str) -> bool:
    """Tell whether a model's name is an id of the Hub and not a folder."""
    return HUB_ID.fullmatch(name) is not None and not Path(name).is_dir()


def bare(name: str) -> str:
    """Return a Hub id as it is, and of a folder only its last name."""
    if is_hub_id(name) or "/" not in name:
        return name
    return Path(name).name or name


def without_places(value: Any) -> Any:
    """Return values of ours in which a place on this machine is only its last name."""
    if isinstance(value, Mapping):
        return {key: without_places(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [without_places(one) for one in value]
    if isinstance(value, str) and "\n" not in value and value.startswith(("/", "~", "./", "../")):
        return Path(value).name or value
    return value


def verdict_from_json(told: Mapping[str, Any]) -> Verdict:
    """Return a verdict as a lock or a result says it: its sources are not told there."""
    return Verdict(
        license_class=told["class"],
        license=told["license"],
        terms=tuple(told["terms"]),
        obligations=tuple(told["obligations"]),
        conflicts=tuple(told["conflicts"]),
        sources=(),
    )
