"""The errors that woolgather raises: one tree, each class also a standard-library error.

WoolgatherError
├── CatalogError (ValueError)      an entry of the catalog or a tag expression is wrong
├── RecipeError (ValueError)       a mixture recipe or a run file is wrong
├── RawDataError (ValueError)      a raw file is missing, unreadable or not what its entry says
├── FetchError (RuntimeError)      a raw file cannot be downloaded as the catalog names it
├── StoreError (RuntimeError)      a build, an annotation or an index is absent, stale or damaged
├── BusyError (RuntimeError)       another process writes the same thing
├── CrawlError (RuntimeError)      an endpoint, a journal or a cap on money stopped a crawl
├── TrainError (RuntimeError)      training, merging or checking a model failed
├── PublishError (RuntimeError)    what was asked cannot be published
└── MissingExtraError (ImportError) an optional dependency is not installed

A message says where, what was expected, what was got, and the way out, in one line.
The library raises; the command line prints the line and exits with 1.
"""

from __future__ import annotations


class WoolgatherError(Exception):
    """Base of every error that woolgather raises on purpose."""

    exit_code = 1
    """What the command line leaves with."""


class CatalogError(WoolgatherError, ValueError):
    """Raised for a catalog entry, layer or tag expression that cannot be used."""


class RecipeError(WoolgatherError, ValueError):
    """Raised for a mixture recipe or run file that cannot be used."""


class RawDataError(WoolgatherError, ValueError):
    """Raised for a raw file that is absent, unreadable, or not what its entry says."""


class FetchError(WoolgatherError, RuntimeError):
    """Raised for a raw file that cannot be downloaded, or is not what was announced."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message, status)
        self.message, self.status = message, status

    def __str__(self) -> str:
        return self.message


class StoreError(WoolgatherError, RuntimeError):
    """Raised for stored rows, annotations or indexes that are absent, stale or damaged."""


class BusyError(WoolgatherError, RuntimeError):
    """Raised when another process holds the lock and waiting was declined."""


class CrawlError(WoolgatherError, RuntimeError):
    """Raised when an endpoint, a journal or the cap on money stops a crawl."""


class TrainError(WoolgatherError, RuntimeError):
    """Raised when a model cannot be trained, merged, checked or loaded as asked."""


class PublishError(WoolgatherError, RuntimeError):
    """Raised when something cannot be published as asked: not there, not allowed, not taken."""


class MissingExtraError(WoolgatherError, ImportError):
    """Raised when a verb needs an optional dependency that is not installed."""

    def __init__(self, what: str, package: str, extra: str) -> None:
        # All three go to args, so that the error survives pickling between processes.
        super().__init__(what, package, extra)
        self.what, self.package, self.extra = what, package, extra

    def __str__(self) -> str:
        return (
            f"{self.what} needs {self.package}. Install it: pip install 'woolgather[{self.extra}]'"
        )
