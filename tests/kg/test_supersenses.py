"""Supersenses of words: from graphs in any language, inflected words, parts of words, three kinds of vocabulary."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kelm.errors import InputError
from kelm.text import vocabulary
from kelm.text.hugging_face import HuggingFace
from kelm.text.tokenizer import Tokenizer
from kg.graph import KnowledgeGraph
from kg.io.wordnet import SUPERSENSES
from kg.linking.english import base_forms
from kg.linking.supersenses import JOINS, OPENS, SenseLexicon, spelled

TYPES = {
    "bass.n.01": ["noun.food"],
    "bass.n.02": ["noun.animal"],
    "city.n.01": ["noun.location"],
    "walk.v.01": ["verb.motion"],
    "walk.n.01": ["noun.act"],
    "quick.a.01": ["adj.all"],
    "go.v.01": ["verb.motion"],
    "about.r.01": ["adv.all"],
    "cat.n.01": ["noun.animal"],
    "ice_cream.n.01": ["noun.food"],
    "thing": ["something.else"],
    "summer.n.01": ["noun.time"],
}
ENGLISH: dict[str, list[str]] = {
    "bass.n.01": ["bass", "sea bass"],
    "bass.n.02": ["Bass"],
    "city.n.01": ["city", "metropolis"],
    "walk.v.01": ["walk"],
    "walk.n.01": ["walk", "walking"],
    "quick.a.01": ["quick"],
    "go.v.01": ["go"],
    "about.r.01": ["about"],
    "cat.n.01": ["cat"],
    "ice_cream.n.01": ["ice cream"],
    "thing": ["thing"],
    "summer.n.01": ["summer"],
}
OTHERS = {
    "de": {"city.n.01": "Stadt", "cat.n.01": "Katze", "about.r.01": "about"},
    "fr": {"summer.n.01": ["été"], "city.n.01": ["ville"]},
    "zh": {"city.n.01": "城市", "cat.n.01": "猫"},
    "hi": {"city.n.01": "शहर", "cat.n.01": "बिल्ली"},
}
GRAPH = KnowledgeGraph.from_triples([], labels={"en": ENGLISH, **OTHERS}, types=TYPES)
LEXICON = SenseLexicon.from_graph(GRAPH)
TEXTS = [
    "the quick cities walked about the metropolis in summer",
    "unwalkable cities and quickly walking citizens, a bass",
    "Cities",
] * 6


def names(word: str, lexicon: SenseLexicon = LEXICON) -> list[str]:
    return [lexicon.senses[sense] for sense in lexicon.of(word)]


def in_language(*languages: str) -> SenseLexicon:
    return SenseLexicon.from_graph(GRAPH, languages)


def test_a_word_may_mean_what_any_of_its_synsets_means() -> None:
    assert names("bass") == ["noun.animal", "noun.food"]
    assert names("BASS") == names("bass")
    assert names("walk") == ["noun.act", "verb.motion"]
    assert names("unknowable") == []


@pytest.mark.parametrize(
    ("word", "senses"),
    [
        ("cities", ["noun.location"]),
        ("walked", ["verb.motion"]),
        ("walking", ["noun.act", "verb.motion"]),  # a noun of its own, and a form of the verb
        ("walks", ["noun.act", "verb.motion"]),
        ("quickest", ["adj.all"]),
        ("went", ["verb.motion"]),
        ("gone", ["verb.motion"]),
        ("quicks", []),  # an adjective has no such form
        ("cityed", []),  # nor a noun
    ],
)
def test_an_inflected_word_means_what_its_base_form_means_in_that_part_of_speech(word: str, senses: list[str]) -> None:
    assert names(word) == senses


@pytest.mark.parametrize(
    ("word", "pos", "form"),
    [
        ("boxes", "noun", "box"),
        ("churches", "noun", "church"),
        ("wishes", "noun", "wish"),
        ("firemen", "noun", "fireman"),
        ("knives", "noun", "knife"),
        ("mice", "noun", "mouse"),
        ("making", "verb", "make"),
        ("tried", "verb", "try"),
        ("stopped", "verb", "stop"),
        ("thought", "verb", "think"),
        ("finer", "adj", "fine"),
        ("biggest", "adj", "big"),
        ("happier", "adj", "happy"),
    ],
)
def test_the_base_form_of_an_english_word_is_among_those_looked_up(word: str, pos: str, form: str) -> None:
    assert form in base_forms(word)[pos]


def test_words_that_say_little_have_no_senses() -> None:
    assert names("cat") == []
    assert names("about") == []
    assert names("ice cream") == names("ice") == []
    assert names("thing") == []  # its type is no supersense
    assert names("") == names(" ") == []
    short = SenseLexicon.from_graph(GRAPH, shortest=3)
    assert names("cat", short) == ["noun.animal"]


def test_words_of_other_languages_are_looked_up_as_they_are() -> None:
    german, chinese, hindi = in_language("de"), in_language("zh"), in_language("hi")
    assert names("Stadt", german) == names("stadt", german) == ["noun.location"]
    assert names("about", german) == ["adv.all"]  # a stop word in English only
    assert names("Katzes", german) == []  # and so are the rules for its endings
    assert names("城市", chinese) == ["noun.location"]
    assert names("猫", chinese) == ["noun.animal"]  # scripts without spaces have short words
    assert names("बिल्ली", hindi) == ["noun.animal"]
    both = in_language("en", "fr")
    assert names("ville", both) == names("cities", both) == ["noun.location"]


def test_accents_that_a_text_leaves_out_are_forgiven() -> None:
    french = SenseLexicon.from_graph(GRAPH, ["fr"], shortest=3)
    assert names("ete", french) == names("été", french) == names("E\u0301te\u0301", french) == ["noun.time"]


def test_a_graph_without_supersenses_or_words_is_refused_with_what_it_has() -> None:
    with pytest.raises(
        InputError, match=r'word in "ko".*languages of the graph: de, en, fr, hi, zh.*types: noun\.food'
    ):
        in_language("ko")
    with pytest.raises(InputError, match="types: city"):
        SenseLexicon.from_graph(KnowledgeGraph.from_triples([], labels={"en": {"a": "b"}}, types={"a": ["city"]}))


def test_a_lexicon_is_a_value_that_crosses_a_queue() -> None:
    LEXICON.of("cities")
    again = pickle.loads(pickle.dumps(LEXICON))
    assert again == LEXICON and again.fingerprint() == LEXICON.fingerprint()
    assert again.of("cities") == LEXICON.of("cities")
    assert again != in_language("de") and again.fingerprint() != in_language("de").fingerprint()


def test_words_left_out_are_left_out_in_all_their_forms() -> None:
    less = LEXICON.without(["City", "walk"])
    assert names("cities", less) == names("walked", less) == []
    assert names("walking", less) == ["noun.act"]
    assert names("bass", less) == names("bass")


def test_shuffling_deals_the_same_sets_to_words_of_the_same_parts_of_speech() -> None:
    types = {f"{pos}{number}": [f"{pos}.{kind}"] for pos in ("noun", "verb") for number, kind in enumerate(KINDS)}
    labels = {entity: f"word{entity}" for entity in types}
    lexicon = SenseLexicon.from_graph(KnowledgeGraph.from_triples([], labels={"en": labels}, types=types))
    shuffled = lexicon.shuffled(0)
    before, after = lexicon.tables["en"], shuffled.tables["en"]
    assert after != before and shuffled == lexicon.shuffled(0) and shuffled != lexicon.shuffled(1)
    assert sorted(before.values()) == sorted(after.values())
    for word, of in after.items():
        assert {lexicon.senses[sense][:4] for sense in of} == {word[4:8]}


KINDS = ("body", "cognition", "communication", "motive", "possession", "change", "contact", "creation", "social")
KINDS = tuple(kind for kind in KINDS if f"noun.{kind}" in SUPERSENSES and f"verb.{kind}" in SUPERSENSES)


def roberta(folder: Path) -> HuggingFace:
    """A byte-level vocabulary as RoBERTa's."""
    from tokenizers import ByteLevelBPETokenizer
    from transformers import RobertaTokenizerFast

    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(TEXTS, 500, special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    trained.save_model(str(folder))
    return HuggingFace(RobertaTokenizerFast(str(folder / "vocab.json"), str(folder / "merges.txt")))


@pytest.fixture(params=["bert", "roberta", "xlm-roberta"])
def tokenizer(request: Any, tmp_path: Path) -> Tokenizer:
    if request.param == "roberta":
        return roberta(tmp_path)
    bert = request.param == "bert"
    return vocabulary.train(TEXTS, 90 if bert else 42, "wordpiece" if bert else "unigram", lower=bert, coverage=1.0)


def test_the_matrix_allows_a_token_what_its_word_may_mean_and_parts_of_words_go_on(tokenizer: Tokenizer) -> None:
    """Slow oracle: every word of the texts that is one token, read in the middle of a sentence."""
    made = LEXICON.tokens(tokenizer, tokenizer.vocabulary_size + 3)
    assert made.allowed.shape == (tokenizer.vocabulary_size + 3, 45)
    whole = parts = 0
    for word in {word.strip(",") for text in TEXTS for word in text.split()}:
        inside = [int(token) for token in tokenizer.encode([f"the {word} the"])[0].tokens[1:-1]]
        the = [int(token) for token in tokenizer.encode(["the the"])[0].tokens[1:-1]]
        tokens = inside[len(the) // 2 : len(inside) - len(the) // 2]
        if len(tokens) == 1:
            whole += 1
            assert set(np.flatnonzero(made.allowed[tokens[0]])) == set(LEXICON.of(word)), word
            assert made.codes[tokens[0]] == 0
        else:
            later = tokens[1:] if tokenizer.piece(tokens[0]) != "▁" else tokens[2:]
            parts += len(later)
            assert all(made.codes[token] == JOINS for token in later), word
    assert whole and parts
    for special in tokenizer.special:
        assert not made.allowed[special].any()
    assert made.codes[tokenizer.cls] == made.codes[tokenizer.sep] == OPENS
    assert made.codes[tokenizer.mask] == 0


def test_tokens_spell_the_word_without_punctuation_or_nothing_where_it_was_cut(tokenizer: Tokenizer) -> None:
    [text] = tokenizer.encode(["the (cities), Cities"])
    found = []
    for word in dict.fromkeys(text.words[1:-1].tolist()):
        name, tokens = spelled(text, np.flatnonzero(text.words == word))
        found.append(name)
        letters = "".join(text.text[first:end] for first, end in text.spans[tokens].tolist())
        assert letters.strip("(),") == name
        assert (text.words[tokens] == word).all()
    assert [name for name in found if name] == ["the", "cities", "Cities"]
    [cut] = [one for one in tokenizer.encode(["unwalkable cities"], length=4) if len(one) == 4]
    assert spelled(cut, np.flatnonzero(cut.words == 0))[0] in ("", "unwalkable")
    [whole] = tokenizer.encode(["unwalkable"])
    assert spelled(whole, np.flatnonzero(whole.words == 0)[:1])[0] == ("" if len(whole) > 3 else "unwalkable")


def test_open_english_wordnet_has_all_45(data: Path) -> None:
    from kg.study import oewn

    lexicon = SenseLexicon.from_graph(oewn.read(data / "lexical" / "oewn"))
    used = {sense for of in lexicon.tables["en"].values() for sense in of}
    assert len(used) == 45
    assert "verb.communication" in names("said", lexicon) and "noun.person" in names("children", lexicon)
    assert names("elephants", lexicon) == ["noun.animal", "noun.communication"]  # the second: of a party
