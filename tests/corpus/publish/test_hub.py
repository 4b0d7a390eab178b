"""Publications reach the Hub whole, in parts that go on, once; what goes wrong is one line."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from corpus.cli.main import main
from corpus.errors import BusyError, PublishError
from corpus.fingerprint import file_sha256
from corpus.publish import Publication, put_folder
from corpus.publish import hub as sending
from corpus.publish.hub import Sent, send
from corpus.publish.hub_client import LONGEST_WAIT_SECONDS, TRIES, hidden, open_hub
from corpus.publish.hub_plan import LISTING
from corpus.settings import Home

CARD = "---\nlicense: mit\n---\n# x\n"
SHARDS = {f"data/x/train-{n}.parquet": f"shard {n}" * 100 for n in range(5)}
OTHERS = {"NOTICE": "notice", "README.md": CARD}
REPO = "org/wool"

Make = Callable[..., Publication]


@pytest.fixture
def make(tmp_path: Path, home: Home) -> Make:
    """Return what writes texts as a publication."""

    def write(texts: dict[str, str] | None = None) -> Publication:
        texts = {**SHARDS, **OTHERS} if texts is None else texts

        def fill(folder: Path) -> None:
            for name, text in texts.items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_text(text)

        return put_folder(tmp_path / "out", home, fill, replace=True)

    return write


@pytest.fixture
def publish(home: Home) -> Callable[..., Sent]:
    """Return what sends a publication; `said` has what was said and asked."""
    said: list[str] = []

    def call(made: Publication, repo: str = REPO, **options: Any) -> Sent:
        options = {"public": False, "agree": said.append, "say": said.append, **options}
        kind = options.pop("kind", "dataset")
        return send(made, repo, kind, home, **options)

    call.said = said  # type: ignore[attr-defined]
    return call


def names_in(hub: Any, repo: str) -> list[str]:
    """Return the files of a repository, without those that only the Hub and we look at."""
    files = hub.repository(repo).files
    return [name for name in files if name not in (".gitattributes", LISTING)]


def texts_in(hub: Any, repo: str = REPO) -> dict[str, str]:
    """Return what a repository holds."""
    return {name: hub.content(repo, name).decode() for name in names_in(hub, repo)}


def test_a_first_publication_is_private_whole_and_tagged(
    hub: Any, make: Make, publish: Any
) -> None:
    made = make()
    sent = publish(made)
    repository = hub.repository(REPO)
    assert repository.private
    assert texts_in(hub) == {**SHARDS, **OTHERS}
    assert [message for _, message, _ in repository.commits[1:]] == [
        f"Publish dataset sha256-{made.digest[:12]}"
    ]
    assert repository.tags == {f"sha256-{made.digest}": repository.commits[-1][0]}
    assert (sent.files, sent.commits, sent.commit) == (7, 1, repository.commits[-1][0])
    assert sent.address == f"{hub.url}/datasets/{REPO}"
    assert publish.said[0] == (
        f"send 7 of 7 files, {made.bytes:,} bytes, to the new private dataset repository {REPO} as"
        " somebody"
    )
    listed = json.loads(hub.content(REPO, LISTING))
    assert (listed["complete"], listed["digest"]) == (True, made.digest)
    assert listed["files"]["NOTICE"][0] == file_sha256(made.path / "NOTICE")
    # Nothing was asked that the Hub does not know, but for the client's own question.
    assert set(hub.ledger.strangers) <= {"GET /api/agent-harnesses"}


def test_the_same_digest_again_sends_nothing_and_asks_nothing(
    hub: Any, make: Make, publish: Any
) -> None:
    made = make()
    publish(made)
    uploads, commits = dict(hub.ledger.uploads), hub.ledger.requests["commit"]
    publish.said.clear()
    sent = publish(made)
    assert (sent.commits, sent.files, sent.bytes) == (0, 0, 0)
    assert publish.said == [f"{REPO} holds sha256-{made.digest} already: nothing is sent"]
    assert (dict(hub.ledger.uploads), hub.ledger.requests["commit"]) == (uploads, commits)
    assert hub.ledger.requests["preupload"] == 1


def test_many_files_go_in_bounded_commits_and_the_card_comes_last(
    hub: Any, make: Make, publish: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("corpus.publish.hub_plan.MAX_COMMIT_FILES", 2)
    sent = publish(make())
    commits = hub.repository(REPO).commits[1:]
    assert (sent.commits, len(commits)) == (3, 3)
    assert hub.ledger.largest_commit == 4  # Two files, the card and the list.
    cards = [hub.contents[files["README.md"].blob].decode() for _, _, files in commits]
    assert [card == CARD for card in cards] == [False, False, True]
    assert "This publication is unfinished. Its 7 files are sent in 3 or more parts" in cards[0]
    assert "viewer: false" in cards[0]
    assert hub.ledger.sent[-2:] == ["README.md", LISTING]
    lists = [json.loads(hub.contents[files[LISTING].blob]) for _, _, files in commits]
    assert [one["complete"] for one in lists] == [False, False, True]
    assert texts_in(hub) == {**SHARDS, **OTHERS}


def test_commits_are_bounded_in_bytes_too(
    hub: Any, make: Make, publish: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("corpus.publish.hub_plan.MAX_COMMIT_BYTES", 1500)
    assert publish(make()).commits == 3
    assert "sent part 1 of 3: 3 files, 1,406 bytes" in publish.said


def test_a_new_version_deletes_ours_and_leaves_what_others_put_there(
    hub: Any, make: Make, publish: Any
) -> None:
    publish(make())
    hub.write(REPO, "theirs.txt", "theirs")
    hub.write(REPO, "NOTICE", "theirs now")
    kept = {"data/x/train-0.parquet": SHARDS["data/x/train-0.parquet"], "README.md": CARD}
    hub.ledger.sent.clear()
    sent = publish(make({**kept, "data/x/train-9.parquet": "new"}))
    assert texts_in(hub) == {
        **kept,
        "data/x/train-9.parquet": "new",
        "theirs.txt": "theirs",
        "NOTICE": "theirs now",
    }
    assert (sent.files, sent.deleted) == (1, 4)
    assert publish.said[-3] == "left alone, since others changed what we had put there: NOTICE"
    assert "; delete 4 files of an earlier publication there" in publish.said[-2]
    deleted = [f"data/x/train-{n}.parquet" for n in range(1, 5)]
    assert hub.ledger.sent == ["data/x/train-9.parquet", LISTING, *deleted]


def test_what_a_stopped_publication_left_is_deleted_by_another_one(
    hub: Any, make: Make, publish: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(make({"a.parquet": "a", "README.md": CARD}))
    monkeypatch.setattr("corpus.publish.hub_plan.MAX_COMMIT_FILES", 1)
    hub.fail("commit", hub.Fault(wait_seconds=0.01), *[hub.Fault(400)])
    with pytest.raises(PublishError, match=r"answers 400 .* 1 of 3 files are in org/wool"):
        publish(make({"b.parquet": "b", "c.parquet": "c", "README.md": CARD}))
    assert set(texts_in(hub)) == {"a.parquet", "b.parquet", "README.md"}
    publish(make({"c.parquet": "c", "README.md": CARD}))
    assert set(texts_in(hub)) == {"c.parquet", "README.md"}


STEPS = ("whoami", "info", "tree", "refs", "create", "xet", "validate", "preupload", "batch")
STEPS += ("upload", "verify", "commit", "tag", "resolve")


@pytest.mark.parametrize("fault", ["busy", "limited", "cut"])
def test_steps_that_fail_once_are_tried_again(
    hub: Any, make: Make, publish: Any, fault: str
) -> None:
    faults = {
        "busy": hub.Fault(503),
        "limited": hub.Fault(429, (("Retry-After", "7"),)),
        "cut": hub.CUT,
    }
    for step in STEPS:
        hub.fail(step, faults[fault])
    publish(make())
    hub.make("dataset", "org/second", **{LISTING: '{"kind": "dataset", "files": {}}'})
    publish(make(), "org/second")
    for repo in (REPO, "org/second"):
        assert texts_in(hub, repo) == {**SHARDS, **OTHERS}
    assert set(hub.ledger.uploads.values()) == {1}
    assert [step for step in STEPS if hub.faults[step]] == []
    if fault == "limited":
        assert {7, 8} == set(hub.slept)  # As asked, or by huggingface_hub itself a second more.
        asked = "the Hub answers 429 to GET /api/whoami-v2 and asks to wait 7 s"
        assert asked in publish.said
    else:
        assert max(hub.slept) < 9


def test_a_hub_that_stays_down_is_left_with_a_line_and_gone_on_with(
    hub: Any, make: Make, publish: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("corpus.publish.hub_plan.MAX_COMMIT_FILES", 2)
    made = make()
    hub.fail("commit", hub.Fault(wait_seconds=0.01), *[hub.Fault(503)] * 50)
    with pytest.raises(PublishError) as failed:
        publish(made)
    assert str(failed.value) == (
        "org/wool: could not send part 2 of 3: got 503 (the server had an error) after 3 tries. 2"
        " of 7 files are in org/wool; the same command goes on from there"
    )
    assert len(hub.faults["commit"]) == 50 - TRIES
    assert sum(hub.slept) < 60
    hub.faults.clear()
    publish(made)
    assert texts_in(hub) == {**SHARDS, **OTHERS}
    assert set(hub.ledger.uploads.values()) == {1}


def test_a_lost_connection_is_told_in_one_line(hub: Any, make: Make, publish: Any) -> None:
    hub.fail("upload", *[hub.CUT] * 200)
    with pytest.raises(
        PublishError, match=r"could not send part 1 of 1: got .* after 3 tries\. 0 of"
    ):
        publish(make())
    assert sum(hub.slept) < 5 * 60 * TRIES


def test_a_wait_of_hours_is_refused_at_once(hub: Any, make: Make, publish: Any) -> None:
    hub.fail("upload", *[hub.Fault(429, (("Retry-After", "3600"),))] * 9)
    with pytest.raises(PublishError, match="asks to wait 3600 s: expected at most 300 s"):
        publish(make())
    assert max(hub.slept, default=0) < LONGEST_WAIT_SECONDS
    hub.faults.clear()
    headers = (
        ("RateLimit", '"api";r=0;t=400'),
        ("RateLimit-Policy", '"fixed window";"api";q=5;w=300'),
    )
    hub.fail("commit", hub.Fault(429, headers))
    with pytest.raises(PublishError, match="asks to wait 400 s: expected at most 300 s"):
        publish(make())


def test_a_commit_whose_answer_is_lost_is_not_made_twice(
    hub: Any, make: Make, publish: Any
) -> None:
    hub.fail("answer", hub.CUT)
    publish(make())
    assert len(hub.repository(REPO).commits) == 2
    assert texts_in(hub) == {**SHARDS, **OTHERS}
    assert f"{REPO} has changed meanwhile: looking again" in publish.said


def test_others_may_write_in_between_but_not_for_ever(hub: Any, make: Make, publish: Any) -> None:
    hub.fail("commit", hub.Fault(412), hub.Fault(412))
    publish(make())
    hub.fail("commit", *[hub.Fault(412)] * 9)
    with pytest.raises(PublishError, match=r"answers 412 .* 6 of 7 files are in"):
        publish(make({**SHARDS, **OTHERS, "NOTICE": "another"}))


def test_large_files_go_in_parts_where_the_hub_asks_for_it(
    hub: Any, make: Make, publish: Any
) -> None:
    hub.part_bytes = 300
    hub.fail("upload", hub.Fault(500))
    publish(make())
    assert hub.ledger.parts == 15
    assert texts_in(hub) == {**SHARDS, **OTHERS}


def test_a_listing_of_many_pages_is_read_to_its_end(hub: Any, make: Make, publish: Any) -> None:
    hub.page = 2
    publish(make())
    assert publish(make()).commits == 0


def test_xet_is_taken_where_it_is_offered_and_plain_lfs_elsewhere(hub: Any) -> None:
    from huggingface_hub import constants

    hub.make("dataset", REPO)
    taken = []
    for offer in ({}, {"X-Xet-Cas-Url": hub.url}):
        hub.xet = offer
        with (
            open_hub(REPO, "dataset", print) as client,
            sending._plain_where_no_xet(client),
        ):
            taken.append(not constants.HF_HUB_DISABLE_XET)
    assert taken == [False, True]
    assert not constants.HF_HUB_DISABLE_XET


@pytest.mark.parametrize(
    ("repo", "prepare", "told"),
    [
        ("closed/x", {}, r"closed/x: expected a token that may write there, got 403 \(You don't"),
        (REPO, {"token": "other"}, r"expected a valid token of the Hub, got 401 \(Invalid user"),
        (REPO, {"public": True}, "expected a private repository, got a public one. Publish there"),
        (REPO, {"texts": {"README__md": "x"}}, "got one that has README.md of its own. Choose"),
    ],
)
def test_a_repository_that_is_not_ours_to_write_is_one_line(
    hub: Any, make: Make, publish: Any, repo: str, prepare: dict[str, Any], told: str
) -> None:
    hub.token = prepare.get("token", hub.token)
    if "public" in prepare or "texts" in prepare:
        hub.make("dataset", REPO, private="public" not in prepare, **prepare.get("texts", {}))
    with pytest.raises(PublishError, match=told) as failed:
        publish(make(), repo)
    assert "\n" not in str(failed.value)
    assert not hub.ledger.sent


def test_a_model_does_not_replace_an_adapter(hub: Any, make: Make, publish: Any) -> None:
    publish(make(), kind="adapter")
    assert ("model", REPO) in hub.repositories
    with pytest.raises(PublishError, match="expected a repository of the kind model, got one that"):
        publish(make({"README.md": CARD}), kind="model")


def test_public_makes_a_private_repository_public_at_the_end(
    hub: Any, make: Make, publish: Any
) -> None:
    publish(make())
    sent = publish(make(), public=True)
    assert not hub.repository(REPO).private
    assert (sent.visibility, sent.commits) == ("public", 0)
    assert publish.said[-1].endswith("; make it public")


def test_two_do_not_send_to_one_repository_at_once(hub: Any, make: Make, publish: Any) -> None:
    made = make()
    with pytest.raises(BusyError):
        publish(made, agree=lambda what: publish(made))


def test_nobody_agrees_and_nothing_is_sent(hub: Any, make: Make, publish: Any) -> None:
    def refuse(what: str) -> None:
        raise PublishError("no")

    with pytest.raises(PublishError, match=r"^no$"):
        publish(make(), agree=refuse)
    assert not hub.repositories


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("HF_TOKEN", "", "expected a token of the Hub, got none. Set HF_TOKEN, or log in"),
        ("", "", "HF_HUB_OFFLINE"),
    ],
)
def test_without_token_or_network_nothing_is_asked(
    hub: Any,
    make: Make,
    publish: Any,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    value: str,
    told: str,
) -> None:
    from huggingface_hub import constants

    if variable:
        monkeypatch.delenv(variable)
    else:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(PublishError, match=told):
        publish(make())
    assert not hub.ledger.requests


def test_the_token_of_the_hubs_own_store_will_do(
    hub: Any, make: Make, publish: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from huggingface_hub import constants

    monkeypatch.delenv("HF_TOKEN")
    (tmp_path / "token").write_text(hub.token)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    assert publish(make()).files == 7


def test_secrets_are_taken_out_of_texts() -> None:
    text = "GET https://h.example/a?X-Sig=abc says my-token and hf_abcdefghijklmnopqrst\nbye."
    assert hidden(text, "my-token") == "GET https://h.example/a says *** and *** bye"
    assert len(hidden("x" * 999, "t")) < 210


@pytest.mark.parametrize(
    ("step", "status"),
    [("whoami", 400), ("create", 403), ("validate", 400), ("upload", 500), ("commit", 403)],
)
def test_the_token_is_in_no_output_log_traceback_or_file(
    hub: Any,
    make: Make,
    publish: Any,
    home: Home,
    step: str,
    status: int,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    import traceback

    caplog.set_level(logging.DEBUG)
    hub.fail(step, *[hub.Fault(status, text=f"no, {hub.token} is not welcome")] * 99)
    with pytest.raises(PublishError) as failed:
        publish(make())
    told = "".join(traceback.format_exception(failed.value))
    captured = capfd.readouterr()
    everything = [told, *publish.said, caplog.text, captured.out, captured.err]
    everything += [
        path.read_text(errors="replace") for path in home.path.rglob("*") if path.is_file()
    ]
    assert not [text for text in everything if "MARKER" in text or "SIGNED" in text]
    assert "***" in str(failed.value)


KILLED = """
import sys
from pathlib import Path
from corpus.publish import Publication, hub_plan
from corpus.publish.folder import digest_of_files, list_files
from corpus.publish.hub import send
from corpus.settings import Home

hub_plan.MAX_COMMIT_FILES = 2
folder = Path(sys.argv[1])
made = Publication(folder, list_files(folder), digest_of_files(folder))
silent = lambda line: None
send(made, "org/wool", "dataset", Home(Path(sys.argv[2])), public=False, agree=silent, say=silent)
"""


def test_after_kill_9_it_goes_on_and_sends_nothing_twice(
    hub: Any, make: Make, publish: Any, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    made = make()
    environment = os.environ | {"HF_ENDPOINT": hub.url, "HF_TOKEN": hub.token}
    environment["HF_HUB_OFFLINE"] = "0"
    command = [sys.executable, "-c", KILLED, str(made.path), str(home.path)]
    hub.stalls_after = 3
    running = subprocess.Popen(command, env=environment)
    until = time.monotonic() + 120
    while not hub.is_stalling and time.monotonic() < until:
        assert running.poll() is None
        time.sleep(0.02)
    running.send_signal(signal.SIGKILL)
    running.wait(30)
    assert len(hub.repository(REPO).commits) == 2
    assert "unfinished" in texts_in(hub)["README.md"]
    hub.stalls_after = None
    assert subprocess.run(command, env=environment, check=False, timeout=120).returncode == 0
    assert texts_in(hub) == {**SHARDS, **OTHERS}
    assert set(hub.ledger.uploads.values()) == {1}
    assert len(hub.ledger.uploads) == 5
    assert list(hub.repository(REPO).tags) == [f"sha256-{made.digest}"]


@pytest.fixture
def run(
    sample_home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Return what calls the command line over the samples: exit code, stdout, stderr."""

    def call(*words: object) -> tuple[int, str, str]:
        line = ["woolgather", "--home", str(sample_home.path), *(str(word) for word in words)]
        monkeypatch.setattr(sys, "argv", line)
        with pytest.raises(SystemExit) as done:
            main()
        captured = capsys.readouterr()
        return int(done.value.code or 0), captured.out, captured.err

    return call


def test_the_command_line_says_what_was_sent(hub: Any, run: Any) -> None:
    words = ("publish", "dataset", "gsm8k", "--repo", REPO, "--workers", "1", "--yes")
    code, out, error = run(*words, "--json")
    told = json.loads(out)
    assert (code, told["sent"]["visibility"]) == (0, "private")
    assert told["sent"]["tag"] == f"sha256-{told['digest']}"
    assert {one["path"] for one in told["files"]} == set(names_in(hub, REPO))
    assert "MARKER" not in out + error
    code, out, _ = run(*words)
    assert out == (
        f"private {hub.url}/datasets/{REPO} holds digest {told['digest'][:12]} already; no file was"
        " sent\n"
    )
