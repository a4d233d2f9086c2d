"""Texts whose mentions are known, from the formats they come in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kelm.errors import FormatError
from kg.graph import KnowledgeGraph
from kg.linking.linked_text import LinkedText, RelationText, gold, joining, read_articles, read_fewrel, read_linked


def entities(text: LinkedText | RelationText) -> list[tuple[str, str | None]]:
    return [(text.text[mention.start : mention.end], mention.entity) for mention in text.mentions]


def test_word_pieces_become_words_and_spans_become_characters(tmp_path: Path) -> None:
    sentence = {
        "tokens": ["ana", "##rch", "##ism", "is", "self", "-", "governed", "."],
        "ents": [[0, 3, "Q6199"], [4, 7, "Q4"]],
    }
    path = tmp_path / "docs.jsonl"
    path.write_text(json.dumps({"doc": 0, "sents": [sentence]}) + "\n", encoding="utf-8")
    (text,) = read_articles(path)
    assert text.text == "anarchism is self - governed ."
    assert entities(text) == [("anarchism", "Q6199"), ("self - governed", "Q4")]
    assert text.origin.endswith("docs.jsonl:1, sentence 1")


@pytest.mark.parametrize(
    ("pieces", "marked", "covered"),
    [
        (["of", "eu", "##ras", "##ia", "."], [1, 2], "eurasia"),
        (["of", "eu", "##ras", "##ia", "."], [2, 3], "eurasia"),
        (["of", "eu", "##ras", "##ia"], [0, 3], "of eurasia"),
        (["carlo", "ro", "##vel", "##li"], [0, 2], "carlo rovelli"),
        (["eu", "##ras", "##ia", "asia"], [2, 4], "eurasia asia"),
        (["state", "-", "less"], [0, 1], "state"),
        (["c", "##", "d"], [1, 2], "##"),
    ],
)
def test_mentions_of_articles_cover_whole_words(
    pieces: list[str], marked: list[int], covered: str, tmp_path: Path
) -> None:
    path = tmp_path / "docs.jsonl"
    path.write_text(json.dumps({"sents": [{"tokens": pieces, "ents": [[*marked, "Q1"]]}]}), encoding="utf-8")
    (text,) = read_articles(path)
    assert entities(text) == [(covered, "Q1")]


def test_fewrel_takes_the_first_place_of_each_entity(tmp_path: Path) -> None:
    example = {
        "tokens": ["The", "Rhine", "passes", "Rhine", "Bridge"],
        "h": ["rhine bridge", "Q2", [[3, 4]]],
        "t": ["rhine", "Q1", [[1], [3]]],
    }
    path = tmp_path / "val.json"
    path.write_text(json.dumps({"P177": [example]}), encoding="utf-8")
    (text,) = read_fewrel(path)
    assert (text.head.text, text.tail.text, text.relation) == ("Rhine Bridge", "Rhine", "P177")
    assert entities(text) == [("Rhine", "Q1"), ("Rhine Bridge", "Q2")]


def test_lines_of_ones_own_are_read(tmp_path: Path) -> None:
    path = tmp_path / "linked.jsonl"
    path.write_text(
        '{"text": "Paris lies on the Seine.", "mentions": [[0, 5, "Q90"], [18, 23, null]]}\n', encoding="utf-8"
    )
    (text,) = read_linked(path)
    assert entities(text) == [("Paris", "Q90"), ("Seine", None)]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("Paris", r"linked.jsonl, line 1: this is no JSON"),
        ('{"text": "Paris"}', r"line 1, field mentions: this field is missing"),
        (
            '{"text": "Paris", "mentions": [[0, 9, "Q90"]]}',
            r"linked.jsonl, line 1, field mentions: \[0, 9, 'Q90'\] is no mention",
        ),
        ('{"text": "Paris", "mentions": ["Q90"]}', r"'Q90' is no mention of this text"),
        (
            '{"text": 3, "mentions": []}',
            "linked.jsonl, line 1, field text: expected a text, found 3. Write it in quotes",
        ),
    ],
)
def test_a_bad_line_is_named(line: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "linked.jsonl"
    path.write_text(line + "\n", encoding="utf-8")
    with pytest.raises(FormatError, match=told):
        list(read_linked(path))


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('{"doc": 0}', "field sents: this field is missing. Give sents."),
        ('{"sents": 3}', "field sents: 3 is no list. Give"),
        ('{"sents": ["a"]}', "field sents.0: expected an object, found 'a'. Write"),
        (
            '{"sents": [{"tokens": ["a"], "ents": []}, {"ents": []}]}',
            "field sents.1.tokens: this field is missing. Write",
        ),
        ('{"sents": [{"tokens": ["a"]}]}', "field sents.0.ents: this field is missing. Write"),
        ('{"sents": [{"tokens": "a", "ents": []}]}', "field sents.0.tokens: 'a' is no list. Write"),
        ('{"sents": [{"tokens": ["a", 3], "ents": []}]}', "field sents.0.tokens.1: 3 is no token. Write"),
        ('{"sents": [{"tokens": ["a"], "ents": [[0, 2, "Q1"]]}]}', "field sents.0.ents.0: [0, 2, 'Q1'] is no entity"),
        ('{"sents": [{"tokens": ["a"], "ents": [["0", 1, "Q1"]]}]}', "ents.0: ['0', 1, 'Q1'] is no entity"),
        (
            '{"sents": [{"tokens": ["a"], "ents": [7]}]}',
            "field sents.0.ents.0: 7 is no entity of these 1 tokens. Write",
        ),
    ],
)
def test_a_bad_article_is_named_with_line_and_field(line: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "docs.jsonl"
    path.write_text('{"sents": []}\n' + line + "\n", encoding="utf-8")
    with pytest.raises(FormatError) as raised:
        list(read_articles(path))
    assert (raised.value.path, raised.value.line) == (path, 2)
    assert told in str(raised.value)
    assert raised.value.remedy


@pytest.mark.parametrize(
    ("content", "field", "told"),
    [
        ('{"P1": [{"tokens": ["a"]}]}', "P1.0.h", "not FewRel's form (KeyError: 'h')"),
        ('{"P1": [{}]}', "P1.0.tokens", "an example needs a list of tokens"),
        ('{"P1": [{"tokens": ["a"], "h": ["a", "Q1", [[0]]], "t": ["b", "Q2", [[1]]]}]}', "P1.0.t", "no place among 1"),
        ('{"P1": [{"tokens": ["a"], "h": ["a", "Q1", [[-1]]], "t": []}]}', "P1.0.h", "no place among 1"),
        ('{"P1": [{"tokens": ["a"], "h": ["a", 7, [[0]]], "t": []}]}', "P1.0.h", "no place among 1"),
        ('{"P1": 3}', None, "not FewRel's form"),
        ("[]", None, "not FewRel's form"),
        ('{"P1": [],\n"P2": x}\n', None, "line 2: this is no JSON"),
    ],
)
def test_a_file_that_is_not_fewrels_is_refused(content: str, field: str | None, told: str, tmp_path: Path) -> None:
    path = tmp_path / "val.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(FormatError) as raised:
        read_fewrel(path)
    assert (raised.value.path, raised.value.field) == (path, field)
    assert told in str(raised.value)
    assert "Expected {relation:" in raised.value.remedy


def test_joining_triples_are_found_in_both_directions() -> None:
    graph = KnowledgeGraph.from_triples([("a", "r", "b"), ("b", "s", "a"), ("a", "r", "c"), ("c", "r", "d")])
    text = RelationText("a b", gold("a b", 0, 1, "b"), gold("a b", 2, 3, "a"), "r")
    found = joining(graph, [text])
    kept = list(graph.without(found).names())
    assert len(found) == 2
    assert kept == [("a", "r", "c"), ("c", "r", "d")]


def test_the_real_files_hold_what_is_said_of_them(data: Path) -> None:
    examples = read_fewrel(data / "linked_text/fewrel/val_wiki.json.gz")
    assert len(examples) == 11_200
    assert len({example.relation for example in examples}) == 16
    articles = list(read_articles(data / "linked_text/ernie_wiki_sample/docs.jsonl.gz"))
    assert (len(articles), sum(len(text.mentions) for text in articles)) == (16_365, 18_505)
    for text in articles:
        for mention in text.mentions:
            around = text.text[: mention.start].split(" ")[-1] + text.text[mention.end :].split(" ")[0]
            assert around == ""
