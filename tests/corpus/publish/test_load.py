"""What was sent is loaded back by name: configs, Parquet, the lock that makes the rows again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl

from corpus.build import BuildRequest, build_entry, inputs_of
from corpus.catalog import Catalog
from corpus.engine import Engine
from corpus.mixture import Mixture, rebuild_mixture
from corpus.publish import Publication
from corpus.publish.hub import send
from corpus.resources import packed
from corpus.settings import Home

LOAD = """
import json, sys
from datasets import load_dataset
from huggingface_hub import hf_hub_download, list_repo_files

found = {"ids": {}, "files": {}}
for repo, name in json.loads(sys.argv[1]):
    loaded = load_dataset(repo, *([name] if name else []))
    for split, rows in loaded.items():
        found["ids"][f"{repo} {name} {split}"] = rows["id"][:]
for name in list_repo_files("org/wool", repo_type="dataset"):
    if name.endswith(("mixture.lock", "sources.json", ".parquet")):
        found["files"][name] = hf_hub_download("org/wool", name, repo_type="dataset")
json.dump(found, open(sys.argv[2], "w"))
"""


def silent(line: str) -> None:
    """Say nothing, agree to all."""


def test_what_was_sent_is_loaded_by_name_and_made_again(
    hub: Any, mixed: Publication, stored: Publication, sample_home: Home, tmp_path: Path
) -> None:
    for made, repo in ((mixed, "org/wool"), (stored, "org/three")):
        send(made, repo, "dataset", sample_home, public=False, agree=silent, say=silent)
    wanted = [("org/wool", None), ("org/wool", "wool")]
    wanted += [("org/three", one) for one in (None, "alpaca", "gsm8k", "woolgather_hant")]
    environment = {key: one for key, one in os.environ.items() if not key.startswith("HF_")}
    environment |= {"HF_ENDPOINT": hub.url, "HF_TOKEN": hub.token, "HF_HOME": str(tmp_path / "hf")}
    command = [sys.executable, "-c", LOAD, json.dumps(wanted), str(tmp_path / "found.json")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads((tmp_path / "found.json").read_text())

    ids, mixture = found["ids"], Mixture.open("wool", sample_home)
    for name in (None, "wool"):
        for split, rows in (("train", mixture), ("test", mixture.holdout)):
            assert ids[f"org/wool {name} {split}"] == rows.rows(range(len(rows)), ["id"])["id"]
    for split in ("train", "test"):
        parts = (ids.get(f"org/three {name} {split}", []) for _, name in wanted[3:])
        assert ids[f"org/three None {split}"] == [id for part in parts for id in part]

    files = {Path(name).name: Path(path) for name, path in found["files"].items()}
    shard = next(path for name, path in files.items() if name.startswith("train-"))
    assert pl.read_parquet(shard)["id"].to_list() == ids["org/wool wool train"]

    second = Home(tmp_path / "second")
    catalog, request = Catalog.load(second), BuildRequest((packed("samples"),))
    with Engine("serial") as engine:
        for id in json.loads(files["sources.json"].read_text()):
            build_entry(catalog[id], inputs_of(catalog[id], request), second, engine, request)
    assert rebuild_mixture(files["mixture.lock"], second).digest == mixture.digest
