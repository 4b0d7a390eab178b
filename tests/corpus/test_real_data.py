"""Real raw files: counts as their SOURCE.txt says, and records that were read by hand.

The rows expected here were taken from the raw bytes with nothing but json, csv, gzip and zipfile;
they are kept as sha256 of the compact JSON of [instruction, input, output, history, system].
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from corpus.build import BuildRequest, build_entry, inputs_of
from corpus.catalog import Catalog
from corpus.engine import Engine
from corpus.settings import Home
from corpus.store import Build, Store

COUNTS = {
    "alpaca": 5000 + 1000 + 100,
    "alpaca_gpt4_zh": 1000,
    "alpaca_zh_carbonz0": 10021,
    "belle_cn": 1000 + 10,
    "chain_of_thought": 2728 + 6915 + 7112 + 7473 + 1084 + 2061,
    "chinese_medical": 7645 - 1,  # The header is counted there.
    "csl": 1000 + 1000,
    "dolly": 12,
    "gsm8k": 7473 + 1319,
    "hh_rlhf": 2312,
    "moss_003_sft": 320,  # Of 570 members, those without plugins.
    "sharegpt_zh": 1000 + 3,
}
"""Records of the files that belong to each entry."""

BY_HAND: dict[str, list[tuple[str, int, str]]] = {
    "alpaca": [
        (
            "alpaca_5000.json",
            0,
            "8d78d02aa486592d658f652b3d12f392998f7acb506915a78423efb7e383c754",
        ),
        (
            "alpaca_5000.json",
            17,
            "a6fc38cd0c9ebb504f82dc2c3b060c5941881b20f3070de59fc886b4ac3bc4e7",
        ),
        (
            "alpaca_5000.json",
            2500,
            "a5223d63ba6050de28ad16a48bd698936dc89897e22de5ddca0ef92c2eec1ded",
        ),
        (
            "alpaca_5000.json",
            4999,
            "f17046b769c2c596069bc15cb126bde0cc7a738521f2368b84176c3bd07ba69e",
        ),
        (
            "alpaca_5000.json",
            93,
            "faa5d68cd708ea1725dfd100ca9ffac46bf3b9241ff00734bf7a0f1979f77da4",
        ),
    ],
    "alpaca_gpt4_zh": [
        (
            "data/alpaca_zh_demo.json",
            0,
            "8d64de1fd41f3d46cc9cd12424a71eb3069f92a62ecea94e5bf3ed6fe1f6ce6d",
        ),
        (
            "data/alpaca_zh_demo.json",
            500,
            "540f682212fa56b7e972b2f8c258043b547ea308f51c9585158f568d3567af5d",
        ),
        (
            "data/alpaca_zh_demo.json",
            999,
            "7b47a8cdc31c7d0e8486c490b97104b9a507ac4a6e0b34b1cc02c7cfe62c1551",
        ),
        (
            "data/alpaca_zh_demo.json",
            1,
            "d3b208197983c49e74545d295104b150c7553c3dbc84834d066a97ef9976d5c8",
        ),
        (
            "data/alpaca_zh_demo.json",
            6,
            "40b9fa2858811b52fe75268a1e58ef634638d597468bb8eb70a41637543a03c9",
        ),
    ],
    "alpaca_zh_carbonz0": [
        (
            "zh-data-part-00.json",
            3,
            "6893b30520b9c328cd6a33dea03087cbc0fcf5b7f702304eb0feef9ec37bd22a",
        ),
        (
            "zh-data-part-00.json",
            10020,
            "136e2da1551210695a804c95611c8711cbc875d8217c395804148d1cb26a39ef",
        ),
        (
            "zh-data-part-00.json",
            37,
            "9672f5693c850fa73b5e2cb0fcd6f1e5c31eacdf2cb859d67c17f1e387491d33",
        ),
        (
            "zh-data-part-00.json",
            38,
            "1917c4fb84ee45b3da46bca34b49a8a5290c3c8c0ff16acc9e50cc1bd02378b6",
        ),
        (
            "zh-data-part-00.json",
            563,
            "81fa2689c300d066d2628615798abf7a2932ec83cf914938acbc791fd060441b",
        ),
    ],
    "belle_cn": [
        (
            "train/utils/data/dev1K.json",
            0,
            "c09591ec35f867acca21e45a449fa4cdc25390fe7a4ea911b0c4b7196c163652",
        ),
        (
            "train/utils/data/dev1K.json",
            333,
            "f47c0f3223c9a57b1210ea532fa91c1f1a69b4ba6d414eda2917eaa04bf750ab",
        ),
        (
            "train/utils/data/dev1K.json",
            999,
            "cdbc8ee5da7683faf9d9caa363bc217b5dd9d5b2afaafb034a6494fd8bb71249",
        ),
        (
            "sample/instruct/data_sample.jsonl",
            1,
            "4629f86b333216a31dffb8c4c48a8b04261aaefb751847df999f1197aaedeed9",
        ),
        (
            "sample/instruct/data_sample.jsonl",
            8,
            "8838f91d424e420a8f80fbe57cec4bb3ba739a6081744ee6097a426a4b40bf25",
        ),
    ],
    "chain_of_thought": [
        (
            "aqua_train.tsv",
            0,
            "9d4ee8dc0e2163f831be97936c0b0bfb4ccde03f0278735aadcf5129ed60f90a",
        ),
        (
            "creak_train.tsv",
            6914,
            "aea1bef397732f14b6b832b489bed26b5a01069db7964bf522211de26694c1f2",
        ),
        (
            "ecqa_train.tsv",
            3000,
            "d48fcaf82d6e7e97b76865f3db068f45a88bfef4b9eb53f622a74c635054ae78",
        ),
        (
            "gsm8k_train.tsv",
            77,
            "e90e0822c78c124861960e4aa17b34a8f1593386c8c790872b62678976af59b8",
        ),
        (
            "strategyqa_train.tsv",
            1000,
            "8661a69470dcda0489568b0b79c66f9d7d700dffe3942bdbc79f7dc1791c9442",
        ),
    ],
    "chinese_medical": [
        (
            "样例_内科5000-6000.csv",
            0,
            "380eb18267dbb27274c110336e9d1abdd161f9f2b173945b7c888f242c822225",
        ),
        (
            "样例_内科5000-6000.csv",
            100,
            "c91cff492477c29fd25f67d05f9bd00aa793f30d0d419a303c4f57611106091a",
        ),
        (
            "样例_内科5000-6000.csv",
            4000,
            "61b0acb2a3cd23943013378b6e5242f4092cee8b03d6616292ecf368d6b8b2bd",
        ),
        (
            "样例_内科5000-6000.csv",
            7643,
            "5006b3f5e85e1768f6531ea06e279e0c7d9bfab86fa9af598281fa172877ec3d",
        ),
        (
            "样例_内科5000-6000.csv",
            1005,
            "80a326afeb277188f8a305611852f9922be7e0ed35735f88a0cca43e36ef16d4",
        ),
    ],
    "csl": [
        (
            "benchmark/kg/dev.tsv",
            0,
            "5eb3c7886f03792ea68620980d49eea4afaaa67418a44ea4388f143742b8d4d5",
        ),
        (
            "benchmark/kg/dev.tsv",
            500,
            "e21017bf4c9aa5cafde17d0909476a37b992d243c8a92817c2ac97ef6f2dd9d8",
        ),
        (
            "benchmark/kg/dev.tsv",
            999,
            "46ca010de7a56b41bb1d507e8f17fedd56ae1ab5f34402d6e7cf8e36fba0c4d6",
        ),
        (
            "benchmark/ts/dev.tsv",
            7,
            "7ce9f15db45ebbe1ddacbef1d287ce6f89873982cb8b51489e17a8f8bf2b9f6d",
        ),
        (
            "benchmark/ts/dev.tsv",
            999,
            "0fbefd473e6900ba945672303e2ff90d8fbc0b584edc14a99f7afb333e606191",
        ),
    ],
    "dolly": [
        (
            "dolly.json",
            0,
            "683009bb94afde8eb847195eb62aea73d295be002a29147ae9c02173c1263bbe",
        ),
        (
            "dolly.json",
            3,
            "4741b8e2533911401689d53b706c3f668dbe6d145170ffb34a64d5f24f22d66a",
        ),
        (
            "dolly.json",
            5,
            "3696353a1fddeb9b256e6465d9f7e65add66cec332ce6f5bbeccf10adc80c194",
        ),
        (
            "dolly.json",
            9,
            "84b209ba005a9855aa734a3aa45b55cda65e6847f98aee65ca55697a298f6fc7",
        ),
        (
            "dolly.json",
            11,
            "6d46b96a029b71b0e77034c3d02b81368a92155823fc6650802eb826a8510e21",
        ),
    ],
    "gsm8k": [
        (
            "train.jsonl",
            0,
            "1152c0804952042e561c8faa771146849b195618b0197e7553a4ed76020db984",
        ),
        (
            "train.jsonl",
            1234,
            "6653dbb7c9e487b17e8827d259e8baa79e596b0d0c2dd0fe9b0706a22f2547f8",
        ),
        (
            "train.jsonl",
            7472,
            "75242f01b12bc8a7c2565b9d75a0ead4de19f18a65b7f61681642c2a5a77796e",
        ),
        (
            "test.jsonl",
            0,
            "b6ec2b6dbd28236148609c3c2c20728bfec43c43a182e9dc76a06595cf5e1a4a",
        ),
        (
            "test.jsonl",
            1318,
            "bfc238bff06407419b6e2acef5f786b8ef0558ff4f49a8355095817de7131c39",
        ),
    ],
    "hh_rlhf": [
        (
            "harmless-base.test.jsonl.gz",
            0,
            "f2f35a756a17166033a4ef73779497ab647dd9ac69b6b57e6935b305eaed002f",
        ),
        (
            "harmless-base.test.jsonl.gz",
            11,
            "7a88790cc09612ad55ec485e385e7d73e9af9a8ec264e4e8dc2e137ce788cbf1",
        ),
        (
            "harmless-base.test.jsonl.gz",
            1000,
            "4a5124dc04d10e53f15a685debeca1f6ea2af7eddd176ec8ce2799657823a7f1",
        ),
        (
            "harmless-base.test.jsonl.gz",
            2000,
            "8d636031aff95b2d1336b9f5fff9abc650843688eae67d4b4ffd099954a191d9",
        ),
        (
            "harmless-base.test.jsonl.gz",
            2311,
            "aad6a087da6aa14d4e1de7582796272fa69c0f9c1980a194c171a06c144de961",
        ),
    ],
    "moss_003_sft": [
        (
            "moss-003-sft-sample.zip!/SFT_data/conversations/conversation_without_plugins/harmless_conversations/harmless_conversation_1.json",
            0,
            "56972d0bf5b9fcc3b8bca27e8e73cd6fbbbc91dd51a7dfc0ecc727a1a515f894",
        ),
        (
            "moss-003-sft-sample.zip!/SFT_data/conversations/conversation_without_plugins/helpful_conversations/helpful_brainstorming_conversations/helpful_brainstorming_conversation_1.json",
            0,
            "7ba4b5e726d6cc7f5eb90c0b6494177cff412d57bdd75d2de3beeff4ae8a9194",
        ),
        (
            "moss-003-sft-sample.zip!/SFT_data/conversations/conversation_without_plugins/helpful_conversations/helpful_code_conversations/helpful_code_conversation_27.json",
            0,
            "5173b35d662982310e7a4bbb7dfb800627aaa3702cafac62089ee9436abb83e1",
        ),
        (
            "moss-003-sft-sample.zip!/SFT_data/conversations/conversation_without_plugins/helpful_conversations/helpful_role_playing_conversations/helpful_role_playing_conversation_1.json",
            0,
            "605907f65575ce2877df0b0197ec8af5086892baf94481735f37130b66e9ce6b",
        ),
        (
            "moss-003-sft-sample.zip!/SFT_data/conversations/conversation_without_plugins/honest_conversations/honest_conversation_9.json",
            0,
            "458794ca769ec3c097a6fd9b9c6b98862d7fb8d0e967e42ed2ff2dd5dc3ac564",
        ),
    ],
    "sharegpt_zh": [
        (
            "data/finetune/sharegpt_zh_1K.json",
            0,
            "86d004fe60d459baab570779ccf51042f86ef79261922875f630f86867dca94d",
        ),
        (
            "data/finetune/sharegpt_zh_1K.json",
            200,
            "70c02c77d157992b0961ae7e69184457a7f27c9dcc5c0b6f6a60754ce997df9a",
        ),
        (
            "data/finetune/sharegpt_zh_1K.json",
            777,
            "17d8155a17f58103886d229cc672fa05ab97b0d8eb0c7d11f626211552c8be1f",
        ),
        (
            "data/finetune/sharegpt_zh_1K.json",
            990,
            "2b03fb1bb8abd935f4c64dc6b9558ad9e2def59bc95a6a9d1bbf98300a4ab8bb",
        ),
        (
            "sample/chat/data_sample.jsonl",
            1,
            "878097eaf90d40281ca2bd10a469f8c2ff99e9338df97aadcb15b61d128b4082",
        ),
    ],
}


@pytest.fixture(scope="module")
def module_home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("real"))


@pytest.fixture
def build_of(real_raw: Path, module_home: Home) -> Any:
    """Return a function that builds a source from its real raw files, once."""

    def build_of(id: str) -> Build:
        store = Store(module_home)
        if store.has(id):
            return store.current(id)
        entry = Catalog.load(module_home)[id]
        request = BuildRequest((real_raw,))
        engine = Engine("serial")
        return build_entry(entry, inputs_of(entry, request), module_home, engine, request).build

    return build_of


def digest_of(row: dict[str, Any]) -> str:
    """Return the sha256 of a row's content."""
    turns = [[turn["instruction"], turn["output"]] for turn in row["history"]]
    content = [row["instruction"], row["input"], row["output"], turns, row["system"]]
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize("id", list(COUNTS))
def test_every_record_is_accounted_for(build_of: Any, module_home: Home, id: str) -> None:
    build = build_of(id)
    assert build.records == COUNTS[id]
    assert build.records == build.rejected + len(
        {
            (one["file"], one["record"])
            for one in build.reader().table(["origin"])["origin"].to_pylist()
        }
    )
    expected = Catalog.load(module_home)[id].expected_rejects
    assert build.rejected <= build.records * (expected.share if expected else 0.005)


@pytest.mark.parametrize("id", list(BY_HAND))
def test_rows_are_those_that_were_read_by_hand(build_of: Any, id: str) -> None:
    table = build_of(id).reader().table()
    rows = {(one["file"], one["record"]): n for n, one in enumerate(table["origin"].to_pylist())}
    found = [
        (file, record, digest_of(table.slice(rows[file, record], 1).to_pylist()[0]))
        for file, record, _ in BY_HAND[id]
    ]
    assert found == BY_HAND[id]


def test_the_test_rows_of_gsm8k_are_not_in_its_train_subset(build_of: Any) -> None:
    build = build_of("gsm8k")
    assert build.subsets == {"train": (0, 7473), "test": (7473, 8792)}
    rows = build.reader().table(["id", "source", "origin"]).to_pylist()
    assert {row["origin"]["file"] for row in rows[:7473]} == {"train.jsonl"}
    assert {row["source"] for row in rows[7473:]} == {"gsm8k/test"}
    assert not {row["id"] for row in rows[:7473]} & {row["id"] for row in rows[7473:]}
