"""Counts of linked text: what is counted, what becomes of it in priors, and the files they are saved in."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kelm.errors import FormatError, InputError
from kg.graph import KnowledgeGraph
from kg.linking.alias import AliasLinker
from kg.linking.base import NIL, Candidate, Mention
from kg.linking.counts import MentionCounts, Seen
from kg.linking.linked_text import LinkedText, gold
from kg.linking.names import AliasOptions, Name
from kg.linking.priors import smoothed


def text(written: str, **entities: str | None) -> LinkedText:
    """A text in which each word that is named means an entity."""
    return LinkedText(
        written, tuple(gold(written, at := written.index(w), at + len(w), e) for w, e in entities.items())
    )


def counted(**entities: dict[str, int]) -> MentionCounts:
    return MentionCounts({Seen(word, one): count for word, some in entities.items() for one, count in some.items()})


def priors(linker: AliasLinker, name: str, language: str | None = None) -> dict[str, float]:
    return {candidate.entity: candidate.prior for candidate in linker.candidates(name, language)}


GRAPH = KnowledgeGraph.from_triples(
    [("Q90", "P17", "Q142"), ("Q90", "P31", "Q515"), ("Q167646", "P17", "Q30")],
    labels={"en": {"Q90": "Paris", "Q167646": "Paris", "Q30": ["America", "US"], "Q142": "France", "Q515": "city"}},
)


def test_mentions_are_counted_as_written_and_those_that_mean_nothing_as_no_entity() -> None:
    texts = [
        text("Paris in US", Paris="Q90", US="Q30"),
        text("Paris and Bonn", Paris=None),
        text("Paris!", Paris="Q90"),
    ]
    assert MentionCounts.of(texts, "EN").seen == {
        Seen("Paris", "Q90", "en"): 2,
        Seen("US", "Q30", "en"): 1,
        Seen("Paris", NIL, "en"): 1,
    }
    spaced = LinkedText("New\n York", (gold("New\n York", 0, 9, "Q60"),))
    assert MentionCounts.of([spaced]).seen == {Seen("New York", "Q60"): 1}


def test_small_letters_say_nothing_where_the_text_has_no_capitals() -> None:
    cased = MentionCounts.of([text("A cork in Bonn", cork="Q1")])
    lowered = MentionCounts.of([text("from cork", cork="Q36647")])
    assert list(cased.seen) == [Seen("cork", "Q1")]
    assert list(lowered.seen) == [Seen("cork", "Q36647", lowered=True)]
    graph = KnowledgeGraph.from_triples([("Q36647", "P17", "Q27")], labels={"en": {"Q36647": "Corcaigh"}})
    linker = AliasLinker.from_graph(graph, counts=lowered, options=AliasOptions(cased_length=3))
    assert [mention.text for mention in linker.link("A cork from Cork")] == ["Cork"]
    assert [mention.text for mention in linker.link("a cork")] == ["cork"]


def test_a_short_surface_of_a_text_without_capitals_counts_for_names_but_becomes_none() -> None:
    texts = [text("the us and paris", us="Q30", paris="Q167646"), text("us and them", us=None)]
    texts += [text("lute", lute="Q90"), text("lutetia", lutetia="Q90")]
    counts = MentionCounts.of(texts, "en")
    linker = AliasLinker.from_graph(GRAPH, counts=counts, options=AliasOptions(min_length=2, mu=1.0))
    found = [mention.text for mention in linker.link("Us and the US, Lute or Lutetia")]
    assert found == ["US", "Lutetia"]
    assert priors(linker, "US") == pytest.approx({"Q30": 2 / 3, NIL: 1 / 3})
    assert priors(linker, "Us") == priors(linker, "us") == {}
    assert priors(linker, "Paris") == pytest.approx({"Q90": 0.6 / 2, "Q167646": 1.4 / 2})


def test_a_surface_without_capitals_counts_for_either_spelling_of_a_name() -> None:
    triples = [("god", "of", "Egypt"), ("country", "in", "Egypt")]
    graph = KnowledgeGraph.from_triples(triples, labels={"en": {"god": "Ra", "country": "RA"}})
    counts = MentionCounts.of([text("the sun is ra", ra="god")])
    linker = AliasLinker.from_graph(graph, counts=counts, options=AliasOptions(min_length=2, mu=1.0))
    assert priors(linker, "Ra") == {"god": 1.0}
    assert priors(linker, "RA") == pytest.approx({"god": 1.5 / 2, "country": 0.5 / 2})


WEIGHTS = st.dictionaries(st.sampled_from("abcd"), st.floats(0.1, 100.0), min_size=1)
COUNTS = st.dictionaries(st.sampled_from(["a", "b", "c", "d", "e", NIL]), st.integers(0, 50))


@given(WEIGHTS, COUNTS, st.floats(0.1, 100.0), st.sampled_from([0.0, 0.2]))
def test_priors_are_those_of_mentions_seen_and_of_mu_more_that_the_weights_spread(weights, counts, mu, nil) -> None:
    found = smoothed(weights, counts, mu=mu, nil=nil)
    pseudo = {entity: mu * (1 - nil) * weight / sum(weights.values()) for entity, weight in weights.items()}
    pseudo[NIL] = mu * nil
    mentions = {entity: pseudo[entity] + counts.get(entity, 0) for entity in pseudo}
    for entity, some in mentions.items():
        assert found.get(entity, 0.0) == pytest.approx(some / sum(mentions.values()))
    assert sum(found.values()) == pytest.approx(1.0)


def test_counts_overrule_a_graph_and_what_it_does_not_have_counts_as_no_entity() -> None:
    counts = counted(Paris={"Q167646": 5, "Q830149": 4})
    linker = AliasLinker.from_graph(GRAPH, counts=counts, options=AliasOptions(mu=5.0))
    assert priors(AliasLinker.from_graph(GRAPH), "Paris") == pytest.approx({"Q90": 0.6, "Q167646": 0.4})
    assert priors(linker, "Paris") == pytest.approx({"Q90": 3 / 14, "Q167646": 7 / 14, NIL: 4 / 14})
    assert priors(linker, "France") == {"Q142": 1.0}


def test_what_only_linked_text_calls_an_entity_becomes_a_name_if_it_was_seen_often_enough() -> None:
    counts = counted(Lutetia={"Q90": 2}, America={"Q90": 1}, Babel={"Q5": 9})
    linker = AliasLinker.from_graph(GRAPH, counts=counts, options=AliasOptions(mu=1.0))
    assert [mention.entity for mention in linker.link("Lutetia, Babel")] == ["Q90"]
    assert priors(linker, "America") == pytest.approx({"Q90": (1 + 1.5 / 3.5) / 2, "Q30": 2 / 3.5 / 2})
    strict = AliasLinker.from_graph(GRAPH, counts=counts, least_count=2)
    assert priors(strict, "Lutetia") == {"Q90": 1.0}
    assert priors(strict, "America") == {"Q30": 1.0}
    assert strict.dropped == {"no entity": 1}


def test_a_name_in_capitals_has_the_counts_of_what_is_written_so() -> None:
    names = [Name("US", "Q30"), Name("us", "Q6"), Name("us", "Q6", 0.0, "", 9), Name("US", "Q30", 0.0, "", 3)]
    linker = AliasLinker(names, AliasOptions(min_length=2, mu=1.0))
    assert priors(linker, "US") == pytest.approx({"Q30": 3.5 / 4, "Q6": 0.5 / 4})
    assert priors(linker, "us") == {"Q6": 1.0}


def test_spellings_of_a_name_are_counted_together_and_languages_apart() -> None:
    names = [Name("Gift", "poison"), Name("Gift", "present")]
    names += [Name("GIFT.", "poison", 0.0, "de", 2), Name("gift.", "poison", 0.0, "de", 1)]
    names += [Name("gift", "present", 0.0, "en", 3), Name("Gift", "poison", 0.0, "de", 2)]
    linker = AliasLinker(names, AliasOptions(mu=2.0))
    assert priors(linker, "gift", "en") == pytest.approx({"present": 4 / 5, "poison": 1 / 5})
    assert priors(linker, "gift", "de") == pytest.approx({"present": 1 / 4, "poison": 3 / 4})
    assert priors(linker, "gift") == pytest.approx({"present": 4 / 7, "poison": 3 / 7})


def test_counts_of_other_languages_are_left_out_of_a_linker_of_some() -> None:
    counts = MentionCounts({Seen("Paris", "Q167646", "de"): 9, Seen("Paris", "Q167646"): 1})
    assert priors(AliasLinker.from_graph(GRAPH, ["en"], counts=counts), "Paris")["Q167646"] == pytest.approx(2.2 / 4)


def test_a_name_in_small_letters_is_found_beside_a_heavier_one_with_a_capital() -> None:
    linker = AliasLinker([Name("City", "Q515", 2.0), Name("city", "Q515", 1.0)])
    assert linker.link("A city.") == [Mention(2, 6, "city", (Candidate("Q515", 1.0),))]


def test_counts_are_saved_and_merged(tmp_path: Path) -> None:
    counts = MentionCounts({Seen("Paris", "Q90", "en"): 2, Seen("a\u2028b", NIL, "", True): 1})
    counts.save(tmp_path / "counts.jsonl")
    assert MentionCounts.load(tmp_path / "counts.jsonl") == counts
    assert counts.merged(counts).seen == {seen: 2 * count for seen, count in counts.seen.items()}
    linker = AliasLinker.from_graph(GRAPH, counts=counts)
    linker.save(tmp_path / "names.jsonl")
    again = AliasLinker.load(tmp_path / "names.jsonl")
    assert list(again.names) == list(linker.names)
    assert priors(again, "Paris") == priors(linker, "Paris")


def test_languages_of_saved_counts_are_read_as_the_graph_writes_them(tmp_path: Path) -> None:
    path = tmp_path / "counts.jsonl"
    MentionCounts(
        {Seen("Paris", "Q90", "EN"): 1, Seen("Paris", "Q90", "en"): 2, Seen("巴黎", "Q90", "zh_Hans"): 1}
    ).save(path)
    assert MentionCounts.load(path).seen == {Seen("Paris", "Q90", "en"): 3, Seen("巴黎", "Q90", "zh-hans"): 1}


def test_a_loop_is_one_triple_of_its_entity() -> None:
    labels = {"en": {"a": "Paris", "b": "Paris"}}
    graph = KnowledgeGraph.from_triples([("a", "in", "a"), ("b", "in", "c")], labels=labels)
    assert priors(AliasLinker.from_graph(graph), "Paris") == {"a": 0.5, "b": 0.5}


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ('["Paris", "Q90", "en"]', "expected how often names mean entities"),
        ('["Paris", "Q90", "en", false]', "expected how often names mean entities"),
        ('["Paris", "Q90", "en", 1]', "expected how often names mean entities"),
        ('["Paris", "Q90", "en", 0, 1]', "expected how often names mean entities"),
        ('["Paris", 90, "en", false, 1]', "expected how often names mean entities"),
        (
            '["Paris", "Q90", "en", false, 0]',
            "field count: expected a whole number from 1 to 9007199254740992, found 0.",
        ),
        ('["Paris", "Q90", "en", false, 1e400]', "found inf. Leave out"),
        ('["Paris", "Q90", "en", false, 100000000000000000000000]', "field count"),
        ('[" ", "Q90", "en", false, 1]', "field surface: the surface is empty. Give"),
        ('["Paris"', "expected how often names mean entities"),
    ],
)
def test_a_damaged_line_is_named_with_its_remedy(tmp_path: Path, row: str, told: str) -> None:
    path = tmp_path / "counts.jsonl"
    MentionCounts({Seen("Paris", "Q90"): 1}).save(path)
    path.write_text(path.read_text() + row + "\n")
    with pytest.raises(FormatError, match="line 3") as raised:
        MentionCounts.load(path)
    assert told in str(raised.value)
    assert raised.value.remedy
    path.write_text('{"format": "kelm-names", "version": 2}\n')
    with pytest.raises(FormatError, match=r"line 1.*Count the linked texts again"):
        MentionCounts.load(path)


def test_impossible_smoothing_and_counts_are_refused() -> None:
    with pytest.raises(InputError, match="field mu: expected more than 0"):
        AliasOptions(mu=0.0)
    with pytest.raises(FormatError, match="field seen"):
        AliasLinker([Name("Paris", "Q90", 1.0, "", -1)])
    with pytest.raises(FormatError, match="field seen"):
        AliasLinker([Name("Paris", "Q90", 1.0, "", 10**23)])
    with pytest.raises(InputError, match=r'field stop: .*the text "Paris".*Write \("Paris",\)'):
        AliasOptions(stop="Paris")  # type: ignore[arg-type]
    with pytest.raises(FormatError, match="field entity"):
        AliasLinker([Name("Paris", NIL, 1.0, "", 1)])


def test_entities_of_several_graphs_are_one_by_their_identifier_and_their_triples_add_up() -> None:
    other = KnowledgeGraph.from_triples(
        [("Q167646", "P1", "Q1"), ("Q167646", "P2", "Q1"), ("Q830149", "P1", "Q1")],
        labels={"en": {"Q167646": "Paris, Texas", "Q830149": "Paris"}},
    )
    linker = AliasLinker.from_graph([GRAPH, other])
    assert priors(linker, "Paris") == pytest.approx({"Q90": 3 / 9, "Q167646": 4 / 9, "Q830149": 2 / 9})
    assert linker.link("Paris, Texas")[0].entity == "Q167646"
    counts = counted(Paris={"Q830149": 3, "Q5": 1})
    known = priors(AliasLinker.from_graph([GRAPH, other], counts=counts), "Paris")
    assert known == pytest.approx({"Q90": 3 / 21, "Q167646": 4 / 21, "Q830149": 11 / 21, NIL: 1 / 7})
    with pytest.raises(InputError, match=r"no names in fr.*Names it has: en"):
        AliasLinker.from_graph([GRAPH, other], ["fr"])
