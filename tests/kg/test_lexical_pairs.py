"""Pairs of related words: what graphs and lists give, what is held out, how pairs are read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kelm.batch import Encoded
from kelm.data.corpus import InMemory, Shard
from kelm.errors import FormatError, InputError, UnknownName
from kelm.model import EncoderConfig
from kelm.text.tokenizer import Tokenizer
from kg.enrich.lexical_pairs import INVERSE, LexicalPairs, lexical_pairs
from kg.enrich.related_words import LexicalSources, RelatedWords, listed
from kg.linking.word_pairs import WordPair, read_together, without_specials
from tests.kelm.text.conftest import byte_level, tokenizer, unigram, word_pieces  # noqa: F401  # fixtures
from tests.kg.lexicon_files import GRAPH, SIZES, tokenizer_of, write

SYNONYMS = [("auto", "automobile"), ("auto", "car"), ("automobile", "car"), ("cat", "house cat"), ("animal", "beast")]
HYPERNYMS = [
    *(("car", "vehicle"), ("automobile", "vehicle"), ("auto", "vehicle"), ("cat", "animal"), ("cat", "beast")),
    *(("house cat", "animal"), ("house cat", "beast"), ("felix", "cat"), ("felix", "house cat")),
]


@pytest.fixture(scope="module")
def words() -> Tokenizer:
    return tokenizer_of()


def unordered(pairs: Sequence[tuple[str, ...]]) -> set[tuple[str, ...]]:
    return {tuple(sorted(pair)) for pair in pairs}


def named(related: RelatedWords, relation: str) -> list[tuple[str, str]]:
    rows = np.flatnonzero(related.relation == related.relations.index(relation)).tolist()
    said = related.spellings
    return [(said[int(related.first[row])].lower(), said[int(related.second[row])].lower()) for row in rows]


def read(corpus: LexicalPairs) -> list[WordPair]:
    return [pair for pair, _ in corpus.stream()]


def texts(pairs: Sequence[WordPair]) -> list[tuple[str, str, str]]:
    return [(pair.first.text, pair.relation, pair.second.text) for pair in pairs]


def test_labels_of_an_entity_are_synonyms_and_those_of_a_triples_ends_hypernyms() -> None:
    related = LexicalSources(graph=GRAPH).read()
    assert related.relations == ("synonym", "hypernym")
    assert unordered(named(related, "synonym")) == unordered(SYNONYMS)
    assert set(named(related, "hypernym")) == set(HYPERNYMS)  # in the triple's direction
    assert len(related) == len(SYNONYMS) + len(HYPERNYMS)


def test_labels_of_an_entity_are_bounded_and_other_languages_have_their_own() -> None:
    few = LexicalSources(graph=GRAPH, most=1).read()
    assert few.relations == ("hypernym",)
    assert set(named(few, "hypernym")) == {("car", "vehicle"), ("cat", "animal"), ("felix", "cat")}
    assert named(LexicalSources(graph=GRAPH, language="de").read(), "synonym") == [("auto", "wagen")]


def test_relations_can_be_named_and_called_otherwise() -> None:
    related = LexicalSources(graph=GRAPH, relations={"mero_part": "part"}, synonyms=False, most=1).read()
    assert related.relations == ("part",)
    assert named(related, "part") == [("cat", "car")]


def test_a_relation_that_the_graph_lacks_is_told_with_the_closest() -> None:
    with pytest.raises(UnknownName, match=r'has no relation "hyperonym". Did you mean "hypernym"'):
        LexicalSources(graph=GRAPH, relations={"hyperonym": "hypernym"}).read()


def test_lists_give_pairs_with_the_relation_that_they_are_said_to_hold(tmp_path: Path) -> None:
    same = write(tmp_path / "same.txt", "en_car  en_automobile", "", "mediaeval medieval ", "medieval mediaeval")
    wide = write(tmp_path / "wide.tsv", "house cat\tlion\t7.5")
    related = LexicalSources(graph=GRAPH, lists={"synonym": [same], "near": [wide]}).read()
    assert unordered(named(related, "synonym")) == unordered([*SYNONYMS, ("mediaeval", "medieval")])
    assert named(related, "near") == [("house cat", "lion")]
    places = [f"{related.sources[int(s)]}:{p}" for s, p in zip(related.source, related.place, strict=True)]
    assert places[-2:] == [f"{same}:3", f"{wide}:1"]


@pytest.mark.parametrize(("line", "found"), [("car", 1), ("car auto automobile", 3), ("car\t", 1)])
def test_a_line_that_is_no_pair_is_named(line: str, found: int, tmp_path: Path) -> None:
    path = write(tmp_path / "bad.txt", "car auto", line)
    with pytest.raises(FormatError, match=rf"bad.txt, line 2: expected two words, found {found}"):
        list(listed(path))


def test_spellings_that_differ_in_case_are_one_word(tmp_path: Path) -> None:
    path = write(tmp_path / "same.txt", "Turkey turkey", "Turkey bird", "TURKEY country", "bird turkey")
    related = LexicalSources(lists={"synonym": [path]}).read()
    assert named(related, "synonym") == [("turkey", "bird"), ("turkey", "country")]
    [key] = {int(key) for key, word in zip(related.keys, related.spellings, strict=True) if word.lower() == "turkey"}
    said = {int(key): word for key, word in zip(related.keys, related.spellings, strict=True)}
    assert {said[int(partner)] for partner in related.partners(key)} == {"bird", "country"}


def test_partners_are_those_of_a_slow_count(words: Tokenizer) -> None:
    related = LexicalSources(graph=GRAPH).read()
    pairs = [tuple(pair) for pair in related.key_pairs.tolist()]
    for key in set(related.keys.tolist()):
        slow = {b for a, b in pairs if a == key} | {a for a, b in pairs if b == key}
        assert related.partners(key).tolist() == sorted(slow)


def test_a_pair_is_read_as_the_tokenizer_reads_it(tokenizer: Tokenizer) -> None:  # noqa: F811
    for first, second in (("the cat", "sat"), ("unbelievable", "Straße"), ("x", "a b c")):
        [expected] = tokenizer.encode([first], [second])
        pieces = [without_specials(one, tokenizer.template, 40) for one in tokenizer.encode([first, second])]
        found = read_together(pieces[0], pieces[1], tokenizer.template)
        assert found.text == expected.text
        for column in ("tokens", "spans", "words", "segments"):
            assert getattr(found, column).tolist() == getattr(expected, column).tolist(), column


def test_long_words_are_cut_so_that_any_two_fit(words: Tokenizer) -> None:
    length = words.template.specials(pair=True) + 4
    for pair in read(LexicalPairs(LexicalSources(graph=GRAPH), words, length=length)):
        for word in (pair.first, pair.second):
            assert 1 <= len(word.pieces) <= 2
        assert len(read_together(pair.first.pieces, pair.second.pieces, pair.template)) <= length


def test_the_splits_are_disjoint_whole_and_the_same_in_whatever_order_pairs_are_read(
    words: Tokenizer, tmp_path: Path
) -> None:
    lines = [f"a{number} b{number}" for number in range(2000)]
    back = [" ".join(line.upper().split()[::-1]) for line in reversed(lines)]
    parts: dict[str, set[tuple[str, ...]]] = {}
    for name, some in (("one", lines), ("other", back)):
        sources = LexicalSources(lists={"synonym": [write(tmp_path / f"{name}.txt", *some)]})
        related = sources.read()
        for split in ("train", "test", "all"):
            corpus = LexicalPairs(related, words, split=split, test=0.1)  # type: ignore[arg-type]
            said = unordered([(p.first.text.lower(), p.second.text.lower()) for p in read(corpus)])
            assert parts.setdefault(split, said) == said
    assert not parts["train"] & parts["test"]
    assert parts["train"] | parts["test"] == parts["all"]
    assert len(parts["all"]) == 2000
    assert 140 < len(parts["test"]) < 260


def test_words_come_in_either_order_and_a_directed_relation_says_which(words: Tokenizer) -> None:
    plain = texts(read(LexicalPairs(LexicalSources(graph=GRAPH), words)))
    turned = [pair for pair in plain if pair[1] == "hypernym" and (pair[2].lower(), pair[0].lower()) in HYPERNYMS]
    assert 0 < len(turned) < len(HYPERNYMS)
    directed = texts(read(LexicalPairs(LexicalSources(graph=GRAPH), words, directed=("hypernym",))))
    assert [(first, second) for first, _, second in directed] == [(first, second) for first, _, second in plain]
    for first, relation, second in directed:
        if relation == "synonym":
            continue
        pair = (first, second) if relation == "hypernym" else (second, first)
        assert relation in ("hypernym", f"{INVERSE}hypernym")
        assert tuple(word.lower() for word in pair) in HYPERNYMS
    assert {relation for _, relation, _ in directed} == {"synonym", "hypernym", f"{INVERSE}hypernym"}


def test_a_directed_relation_that_no_pair_has_is_told_with_the_closest(words: Tokenizer) -> None:
    with pytest.raises(UnknownName, match=r'no pair has the relation "hyponym". Did you mean "hypernym"'):
        read(LexicalPairs(LexicalSources(graph=GRAPH), words, directed=("hyponym",)))


def test_pairs_set_apart_are_not_given_and_are_partners_all_the_same(words: Tokenizer, tmp_path: Path) -> None:
    apart = write(tmp_path / "similarity.tsv", "word1\tword2\tscore", "auto\tCar\t9.1", "cat\tvehicle\t1.2")
    corpus = LexicalPairs(LexicalSources(graph=GRAPH, without=(apart,)), words)
    pairs = {tuple(sorted((first, second))) for first, _, second in texts(read(corpus))}
    assert ("auto", "car") not in pairs
    assert ("automobile", "car") in pairs
    related = corpus.related
    keys = {word: int(key) for word, key in zip(related.spellings, related.keys, strict=True)}
    assert keys["car"] in related.partners(keys["auto"])
    assert keys["vehicle"] in related.partners(keys["cat"])  # no pair of the lexicon, and no negative either


def test_it_goes_on_after_any_pair_in_another_process(words: Tokenizer) -> None:
    corpus = LexicalPairs(LexicalSources(graph=GRAPH), words, split="train", test=0.2)
    shard = Shard(1, 2)
    given = list(corpus.stream(shard))
    for place, (_, cursor) in enumerate(given):
        fresh = LexicalPairs(LexicalSources(graph=GRAPH), words, split="train", test=0.2)
        rest = [pair for pair, _ in fresh.stream(shard, json.loads(json.dumps(cursor)))]
        assert InMemory(rest).fingerprint() == InMemory([pair for pair, _ in given[place + 1 :]]).fingerprint()


@pytest.mark.parametrize(("words", "kept"), [(60, 0.8), (600, 0.98)], ids=["dense", "sparse"])
def test_second_words_dealt_anew_keep_relations_and_words_and_make_no_true_pair(
    tmp_path: Path, words: int, kept: float
) -> None:
    random = np.random.default_rng(0)
    lists = {
        name: [write(tmp_path / name, *(f"a{one} b{other}" for one, other in random.integers(words, size=(300, 2))))]
        for name in ("synonym", "hypernym")
    }
    related = LexicalSources(lists=lists).read()
    shuffled = related.shuffled(0)
    assert len(shuffled) > kept * len(related)  # among few words, two dealt pairs are often the same
    true = unordered([tuple(pair) for pair in related.key_pairs.tolist()])
    found = [tuple(sorted(pair)) for pair in shuffled.key_pairs.tolist()]
    assert not set(found) & true
    assert len(set(found)) == len(found)
    for relation in related.relations:
        assert {one for one, _ in named(shuffled, relation)} <= {one for one, _ in named(related, relation)}
        assert {other for _, other in named(shuffled, relation)} <= {other for _, other in named(related, relation)}
    assert shuffled.fingerprint() == related.shuffled(0).fingerprint() != related.shuffled(1).fingerprint()


def made(words: Tokenizer, **options: Any) -> LexicalPairs:
    return lexical_pairs(tokenizer=words, config=EncoderConfig(**SIZES, vocab_size=60), **options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "no source of pairs is given"),
        ({"graph": "g", "split": "tset"}, '"tset" is no split. Did you mean "test"'),
        ({"graph": "g", "test": 1.0}, "test is 1.0"),
        ({"graph": "g", "most": 0}, "most is 0"),
        ({"graph": "g", "length": 4}, "length is 4"),
    ],
)
def test_impossible_options_are_refused(words: Tokenizer, options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        made(words, **options)


def test_sources_without_a_pair_are_refused(words: Tokenizer, tmp_path: Path) -> None:
    GRAPH.save(tmp_path / "graph")
    with pytest.raises(FormatError, match=r"graph: there is no pair of words"):
        read(made(words, graph=str(tmp_path / "graph"), language="fr"))


def test_the_plugin_reads_a_saved_graph_and_lists(words: Tokenizer, tmp_path: Path) -> None:
    GRAPH.save(tmp_path / "graph")
    path = write(tmp_path / "more.txt", "mediaeval medieval")
    corpus = made(words, graph=str(tmp_path / "graph"), lists={"synonym": path}, relations=["mero_part"], most=1)
    pairs = {tuple(sorted((first, second))): relation for first, relation, second in texts(read(corpus))}
    assert pairs == {("car", "cat"): "mero_part", ("mediaeval", "medieval"): "synonym"}
    origins = {pair.origin for pair in read(corpus)}
    assert origins == {f"{tmp_path / 'graph'}:4", f"{path}:1"}


def test_a_word_without_a_token_gives_no_pair(words: Tokenizer, tmp_path: Path) -> None:
    path = write(tmp_path / "list.txt", "car ​", "car auto")
    found = read(LexicalPairs(LexicalSources(lists={"synonym": [path]}), words))
    assert unordered([(pair.first.text, pair.second.text) for pair in found]) == {("auto", "car")}
    assert isinstance(found[0].first.pieces, Encoded)


def test_open_english_wordnet_and_the_lists_give_what_they_should(data: Path, words: Tokenizer) -> None:
    from kg.study import oewn

    graph = oewn.read(data / "lexical" / "oewn")
    lists = {"synonym": [str(data / "lexical" / "constraints" / "ppdb_synonyms.txt.gz")]}
    related = LexicalSources(graph=graph, lists=lists).read()
    pairs = dict(zip(map(tuple, np.sort(related.key_pairs, axis=1).tolist()), related.relation.tolist(), strict=True))
    keys = {word: int(key) for word, key in zip(related.spellings, related.keys, strict=True)}

    def relation(one: str, other: str) -> str | None:
        found = pairs.get(tuple(sorted((keys[one], keys[other]))))
        return None if found is None else related.relations[found]

    assert relation("car", "automobile") == "synonym"
    assert relation("dog", "canine") == "hypernym"
    assert relation("mediaeval", "medieval") == "synonym"
    assert relation("car", "dog") is None
    assert len(related) > 200_000
