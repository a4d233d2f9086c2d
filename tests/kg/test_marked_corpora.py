"""Marked texts from JSON lines: what becomes of a good line, and what is said about a bad one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kelm.batch import Encoded
from kelm.data.reader import Reader
from kelm.errors import CheckpointError, FormatError, KelmError, MissingPart, TextTooLong
from kelm.model import EncoderConfig
from kelm.text import vocabulary
from kelm.text.tokenizer import Tokenizer
from kg.embeddings.table import EntityTable
from kg.enrich.marked import Pairs, TypedMentions
from kg.enrich.marked_corpora import marked_mentions, marked_pairs
from kg.enrich.relation_files import read_tacred, write_pairs
from kg.linking.base import Mentions
from kg.linking.linked_text import read_fewrel
from kg.tasks.entity_typing import EntityTyping
from kg.tasks.relations import RelationClassification

TEXT = "old bonn lies on the rhine in germany"
BONN, RHINE, GERMANY = [4, 8, "Q2"], [21, 26, "Q1"], [30, 37, "Q3"]
PAIR = {"text": TEXT, "head": RHINE, "tail": BONN, "relation": "flows by"}
MENTION = {"text": TEXT, "mention": BONN, "types": ["city", "place"]}
RELATIONS, TYPES = ["located in", "flows by"], ["river", "city", "place"]
Line = dict[str, Any]


@pytest.fixture(scope="module")
def words() -> Tokenizer:
    return vocabulary.train([TEXT], 75, "wordpiece", lower=True)


@pytest.fixture
def pairs(words: Tokenizer, tmp_path: Path) -> Callable[..., Reader]:
    """Opens lines as a corpus of pairs; beside the file lies a table of four entities."""
    EntityTable.from_vectors(["Q1", "Q2", "Q3"], np.eye(3, 8)).save(tmp_path / "vectors")

    def opened(*lines: Line | str, **options: Any) -> Reader:
        path = tmp_path / "pairs.jsonl"
        path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
        return marked_pairs(str(path), **options_of(words), **{"relations": RELATIONS, **options})

    return opened


@pytest.fixture
def mentions(words: Tokenizer, tmp_path: Path) -> Callable[..., Reader]:
    def opened(*lines: Line, **options: Any) -> Reader:
        path = tmp_path / "mentions.jsonl"
        path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
        return marked_mentions(str(path), **options_of(words), **{"types": TYPES, **options})

    return opened


def options_of(words: Tokenizer) -> dict[str, Any]:
    sizes = {"hidden_size": 16, "num_attention_heads": 2, "max_position_embeddings": 40}
    return {"tokenizer": words, "config": EncoderConfig(vocab_size=words.vocabulary_size, **sizes)}


def texts(corpus: Reader) -> list[Encoded]:
    return [text for text, _ in corpus.stream()]


def pieces(text: Encoded, words: Tokenizer) -> str:
    names = {words.find("[unused1]"): "<h>", words.find("[unused2]"): "<t>", words.find("[unused3]"): "<e>"}
    return " ".join(names.get(int(id), words.piece(int(id))) for id in text.tokens)


def test_head_and_tail_get_their_markers_and_their_relation(pairs: Any, words: Tokenizer) -> None:
    [text] = texts(pairs(PAIR))
    assert pieces(text, words) == "[CLS] old <t> bonn <t> lies on the <h> rhine <h> in germany [SEP]"
    asked = text[Pairs]
    assert (int(asked.head), int(asked.tail), int(asked.relation)) == (9, 3, 1)
    with pytest.raises(MissingPart, match="Mentions"):
        text[Mentions]  # no table, no entities: a plain encoder reads it


def test_a_mention_gets_its_markers_and_its_types(mentions: Any, words: Tokenizer) -> None:
    [text] = texts(mentions(MENTION))
    assert pieces(text, words) == "[CLS] old <e> bonn <e> lies on the rhine in germany [SEP]"
    assert text[TypedMentions].types.tolist() == [[False, True, True]]
    assert int(text[TypedMentions].mention) - 1 == int(text[TypedMentions].marker) == 2


def test_hidden_words_are_masked(pairs: Any, words: Tokenizer) -> None:
    [text] = texts(pairs(PAIR, hidden=True))
    assert pieces(text, words) == "[CLS] old <t> [MASK] <t> lies on the <h> [MASK] <h> in germany [SEP]"


def test_entities_become_rows_of_the_table(pairs: Any, tmp_path: Path) -> None:
    unknown = {**PAIR, "head": [21, 26, "Q99"], "tail": [4, 8, None]}
    bare = {**PAIR, "head": [21, 26], "tail": [4, 8]}
    more = {**PAIR, "mentions": [GERMANY, [0, 8, "Q3"]]}  # the second overlaps the tail, which goes first
    found = texts(pairs(PAIR, unknown, bare, more, table=str(tmp_path / "vectors")))
    assert [text[Mentions].entity.tolist() for text in found] == [[1, 0], [-1, -1], [-1, -1], [1, 0, 2]]
    for text in found:  # the pair's places are the mentions' own, so that a task finds their entities
        assert {int(text[Pairs].head), int(text[Pairs].tail)} <= set(text[Mentions].first.tolist())


@pytest.mark.parametrize("before", [0, 1, 30, 60])
def test_a_long_text_is_cut_around_what_is_marked(before: int, pairs: Any, words: Tokenizer) -> None:
    padding = "the " * before, " the" * (60 - before)
    shifted = [[start + len(padding[0]), end + len(padding[0]), entity] for start, end, entity in (RHINE, BONN)]
    line = {**PAIR, "text": padding[0] + TEXT + padding[1], "head": shifted[0], "tail": shifted[1]}
    [text] = texts(pairs(line, length=20))
    assert len(text) == 20
    assert "<t> bonn <t> lies on the <h> rhine <h>" in pieces(text, words)
    assert pieces(text, words).startswith("[CLS]") and pieces(text, words).endswith("[SEP]")
    spans = text.spans[text.words >= 0]
    assert [text.text[start:end] for start, end in spans] == [
        words.piece(int(id)) for id in text.tokens[text.words >= 0]
    ]


def test_mentions_farther_apart_than_a_text_may_be_long_are_an_error(pairs: Any) -> None:
    with pytest.raises(TextTooLong, match=r"pairs.jsonl:1: what is marked takes 5 tokens, and there is room for 4"):
        texts(pairs(PAIR, length=10))


def test_without_names_the_answers_are_left_unread(pairs: Any, mentions: Any) -> None:
    [pair] = texts(pairs({"text": TEXT, "head": BONN, "tail": RHINE}, relations=None))
    [mention] = texts(mentions({"text": TEXT, "mention": BONN}, types=None))
    assert int(pair[Pairs].relation) == -1
    assert mention[TypedMentions].types.shape == (1, 0)


def without(field: str) -> Line:
    return {name: value for name, value in PAIR.items() if name != field}


BAD_PAIRS: dict[str, tuple[Line | str, str]] = {
    "no JSON": ('{"text": ', "line 2: this is no JSON"),
    "no object": ("[1, 2]", "line 2: expected an object, found list"),
    "no text": (without("text"), "line 2, field text: the object lacks it. Known: head, relation, tail"),
    "blank text": ({**PAIR, "text": "  "}, "line 2, field text: expected a text, found '  '"),
    "no head": (without("head"), "line 2, field head: the object lacks it"),
    "a misspelled field": (
        {**without("tail"), "tial": BONN},
        'line 2, field tail: the object lacks it. Did you mean "tial"?',
    ),
    "no relation": (without("relation"), "line 2, field relation: the object lacks it"),
    "an unknown relation": (
        {**PAIR, "relation": "flow by"},
        'line 2, field relation: "flow by" is none of the 2 labels. Did you mean "flows by"? Known: flows by, located',
    ),
    "two relations": ({**PAIR, "relation": RELATIONS}, "line 2, field relation: expected one name, found 2"),
    "no name": ({**PAIR, "relation": 7}, "line 2, field relation: 7 is no name"),
    "beyond the text": (
        {**PAIR, "tail": [30, 38]},
        "line 2, field tail: [30, 38] does not lie within this text of 37 characters. Give 0 <= start < end <= 37",
    ),
    "the wrong way round": ({**PAIR, "head": [8, 4]}, "line 2, field head: [8, 4] does not lie within"),
    "negative": ({**PAIR, "head": [-4, 4]}, "line 2, field head: [-4, 4] does not lie within"),
    "nothing there": ({**PAIR, "head": [3, 4]}, "line 2, field head: only blanks stand at [3, 4]"),
    "no offsets": ({**PAIR, "head": "rhine"}, "field head: 'rhine' is no mention. Write [start, end, entity]"),
    "an entity by number": ({**PAIR, "head": [21, 26, 1]}, "field head: [21, 26, 1] is no mention"),
    "an overlap": ({**PAIR, "tail": [17, 26]}, "field tail: [17, 26] overlaps head [21, 26]. Mark two mentions that"),
    "one token": ({**PAIR, "tail": [30, 32], "head": [32, 37]}, "field tail: the tokenizer reads head and tail as one"),
    "other mentions": ({**PAIR, "mentions": [[0, 99, "Q1"]]}, "field mentions: [0, 99] does not lie within"),
    "a mapping of mentions": ({**PAIR, "mentions": {"0": 1}}, "field mentions: {'0': 1} is no list"),
}


@pytest.mark.parametrize(("line", "told"), BAD_PAIRS.values(), ids=BAD_PAIRS)
def test_a_bad_pair_is_told_by_file_line_field_and_remedy(
    line: Line | str, told: str, pairs: Any, tmp_path: Path
) -> None:
    with pytest.raises(FormatError) as caught:
        texts(pairs(PAIR, line, table=str(tmp_path / "vectors")))
    assert str(caught.value).startswith(f"{tmp_path / 'pairs.jsonl'}, line 2")
    assert told in str(caught.value)
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            {**MENTION, "types": ["city", "palce"]},
            'field types: "palce" is none of the 3 labels. Did you mean "place"?',
        ),
        ({**MENTION, "types": [1]}, "field types: [1] is no name"),
        ({**MENTION, "mention": [4, 99]}, "field mention: [4, 99] does not lie within"),
        ({"text": TEXT, "types": []}, "field mention: the object lacks it"),
        ({"text": TEXT, "mention": BONN}, "field types: the object lacks it"),
    ],
)
def test_a_bad_mention_is_told_too(line: Line, told: str, mentions: Any, tmp_path: Path) -> None:
    with pytest.raises(FormatError) as caught:
        texts(mentions(MENTION, line))
    assert f"{tmp_path / 'mentions.jsonl'}, line 2, {told}" in str(caught.value)


def test_a_missing_table_is_told(pairs: Any, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nowhere: no entity table is there"):
        pairs(PAIR, table=str(tmp_path / "nowhere")).fingerprint()


def test_a_corpus_that_numbers_labels_otherwise_than_the_task_is_refused(pairs: Any, mentions: Any) -> None:
    config = EncoderConfig(hidden_size=16, num_attention_heads=2)
    relations = RelationClassification(config, relations=RELATIONS[::-1])
    typing = EntityTyping(config, types=[*TYPES, "thing"])
    with pytest.raises(KelmError, match=r"pairs.jsonl:1: the corpus numbers its labels by another list than relations"):
        relations.collate(texts(pairs(PAIR)), 0)
    with pytest.raises(KelmError, match=r"mentions.jsonl:1: the corpus numbers its labels by another list"):
        typing.collate(texts(mentions(MENTION)), 0)
    assert RelationClassification(config, relations=RELATIONS).collate(texts(pairs(PAIR)), 0)


def test_fewrel_and_tacred_become_lines_of_ours(words: Tokenizer, tmp_path: Path) -> None:
    tokens = TEXT.split()
    fewrel = {"flows by": [{"tokens": tokens, "h": ["rhine", "Q1", [[5]]], "t": ["bonn", "Q2", [[0, 1]]]}]}
    tacred = [{"token": tokens, "subj_start": 5, "subj_end": 5, "obj_start": 0, "obj_end": 1, "relation": "flows by"}]
    (tmp_path / "fewrel.json").write_text(json.dumps(fewrel))
    (tmp_path / "tacred.json").write_text(json.dumps(tacred, indent=1))
    for read, name in ((read_fewrel, "fewrel"), (read_tacred, "tacred")):
        assert write_pairs(read(tmp_path / f"{name}.json"), tmp_path / f"{name}.jsonl") == 1
        [text] = texts(marked_pairs(str(tmp_path / f"{name}.jsonl"), relations=RELATIONS, **options_of(words)))
        assert pieces(text, words) == "[CLS] <t> old bonn <t> lies on the <h> rhine <h> in germany [SEP]"


def test_what_is_not_tacreds_is_told(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text('[{"token": ["a"]}]')
    with pytest.raises(FormatError, match=r"this is not TACRED's form \(KeyError: 'subj_start'\)"):
        read_tacred(tmp_path / "bad.json")
