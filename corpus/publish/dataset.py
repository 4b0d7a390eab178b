"""Datasets: a mixture or stored sources as a publication.

Finds what is to be published, refuses what its licences do not allow, writes shards, measures
them, and writes the card and what else anybody needs to check it and to make it again.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Collection
from dataclasses import replace as changed
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from corpus.atomic import write_text
from corpus.catalog import Catalog
from corpus.engine import Advance
from corpus.errors import PublishError
from corpus.license import notice_text
from corpus.mixture.lock import LOCK, lock_text
from corpus.publish.card import card_text
from corpus.publish.card_made import recipe_of
from corpus.publish.content import ALL, Content, find_content
from corpus.publish.folder import CARD, Publication, put_folder
from corpus.publish.licenses import LICENSE, check_accepted, hub_license, license_text
from corpus.publish.metadata import Files
from corpus.publish.parquet import Tick, write_split
from corpus.publish.plots import write_plots
from corpus.publish.statistics import measure
from corpus.publish.told import Told
from corpus.settings import Home

NOTICE, RECIPE, SOURCES = "NOTICE", "recipe.yaml", "sources.json"

PACKAGES = ("woolgather", "pyarrow", "opencc", "py3langid")
"""What decides the published bytes beside the rows."""

Say = Callable[[str], None]


def build_dataset_folder(
    what: str,
    out: Path,
    home: Home,
    catalog: Catalog,
    *,
    repo: str,
    accepted: Collection[str] = (),
    replace: bool = False,
    workers: int | None = None,
    advance: Advance = lambda done, total: None,
    say: Say = lambda line: None,
) -> Publication:
    """Write the folder of a mixture, or of the stored sources that an expression matches.

    Args:
        what: the name, name/digest or folder of a mixture; else a tag expression.
        repo: `ORG/NAME` on the Hub: the card says how to load it from there.
        accepted: sources of unknown or research-only licence that are published all the same.
        replace: whether another publication at `out` gives way.

    Raises:
        PublishError: a licence is not accepted, or something else is at `out`.
        StoreError: rows are not in the store.
        CatalogError: it is no mixture, and no expression that matches anything.
    """
    check_repo(repo)
    content = find_content(what, home, catalog, say=say)
    taken = check_accepted(content.verdict, accepted)
    lock = _lock(content, say)

    def write(folder: Path) -> None:
        files = _write_shards(folder, content, advance)
        statistics = measure(content, files, home, workers=workers, say=say)
        told = Told(content, files, statistics, repo, tuple(taken), _versions(), lock)
        write_plots(folder, statistics)
        if lock is not None:
            write_text(folder / LOCK, lock_text(lock))
            write_text(folder / RECIPE, _recipe_text(lock))
        write_text(folder / SOURCES, _sources_text(content))
        write_text(folder / NOTICE, notice_text(told.title, content.verdict))
        if hub_license(content.verdict).get("license_link") == LICENSE:
            write_text(folder / LICENSE, license_text(told.title, content.verdict))
        write_text(folder / CARD, card_text(told))

    made = put_folder(out, home, write, replace=replace, say=say)
    names = [one.name for one in content.configs]
    configs = names if content.default == names[0] else [ALL, *names]
    return changed(made, configs=tuple(configs), verdict=content.verdict)


def check_repo(repo: str) -> None:
    """Refuse what is no name of a repository on the Hub.

    Raises:
        PublishError: it is not ORG/NAME.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        reason = str(error).partition(":")[0].rstrip(".")
        raise PublishError(f"--repo {repo!r}: expected ORG/NAME, got: {reason}.") from error
    if repo.count("/") != 1:
        raise PublishError(f"--repo {repo!r}: expected ORG/NAME, got no organisation or user.")


def _write_shards(folder: Path, content: Content, advance: Advance) -> Files:
    total, done = sum(len(rows) for _, _, rows in content.splits), 0
    files = {}
    for config, split, rows in content.splits:
        files[config, split] = write_split(
            folder,
            config,
            split,
            rows,
            by_content=content.mixture is None,
            tick=_after(advance, done, total),
        )
        done += len(rows)
    return files


def _after(advance: Advance, before: int, total: int) -> Tick:
    def further(done: int) -> None:
        advance(before + done, total)

    return further


def _lock(content: Content, say: Say) -> dict[str, Any] | None:
    """Return the lock as it is published: where a tokenizer lies is nobody's business."""
    if content.mixture is None:
        return None
    lock = dict(content.mixture.lock)
    recipe = dict(lock["recipe"])
    if recipe.get("tokenizer"):
        recipe["tokenizer"] = Path(recipe["tokenizer"]).name
    places = [line["file"] for line in recipe["sources"] if "file" in line]
    places += [one for one in recipe.get("decontaminate", ()) if Path(one).is_absolute()]
    for place in (one for one in places if Path(one).is_absolute()):
        say(
            f"{LOCK} names a path of this machine: {place}. A relative path in the recipe would not"
        )
    return {**lock, "recipe": recipe}


def _recipe_text(lock: dict[str, Any]) -> str:
    return yaml.safe_dump(recipe_of(lock), sort_keys=False, allow_unicode=True, width=1000)


def _sources_text(content: Content) -> str:
    """Return the builds that the rows were read from, and the raw files that those were made of."""
    builds = {build.id: build for build in content.builds}
    found = {
        id: {
            "rows": build.rows,
            "rows_digest": build.rows_digest,
            "variant": build.manifest.variant,
            "limit": build.limit,
            "files": [
                {"name": one.name, "size": one.size, "sha256": one.sha256}
                for one in build.manifest.files
            ],
        }
        for id, build in builds.items()
    }
    return json.dumps(found, ensure_ascii=False, indent=1) + "\n"


def _versions() -> dict[str, str]:
    return {"Python": platform.python_version(), **{name: version(name) for name in PACKAGES}}
