"""Sending a publication to the Hub: in bounded commits that go on where they were, the card last.

Until its last commit a repository says by its card that it is unfinished. The digest becomes a tag.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from corpus.atomic import sole_writer
from corpus.errors import PublishError
from corpus.publish.folder import CARD, Publication
from corpus.publish.hub_client import Hub, HubError, Say, open_hub
from corpus.publish.hub_plan import (
    MOVED,
    File,
    Plan,
    There,
    files_of,
    listing,
    look,
    make_plan,
    refuse_others,
    text_file,
)
from corpus.settings import Home

MAX_MOVES = 3
"""How often another writer may come between before we give up."""

REPO_TYPES = {"dataset": "dataset", "adapter": "model", "model": "model"}

Agree = Callable[[str], None]
"""Asks before anything is sent; raises where nobody agrees."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What came of sending a publication."""

    address: str
    visibility: str
    commit: str
    tag: str
    commits: int
    files: int
    """Files that were sent, without those that were there."""
    bytes: int
    deleted: int

    def as_json(self) -> dict[str, Any]:
        """Return it for `--json`."""
        return asdict(self)


def tag_of(digest: str) -> str:
    """Return the name of the tag that marks a publication."""
    return f"sha256-{digest}"


def send(
    made: Publication,
    repo: str,
    kind: str,
    home: Home,
    *,
    public: bool,
    agree: Agree,
    say: Say,
) -> Sent:
    """Make a repository of the Hub hold a publication; what is there already is not sent again.

    Args:
        kind: dataset, adapter or model.
        agree: asked once, with what is about to be done.

    Raises:
        PublishError: it is refused, or the Hub refuses, or does not answer for too long.
        BusyError: another process sends to this repository now.
    """
    lock = f"send-{REPO_TYPES[kind]}-{repo.replace('/', '--')}"
    with sole_writer(home.locks, lock, wait=False), open_hub(repo, REPO_TYPES[kind], say) as hub:
        files = files_of(made)
        sending = _Sending(hub, kind, made.digest, files, public)
        return sending.run(agree)


class _Sending:
    """One publication on its way: what is there, and how much was sent."""

    def __init__(
        self, hub: Hub, kind: str, digest: str, files: Sequence[File], public: bool
    ) -> None:
        self.hub, self.kind, self.digest, self.files = hub, kind, digest, files
        self.public = public
        self.list_of_all = listing(kind, digest, files)
        self.there: There | None = None
        self.commits = self.n_files = self.n_bytes = self.n_deleted = 0

    def run(self, agree: Agree) -> Sent:
        """Send what is missing, and return what was done."""
        who: Any = self.hub.ask("ask who the token is of", self.hub.api.whoami)
        plan = self._look()
        tag = tag_of(self.digest)
        there = self.there
        is_done = plan.is_nothing and there is not None and tag in there.tags
        if is_done and there is not None and there.private != self.public:
            self.hub.say(f"{self.hub.repo} holds {tag} already: nothing is sent")
            return self._sent(tag)
        agree(self._asked(plan, str(who.get("name", "?"))))
        try:
            self._make_repository()
            with _plain_where_no_xet(self.hub):
                self._commit_all(plan)
            self._finish(tag)
        except PublishError as error:
            raise self._unfinished(error) from None
        return self._sent(tag)

    def _look(self) -> Plan:
        """Look at what is there, and plan what is left to do."""
        self.there = look(self.hub)
        if self.there is not None:
            refuse_others(self.hub.repo, self.kind, self.files, self.there)
            if not self.there.private and not self.public:
                raise PublishError(
                    f"{self.hub.repo}: expected a private repository, got a public one. Publish"
                    " there all the same: --public"
                )
        plan = make_plan(self.files, self.there, self.list_of_all)
        if plan.kept:
            self.hub.say(
                "left alone, since others changed what we had put there:"
                f" {', '.join(plan.kept[:3])}{' ...' if len(plan.kept) > 3 else ''}"
            )
        return plan

    def _asked(self, plan: Plan, who: str) -> str:
        """Return what is about to be done, for the user to agree to."""
        there = self.there
        state = "public" if self.public else "private"
        kind = f"{REPO_TYPES[self.kind]} repository"
        where = f"the {'new ' if there is None else ''}{state} {kind} {self.hub.repo} as {who}"
        files = [one for one in plan.send if one is not self.list_of_all]
        parts = [
            f"send {len(files)} of {len(self.files)} files, {_size(files):,} bytes, to {where}"
        ]
        if plan.delete:
            parts.append(f"delete {len(plan.delete)} files of an earlier publication there")
        if there is not None and there.private and self.public:
            parts.append("make it public")
        return "; ".join(parts)

    def _make_repository(self) -> None:
        if self.there is not None:
            return
        hub = self.hub
        hub.ask(
            "create the repository",
            lambda: hub.api.create_repo(
                hub.repo, repo_type=hub.repo_type, private=not self.public, exist_ok=True
            ),
        )
        self.there = look(hub)

    def _commit_all(self, plan: Plan) -> None:
        """Commit all batches; where somebody else has written, look again and go on."""
        for moves in range(MAX_MOVES + 1):
            try:
                for number, files in enumerate(plan.commits, 1):
                    self._commit(plan, number, files)
                return
            except HubError as error:
                if error.status != MOVED or moves == MAX_MOVES:
                    raise
            self.hub.say(f"{self.hub.repo} has changed meanwhile: looking again")
            plan = self._look()

    def _commit(self, plan: Plan, number: int, files: Sequence[File]) -> None:
        from huggingface_hub import CommitOperationDelete

        hub, total = self.hub, len(plan.commits)
        told = list(files)
        if number == 1 and total > 1:
            told += self._unfinished_card(total)
        operations: list[Any] = [_addition(one) for one in told]
        is_last = number == total
        if is_last:
            operations += [CommitOperationDelete(path_in_repo=name) for name in plan.delete]
        part = f", part {number} of {total}" if total > 1 else ""
        done = hub.ask(
            f"send part {number} of {total}",
            lambda: hub.api.create_commit(
                hub.repo,
                repo_type=hub.repo_type,
                operations=operations,
                commit_message=f"Publish {self.kind} {tag_of(self.digest)[:19]}{part}",
                parent_commit=self.there.head if self.there else None,
            ),
        )
        assert self.there is not None
        sent = [one for one in files if one is not self.list_of_all]
        added = {one.name: one.sha256 for one in told}
        self.there = _with(self.there, str(done.oid), added, plan.delete if is_last else ())
        self.commits += 1
        self.n_files += len(sent)
        self.n_bytes += _size(sent)
        self.n_deleted += len(plan.delete) if is_last else 0
        hub.say(f"sent part {number} of {total}: {len(sent)} files, {_size(sent):,} bytes")

    def _unfinished_card(self, total: int) -> list[File]:
        """Return the card and the list that stand there until all is sent."""
        viewer = "viewer: false\n" if self.hub.repo_type == "dataset" else ""
        text = (
            f"---\n{viewer}tags:\n- woolgather\n- unfinished\n---\n"
            f"# {self.hub.repo.rpartition('/')[2]}\n\n"
            f"This publication is unfinished. Its {len(self.files)} files are sent in {total} or"
            " more parts, and the last one brings the card. Until then some files are missing, or"
            " are those of an earlier publication.\n"
        )
        return [
            text_file(CARD, text),
            listing(self.kind, self.digest, self.files, self.there),
        ]

    def _finish(self, tag: str) -> None:
        """Check that all is there, set the visibility, and tag what is there."""
        hub, public = self.hub, self.public
        head = self.there.head if self.there else None
        there = look(hub)
        missing = [one for one in self.files if there is None or not there.has(one)]
        if there is None or missing:
            raise PublishError(
                f"{hub.repo}: {missing[0].name} is not there as it was sent"
                " (a .gitignore there, or another writer)"
            )
        self.there = there
        if there.private == public:
            hub.ask(
                "set the visibility",
                lambda: hub.api.update_repo_settings(
                    hub.repo, repo_type=hub.repo_type, private=not public
                ),
            )
        if tag not in there.tags:
            hub.ask(
                "set the tag",
                lambda: hub.api.create_tag(
                    hub.repo, repo_type=hub.repo_type, tag=tag, revision=head, exist_ok=True
                ),
            )

    def _unfinished(self, error: PublishError) -> PublishError:
        """Return an error with what is there, and how to go on."""
        there = self.there
        if there is None:
            return PublishError(f"{error}. Nothing was sent to {self.hub.repo}")
        n_there = sum(there.has(one) for one in self.files)
        status = error.status if isinstance(error, HubError) else None
        return HubError(
            f"{str(error).rstrip('.')}. {n_there} of {len(self.files)} files are in"
            f" {self.hub.repo}; the same command goes on from there",
            status,
        )

    def _sent(self, tag: str) -> Sent:
        assert self.there is not None
        return Sent(
            address=self.hub.address,
            visibility="public" if self.public else "private",
            commit=str(self.there.head),
            tag=tag,
            commits=self.commits,
            files=self.n_files,
            bytes=self.n_bytes,
            deleted=self.n_deleted,
        )


def _with(there: There, head: str, added: dict[str, str], deleted: Sequence[str]) -> There:
    """Return a repository as it is after a commit of ours."""
    files = {name: oid for name, oid in there.files.items() if name not in deleted} | added
    return There(head, there.private, files, there.tags, there.kind, there.ours)


def _addition(file: File) -> Any:
    from huggingface_hub import CommitOperationAdd

    made = CommitOperationAdd(path_in_repo=file.name, path_or_fileobj=file.content)
    made.upload_info.sha256 = bytes.fromhex(file.sha256)
    return made


def _size(files: Sequence[File]) -> int:
    return sum(one.bytes for one in files)


@contextmanager
def _plain_where_no_xet(hub: Hub) -> Iterator[None]:
    """Have large files sent by plain LFS while the block runs, unless the Hub offers Xet.

    huggingface_hub takes Xet wherever its package is installed, and asks the server no question.
    """
    from huggingface_hub import constants

    before = constants.HF_HUB_DISABLE_XET
    constants.HF_HUB_DISABLE_XET = before or not hub.ask("ask for Xet", lambda: _offers_xet(hub))
    try:
        yield
    finally:
        constants.HF_HUB_DISABLE_XET = before


def _offers_xet(hub: Hub) -> bool:
    from huggingface_hub.constants import HUGGINGFACE_HEADER_X_XET_ENDPOINT
    from huggingface_hub.utils._http import http_backoff

    address = f"{hub.api.endpoint}/api/{hub.repo_type}s/{hub.repo}/xet-write-token/main"
    answer = http_backoff("GET", address, headers={"authorization": f"Bearer {hub.token}"})
    return bool(answer.is_success and HUGGINGFACE_HEADER_X_XET_ENDPOINT in answer.headers)
