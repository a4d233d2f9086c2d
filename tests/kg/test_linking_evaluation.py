"""What is counted when linkers are judged: worked by hand, against a slow oracle, and on real sets."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path

import networkx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kelm.errors import FormatError, InputError, RecipeError
from kelm.evaluation.bootstrap import interval, resampled
from kg.io import xfactr
from kg.linking.alias import AliasLinker
from kg.linking.base import Candidate, Mention
from kg.linking.linked_text import read_fewrel
from kg.linking.linking_sets import LinkingText, read_elevant, read_hipe
from kg.linking.nil import silenced, tuned_threshold
from kg.linking.scores import count_links, judged, known_candidates, rates
from kg.study.linking import Linking
from kg.study.linking_data import JudgedSet, read_set

TEXT = "x" * 60


def mention(start: int, end: int, *entities: str, prior: float = 0.5) -> Mention:
    return Mention(start, end, "x" * (end - start), tuple(Candidate(entity, prior) for entity in entities))


def document(*mentions: Mention, ignored: tuple[tuple[int, int], ...] = ()) -> LinkingText:
    return LinkingText(TEXT, mentions, ignored)


def counted(text: LinkingText, found: list[Mention], **options) -> tuple[int, ...]:
    return tuple(count_links([text], [found], **options)[0].tolist())


def test_strong_and_weak_matches_within_the_graph_and_over_all() -> None:
    text = document(mention(0, 5, "Q1"), mention(6, 9, "Q2"), mention(10, 15), mention(20, 25, "Q9"))
    found = [mention(0, 5, "Q1"), mention(6, 8, "Q2"), mention(10, 15, "Q3"), mention(20, 25), mention(30, 33, "Q8")]
    known = {"Q1", "Q2", "Q3"}  # Q9 and Q8 are not in the graph: they are "no entity"
    assert counted(text, found, known=known) == (1, 3, 2)
    assert counted(text, found, known=known, match="weak") == (2, 3, 2)
    assert counted(text, found, known=known, scope="all") == (2, 5, 4)
    assert counted(text, found, known=known, scope="all", match="weak") == (3, 5, 4)


def test_what_is_ignored_or_not_judged_counts_neither_way_and_any_right_answer_does() -> None:
    text = LinkingText(TEXT, (mention(5, 8, "Q1", "Q2"),), ((10, 15),), judged=(4, 40))
    found = [mention(0, 3, "Q4"), mention(5, 8, "Q2"), mention(11, 13, "Q5"), mention(41, 44, "Q6")]
    assert counted(text, found) == (1, 1, 1)


SPANS = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 6), st.sampled_from(["", "A", "B", "C"])), max_size=7)


def apart(spans: list[tuple[int, int, str]]) -> list[Mention]:
    """Mentions that do not overlap, in order."""
    kept: list[Mention] = []
    for start, length, entity in sorted(spans):
        if not kept or start >= kept[-1].end:
            kept.append(mention(start, start + length, *([entity] if entity else [])))
    return kept


@given(SPANS, SPANS, st.sampled_from(["strong", "weak"]), st.sampled_from(["graph", "all"]))
@settings(max_examples=300, deadline=None)
def test_counts_equal_the_largest_matching_of_a_slow_oracle(gold, found, match, scope) -> None:
    known = {"A", "B"}

    def entity(one: Mention) -> str | None:
        return one.entity if one.entity in known else None

    wanted, answers = (
        [one for one in apart(spans) if scope == "all" or entity(one) is not None] for spans in (gold, found)
    )
    pairs = networkx.Graph()
    pairs.add_nodes_from(("gold", place) for place in range(len(wanted)))
    for place, one in enumerate(wanted):
        for number, other in enumerate(answers):
            same = (one.start, one.end) == (other.start, other.end)
            meets = set(range(one.start, one.end)) & set(range(other.start, other.end))
            if entity(one) == entity(other) and (same if match == "strong" else meets):
                pairs.add_edge(("gold", place), ("found", number))
    right = len(networkx.max_weight_matching(pairs, maxcardinality=True))
    text = document(*apart(gold))
    assert counted(text, apart(found), match=match, scope=scope, known=known) == (right, len(answers), len(wanted))


@given(st.lists(st.tuples(SPANS, SPANS), max_size=5))
@settings(max_examples=100, deadline=None)
def test_sums_over_documents_are_those_of_the_micro_scores(pairs) -> None:
    gold, found = ([apart(spans) for spans in side] for side in (zip(*pairs, strict=True) if pairs else ([], [])))
    counts = count_links([document(*mentions) for mentions in gold], found)
    wanted, said = (
        {(place, one.start, one.end, one.entity) for place, some in enumerate(side) for one in some if one.entity}
        for side in (gold, found)
    )
    right = len(wanted & said)
    assert counts.sum(0).tolist() == [right, len(said), len(wanted)]
    f1 = 2 * right / (len(said) + len(wanted)) if said or wanted else 0.0
    assert rates(counts, np.random.default_rng(0), draws=5).f1.value == pytest.approx(f1)


def test_macro_averages_leave_out_documents_with_nothing_to_find_and_nothing_found() -> None:
    counts = np.array([[1, 1, 1], [0, 0, 0], [0, 3, 0], [1, 1, 3]])
    found = rates(counts, np.random.default_rng(0))
    assert (found.right, found.found, found.gold, found.documents) == (2, 5, 4, 3)
    assert found.f1.value == pytest.approx(4 / 9)
    assert found.macro_f1.value == pytest.approx((1 + 0 + 1 / 2) / 3)
    assert found.f1.low <= found.f1.value <= found.f1.high
    assert rates(counts[:0], np.random.default_rng(0)).f1.value == 0.0


def test_intervals_are_those_of_a_plain_bootstrap() -> None:
    values = np.random.default_rng(1).random((40, 1))
    random = np.random.default_rng(2)
    plain = [values[random.integers(0, 40, 40)].mean() for _ in range(4000)]
    ours = resampled(values, np.random.default_rng(3), 4000)[:, 0] / 40
    assert interval(ours) == pytest.approx(tuple(np.quantile(plain, [0.025, 0.975])), abs=0.01)


def test_the_share_of_mentions_with_a_right_candidate_bounds_the_given_task() -> None:
    text = document(mention(0, 5, "Q1"), mention(6, 9, "Q2"), mention(10, 15), mention(20, 25, "Q9"))
    ranked = [[mention(0, 5, "Q3", "Q1"), mention(6, 9, "Q3"), mention(10, 15), mention(20, 25, "Q9")]]
    assert known_candidates([text], ranked, {"Q1", "Q2", "Q3"}) == 0.5


SCORED = st.lists(st.tuples(st.sampled_from([0.1, 0.2, 0.3, 0.7]), st.booleans()), max_size=8)


@given(SCORED)
@settings(max_examples=200, deadline=None)
def test_no_threshold_is_better_than_the_tuned_one(answers) -> None:
    text = document(*(mention(3 * place, 3 * place + 2, "Q1") for place in range(len(answers))))
    found = [
        mention(3 * place, 3 * place + 2, "Q1" if right else "Q2", prior=score)
        for place, (score, right) in enumerate(answers)
    ]

    def f1(threshold: float) -> float:
        counts = count_links([text], [silenced(found, threshold)])
        return rates(counts, np.random.default_rng(0), draws=1).f1.value

    assert f1(tuned_threshold([text], [found])) == max(map(f1, (0.0, 0.1, 0.2, 0.3)))


def test_the_best_candidates_of_a_document_are_judged_one_by_one() -> None:
    text = document(mention(0, 5, "Q1"), mention(6, 9))
    found = [mention(0, 5, "Q1", prior=0.8), mention(6, 9, "Q2", prior=0.3), mention(20, 22)]
    assert judged([text], [found]) == (1, [(0.8, True), (0.3, False)])


ARTICLE = {
    "text": "Jon is a Canadian of 1990, born in Ourtown.",
    "evaluation_span": [0, 43],
    "labels": [
        {"id": 0, "span": [9, 17], "entity_id": "Q16"},
        {"id": 1, "span": [9, 17], "entity_id": "Q1196645", "parent": 0},
        {"id": 2, "span": [21, 25], "entity_id": "DATETIME"},
        {"id": 3, "span": [35, 42], "entity_id": "<NIL>"},
        {"id": 4, "span": [35, 38], "entity_id": "Q7", "parent": 3},
    ],
}


def test_an_article_of_elevant_is_read(tmp_path: Path) -> None:
    path = tmp_path / "set.jsonl"
    path.write_text(json.dumps(ARTICLE) + "\n", encoding="utf-8")
    [text] = read_elevant(path)
    assert [(one.text, [c.entity for c in one.candidates]) for one in text.mentions] == [
        ("Canadian", ["Q16", "Q1196645"]),
        ("Ourtown", []),
    ]
    assert text.ignored == ((21, 25), (35, 38))
    assert text.judged == (0, 43)
    label = {"span": [9, 99], "entity_id": "Q16"}
    path.write_text(json.dumps({**ARTICLE, "labels": [label]}) + "\n", encoding="utf-8")
    with pytest.raises(FormatError, match=r"line 1.*does not lie within the text"):
        list(read_elevant(path))


HIPE = """TOKEN\tNE-COARSE-LIT\tNEL-LIT\tMISC
# hipe2022:document_id = one
In\tO\t_\t_
Neu\tB-loc\tQ3\t_
York\tI-loc\tQ3\tNoSpaceAfter
,\tO\t_\t_
Vers\tB-scope\t_\t_
Max\tB-pers\tNIL\t_

# hipe2022:document_id = two
Rom\tB-loc\tQ220\tEndOfSentence
"""


def test_documents_of_hipe_are_read(tmp_path: Path) -> None:
    path = tmp_path / "set.tsv"
    path.write_text(HIPE, encoding="utf-8")
    one, two = read_hipe(path)
    assert one.text == "In Neu York, Vers Max "
    assert [(m.start, m.end, m.text, m.entity) for m in one.mentions] == [
        (3, 11, "Neu York", "Q3"),
        (18, 21, "Max", None),
    ]
    assert one.ignored == ((13, 17),)
    assert (two.text, two.mentions[0].entity) == ("Rom ", "Q220")
    path.write_text(HIPE + "broken\n", encoding="utf-8")
    with pytest.raises(FormatError, match=r"line 12.*expected 4 columns, found 1"):
        list(read_hipe(path))


def write_data(folder: Path) -> None:
    """A folder of data with one small graph and two sets."""
    (folder / "kg" / "xfactr").mkdir(parents=True)
    (folder / "kg" / "xfactr" / "facts.tsv").write_text("Q1\tP1\tQ2\t\nQ3\tP1\tQ2\t\n", encoding="utf-8")
    names = "Q1\tParis\nQ2\tFrance\nQ3\tParis\n"
    (folder / "kg" / "xfactr" / "labels.en.tsv").write_text(names, encoding="utf-8")
    sets = folder / "linked_text" / "entity_linking"
    sets.mkdir(parents=True)
    text = "Paris in France"
    labels = [{"span": [0, 5], "entity_id": "Q1"}, {"span": [9, 15], "entity_id": "Q2"}]
    for name in ("dev", "test", "more"):
        with gzip.open(sets / f"{name}.jsonl.gz", "wt", encoding="utf-8") as file:
            file.write(json.dumps({"text": text, "labels": labels}) + "\n")


def test_an_evaluation_reports_both_tasks_and_goes_on_where_it_was(tmp_path: Path) -> None:
    write_data(tmp_path / "data")
    judged_set = JudgedSet(name="test", development="dev")
    recipe = Linking(sets=(judged_set,), graphs=("xfactr",), languages=("en",), linked=("more",), draws=10)
    told: list[str] = []
    report = recipe.run(tmp_path / "data", tmp_path / "out", told.append)
    methods = ("dictionary", "degree", "counts", "coherence")
    assert told == [f"{method} on test: given F1 1.000, text F1 1.000" for method in methods]
    assert "| test | dictionary | 2 (2) | 1.000 | 1.000 (1.000 to 1.000)" in report
    again: list[str] = []
    assert recipe.run(tmp_path / "data", tmp_path / "out", again.append) == report
    assert again == []


def test_an_unknown_graph_set_or_method_is_a_mistake_that_is_named(tmp_path: Path) -> None:
    write_data(tmp_path / "data")
    judged_set = JudgedSet(name="test", development="dev")
    with pytest.raises(InputError, match=r"graphs.*xfactr, codex, fb15k237"):
        Linking(sets=(judged_set,), graphs=("wikidata",)).run(tmp_path / "data", tmp_path / "out", print)
    with pytest.raises(RecipeError, match='no method is called "prior"'):
        Linking(methods=("prior",)).run(tmp_path / "data", tmp_path / "out", print)  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match="linked: dev would be learned from and judged by"):
        Linking(sets=(judged_set,), linked=("dev", "more")).run(tmp_path / "data", tmp_path / "out", print)
    with pytest.raises(InputError, match=r"the folder has no .*tset\.jsonl.*Name the folder"):
        read_set(tmp_path / "data", "tset")
    with pytest.raises(InputError, match="no folder of data"):
        Linking().run(None, tmp_path / "out", print)


def test_the_real_sets_hold_what_their_description_says(data: Path) -> None:
    def entities(name: str) -> int:
        return sum(len(one.candidates) > 0 for text in read_set(data, name).texts for one in text.mentions)

    assert [entities(name) for name in ("kore50", "oke-2016-eval", "rss-500")] == [143, 287, 518]
    sizes = [len(read_set(data, f"fewrel-{part}").texts) for part in ("train", "dev", "test")]
    assert sum(sizes) == 11_200 and sizes[0] > 6_000
    for text in read_set(data, "newseye-sv-test").texts:
        assert all(text.text[one.start : one.end] == one.text for one in text.mentions)


def test_the_shipped_recipe_is_the_default() -> None:
    from kelm.training import recipe_file

    path = Path(__file__).parents[2] / "kg" / "recipes" / "linking-xfactr.toml"
    assert recipe_file.read_as(lambda values: values.pop("evaluation") and Linking, path) == Linking()


def test_found_documents_must_correspond_to_gold_ones() -> None:
    with pytest.raises(ValueError, match="as many found documents"):
        count_links([document()], [])


def recall_and_accuracy(texts: Sequence[LinkingText], linker: AliasLinker, known: set[str]) -> tuple[float, float]:
    """Share of known entities found right, of their mentions; share of right entities where the place was found."""
    found = linker.link_all([text.text for text in texts])
    right, _, gold = count_links(texts, found, known=known).sum(0).tolist()
    places = [{(one.start, one.end): one.entity for one in mentions} for mentions in found]
    shared = [
        place[one.start, one.end] in {candidate.entity for candidate in one.candidates}
        for text, place in zip(texts, places, strict=True)
        for one in text.mentions
        if one.candidates and (one.start, one.end) in place
    ]
    return right / gold, sum(shared) / len(shared)


def test_the_names_of_a_real_graph_find_the_entities_it_knows(data: Path) -> None:
    """Exact spans against four other annotators' decisions; the bounds are a little below what was measured."""
    graph = xfactr.read(data / "kg" / "xfactr", languages=["en"])
    linker, known = AliasLinker.from_graph(graph), set(graph.entities)
    sentences = read_fewrel(data / "linked_text" / "fewrel" / "val_wiki.json.gz")[::4]
    recall, accuracy = recall_and_accuracy([LinkingText.of(text) for text in sentences], linker, known)
    assert recall > 0.7
    assert accuracy > 0.68
    articles = list(read_elevant(data / "linked_text" / "entity_linking" / "oke-2016-train.jsonl.gz"))
    recall, accuracy = recall_and_accuracy(articles, linker, known)
    assert recall > 0.5
    assert accuracy > 0.6
