"""The YAML at the head of a card: what the Hub and `datasets` read of it.

https://huggingface.co/docs/hub/datasets-cards and datasets-manual-configuration.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import yaml

from corpus.publish.content import ALL, Content
from corpus.publish.licenses import hub_license
from corpus.publish.markdown import one_line
from corpus.publish.parquet import SCHEMA, SplitFiles
from corpus.publish.statistics import Statistics

SIZES = ("n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M", "100M<n<1B")

MEASURED_SHARE = 0.01
"""A language is named where at least this share of all outputs is in it."""

Files = Mapping[tuple[str, str], SplitFiles]


def front_matter(content: Content, statistics: Statistics, files: Files, title: str) -> str:
    """Return the metadata of a card, between its two lines of dashes."""
    languages = measured_languages(statistics)
    codes = list(dict.fromkeys(one.partition("-")[0] for one in languages))
    found: dict[str, Any] = {
        "pretty_name": one_line(title),
        **({"language": codes, "language_details": languages} if codes else {}),
        **hub_license(content.verdict),
        "multilinguality": ["multilingual" if len(codes) > 1 else "monolingual"],
        "size_categories": [size_category(statistics.whole.total)],
        "source_datasets": ["extended"],
        "task_categories": ["text-generation"],
        "tags": ["instruction-tuning", "woolgather"],
        "configs": config_entries(content, files),
        "dataset_info": info_entries(content, files),
    }
    text = yaml.safe_dump(found, sort_keys=False, allow_unicode=True, width=10_000)
    return f"---\n{text}---\n"


def measured_languages(statistics: Statistics) -> list[str]:
    """Return the languages (BCP 47) of the outputs, most frequent first, without rare ones."""
    least = MEASURED_SHARE * statistics.whole.total
    found = statistics.whole.summary["output_languages"]
    return [name for name, rows in found.items() if rows >= least and name != "und"]


def size_category(rows: int) -> str:
    """Return the Hub's word for a number of rows."""
    place = max(len(str(rows)) - 3, 0)
    return SIZES[min(place, len(SIZES) - 1)]


def config_entries(content: Content, files: Files) -> list[dict[str, Any]]:
    """Return the declared configs: all sources together first, where there are several."""
    entries = []
    if len(content.configs) > 1:
        entries.append(_config(ALL, _together(files), is_default=True))
    for one in content.configs:
        patterns = {split: [files[one.name, split].pattern] for split in one.splits}
        entries.append(_config(one.name, patterns, is_default=not entries))
    return entries


def _together(files: Files) -> dict[str, list[str]]:
    splits: dict[str, list[str]] = {}
    for (_, split), found in sorted(files.items(), key=lambda one: one[0][1] != "train"):
        splits.setdefault(split, []).append(found.pattern)
    return splits


def _config(name: str, splits: Mapping[str, list[str]], *, is_default: bool) -> dict[str, Any]:
    data_files = [
        {"split": split, "path": paths[0] if len(paths) == 1 else paths}
        for split, paths in splits.items()
    ]
    default = {"default": True} if is_default else {}
    return {"config_name": name, "data_files": data_files, **default}


def info_entries(content: Content, files: Files) -> list[dict[str, Any]]:
    """Return features and sizes of each declared config."""
    entries = []
    for config in config_entries(content, files):
        name = config["config_name"]
        mine = {key: one for key, one in files.items() if name in (key[0], ALL)}
        splits = [
            _split(one["split"], [found for key, found in mine.items() if key[1] == one["split"]])
            for one in config["data_files"]
        ]
        entries.append(
            {
                "config_name": name,
                "features": features(SCHEMA),
                "splits": splits,
                "download_size": sum(one.bytes for one in mine.values()),
                "dataset_size": sum(one.uncompressed for one in mine.values()),
            }
        )
    return entries


def _split(name: str, files: Sequence[SplitFiles]) -> dict[str, Any]:
    return {
        "name": name,
        "num_bytes": sum(one.uncompressed for one in files),
        "num_examples": sum(one.rows for one in files),
    }


def features(fields: Any) -> list[dict[str, Any]]:
    """Return Arrow fields as `datasets` writes its features in YAML."""
    return [{"name": field.name, **_feature(field.type)} for field in fields]


def _feature(kind: pa.DataType) -> dict[str, Any]:
    if pa.types.is_struct(kind):
        return {"struct": features(kind)}
    if pa.types.is_list(kind):
        inner = _feature(kind.value_type)
        return {"list": inner["struct"] if "struct" in inner else inner["dtype"]}
    return {"dtype": str(kind)}
