"""Sentence trees against the paper's algorithm, walked token by token; budget, parts, pairs, choice of branches."""

from __future__ import annotations

import pickle
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kelm.batch import Encoded, Targets, pack
from kelm.errors import InputError, KelmError, UnknownName
from kelm.model import Encoder, EncoderConfig
from kelm.text import vocabulary
from kelm.text.tokenizer import Tokenizer
from kg.enrich.branches import Branch, Branches, BranchOptions
from kg.enrich.grower import Grower, sentence_tree
from kg.enrich.sentence_tree import Grown, SentenceTree, Twig, graft_all
from kg.graph import KnowledgeGraph
from kg.linking.base import Mention, Mentions, align
from kg.linking.linked_text import gold

GRAPH = KnowledgeGraph.from_triples(
    [
        ("Cook", "ceo", "Apple"),
        ("Beijing", "capital", "China"),
        ("Beijing", "located", "Asia"),
        ("Beijing", "twin", "Berlin"),
        ("China", "located", "Asia"),
        ("China", "currency", "Yuan"),
        ("Ghost", "capital", "Nameless"),
    ],
    labels={
        "en": {
            **{"Cook": "Tim Cook", "Apple": "Apple", "Beijing": "Beijing", "China": "China", "Asia": "Asia"},
            **{"Yuan": "yuan", "Berlin": "Berlin", "Ghost": "ghost"},
            **{"ceo": "CEO", "capital": "capital of", "located": "located in", "currency": "money"},
        },
        "zh": {"Beijing": "北京", "China": "中国", "capital": "首都"},
    },
)
TEXT = "Tim Cook is visiting Beijing now"


@pytest.fixture(scope="module")
def words() -> Tokenizer:
    said = [TEXT, "ceo apple capital of china located in asia money yuan : ,", "北京 中国 首都"]
    return vocabulary.train([line.lower() for line in said], 120, "wordpiece", lower=True)


def spelled(tree: Encoded, words: Tokenizer) -> list[str]:
    return [words.piece(int(token)) for token in tree.tokens]


def mention(text: str, name: str, entity: str) -> Mention:
    return gold(text, text.index(name), text.index(name) + len(name), entity)


def grower(words: Tokenizer, *, length: int = 64, positions: int = 64, **options) -> SentenceTree:
    return SentenceTree(Branches(GRAPH, words, BranchOptions(**options)), length, positions, options.get("most", 2))


def walked(
    trunk: list[int], spans: list[tuple[int, int]], hanging: list[list[list[int]]]
) -> tuple[list[int], list[int], np.ndarray]:
    """Liu et al. (2020): the tree is walked in depth; then every token is asked whom it sees."""
    tokens: list[int] = []
    positions: list[int] = []
    places: list[list[int]] = []  # where each token of the trunk is
    branches: list[tuple[list[int], list[int]]] = []  # places of a branch, and of its mention
    for index, token in enumerate(trunk):
        places.append(len(tokens))
        tokens.append(token)
        positions.append(index)
        for (first, last), below in zip(spans, hanging, strict=True):
            if index == last:
                for branch in below:
                    here = list(range(len(tokens), len(tokens) + len(branch)))
                    tokens += branch
                    positions += [index + 1 + step for step in range(len(branch))]
                    branches.append((here, places[first : last + 1]))
    sees = np.zeros((len(tokens), len(tokens)), bool)
    for here in places:
        for there in places:
            sees[here, there] = True
    for here, above in branches:
        for one in here:
            for other in [*here, *above]:
                sees[one, other] = sees[other, one] = True
    return tokens, positions, sees


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_tree_is_that_of_the_paper(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 8))
    starts = sorted(data.draw(st.sets(st.integers(0, size - 1), max_size=3)))
    spans = [(first, data.draw(st.integers(first, after - 1))) for first, after in pairwise([*starts, size])]
    branch = st.lists(st.integers(100, 199), min_size=1, max_size=3)
    hanging = [data.draw(st.lists(branch, max_size=3)) for _ in spans]
    twigs = [
        Twig(Branch("", np.array(tokens)), number, spans[number][1], rank)
        for number, below in enumerate(hanging)
        for rank, tokens in enumerate(below)
    ]
    trunk = list(range(10, 10 + size))
    nothing = np.full((size, 2), -1)
    text = Encoded("", np.array(trunk), nothing, np.arange(size), np.zeros(size, np.int64))
    [grown] = graft_all([text], [spans], [data.draw(st.permutations(twigs))])
    tokens, positions, sees = walked(trunk, spans, hanging)
    assert grown.tokens.tolist() == tokens
    assert grown.positions is not None
    assert grown.positions.tolist() == positions
    [other] = graft_all([text], [spans], [twigs[:1]])
    batch = pack([grown, other], pad=0, room=len(grown) + len(other))  # packed beside another, and alone
    assert np.array_equal(batch.visibility.mask()[0, 0, : len(grown), : len(grown)].numpy(), sees)
    assert not batch.visibility.mask()[0, 0, : len(grown), len(grown) :].any()
    assert np.array_equal(pack([grown], pad=0).visibility.mask()[0, 0].numpy(), sees)


def test_a_sentence_reads_as_in_the_paper(words: Tokenizer) -> None:
    [text] = words.encode([TEXT])
    tree = grower(words, most=1).grow(text, [mention(TEXT, "Tim Cook", "Cook"), mention(TEXT, "Beijing", "Beijing")])
    shown = spelled(tree, words)
    assert "".join(shown).replace("#", "") == "[CLS]timcookceo:appleisvisitingbeijingcapitalof:chinanow[SEP]"
    assert tree.positions is not None and tree.branch is not None and tree.anchor is not None
    trunk = tree.branch == 0
    assert tree.tokens[trunk].tolist() == text.tokens.tolist()
    assert tree.positions[trunk].tolist() == list(range(len(text)))
    assert (tree.words[~trunk] == -1).all()
    assert (tree.spans[~trunk] == -1).all()
    assert "".join(np.array(shown)[tree.branch == 1]).replace("#", "") == "ceo:apple"
    assert set(tree.anchor[tree.branch == 1]) == {0}
    assert set(tree.anchor[tree.branch == 2]) == {1}
    counted = {name: int(getattr(tree[Grown], name)) for name in ("mentions", "branches", "left_out")}
    assert counted == {"mentions": 2, "branches": 2, "left_out": 0}


def test_codes_of_a_text_of_256_tokens_take_a_kilobyte(words: Tokenizer) -> None:
    text = " ".join(["Beijing"] * 100)
    [encoded] = words.encode([text], length=250)
    found = [gold(text, start, start + 7, "Beijing") for start in range(0, 80, 8)]
    tree = grower(words, length=256, positions=512).grow(encoded, found)
    assert tree.positions is not None and tree.branch is not None and tree.anchor is not None
    assert len(tree) == 256
    assert tree.positions.nbytes + tree.branch.nbytes + tree.anchor.nbytes <= 1024


def test_the_trunk_comes_first_and_branches_whole_by_rank(words: Tokenizer) -> None:
    [text] = words.encode([TEXT])
    found = [mention(TEXT, "Tim Cook", "Cook"), mention(TEXT, "Beijing", "Beijing")]
    every = grower(words).twigs_all([text], [found])[0][1]
    assert [twig.branch.text for twig in every] == ["CEO: Apple", "capital of: China", "located in: Asia"]
    sizes = [len(twig.branch.tokens) for twig in every]
    for room in range(sum(sizes) + 2):
        tree = grower(words, length=len(text) + room).grow(text, found)
        assert len(tree) <= len(text) + room
        left, expected = room, []
        for twig, size in zip(every, sizes, strict=True):
            if size <= left:
                expected.append(twig.branch.text)
                left -= size
        assert tree.branch is not None
        assert tree.tokens[tree.branch == 0].tolist() == text.tokens.tolist()
        assert int(tree[Grown].branches) == len(expected)
        assert int(tree[Grown].left_out) == len(every) - len(expected)


def test_no_branch_reaches_beyond_the_models_positions(words: Tokenizer) -> None:
    [text] = words.encode([TEXT])
    found = [mention(TEXT, "Beijing", "Beijing")]
    for positions in range(len(text), len(text) + 8):
        tree = grower(words, positions=positions).grow(text, found)
        assert tree.positions is not None
        assert tree.positions.max() < positions
    assert int(tree[Grown].branches) == 2


def test_the_original_way_to_cut_loses_the_end(words: Tokenizer) -> None:
    [text] = words.encode([TEXT])
    found = [mention(TEXT, "Tim Cook", "Cook"), mention(TEXT, "Beijing", "Beijing")]
    branches = Branches(GRAPH, words)
    whole = SentenceTree(branches, 99, 99).grow(text, found)
    cut = SentenceTree(branches, len(whole) - 4, 99, cut="end").grow(text, found)
    assert cut.tokens.tolist() == whole.tokens.tolist()[:-4]
    assert int(cut.tokens[-1]) != words.sep


def test_pairs_keep_their_segments_and_no_mention_reaches_from_one_to_the_other(words: Tokenizer) -> None:
    [text] = words.encode(["I am Tim"], ["Cook in Beijing"])
    joined = text.text
    across = gold(joined, joined.index("Tim"), joined.index("Cook") + 4, "Cook")
    tree = grower(words, most=1).grow(text, [across, mention(joined, "Beijing", "Beijing")])
    assert tree.branch is not None
    assert int(tree[Grown].mentions) == 1
    assert set(tree.segments[tree.branch == 1]) == {1}
    assert int(tree.tokens[-1]) == words.sep


def test_parts_of_a_text_move_with_its_tokens(words: Tokenizer) -> None:
    [text] = words.encode([TEXT])
    found = [mention(TEXT, "Tim Cook", "Cook"), mention(TEXT, "Beijing", "Beijing")]
    linked = align(text, found, {"Cook": 5, "Beijing": 7})
    place = torch.arange(len(text))
    targets = Targets(torch.zeros_like(place), torch.where(place == 1, -1, place), torch.from_numpy(text.tokens))
    tree = grower(words).grow(linked.having(targets), found)
    moved = tree[Targets]
    assert int(moved.token[1]) == -1
    kept = moved.token[moved.token >= 0].numpy()
    assert tree.tokens[kept].tolist() == moved.label[moved.token >= 0].tolist()
    mentions = tree[Mentions]
    assert mentions.entity.tolist() == [5, 7]
    assert tree.spans[mentions.first.numpy(), 0].tolist() == [TEXT.index("Tim"), TEXT.index("Beijing")]
    assert tree.spans[mentions.last.numpy(), 1].tolist() == [TEXT.index("Cook") + 4, TEXT.index("Beijing") + 7]


def test_branches_are_ranked_by_priority_then_by_degree_and_skip_what_has_no_label(words: Tokenizer) -> None:
    beijing = GRAPH.entities.id("Beijing")

    def said(entity: int = beijing, **options) -> list[str]:
        return [branch.text for branch in Branches(GRAPH, words, BranchOptions(**options))(entity)]

    assert said(most=9) == ["capital of: China", "located in: Asia"]  # "twin" has no label
    assert said(priority=("twin", "located")) == ["located in: Asia", "capital of: China"]
    assert said(leave_out=("capital",)) == ["located in: Asia"]
    assert said(separator=" = ", most=1) == ["capital of = China"]
    assert said(relation=False, most=9) == ["China", "Asia", "Berlin"]
    assert said(language="zh") == ["首都: 中国"]
    assert said(GRAPH.entities.id("China"), incoming=True, most=9) == [
        "Beijing: capital of",
        "located in: Asia",
        "money: yuan",
    ]
    assert said(GRAPH.entities.id("Ghost")) == []
    assert said(hops=2) == ["capital of: China, located in: Asia", "located in: Asia"]
    assert said(longest=2) == []


def test_equal_texts_get_equal_branches_in_every_order_of_asking(words: Tokenizer) -> None:
    first, second = (Branches(GRAPH, words) for _ in range(2))
    order = range(GRAPH.entity_count)
    asked = {entity: [one.text for one in first(entity)] for entity in order}
    assert {entity: [one.text for one in second(entity)] for entity in reversed(order)} == {**asked}
    assert first.fingerprint() == second.fingerprint() != Branches(GRAPH, words, BranchOptions(most=3)).fingerprint()


def test_relevance_prefers_what_the_sentence_is_about(words: Tokenizer) -> None:
    text = "Beijing is located in Asia"
    [encoded] = words.encode([text])
    vectors = np.eye(words.vocabulary_size, dtype=np.float32)
    branches = Branches(GRAPH, words, BranchOptions(most=16))
    for most, relevance, expected in ((1, None, "capital of: China"), (1, vectors, "located in: Asia")):
        tree = SentenceTree(branches, 64, 64, most, relevance=relevance)
        [twig] = tree.twigs_all([encoded], [[mention(text, "Beijing", "Beijing")]])[0][1]
        assert twig.branch.text == expected


def test_what_does_not_fit_is_told(words: Tokenizer) -> None:
    with pytest.raises(
        InputError, match=r"field language: the graph's entities have no labels in fr\. Labels it has: en, zh"
    ):
        Branches(GRAPH, words, BranchOptions(language="fr"))
    with pytest.raises(UnknownName, match=r'no relation of the graph is called "capitol"\. Did you mean "capital"'):
        Branches(GRAPH, words, BranchOptions(priority=("capitol",)))
    for wrong in ({"most": 0}, {"longest": 0}, {"hops": 3}):
        with pytest.raises(InputError):
            BranchOptions(**wrong)
    with pytest.raises(InputError, match="field length"):
        SentenceTree(Branches(GRAPH, words), 2, 9)
    [text] = words.encode([TEXT])
    tree = grower(words).grow(text, [])
    with pytest.raises(KelmError, match="has branches already"):
        grower(words).grow(tree, [])


@pytest.fixture
def encoder(words: Tokenizer) -> Encoder:
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    return Encoder(EncoderConfig(vocab_size=words.vocabulary_size, max_position_embeddings=64, **sizes)).eval()


def grown(words: Tokenizer, encoder: Encoder, tmp_path: Path, **options) -> Grower:
    GRAPH.save(tmp_path / "graph")
    made = {"tokenizer": words, "config": encoder.config, "encoder": encoder, "length": 64, **options}
    return sentence_tree(graph=str(tmp_path / "graph"), **made)


def test_an_enricher_finds_mentions_by_the_graphs_names_and_crosses_a_queue(
    words: Tokenizer, encoder: Encoder, tmp_path: Path
) -> None:
    enricher = grown(words, encoder, tmp_path)
    texts = words.encode([TEXT, "nothing here", "In Beijing"])
    trees = enricher(texts)
    assert [int(tree[Grown].branches) for tree in trees] == [3, 0, 2]
    again = pickle.loads(pickle.dumps(enricher))
    assert again.fingerprint() == enricher.fingerprint()
    for one, other in zip(trees, again(texts), strict=True):
        assert one.tokens.tolist() == other.tokens.tolist()
    assert grown(words, encoder, tmp_path, relevance=True).fingerprint() != enricher.fingerprint()


def test_the_texts_own_mentions_serve_where_a_table_names_them(
    words: Tokenizer, encoder: Encoder, tmp_path: Path
) -> None:
    from kg.embeddings.table import EntityTable

    table = EntityTable.from_vectors(["Beijing", "Cook"], np.ones((2, 4), np.float32))
    table.save(tmp_path / "table")
    enricher = grown(words, encoder, tmp_path, table=str(tmp_path / "table"))
    [text] = words.encode([TEXT])
    [tree] = enricher([align(text, [mention(TEXT, "Beijing", "Beijing")], table.names.find)])
    assert (int(tree[Grown].mentions), int(tree[Grown].branches)) == (1, 2)


def test_the_trunk_is_not_changed_by_branches_that_it_does_not_see(words: Tokenizer, encoder: Encoder) -> None:
    """A branch is seen by its mention only: in a first layer no other token of the trunk can tell that it is there."""
    one = Encoder(EncoderConfig(**{**encoder.config.to_dict(), "num_hidden_layers": 1})).eval()
    [text] = words.encode([TEXT])
    tree = grower(words).grow(text, [mention(TEXT, "Beijing", "Beijing")])
    assert tree.branch is not None and tree.anchor is not None
    plain, with_branches = (one.encode(pack([some], pad=words.pad)).hidden[0] for some in (text, tree))
    trunk = torch.from_numpy(np.flatnonzero(tree.branch == 0))
    seen = torch.from_numpy(tree.anchor[tree.branch == 0] >= 0)
    torch.testing.assert_close(with_branches[trunk][~seen], plain[~seen], atol=1e-6, rtol=1e-5)
    assert not torch.allclose(with_branches[trunk][seen], plain[seen], atol=1e-4)


def test_what_the_original_cut_takes_away_is_named_by_no_part(words: Tokenizer) -> None:
    [text] = words.encode([TEXT])
    found = [mention(TEXT, "Tim Cook", "Cook"), mention(TEXT, "Beijing", "Beijing")]
    linked = align(text, found, {"Cook": 5, "Beijing": 7})
    whole = SentenceTree(Branches(GRAPH, words), 99, 99).grow(linked, found)
    for length in range(3, len(whole) + 1):
        cut = SentenceTree(Branches(GRAPH, words), length, 99, cut="end").grow(linked, found)
        assert len(cut) == length
        assert (cut[Mentions].last < length).all()
        assert whole.branch is not None
        inside = set(whole.branch[:length].tolist()) - set(whole.branch[length:].tolist()) - {0}
        assert int(cut[Grown].branches) == len(inside)
        assert int(cut[Grown].branches + cut[Grown].left_out) == 3
    short = SentenceTree(Branches(GRAPH, words), 99, len(text), cut="end").grow(text, found)
    assert short.positions is not None
    assert short.positions.max() < len(text)


def test_no_branch_says_the_same_as_another_or_leads_back(words: Tokenizer) -> None:
    graph = KnowledgeGraph.from_triples(
        [("A", "r1", "B"), ("A", "r2", "B"), ("B", "r3", "A"), ("B", "r4", "C")],
        labels={"en": {"A": "berlin", "B": "germany", "C": "europe", "r1": "in", "r2": "of", "r3": "has", "r4": "in"}},
    )

    def said(**options) -> list[str]:
        branches = Branches(graph, words, BranchOptions(most=9, longest=64, **options))
        return [branch.text for branch in branches(graph.entities.id("A"))]

    assert said(relation=False, incoming=True) == ["germany"]
    assert said(hops=2, incoming=True) == [
        "in: germany, in: europe", "of: germany, in: europe", "germany: has, in: europe",
    ]  # fmt: skip


def test_a_trunk_that_is_longer_than_the_tree_may_be_stays_whole(words: Tokenizer) -> None:
    [text] = words.encode([TEXT])
    tree = grower(words, length=4).grow(text, [mention(TEXT, "Beijing", "Beijing")])
    assert tree.tokens.tolist() == text.tokens.tolist()
    assert (int(tree[Grown].branches), int(tree[Grown].left_out)) == (0, 2)
