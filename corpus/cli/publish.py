"""The verb `publish`: datasets as folders that the Hub, and anybody, can load by name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from corpus.cli.session import Session
from corpus.cli.text import columns
from corpus.errors import PublishError

if TYPE_CHECKING:
    from corpus.publish import Publication

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


@app.callback()
def publish() -> None:
    """Publish datasets to the Hugging Face Hub, or into a folder"""


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
    accept_license: Annotated[
        list[str],
        typer.Option(
            metavar="ID", help="Publish this source although its licence is unknown; repeatable"
        ),
    ] = [],  # noqa: B006 - typer reads the default and never changes it
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes for languages; default one for each core")
    ] = None,
) -> None:
    """Publish a mixture or stored sources with a card that is computed from their rows"""
    from corpus.publish import build_dataset_folder

    session: Session = ctx.obj
    check_outward(to, dry_run=dry_run, public=public)
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
    tell(session, made, repo, kind="dataset", public=public)


def check_outward(to: Path | None, *, dry_run: bool, public: bool) -> None:
    """Refuse options that cannot take effect together.

    Raises:
        PublishError: they cannot.
    """
    if to is not None and public:
        raise PublishError("--public: expected a repository to send to, got --to. Leave one out.")
    if to is None and not dry_run:
        raise PublishError("expected --to DIR or --dry-run, got neither. Add one.")


def place_of(session: Session, repo: str) -> Path:
    """Return where the folder of a repository is kept in the home."""
    return session.home.publications / repo.replace("/", "--")


def tell(session: Session, made: Publication, repo: str, *, kind: str, public: bool) -> None:
    """Print what was written, file by file."""
    rows = [(name, f"{size:,}") for name, size in made.files]
    visibility = "public" if public else "private"
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
    }
    session.result(
        found,
        f"{columns(('file', 'bytes'), rows, right=('bytes',))}\n"
        f"wrote {len(made.files)} files, {made.bytes:,} bytes, digest {made.digest[:12]}, to"
        f" {made.path}; nothing was sent, {repo} would be {visibility}",
    )
