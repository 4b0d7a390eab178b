"""A small bilingual table of rows, a tiny random Llama, and runs that take a second."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from corpus.schema import row_id
from corpus.settings import Home

HERE = Path(__file__).parent
NOISE = (
    # peft asks transformers by the name that the newest transformers has just replaced.
    "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.train)
            for rule in NOISE:
                item.add_marker(pytest.mark.filterwarnings(rule))


@dataclass(frozen=True)
class Source:
    name: str
    lang: str
    task: str
    gen: str


@dataclass(frozen=True)
class Codes:
    source: Any


@dataclass
class Table:
    """A mixture in memory."""

    records: Sequence[dict[str, Any]]
    codes: Sequence[int]
    sources: Sequence[Source]
    held: Sequence[int] = ()
    name: str = "table"
    index: Codes = field(init=False)
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        self.kept = [one for one in range(len(self.records)) if one not in set(self.held)]
        self.index = Codes(np.array([self.codes[one] for one in self.kept], np.int16))
        told = [(self.value(one, "id"), self.codes[one]) for one in self.kept]
        self.digest = hashlib.sha256(repr(told).encode()).hexdigest()

    def __len__(self) -> int:
        return len(self.kept)

    def rows(self, indices: Any, columns: Sequence[str]) -> dict[str, list[Any]]:
        where = [self.kept[int(one)] for one in indices]
        return {column: [self.value(one, column) for one in where] for column in columns}

    @property
    def holdout(self) -> Table:
        records = [self.records[one] for one in self.held]
        return Table(records, [self.codes[one] for one in self.held], self.sources)

    def value(self, row: int, column: str) -> Any:
        one = {"input": "", "history": [], "system": None, "extra": None, **self.records[row]}
        if column == "id":
            history = [(turn["instruction"], turn["output"]) for turn in one["history"]]
            return row_id(one["instruction"], one["input"], one["output"], history, one["system"])
        return one[column]


SOURCES = (
    Source("alpaca", "EN", "MT", "SI"),
    Source("belle_cn", "CN", "MT", "SI"),
    Source("gsm8k/train", "EN", "TS", "HG"),
)


def make_table(n_rows: int = 48) -> Table:
    """Rows of three sources and several shapes; every seventh is held out."""
    records: list[dict[str, Any]] = []
    for n in range(n_rows):
        if n % 3 == 0:
            records.append(
                {"instruction": f"Name {n} colours.", "output": "Red, green. " * (n % 5 + 1)}
            )
        elif n % 3 == 1:
            turn = {"instruction": "你好", "output": "你好，请问有什么可以帮你？"}
            record = {
                "instruction": f"请介绍第{n}个城市。",
                "output": f"好的，这是第{n}个城市的介绍。",
            }
            records.append({**record, "history": [turn] * (n % 2)})
        else:
            asked = {"instruction": f"What is {n} + {n}?", "input": "Think first."}
            records.append({**asked, "output": f"{n} + {n} = {2 * n}", "system": "Be brief."})
    codes = [n % 3 for n in range(n_rows)]
    return Table(records, codes, SOURCES, held=range(0, n_rows, 7))


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Keep torch off the other cores: tests run beside others, and sums stay in one order."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def table() -> Table:
    return make_table()


@pytest.fixture(scope="session")
def table_of() -> Callable[..., Table]:
    """Make a table of given records, all of one source unless codes are given."""

    def make(records: Sequence[dict[str, Any]], codes: Sequence[int] | None = None) -> Table:
        return Table(records, codes or [0] * len(records), SOURCES)

    return make


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama of two layers, with its tokenizer."""
    from train.tiny import TinyShape, make_tiny, rendered_texts

    texts = rendered_texts(make_table(96))
    shape = TinyShape(vocabulary=700, layers=2, width=64, positions=512)
    return make_tiny(tmp_path_factory.mktemp("base"), texts, shape)


@pytest.fixture(scope="session")
def tokenizer(base: Path) -> Any:
    from train.model import load_tokenizer

    return load_tokenizer(base)


@pytest.fixture
def a_run(base: Path) -> Callable[..., Any]:
    """Make a run over the tiny model: six steps of four packed rows, two a forward pass."""
    from train.config import Run

    def make(**changes: Any) -> Any:
        values: dict[str, Any] = {
            "base_model": str(base),
            "mixture": "table",
            "name": "r",
            "sequence_length": 128,
            "steps": 6,
            "batch": {"rows": 4, "micro": 2},
            "optimizer": {"lr": 1e-2},
        }
        return Run.model_validate({**values, **changes})

    return make


@pytest.fixture(scope="session")
def trained(base: Path, table: Table, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One finished LoRA run that several tests look at."""
    from train.config import Run
    from train.run import run_training

    run = Run(
        base_model=str(base),
        mixture="table",
        name="trained",
        sequence_length=128,
        steps=12,
        batch={"rows": 4, "micro": 1},
        optimizer={"lr": 1e-2},
        eval={"steps": 5},
    )
    return run_training(run, Home(tmp_path_factory.mktemp("trained")), mixture=table)


MODES = {
    # name: file, class prefix, settings
    "baichuan": ("rotary", "", {"model_type": "baichuan", "max_position_embeddings": 256}),
    "internlm": ("rotary", "Intern", {"model_type": "internlm", "bias": True}),
    "internlm2": ("rotary", "Intern2", {"model_type": "internlm2", "num_key_value_heads": 2}),
    "chatglm": ("chatglm", "", {"model_type": "chatglm", "position_encoding_2d": True}),
    "chatglm2": ("chatglm", "", {"model_type": "chatglm", "multi_query_group_num": 2}),
    "moss": ("moss", "", {"model_type": "moss"}),
}


@pytest.fixture(scope="session")
def foreign(
    base: Path, tokenizer: Any, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """Write a random model that brings its own code; that code is copied to a temporary folder."""
    import json
    import shutil

    import torch
    import transformers.dynamic_module_utils
    from transformers.dynamic_module_utils import get_class_from_dynamic_module

    from train.model import load_tokenizer, quiet_libraries

    transformers.dynamic_module_utils.HF_MODULES_CACHE = str(tmp_path_factory.mktemp("modules"))

    def make(name: str) -> Path:
        folder = tmp_path_factory.getbasetemp() / f"foreign-{name}"
        if folder.exists():
            return folder
        shutil.copytree(base, folder, ignore=shutil.ignore_patterns("config.json", "*.safetensors"))
        source, prefix, settings = MODES[name]
        shutil.copyfile(HERE / "foreign" / f"{source}.py", folder / f"modeling_{name}.py")
        marks = load_tokenizer(base)
        own = {"chatglm": ["[gMASK]", "<sop>", "<eop>"], "moss": ["<eoh>", "<eom>"]}
        if source in own:
            marks.add_special_tokens({"extra_special_tokens": own[source]})
            marks.save_pretrained(str(folder))
        if source == "chatglm":
            ids = marks.convert_tokens_to_ids(["<unk>", "[gMASK]", "<sop>", "<eop>"])
            keys = ("mask_token_id", "gmask_token_id", "bos_token_id", "eos_token_id")
            settings = {**settings, **dict(zip(keys, ids, strict=True))}
        model = "ForConditionalGeneration" if source == "chatglm" else "ForCausalLM"
        auto = "AutoModel" if name == "chatglm" else "AutoModelForCausalLM"
        code = {"AutoConfig": f"{prefix}Config", auto: f"{prefix}{model}"}
        config = {
            "vocab_size": len(marks),
            "tie_word_embeddings": False,
            **settings,
            "auto_map": {key: f"modeling_{name}.{one}" for key, one in code.items()},
        }
        with torch.random.fork_rng(devices=[]), quiet_libraries():
            torch.manual_seed(0)
            loaded = get_class_from_dynamic_module(config["auto_map"][auto], str(folder))
            built = loaded(loaded.config_class(**config))
            for parameter in built.parameters():
                if parameter.ndim > 1:
                    parameter.data.normal_(0, 0.1)
            saved = tmp_path_factory.mktemp("saved")
            built.save_pretrained(str(saved))
        shutil.copyfile(saved / "model.safetensors", folder / "model.safetensors")
        whole = json.loads((saved / "config.json").read_text()) | config
        (folder / "config.json").write_text(json.dumps(whole))
        return folder

    return make
