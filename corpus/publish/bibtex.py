"""BibTeX of a publication: an entry for itself, and one for each of its datasets."""

from __future__ import annotations

import re
from collections.abc import Mapping

from corpus.mixture.sources import SourceTags
from corpus.publish.markdown import one_line
from corpus.publish.told import Told

SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{one: f"\\{one}" for one in "#$%&_"},
}
ENTRY = re.compile(r"@[A-Za-z]+\s*\{")


def bibtex(told: Told) -> str:
    """Return the entries, one after another."""
    mixture = told.content.mixture
    note = {"note": f"woolgather mixture {mixture.digest}"} if mixture else {}
    own = {
        "title": told.title,
        "howpublished": _address(f"https://huggingface.co/datasets/{told.repo}"),
        **note,
    }
    entries = [_entry(told.title, own)]
    by_id = {one.id.partition("+")[0]: one for one in told.content.sources}
    entries += [_of_source(id, one) for id, one in by_id.items()]
    return "\n\n".join(entries)


def _of_source(id: str, tags: SourceTags) -> str:
    if tags.citation and ENTRY.match(tags.citation.strip()):
        return tags.citation.strip()
    address = {"howpublished": _address(tags.home)} if tags.home else {}
    note = {"note": tags.citation} if tags.citation else {}
    return _entry(id, {"title": tags.title or id, **address, **note})


def _entry(key: str, fields: Mapping[str, str]) -> str:
    lines = [f"  {name} = {{{_value(text)}}}," for name, text in fields.items()]
    return "\n".join((f"@misc{{{re.sub('[^A-Za-z0-9_.:-]+', '-', key)},", *lines, "}"))


def _address(address: str) -> str:
    return f"\\url{{{address}}}"


def _value(text: str) -> str:
    """Return a text in which braces are balanced and nothing is a command, but an address."""
    text = one_line(text)
    if found := re.fullmatch(r"\\url\{(.*)\}", text):
        return (
            "\\url{" + re.sub(r"[{}\\\s]", lambda one: f"%{ord(one.group()):02X}", found[1]) + "}"
        )
    return "".join(SPECIAL.get(one, one) for one in text.replace("{", "(").replace("}", ")"))
