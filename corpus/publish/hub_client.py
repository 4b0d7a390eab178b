"""The Hub's own client with manners: waits that end, each failure as one line, the token nowhere.

Between `corpus.publish.hub`, which knows what to send, and huggingface_hub.
"""

from __future__ import annotations

import logging
import re
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from corpus.errors import PublishError
from corpus.publish.markdown import one_line

if TYPE_CHECKING:
    from huggingface_hub import HfApi

TRIES = 3
"""How often a step is tried; most requests of a step are repeated by huggingface_hub besides."""

FIRST_WAIT_SECONDS = 2.0
LONGEST_WAIT_SECONDS = 300
"""A Hub that asks for a longer wait is left alone."""

TIMEOUT_SECONDS = 300.0
"""Silence after which a connection counts as lost; huggingface_hub itself would wait for ever."""

PASSING = (408, 429, 500, 502, 503, 504)
"""Statuses that may be gone at the next try."""

LOGGERS = ("huggingface_hub", "httpx2", "httpcore2")
LONGEST_ANSWER = 200
TOKEN = re.compile(r"\b(hf|api)_[A-Za-z0-9]{16,}")

T = TypeVar("T")
Say = Callable[[str], None]


class HubError(PublishError):
    """What the Hub answered, or that it did not."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message, status)
        self.message, self.status = message, status

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True, slots=True)
class Hub:
    """One repository of the Hub, seen through a client that is patient within bounds."""

    api: HfApi
    repo: str
    repo_type: str
    """dataset or model"""
    token: str
    say: Say

    @property
    def address(self) -> str:
        """Return where people find the repository."""
        prefix = "datasets/" if self.repo_type == "dataset" else ""
        return f"{self.api.endpoint}/{prefix}{self.repo}"

    def ask(self, doing: str, call: Callable[[], T]) -> T:
        """Return what a call returns; what may pass is tried again.

        Args:
            doing: what the call is for, as in `could not <doing>`.

        Raises:
            HubError: the Hub refuses, or does not answer for too long.
        """
        for number in range(1, TRIES + 1):
            try:
                with warnings.catch_warnings(record=True) as said:
                    warnings.simplefilter("always")
                    found = call()
                for one in said:
                    if issubclass(one.category, UserWarning):  # What the Hub says of a card.
                        self.say(one_line(str(one.message)))
                return found
            except _failures() as error:
                failure = _root(error)
                if not isinstance(failure, HubError):
                    if number < TRIES and _passes(failure):
                        self._wait(failure, number)
                        continue
                    failure = self._told(doing, failure)
                # Not chained: what libraries and servers say may hold the token.
                raise failure from None
        raise AssertionError

    def _wait(self, failure: Exception, number: int) -> None:
        """Wait as long as the Hub asks, else longer each time."""
        answer = getattr(failure, "response", None)
        asked = asked_wait(answer.headers) if answer is not None else None
        if answer is None:
            self.say(f"no whole answer from the Hub ({self._reason(failure)}): trying again")
        time.sleep(asked if asked is not None else FIRST_WAIT_SECONDS * 2 ** (number - 1))

    def _told(self, doing: str, failure: Exception) -> HubError:
        """Return a failure as an error of one line with a way out."""
        answer = getattr(failure, "response", None)
        status = None if answer is None else int(answer.status_code)
        reason = self._reason(failure)
        if status == 401:
            text = (
                f"{self.repo}: expected a valid token of the Hub, got 401 ({reason}). Log in again:"
                " hf auth login; or set HF_TOKEN"
            )
        elif status == 403:
            text = (
                f"{self.repo}: expected a token that may write there, got 403 ({reason}). Take one"
                " with write access, or another --repo"
            )
        elif status == 404:
            text = (
                f"{self.repo}: expected an organisation and repository that the token may see, got"
                f" 404 ({reason}). Look at --repo"
            )
        elif status in PASSING or status is None:
            got = reason if status is None else f"{status} ({reason})"
            text = f"{self.repo}: could not {doing}: got {got} after {TRIES} tries"
        else:
            text = f"{self.repo}: could not {doing}: the Hub answers {status} ({reason})"
        return HubError(text, status)

    def _reason(self, failure: Exception) -> str:
        """Return in a few words what went wrong, without secrets."""
        said = getattr(failure, "server_message", None) or str(failure) or type(failure).__name__
        return hidden(said, self.token)


@contextmanager
def open_hub(repo: str, repo_type: str, say: Say) -> Iterator[Hub]:
    """Yield a repository of the Hub, which need not be there yet.

    Raises:
        PublishError: there is no token, or the Hub may not be reached.
    """
    from huggingface_hub import HfApi, constants, get_token

    if constants.is_offline_mode():
        raise PublishError(
            "expected to be allowed to reach the Hub, got HF_HUB_OFFLINE. Unset it, or write the"
            " folder only: --to DIR"
        )
    token = get_token()
    if token is None:
        raise PublishError(
            "expected a token of the Hub, got none. Set HF_TOKEN, or log in: hf auth login"
        )

    def tell(line: str) -> None:
        say(hidden(line, token, longest=None))

    with _patient_client(tell):
        yield Hub(HfApi(token=token), repo, repo_type, token, tell)


@contextmanager
def _patient_client(say: Say) -> Iterator[None]:
    """Have huggingface_hub use our timeouts, and no bars and log lines of its own."""
    from huggingface_hub import set_client_factory
    from huggingface_hub.utils import (  # type: ignore[attr-defined]
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )
    from huggingface_hub.utils._http import default_client_factory

    def factory() -> Any:
        client = default_client_factory()
        client.timeout = TIMEOUT_SECONDS
        client.event_hooks = {**client.event_hooks, "response": [partial(_heed, say)]}
        return client

    # Their log lines tell what servers say and how addresses are signed.
    levels = {logging.getLogger(name): logging.getLogger(name).level for name in LOGGERS}
    for logger in levels:
        logger.setLevel(logging.ERROR)
    had_bars = not are_progress_bars_disabled()
    disable_progress_bars()
    set_client_factory(factory)
    try:
        yield
    finally:
        set_client_factory(default_client_factory)
        for logger, level in levels.items():
            logger.setLevel(level)
        if had_bars:
            enable_progress_bars()


def _heed(say: Say, response: Any) -> None:
    """Say that the Hub is busy; refuse to wait for hours.

    Raises:
        HubError: it asks for a longer wait than is kept.
    """
    if response.status_code not in PASSING:
        return
    wait = asked_wait(response.headers)
    request = f"{response.status_code} to {response.request.method} {response.request.url.path}"
    if wait is None:
        say(f"the Hub answers {request}")
    elif wait <= LONGEST_WAIT_SECONDS:
        say(f"the Hub answers {request} and asks to wait {wait} s")
    else:
        raise HubError(
            f"the Hub answers {request} and asks to wait {wait} s: expected at most"
            f" {LONGEST_WAIT_SECONDS} s",
            response.status_code,
        )


def asked_wait(headers: Mapping[str, str]) -> int | None:
    """Return the seconds that a busy Hub asks to wait, None where it does not say."""
    from huggingface_hub.utils import parse_ratelimit_headers  # type: ignore[attr-defined]

    limits = parse_ratelimit_headers(headers)
    if limits is not None and limits.remaining == 0:
        return int(limits.reset_in_seconds)
    said = headers.get("retry-after", "").strip()
    return int(said) if said.isdigit() else None


def hidden(text: str, token: str, longest: int | None = LONGEST_ANSWER) -> str:
    """Return a text on one line, without tokens and without what signs an address."""
    text = one_line(re.sub(r"(https?://[^\s?'\"]+)\?[^\s'\"]*", r"\1", text.replace(token, "***")))
    text = TOKEN.sub("***", text).rstrip(". ")
    return text if longest is None or len(text) <= longest else text[:longest] + " ..."


def _failures() -> tuple[type[Exception], ...]:
    """Return what huggingface_hub, its client and its uploads raise."""
    import httpx2

    return httpx2.HTTPError, OSError, ValueError, RuntimeError, KeyError


def _root(error: Exception) -> Exception:
    """Return what the Hub answered, where an upload has wrapped it."""
    import httpx2

    found: BaseException | None = error
    while found is not None:
        if isinstance(found, HubError | httpx2.HTTPError):
            return found
        found = found.__cause__
    return error


def _passes(failure: Exception) -> bool:
    """Tell whether a failure may be gone at the next try: a busy Hub, a lost connection."""
    import json

    import httpx2

    answer = getattr(failure, "response", None)
    if answer is not None:
        return answer.status_code in PASSING
    # A server that fails in the middle of an answer does not write JSON.
    return isinstance(failure, httpx2.TransportError | json.JSONDecodeError)
