"""What a repository of the Hub holds, and what must be sent and deleted until it is a publication.

A list of our files lies in the repository, so that the next publication tells ours from others'.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corpus.errors import PublishError
from corpus.publish.folder import CARD, Publication
from corpus.publish.hub_client import Hub, HubError

LISTING = ".woolgather.json"
"""Our files in the repository; hidden, so that no loader takes it for data."""

MAX_COMMIT_FILES = 50
MAX_COMMIT_BYTES = 2 << 30
CHUNK_BYTES = 1 << 20

NOT_THERE, MOVED = 404, 412


@dataclass(frozen=True, slots=True)
class File:
    """A file to be published, with both names that the Hub may give its content."""

    name: str
    content: Path | bytes
    bytes: int
    sha256: str
    blob: str
    """sha1 that git gives the content: what the Hub names small files by."""

    @property
    def oids(self) -> tuple[str, str]:
        """Return the names of the content."""
        return self.sha256, self.blob


@dataclass(frozen=True, slots=True)
class There:
    """A repository as it is now."""

    head: str | None
    """The last commit, None where there is none."""
    private: bool
    files: Mapping[str, str]
    """Path to the name of its content, sha256 of large files, git's sha1 of others."""
    tags: frozenset[str]
    kind: str | None = None
    """Of our earlier publication, None where there was none."""
    ours: Mapping[str, Sequence[str]] | None = None
    """Path to the contents that we put there, ever since a publication was last complete."""

    def has(self, file: File) -> bool:
        """Tell whether a file is there with its content."""
        return self.files.get(file.name) in file.oids


@dataclass(frozen=True, slots=True)
class Plan:
    """What is left to be done."""

    commits: tuple[tuple[File, ...], ...]
    """Files of each commit; the last one has the card."""
    delete: tuple[str, ...]
    """Of our earlier publications; part of the last commit."""
    kept: tuple[str, ...]
    """Of our earlier publications, but changed by others since."""

    @property
    def send(self) -> list[File]:
        """Return all files that are sent, without those that only say how far it is."""
        return [file for files in self.commits for file in files]

    @property
    def is_nothing(self) -> bool:
        """Tell whether all is there."""
        return not self.commits and not self.delete


def files_of(made: Publication) -> list[File]:
    """Return the files of a publication, hashed as they are now."""
    return [_hashed(name, made.path / name) for name, _ in made.files]


def _hashed(name: str, path: Path) -> File:
    size = path.stat().st_size
    sha256, blob = hashlib.sha256(), hashlib.sha1(f"blob {size}\0".encode())
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            sha256.update(chunk)
            blob.update(chunk)
    return File(name, path, size, sha256.hexdigest(), blob.hexdigest())


def text_file(name: str, text: str) -> File:
    """Return a file that is only written there."""
    content = text.encode()
    blob = hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()
    return File(name, content, len(content), hashlib.sha256(content).hexdigest(), blob)


def listing(kind: str, digest: str, files: Iterable[File], before: There | None = None) -> File:
    """Return the list of our files.

    Args:
        before: what is there while a publication is on its way; its files stay ours until the end.
    """
    named: dict[str, list[str]] = {file.name: list(file.oids) for file in files}
    if before is not None:
        for name, oids in (before.ours or {}).items():
            named[name] = list(dict.fromkeys([*named.get(name, ()), *oids]))
    told = {"kind": kind, "digest": digest, "complete": before is None, "files": named}
    return text_file(LISTING, json.dumps(told, ensure_ascii=False, indent=1, sort_keys=True) + "\n")


def look(hub: Hub) -> There | None:
    """Return what a repository holds, None where there is none.

    Raises:
        HubError: the Hub refuses, or does not answer.
    """
    try:
        info: Any = hub.ask(
            "look at the repository",
            lambda: hub.api.repo_info(hub.repo, repo_type=hub.repo_type),
        )
    except HubError as error:
        if error.status == NOT_THERE:
            return None
        raise
    if info.sha is None:
        return There(None, bool(info.private), {}, frozenset())
    tree = hub.ask("list the files", lambda: _tree(hub, info.sha))
    files = {one.path: one.lfs.sha256 if one.lfs else one.blob_id for one in tree}
    refs = hub.ask(
        "list the tags", lambda: hub.api.list_repo_refs(hub.repo, repo_type=hub.repo_type)
    )
    told = _listed(hub, info.sha) if LISTING in files else {}
    return There(
        head=info.sha,
        private=bool(info.private),
        files=files,
        tags=frozenset(one.name for one in refs.tags),
        kind=told.get("kind"),
        ours=told.get("files"),
    )


def _tree(hub: Hub, head: str) -> list[Any]:
    """Return the files at a commit, without folders."""
    found = hub.api.list_repo_tree(hub.repo, recursive=True, revision=head, repo_type=hub.repo_type)
    return [one for one in found if hasattr(one, "blob_id")]


def _listed(hub: Hub, head: str) -> dict[str, Any]:
    """Return the list of our files that lies in the repository."""
    from huggingface_hub.utils._http import hf_raise_for_status, http_backoff

    prefix = "datasets/" if hub.repo_type == "dataset" else ""
    address = f"{hub.api.endpoint}/{prefix}{hub.repo}/resolve/{head}/{LISTING}"

    def get() -> bytes:
        answer = http_backoff("GET", address, headers={"authorization": f"Bearer {hub.token}"})
        hf_raise_for_status(answer)
        return answer.content

    try:
        told = json.loads(hub.ask("read the list of our files", get))
        return {"kind": str(told["kind"]), "files": {k: list(v) for k, v in told["files"].items()}}
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise PublishError(
            f"{hub.repo}: {LISTING} there is not as it was written. Delete it there; files of"
            " earlier publications then stay until they are deleted by hand"
        ) from error


def make_plan(files: Sequence[File], there: There | None, list_of_all: File) -> Plan:
    """Return what is to be sent and deleted."""
    missing = [one for one in files if there is None or not there.has(one)]
    named = {one.name for one in files}
    ours = dict(there.ours or {}) if there else {}
    old = [name for name in ours if name not in named and there and name in there.files]
    delete = [name for name in old if there and there.files[name] in ours[name]]
    if not missing and not delete and there is not None and there.has(list_of_all):
        return Plan((), (), tuple(name for name in old if name not in delete))
    batches = _batches([one for one in missing if one.name != CARD])
    last = [one for one in files if one.name == CARD and (one in missing or len(batches) > 1)]
    if not batches:
        batches = [[]]
    batches[-1] += [*last, list_of_all]
    return Plan(
        tuple(tuple(one) for one in batches),
        tuple(delete),
        tuple(name for name in old if name not in delete),
    )


def _batches(files: Sequence[File]) -> list[list[File]]:
    """Share files out to commits of bounded size."""
    batches: list[list[File]] = []
    size = 0
    for one in files:
        fits = size + one.bytes <= MAX_COMMIT_BYTES
        if not batches or not fits or len(batches[-1]) == MAX_COMMIT_FILES:
            batches.append([])
            size = 0
        batches[-1].append(one)
        size += one.bytes
    return batches


def refuse_others(repo: str, kind: str, files: Sequence[File], there: There) -> None:
    """Refuse a repository that is of another kind, or whose files would be overwritten.

    Raises:
        PublishError: it is.
    """
    if there.kind is not None and there.kind != kind:
        raise PublishError(
            f"{repo}: expected a repository of the kind {kind}, got one that holds the {there.kind}"
            " of an earlier publication. Choose another --repo"
        )
    if there.ours is not None:
        return
    others = [one.name for one in files if one.name in there.files and not there.has(one)]
    if others:
        shown = ", ".join(others[:3]) + (" ..." if len(others) > 3 else "")
        raise PublishError(
            f"{repo}: expected an empty repository or one published from here, got one that has"
            f" {shown} of its own. Choose another --repo, or delete these files there"
        )
