"""What train tells of held-out triples: reverses, duplicates, symmetry, against a slow count and known data sets."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as some

from kg.graph import KnowledgeGraph
from kg.io import splits
from kg.leakage import RelationPair, leakage

TRIPLES = some.lists(some.tuples(some.sampled_from("abcd"), some.sampled_from("pqr"), some.sampled_from("abcd")))


def graph(*triples: str) -> KnowledgeGraph:
    return KnowledgeGraph.from_triples([(one[0], one[1:-1], one[-1]) for one in triples])


def test_reverses_duplicates_and_symmetry_give_held_out_triples_away() -> None:
    train = graph("ahasb", "bofa", "chasd", "dofc", "ehasf", "xkny", "ykx", "yknx", "xky", "amarriedb", "bmarrieda")
    train = train.union(graph("cmarriedd", "dmarriedc"))
    test = graph("fofe", "aofb", "fmarriede", "ahasb", "zhasa")
    found = leakage(train, test, threshold=0.6)
    assert found.triples == 5
    assert found.unknown == 1
    assert found.repeated == 1
    assert found.reversed == 4  # fofe, aofb (bofa, amarriedb ...), fmarriede, ahasb
    assert found.joined == 2  # aofb, ahasb
    assert found.given_away == 2  # fofe by ehasf, ahasb by bofa
    assert RelationPair("reverse", "has", "of", 2, 2 / 3, 1.0, 2) in found.pairs
    assert RelationPair("symmetric", "married", "married", 4, 1.0, 1.0, 0) in found.pairs
    assert RelationPair("duplicate", "kn", "k", 2, 1.0, 1.0, 0) in found.pairs


def slowly(train: KnowledgeGraph, test: KnowledgeGraph, threshold: float) -> tuple[int, int, int, int]:
    known = set(train.names())
    relations = sorted({relation for _, relation, _ in known})
    pairs = {name: {(h, t) for h, r, t in known if r == name and h != t} for name in relations}
    given = set()
    for one in relations:
        for two in relations:
            for turned in (False, True):
                other = {(t, h) for h, t in pairs[two]} if turned else pairs[two]
                both = pairs[one] & other
                sizes = len(pairs[one]), len(other)
                if (one == two and not turned) or not both or min(len(both) / size for size in sizes) < threshold:
                    continue
                for h, r, t in test.names():
                    if r == one and (((t, two, h) if turned else (h, two, t)) in known):
                        given.add((h, r, t))
    names = [*test.names()]
    return (
        sum(triple in known for triple in names),
        sum(h != t and any((t, r, h) in known for r in relations) for h, r, t in names if r in relations),
        sum(any((h, other, t) in known for other in relations if other != r) for h, r, t in names if r in relations),
        len(given),
    )


@given(TRIPLES, TRIPLES, some.sampled_from([0.3, 0.5, 0.8, 1.0]))
@settings(deadline=None, max_examples=200)
def test_the_counts_are_those_of_a_slow_count(
    train: list[tuple[str, str, str]], test: list[tuple[str, str, str]], threshold: float
) -> None:
    left, right = KnowledgeGraph.from_triples(train), KnowledgeGraph.from_triples(test)
    found = leakage(left, right, threshold=threshold)
    assert (found.repeated, found.reversed, found.joined, found.given_away) == slowly(left, right, threshold)


def test_wn18rr_has_symmetric_relations_that_give_a_third_of_its_test_away(data: Path) -> None:
    parts = splits.read(data / "kg" / "wn18rr")
    assert parts is not None and parts.test is not None
    found = leakage(parts.train, parts.test)
    assert {pair.kind for pair in found.pairs} == {"symmetric"}
    assert {"_derivationally_related_form", "_verb_group"} <= {pair.relation for pair in found.pairs}
    assert 0.3 < found.given_away / found.triples < 0.4
    assert found.given_away == sum(pair.given_away for pair in found.pairs)


def test_codex_m_leaks_by_symmetric_relations_only(data: Path) -> None:
    parts = splits.read(data / "kg" / "codex" / "codex-m")
    assert parts is not None and parts.test is not None
    found = leakage(parts.train, parts.test)
    assert {pair.kind for pair in found.pairs} == {"symmetric"}
    assert {"P26", "P530", "P3373"} <= {pair.relation for pair in found.pairs}  # spouse, diplomacy, sibling
    assert found.given_away / found.triples < 0.05


def test_fb15k237_was_made_without_such_triples(data: Path) -> None:
    parts = splits.read(data / "kg" / "fb15k237")
    assert parts is not None and parts.test is not None
    found = leakage(parts.train, parts.test)
    assert (found.triples - found.unknown, found.reversed, found.joined, found.given_away) == (20_438, 0, 0, 0)


def test_empty_graphs_leak_nothing() -> None:
    empty = KnowledgeGraph.from_triples([])
    assert leakage(empty, empty).triples == 0
    assert leakage(empty, graph("apb")).unknown == 1
    assert leakage(graph("apb"), empty).pairs == ()
