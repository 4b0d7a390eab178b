"""Publications appear whole or not at all, and are named by what they hold."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from corpus.errors import PublishError
from corpus.publish import digest_of_files, put_folder
from corpus.settings import Home


def writer(text: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / "data").mkdir()
        (folder / "README.md").write_text(text)
        (folder / "data" / "b.bin").write_bytes(b"1234")

    return write


def test_a_folder_is_listed_and_named_by_its_files(home: Home, tmp_path: Path) -> None:
    made = put_folder(tmp_path / "out", home, writer("card"))
    assert made.files == (("README.md", 4), ("data/b.bin", 4))
    assert (made.path, made.bytes) == (tmp_path / "out", 8)
    sums = subprocess.run(
        ["sha256sum", "README.md", "data/b.bin"], cwd=made.path, capture_output=True, check=True
    ).stdout
    assert made.digest == hashlib.sha256(sums).hexdigest() == digest_of_files(made.path)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_the_same_content_stays_as_it_is(home: Home, tmp_path: Path) -> None:
    first = put_folder(tmp_path / "out", home, writer("card"))
    inode = (first.path / "README.md").stat().st_ino
    (first.path / ".cache").mkdir()
    (first.path / ".cache" / "state").write_text("of an upload")
    again = put_folder(tmp_path / "out", home, writer("card"))
    assert again == first
    assert (again.path / "README.md").stat().st_ino == inode


def test_another_publication_is_only_replaced_where_that_is_wanted(
    home: Home, tmp_path: Path
) -> None:
    put_folder(tmp_path / "out", home, writer("card"))
    with pytest.raises(PublishError, match="the same publication, got another one") as told:
        put_folder(tmp_path / "out", home, writer("other"))
    assert "\n" not in str(told.value)
    assert (tmp_path / "out" / "README.md").read_text() == "card"
    put_folder(tmp_path / "out", home, writer("other"), replace=True)
    assert (tmp_path / "out" / "README.md").read_text() == "other"


def test_strangers_are_refused_before_any_work(home: Home, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("mine")
    (tmp_path / "file").write_text("mine")

    def never(folder: Path) -> None:
        raise AssertionError("nothing is to be written")

    with pytest.raises(PublishError, match="empty folder or none, got one with other files"):
        put_folder(tmp_path / "out", home, never)
    with pytest.raises(PublishError, match="expected a folder, got a file"):
        put_folder(tmp_path / "file", home, never)
    assert (tmp_path / "out" / "thesis.tex").read_text() == "mine"


def test_an_empty_folder_gives_way(home: Home, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert put_folder(tmp_path / "out", home, writer("card")).bytes == 8


def test_a_failure_leaves_nothing_behind(home: Home, tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        writer("card")(folder)
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        put_folder(tmp_path / "out", home, fail)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_left_goes_with_the_next_one(home: Home, tmp_path: Path) -> None:
    left = tmp_path / ".unfinished-publish-out-01234567"
    other = tmp_path / ".unfinished-publish-others-01234567"
    for folder in (left, other):
        folder.mkdir()
        (folder / "half").write_text("a")
    put_folder(tmp_path / "out", home, writer("card"))
    assert sorted(path.name for path in tmp_path.iterdir()) == [other.name, "out"]
