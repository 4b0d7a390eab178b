"""The verb `publish`: datasets, adapters and models to the Hub, or as folders to look at."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from corpus.cli.session import Session
from corpus.cli.text import columns
from corpus.errors import PublishError

if TYPE_CHECKING:
    from corpus.publish import Publication
    from corpus.publish.hub import Sent
    from corpus.publish.weights import Request

app = typer.Typer(no_args_is_help=True, add_completion=False)

RepoOption = Annotated[str, typer.Option(metavar="ORG/NAME", help="Repository on the Hub")]
ToOption = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Write the folder there; send nothing")
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Write the folder and list its files; send nothing")
]
PublicOption = Annotated[
    bool, typer.Option("--public", help="Make the repository public; default private")
]
YesOption = Annotated[bool, typer.Option("--yes", help="Send without asking")]


BaseOption = Annotated[
    str | None,
    typer.Option(metavar="ORG/NAME", help="Base model on the Hub, where the run names a folder"),
]
RowsOption = Annotated[
    list[str],
    typer.Option("--dataset", metavar="ORG/NAME", help="Its training rows on the Hub; repeatable"),
]
AcceptOption = Annotated[
    list[str],
    typer.Option(
        metavar="ID", help="Publish although this source's licence is unknown; repeatable"
    ),
]


@app.callback()
def publish() -> None:
    """Publish datasets, adapters and models to the Hugging Face Hub, or into a folder"""


@app.command()
def dataset(
    ctx: typer.Context,
    what: Annotated[
        str, typer.Argument(metavar="NAME|EXPR", help="A mixture, or a tag expression over sources")
    ],
    repo: RepoOption,
    to: ToOption = None,
    dry_run: DryRunOption = False,
    public: PublicOption = False,
    yes: YesOption = False,
    accept_license: AcceptOption = [],  # noqa: B006 - typer only reads it
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes for languages; default one for each core")
    ] = None,
) -> None:
    """Publish a mixture or stored sources with a card that is computed from their rows"""
    from corpus.publish import build_dataset_folder

    session: Session = ctx.obj
    outward = check_outward(session, to, dry_run=dry_run, public=public, yes=yes)
    with session.progress(f"publishing {what}") as advance:
        made = build_dataset_folder(
            what,
            to or place_of(session, repo),
            session.home,
            session.catalog(),
            repo=repo,
            accepted=accept_license,
            replace=to is None,
            workers=workers,
            advance=advance,
            say=session.log,
        )
    finish(session, made, repo, kind="dataset", outward=outward)


@app.command()
def adapter(
    ctx: typer.Context,
    run: Annotated[str, typer.Argument(metavar="RUN", help="A finished run, or its folder")],
    repo: RepoOption,
    to: ToOption = None,
    dry_run: DryRunOption = False,
    public: PublicOption = False,
    yes: YesOption = False,
    base: BaseOption = None,
    rows: RowsOption = [],  # noqa: B006
    accept_license: AcceptOption = [],  # noqa: B006
) -> None:
    """Publish the adapter of a run with tokenizer, template and a card computed from the run"""
    from corpus.publish.weights import Request, find_adapter

    session: Session = ctx.obj
    outward = check_outward(session, to, dry_run=dry_run, public=public, yes=yes)
    found = find_adapter(run, session.home)
    request = Request(repo, base, tuple(rows), tuple(accept_license))
    _publish_weights(session, found, request, to, outward)


@app.command()
def model(
    ctx: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A merged or wholly trained model")],
    repo: RepoOption,
    to: ToOption = None,
    dry_run: DryRunOption = False,
    public: PublicOption = False,
    yes: YesOption = False,
    base: BaseOption = None,
    rows: RowsOption = [],  # noqa: B006
    accept_license: AcceptOption = [],  # noqa: B006
) -> None:
    """Publish a model with tokenizer, template, certificate and a card computed from its run"""
    from corpus.publish.weights import Request, find_model

    session: Session = ctx.obj
    outward = check_outward(session, to, dry_run=dry_run, public=public, yes=yes)
    found = find_model(folder, session.home)
    request = Request(repo, base, tuple(rows), tuple(accept_license))
    _publish_weights(session, found, request, to, outward)


def _publish_weights(
    session: Session,
    found: tuple[Path, Path | None],
    request: Request,
    to: Path | None,
    outward: Outward,
) -> None:
    from corpus.publish.weights import build_weights_folder

    kind = "adapter" if (found[0] / "adapter_config.json").is_file() else "model"
    made = build_weights_folder(
        *found,
        to or place_of(session, request.repo),
        session.home,
        request,
        replace_other=to is None,
        say=session.log,
    )
    finish(session, made, request.repo, kind=kind, outward=outward)


@dataclass(frozen=True, slots=True)
class Outward:
    """Whether a publication leaves this machine, and how."""

    sends: bool
    public: bool
    agreed: bool


def check_outward(
    session: Session, to: Path | None, *, dry_run: bool, public: bool, yes: bool
) -> Outward:
    """Return what is to happen with the folder; refuse what cannot happen before any work is done.

    Raises:
        PublishError: options cannot take effect together, or nobody can be asked.
    """
    if to is not None and public:
        raise PublishError("--public: expected a repository to send to, got --to. Leave one out.")
    sends = to is None and not dry_run
    if sends and not yes and not can_ask(session):
        raise PublishError(
            "sending to the Hub: expected your agreement, got none. Add --yes to agree, or"
            " --dry-run to look first."
        )
    return Outward(sends, public, yes)


def can_ask(session: Session) -> bool:
    """Tell whether somebody sits there who could answer."""
    return sys.stdin.isatty() and sys.stderr.isatty() and not session.json


def place_of(session: Session, repo: str) -> Path:
    """Return where the folder of a repository is kept in the home."""
    return session.home.publications / repo.replace("/", "--")


def finish(session: Session, made: Publication, repo: str, *, kind: str, outward: Outward) -> None:
    """Send what was written, where that is wanted, and print what came of it."""
    sent: Sent | None = None
    if outward.sends:
        from corpus.publish.hub import send

        def agree(what: str) -> None:
            if outward.agreed:
                session.log(what)
            elif not typer.confirm(f"{what}. Go on?", err=True):
                raise typer.Exit(1)

        sent = send(
            made,
            repo,
            kind,
            session.home,
            public=outward.public,
            agree=agree,
            say=session.log,
        )
    rows = [(name, f"{size:,}") for name, size in made.files]
    visibility = "public" if outward.public else "private"
    found: dict[str, Any] = {
        "kind": kind,
        "repo": repo,
        "visibility": visibility,
        "path": str(made.path),
        "digest": made.digest,
        "bytes": made.bytes,
        "configs": list(made.configs),
        "license": made.verdict.as_json() if made.verdict else None,
        "files": [{"path": name, "bytes": size} for name, size in made.files],
        "sent": sent.as_json() if sent else None,
    }
    text = f"{columns(('file', 'bytes'), rows, right=('bytes',))}\n" if sent is None else ""
    session.result(found, text + _last_line(made, repo, visibility, sent))


def _last_line(made: Publication, repo: str, visibility: str, sent: Sent | None) -> str:
    digest = made.digest[:12]
    if sent is None:
        return (
            f"wrote {len(made.files)} files, {made.bytes:,} bytes, digest {digest}, to {made.path};"
            f" nothing was sent, {repo} would be {visibility}"
        )
    if not sent.commits:
        return f"{visibility} {sent.address} holds digest {digest} already; no file was sent"
    deleted = f", deleted {sent.deleted}" if sent.deleted else ""
    return (
        f"sent {sent.files} of {len(made.files)} files, {sent.bytes:,} bytes{deleted}, to"
        f" {visibility} {sent.address}, tag {sent.tag}"
    )
