"""Units: the spans of an entry's inputs, put together into the work of one shard each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from corpus.readers.cut import cut
from corpus.readers.files import Input
from corpus.readers.span import BLOCK_BYTES, Span, Unit

PATIENCE = 4
"""After so many wrongly counted array spans in one file, the rest of it is scanned."""


@dataclass(slots=True)
class Distrust:
    """The array spans of one file that did not hold what the cutter counted, by offset."""

    offsets: set[int] = field(default_factory=set)

    def __contains__(self, offset: object) -> bool:
        if len(self.offsets) >= PATIENCE and isinstance(offset, int):
            return offset in self.offsets or offset >= sorted(self.offsets)[PATIENCE - 1]
        return offset in self.offsets


def plan_units(
    id: str,
    inputs: Sequence[Input],
    *,
    limit: int | None = None,
    distrusted: dict[str, Distrust] | None = None,
    block_bytes: int = BLOCK_BYTES,
) -> Iterator[Unit]:
    """Yield the units of an entry in order: one subset each, about `block_bytes` of raw text.

    Args:
        limit: at most so many records of each subset (of the entry, where it has none).

    Raises:
        RawDataError: a raw file cannot be read.
    """
    number = 0
    held: list[Span] = []
    for position, one in enumerate(inputs):
        for span in _limited(inputs, position, limit, distrusted or {}, block_bytes):
            if held and sum(part.length for part in held) + span.length > block_bytes:
                yield _unit(number, id, one.subset, held)
                number, held = number + 1, []
            held.append(span)
        is_last = position + 1 == len(inputs) or inputs[position + 1].subset != one.subset
        if is_last and held:
            yield _unit(number, id, one.subset, held)
            number, held = number + 1, []


def _unit(number: int, id: str, subset: str | None, spans: list[Span]) -> Unit:
    return Unit(number, f"{id}/{subset}" if subset else id, subset, tuple(spans))


def _limited(
    inputs: Sequence[Input],
    position: int,
    limit: int | None,
    distrusted: dict[str, Distrust],
    block_bytes: int,
) -> Iterator[Span]:
    """Yield the spans of one input, up to what the limit leaves of its subset."""
    one = inputs[position]
    spans = cut(
        one.source,
        one.options,
        distrusted=distrusted.get(one.source.name, ()),
        block_bytes=block_bytes,
    )
    if limit is None:
        yield from spans
        return
    before = [other for other in inputs[:position] if other.subset == one.subset]
    left = limit - sum(_count(other, limit) for other in before)
    for span in spans:
        if left <= 0:
            return
        yield span if span.count <= left else replace(span, take=left)
        left -= span.count


def _count(one: Input, limit: int) -> int:
    """Count the records of an input, up to a limit."""
    total = 0
    for span in cut(one.source, one.options):
        total += span.count
        if total >= limit:
            return limit
    return total
