"""Chinese text against K-BERT's graphs: what is found is what a search of every word of the graph finds."""

from __future__ import annotations

import gzip
import os
import re
from pathlib import Path

import pytest

from kg.io import spo
from kg.linking.alias import AliasLinker
from kg.linking.names import AliasOptions

HAN = re.compile("[\u4e00-\u9fff，。、！？；：]{8,80}")
LEAST = 2  # characters of a name in Chinese, as the options have it


@pytest.fixture(scope="module")
def sentences() -> list[str]:
    """Stretches without Latin letters, digits or spaces: there folding changes nothing and words end anywhere."""
    path = data() / "mono" / "zh_cluecorpussmall_sample.txt.gz"
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [stretch for line in file for stretch in HAN.findall(line)][::10]


def data() -> Path:
    root = os.environ.get("KELM_DATA")
    if not root:
        pytest.skip("KELM_DATA is not set: K-BERT's graphs are not here")
    return Path(root)


def longest(words: set[str], text: str) -> list[tuple[int, int, str]]:
    """The longest word at each place, from left to right, tried one by one."""
    result, start = [], 0
    while start < len(text):
        ends = (end for end in range(len(text), start + LEAST - 1, -1) if text[start:end] in words)
        end = next(ends, start)
        if end > start:
            result.append((start, end, text[start:end]))
        start = max(end, start + 1)
    return result


def every(words: set[str], text: str) -> list[tuple[int, int, str]]:
    return [
        (start, end, text[start:end])
        for start in range(len(text))
        for end in range(len(text), start + LEAST - 1, -1)
        if text[start:end] in words
    ]


@pytest.mark.parametrize(("file", "least"), [("HowNet.spo.gz", 1000), ("Medical.spo.gz", 30)])
def test_chinese_text_is_linked_at_exact_characters(file: str, least: int, sentences: list[str]) -> None:
    graph = spo.read(data() / "kg" / "spo_zh" / file)
    words = {word for word in graph.entities if any(map(str.isalnum, word))}
    for matches, slowly in (("longest", longest), ("all", every)):
        linker = AliasLinker.from_graph(graph, ["zh"], options=AliasOptions(matches=matches))
        found = linker.link_all(sentences, "zh")
        for text, mentions in zip(sentences, found, strict=True):
            assert all(text[mention.start : mention.end] == mention.text for mention in mentions)
            assert [(mention.start, mention.end, mention.entity) for mention in mentions] == slowly(words, text)
        assert sum(map(len, found)) > least
