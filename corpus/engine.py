"""The engine: maps a function over units of work, in order, serially or in spawned processes.

An engine only places work: what a unit gives does not depend on where it ran.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeVar

from corpus.errors import StoreError

Item = TypeVar("Item")

Advance = Callable[[float, float], None]
"""Told how much is done, and of how much in all; the unit is the caller's."""

ENGINES = ("serial", "processes")
IN_FLIGHT_PER_WORKER = 2
"""Units handed out ahead of time: enough to keep workers busy, few enough to bound memory."""


def load(name: str) -> Callable[..., Any]:
    """Return the function of a `module:function` name.

    The ground floor calls the workshops through such names, so that it never imports them.
    """
    module, _, function = name.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return found


def default_workers() -> int:
    """Return the number of processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Engine(AbstractContextManager["Engine"]):
    """Runs units of work; the pool is made at its first use and closed at exit."""

    def __init__(self, kind: str = "processes", workers: int | None = None) -> None:
        self.kind = kind
        self.workers = workers or default_workers()
        self._pool: ProcessPoolExecutor | None = None

    def __exit__(self, *_: object) -> None:
        self._close()

    def map_shards(
        self, function: str, items: Iterable[Item], *arguments: object, small: bool = False
    ) -> Generator[tuple[Item, Any]]:
        """Yield (item, result) in the order of the items; few are held at a time.

        Close the generator before it ends to stop the work; that waits for what is running.

        Args:
            function: `module:function`, called as function(item, *arguments).
            small: the whole work is too little to be worth a pool.

        Raises:
            StoreError: a worker process died.
        """
        if self.kind == "serial" or self.workers == 1 or small:
            call = load(function)
            for item in items:
                yield item, call(item, *arguments)
            return
        yield from self._map_processes(function, items, arguments)

    def _map_processes(
        self, function: str, items: Iterable[Item], arguments: tuple[object, ...]
    ) -> Iterator[tuple[Item, Any]]:
        pool = self._pool or self._start()
        waiting: deque[tuple[Item, Future[Any]]] = deque()
        source = iter(items)
        try:
            while True:
                while len(waiting) < self.workers * IN_FLIGHT_PER_WORKER:
                    item = next(source, None)
                    if item is None:
                        break
                    with _hidden_main():
                        waiting.append((item, pool.submit(_call, function, item, arguments)))
                if not waiting:
                    return
                # It stays among those to be waited for until it is done, whatever interrupts.
                item, future = waiting[0]
                result = future.result()
                waiting.popleft()
                yield item, result
        except BrokenProcessPool as error:
            self._close()
            raise StoreError(
                "a worker process died, most likely for want of memory."
                " Try fewer --workers, or --engine serial."
            ) from error
        finally:
            # Nothing may still be written when the caller goes on, removes its folder, say.
            wait([future for _, future in waiting if not future.cancel()])

    def warm(self, function: str) -> None:
        """Start the workers, so that they import a function while the caller still prepares."""
        if self.kind != "serial" and self.workers > 1 and self._pool is None:
            pool = self._start()
            with _hidden_main():
                for _ in range(self.workers):
                    pool.submit(_import, function)

    def _close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

    def _start(self) -> ProcessPoolExecutor:
        os.environ["PYTHONSAFEPATH"] = "1"
        self._pool = ProcessPoolExecutor(
            self.workers, mp_context=multiprocessing.get_context("spawn"), initializer=_prepare
        )
        return self._pool


def _call(function: str, item: object, arguments: tuple[object, ...]) -> Any:
    return load(function)(item, *arguments)


def _import(function: str) -> None:
    load(function)


def _prepare() -> None:
    """Make a worker leave Ctrl-C to its parent, and die when the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_follow, args=(parent,), daemon=True).start()


def _follow(parent: Any) -> None:
    parent.join()
    os._exit(1)


@contextmanager
def _hidden_main() -> Iterator[None]:
    """Keep spawned workers from running the user's main script a second time.

    Workers need none of it: they import our functions by name.
    """
    main = sys.modules["__main__"]
    hidden = {name: main.__dict__.pop(name) for name in ("__file__",) if name in main.__dict__}
    spec, main.__spec__ = getattr(main, "__spec__", None), None
    try:
        yield
    finally:
        main.__dict__.update(hidden)
        main.__spec__ = spec
