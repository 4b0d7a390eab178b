"""Where woolgather keeps things: the home folder and the places inside it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

HOME_VARIABLE = "WOOLGATHER_HOME"


@dataclass(frozen=True, slots=True)
class Home:
    """The folder that holds everything woolgather writes; its parts are made when first used."""

    path: Path

    @property
    def raw(self) -> Path:
        """`raw/<id>/`: downloaded upstream files."""
        return self.path / "raw"

    @property
    def store(self) -> Path:
        """`store/<id>/<fingerprint>/` and `store/<id>/current`."""
        return self.path / "store"

    @property
    def annotations(self) -> Path:
        """`annotations/<id>/<rows_digest>/<name>-<version>.arrow`."""
        return self.path / "annotations"

    @property
    def mixtures(self) -> Path:
        """`mixtures/<name>/<digest>/` and `mixtures/<name>/current`."""
        return self.path / "mixtures"

    @property
    def runs(self) -> Path:
        """`runs/<name>/`: run configs, checkpoints, adapters, metrics."""
        return self.path / "runs"

    @property
    def crawls(self) -> Path:
        """`crawls/<name>/`: journals of crawls, and the rows exported from them."""
        return self.path / "crawls"

    @property
    def tokens(self) -> Path:
        """`tokens/<key>/`: memory-mapped token stores of rendered rows."""
        return self.path / "tokens"

    @property
    def publications(self) -> Path:
        """`publications/<org>--<name>/`: folders that are published, as they were written last."""
        return self.path / "publications"

    @property
    def locks(self) -> Path:
        """`locks/`: one lock file for each thing that has a single writer."""
        return self.path / "locks"

    @property
    def catalog(self) -> Path:
        """`catalog.yaml`: the user's own catalog layer."""
        return self.path / "catalog.yaml"


def default_home() -> Home:
    """Return `$WOOLGATHER_HOME`, or the platform's user data folder."""
    named = os.environ.get(HOME_VARIABLE)
    if named:
        return Home(Path(named).expanduser())
    import platformdirs

    return Home(Path(platformdirs.user_data_dir("woolgather", appauthor=False)))
