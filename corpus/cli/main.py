"""The root of the command line: the table of verbs, the global options, one-line errors."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from pathlib import Path
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup

from corpus.cli.session import Session, plain
from corpus.errors import StoreError, WoolgatherError
from corpus.settings import Home, default_home

VERBS: dict[str, tuple[str, str]] = {
    "list": ("corpus.cli.list:list_datasets", "List the datasets that match a tag expression"),
    "show": ("corpus.cli.show:show", "Show an entry, a raw record beside its rows, and counts"),
    "add": ("corpus.cli.add:add", "Propose and write a catalog entry for files of your own"),
    "catalog": ("corpus.cli.catalog:app", "Validate the catalog and its built counts"),
    "fetch": ("corpus.cli.fetch:fetch", "Download the raw files of datasets into the home"),
    "build": ("corpus.cli.build:build", "Build datasets from raw files into the store"),
    "rejects": ("corpus.cli.build:rejects", "List the raw records that became no rows, and why"),
    "trace": ("corpus.cli.build:trace", "Find where a row came from, by its id"),
    "overlap": ("corpus.cli.overlap:overlap", "Show which sources hold each other's rows"),
    "query": ("corpus.cli.query:query", "Ask stored rows and their annotations by SQL"),
    "why-removed": ("corpus.cli.why:why_removed", "Say what became of a row in a mixture"),
    "clean": ("corpus.cli.build:clean", "Remove leftovers and unused versions from the home"),
    "annotate": ("corpus.cli.annotate:annotate", "Compute the row-aligned columns of datasets"),
    "mix": ("corpus.cli.mix:app", "Plan, build, show, verify and export mixtures"),
    "publish": ("corpus.cli.publish:app", "Publish datasets to the Hugging Face Hub or a folder"),
    "crawl": ("crawl.cli:app", "Make new rows with a model: plan, run, status, export"),
    "train": ("train.cli:app", "Train an adapter on a mixture"),
    "runs": ("train.verbs:runs", "List the training runs in the home"),
    "merge": ("train.verbs:merge", "Merge an adapter into its base model"),
    "verify": ("train.verbs:verify", "Check a merged model against its certificate"),
    "convert-base": ("train.verbs:convert_base", "Convert a base to Llama, or to safetensors"),
    "chat": ("train.talk:chat", "Answer instructions with a model and an optional adapter"),
    "predict": ("train.talk:predict", "Answer every row of a file or of a mixture's holdout"),
    "demo": ("corpus.cli.demo:demo", "Run the whole chain offline on the bundled samples"),
}
"""Verb -> (where it lives, its one line of help)."""

USAGE_ERROR: type[Exception] = typer.BadParameter.__mro__[1]
"""What typer raises for wrong usage; it gives this base class no public name."""

INTERRUPTED = 130
"""The exit code after Ctrl-C, by convention."""

VALUED = ("--home", "--catalog")
FLAGS = ("--json", "--quiet")


class LazyGroup(TyperGroup):
    """A group whose commands are imported when they are used, not when they are listed."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in VERBS:
            return None
        if _is_listing():
            return _stub(cmd_name)
        return load_verb(cmd_name)


def load_verb(name: str) -> Any:
    """Import a verb and return its command."""
    module, _, attribute = VERBS[name][0].partition(":")
    found = getattr(importlib.import_module(module), attribute)
    if not isinstance(found, typer.Typer):
        app = typer.Typer(add_completion=False)
        app.command(name)(found)
        found = app
    command = typer.main.get_command(found)
    command.name = name
    return command


def _stub(name: str) -> Any:
    """Return a command that only knows its line of help: enough for listing."""
    app = typer.Typer(add_completion=False)
    app.command(name, help=VERBS[name][1])(lambda: None)
    return typer.main.get_command(app)


def _is_listing() -> bool:
    """Tell whether no verb was typed, so that verbs are only listed."""
    words = hoist(sys.argv[1:])
    values = {place + 1 for place, word in enumerate(words) if word in VALUED}
    is_verb_typed = any(
        place not in values and not word.startswith("-") for place, word in enumerate(words)
    )
    return not is_verb_typed and not os.environ.get("_WOOLGATHER_COMPLETE")


app = typer.Typer(cls=LazyGroup, no_args_is_help=True, pretty_exceptions_enable=False)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(version("woolgather"))
        raise typer.Exit


@app.callback()
def root(
    ctx: typer.Context,
    home: Path | None = typer.Option(
        None, help="Where everything is kept; default $WOOLGATHER_HOME or the user data folder"
    ),
    catalog: list[Path] = typer.Option([], help="A further catalog layer; may be repeated"),
    json: bool = typer.Option(False, "--json", help="Print one JSON object on stdout"),
    quiet: bool = typer.Option(False, "--quiet", help="No logs and no progress on stderr"),
    version: bool = typer.Option(
        False, "--version", help="Print the version", is_eager=True, callback=_print_version
    ),
) -> None:
    """Gather instruction datasets by tags, mix them exactly, train on the mixtures."""
    where = Home(home.expanduser()) if home else default_home()
    if where.path.exists() and not where.path.is_dir():
        raise StoreError(
            f"home {where.path}: expected a folder, got a file. Choose one: --home DIR"
        )
    ctx.obj = Session(where, list(catalog), json=json, quiet=quiet)


def hoist(arguments: list[str]) -> list[str]:
    """Move global options to the front, so that they may stand before or after the verb."""
    front, rest = [], []
    words = iter(arguments)
    for word in words:
        if word == "--":
            rest += [word, *words]
        elif word in FLAGS or word.startswith(tuple(f"{name}=" for name in VALUED)):
            front.append(word)
        elif word in VALUED:
            front += [word, *_one(words)]
        else:
            rest.append(word)
    return front + rest


def _one(words: Any) -> list[str]:
    value = next(words, None)
    return [] if value is None else [value]


def refuse_strangers() -> None:
    """Refuse to run when one of our packages would come from somewhere else.

    A `train.py` or a `corpus` folder on PYTHONPATH is common and would shadow ours.
    """
    ours = Path(__file__).resolve().parent.parent.parent
    for name in ("formatters", "crawl", "train"):
        spec = importlib.util.find_spec(name)
        where = Path(spec.origin).resolve() if spec and spec.origin else None
        if where is not None and where.parent.parent != ours:
            raise WoolgatherError(
                f"{name} would be imported from {where}, expected it in {ours}."
                " Unset PYTHONPATH or rename that file."
            )


def main() -> None:
    """Run the command line; errors become one line on stderr and an exit code."""
    try:
        refuse_strangers()
        code = app(hoist(sys.argv[1:]), prog_name="woolgather", standalone_mode=False) or 0
        if code == INTERRUPTED:  # The library swallows Ctrl-C and returns its code.
            raise KeyboardInterrupt
        sys.exit(code)
    except USAGE_ERROR as error:
        _fail(_usage_line(error), 2)
    except WoolgatherError as error:
        _fail(str(error), error.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        _fail("stopped: what was finished is kept, nothing half-done is", INTERRUPTED)
    except BrokenPipeError:
        # The reader (such as `head`) has gone: what it wanted it has got.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        _fail(plain(error), 1)


def _usage_line(error: Any) -> str:
    """Say in one line what was wrong with the words; a verb without any words shows its help."""
    if type(error).__name__ == "NoArgsIsHelpError":
        return str(error.format_message())
    verb = error.ctx.command_path if error.ctx else "woolgather"
    return f"{error.format_message().strip().rstrip('.')}. See: {verb} --help"


def _fail(line: str, code: int) -> NoReturn:
    print(line, file=sys.stderr)
    sys.exit(code)
