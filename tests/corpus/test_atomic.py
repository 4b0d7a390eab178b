"""Writing leaves the old thing or the new one; one writer at a time."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from corpus.atomic import (
    UNFINISHED,
    is_locked,
    new_folder,
    remove_unfinished,
    sole_writer,
    write_text,
)
from corpus.errors import BusyError


def test_a_text_is_replaced_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "current"
    write_text(path, "old\n")
    write_text(path, "新\n")
    assert path.read_bytes() == "新\n".encode()
    assert list(path.parent.iterdir()) == [path]


def test_a_text_that_cannot_be_written_leaves_the_old_one_alone(tmp_path: Path) -> None:
    path = tmp_path / "current"
    write_text(path, "old\n")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "lone \ud83d")
    assert (path.read_text(), list(tmp_path.iterdir())) == ("old\n", [path])


def test_a_folder_appears_when_its_block_ends(tmp_path: Path) -> None:
    with new_folder(tmp_path / "abc") as temporary:
        assert temporary.name.startswith(f"{UNFINISHED}abc-")
        (temporary / "x").write_text("1")
        assert not (tmp_path / "abc").exists()
    assert [path.name for path in tmp_path.rglob("*")] == ["abc", "x"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_folder_goes_when_its_block_fails(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), new_folder(tmp_path / "abc") as temporary:  # noqa: PT012
        (temporary / "x").write_text("1")
        raise error
    assert list(tmp_path.iterdir()) == []


def test_a_folder_made_by_another_meanwhile_stays(tmp_path: Path) -> None:
    with new_folder(tmp_path / "abc") as temporary:
        (temporary / "x").write_text("second")
        (tmp_path / "abc").mkdir()
        (tmp_path / "abc" / "x").write_text("first")
    assert (tmp_path / "abc" / "x").read_text() == "first"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_second_writer_waits_for_the_first(tmp_path: Path) -> None:
    said: list[str] = []
    order: list[int] = []

    def second() -> None:
        with sole_writer(tmp_path, "store-wool", say=said.append):
            order.append(2)

    with sole_writer(tmp_path, "store-wool"):
        assert is_locked(tmp_path, "store-wool")
        thread = threading.Thread(target=second)
        thread.start()
        while not said:
            time.sleep(0.01)
        order.append(1)
    thread.join()
    assert order == [1, 2]
    assert said[0].startswith("waiting for process ")
    assert not is_locked(tmp_path, "store-wool")


def test_a_writer_that_does_not_wait_is_told_who_writes(tmp_path: Path) -> None:
    with (
        sole_writer(tmp_path, "mixture-a/b"),
        pytest.raises(BusyError, match=r"mixture-a/b is being written by process \d+\. Try again"),
        sole_writer(tmp_path, "mixture-a/b", wait=False),
    ):
        pass


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    script = (
        "import sys, time, pathlib\n"
        "from corpus.atomic import sole_writer\n"
        "with sole_writer(pathlib.Path(sys.argv[1]), 'store-wool'):\n"
        "    print('held', flush=True)\n"
        "    time.sleep(600)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        assert is_locked(tmp_path, "store-wool")
        process.kill()
    with sole_writer(tmp_path, "store-wool", wait=False):
        pass


def test_what_nobody_ever_wrote_is_not_locked(tmp_path: Path) -> None:
    assert not is_locked(tmp_path / "locks", "store-wool")


def test_only_what_is_unfinished_is_removed(tmp_path: Path) -> None:
    for name in (f"{UNFINISHED}folder", "whole"):
        (tmp_path / name / "inner").mkdir(parents=True)
    (tmp_path / f"{UNFINISHED}current-1").write_text("half")
    remove_unfinished(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["whole"]
    remove_unfinished(tmp_path / "absent")
