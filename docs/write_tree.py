"""Write the README's tree from the first line of every module; `make readme` runs it."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("corpus", "formatters", "crawl", "train")
OTHERS = {
    "catalog.yaml": "the datasets: tags, licences, files, formatters",
    "recipes/": "mixtures by name; recipes/runs/ has training runs",
    "samples/": "small raw files of our own writing, in the shapes of the releases",
    "tests/": "mirrors the packages",
    "benchmarks/": "measured comparisons, JSON out",
    "docs/": "quick start, recipes, catalog",
}
MARKS = re.compile(r"(<!-- tree: .*? -->\n).*?(<!-- end of tree -->)", re.DOTALL)


def duty(path: Path) -> str:
    """Return the first sentence of a module's docstring."""
    doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    sentence = " ".join(doc.split("\n\n")[0].split())
    return re.split(r"(?<=[.])\s", sentence)[0].rstrip(".")


def tree() -> Iterator[str]:
    """Yield the lines of the tree."""
    for package in PACKAGES:
        folder = ROOT / package
        for path in sorted(folder.rglob("*.py"), key=_order):
            inner = path.relative_to(ROOT)
            name = f"{inner.parent.as_posix()}/" if path.name == "__init__.py" else path.name
            depth = len(inner.parts) - (2 if path.name == "__init__.py" else 1)
            yield f"{'  ' * depth}{name:<{26 - 2 * depth}} {duty(path)}"
    for name, text in OTHERS.items():
        yield f"{name:<26} {text}"


def _order(path: Path) -> tuple[tuple[bool, str], ...]:
    """Sort a folder's own duty first, then its files, then its folders."""
    inner = path.relative_to(ROOT)
    parts = [(True, part) for part in inner.parts[:-1]]
    return (*parts, (False, "" if path.name == "__init__.py" else path.name))


def written(readme: str) -> str:
    """Return the README's text with the tree of today."""
    block = "```\n" + "\n".join(tree()) + "\n```\n"
    return MARKS.sub(lambda match: match[1] + block + match[2], readme)


if __name__ == "__main__":
    page = ROOT / "README.md"
    text = page.read_text(encoding="utf-8")
    if "--check" in sys.argv and written(text) != text:
        sys.exit("README.md: its tree is not today's. Run: make readme")
    page.write_text(written(text), encoding="utf-8")
