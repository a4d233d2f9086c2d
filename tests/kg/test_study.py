"""Studies: splits without leaks, arms, the floor, statistics, and a whole study in small."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import ttest_1samp
from sklearn.linear_model import LogisticRegression

import kg
from kelm.errors import InputError
from kelm.evaluation.intervals import mean
from kelm.model import Encoder
from kelm.text import vocabulary
from kelm.training import recipe_file, record
from kg.embeddings.recipe import EmbeddingRecipe
from kg.embeddings.table import EntityTable
from kg.linking.alias import AliasLinker
from kg.linking.base import Candidate
from kg.linking.linked_text import LinkedText, RelationText, gold, read_fewrel
from kg.study import fewrel, probe, report
from kg.study.base import Pretraining, pretrain
from kg.study.cldr import Cldr
from kg.study.fewrel import ErnieFewRel
from kg.study.fine_tuning import fine_tuned, fit_head
from kg.study.material import controlled, encode_examples, fingerprint, relink, split
from kg.study.run import Alignment, FineTuning, Material, Outcome, Study, run
from kg.tasks.relations import Pairs, RelationClassification

PEOPLE, PLACES = [f"Q{n}" for n in range(12)], [f"Q{n}" for n in range(12, 24)]


def example(head: str, tail: str, relation: str, words: str = "belongs with") -> RelationText:
    text = f"name {head} {words} name {tail} ."
    start = text.rindex("name")
    return RelationText(
        text, gold(text, 0, 5 + len(head), head), gold(text, start, start + 5 + len(tail), tail), relation
    )


def examples() -> list[RelationText]:
    """Two people are friends, a person lives in a place; the words are the same."""
    pairs = [(a, b, "friend") for a in PEOPLE for b in PEOPLE if a < b][:40]
    pairs += [(a, b, "lives") for a in PEOPLE for b in PLACES][:40]
    return [example(*pair) for pair in pairs] + [example("Z1", "Z2", "friend"), example("Z3", "Z4", "lives")]


def table() -> EntityTable:
    """Vectors that tell people from places."""
    random = np.random.default_rng(0)
    kinds = np.array([[1.0, 0.0]] * 12 + [[0.0, 1.0]] * 12).repeat(4, axis=1)
    vectors = (kinds + 0.1 * random.normal(size=kinds.shape)).astype(np.float32)
    return EntityTable.from_vectors([*PEOPLE, *PLACES], vectors)


def known(some: list[RelationText]) -> list[bool]:
    return [not (e.head.entity or "").startswith("Z") for e in some]


def test_training_and_test_examples_are_apart_and_slices_say_what_they_are() -> None:
    some = examples()
    parts = split(some, known(some), 5, seed=1)
    assert len(parts.train) == 10
    assert not set(parts.train) & {number for numbers in parts.test.values() for number in numbers}
    assert parts.test["uncovered"] == (80, 81)
    assert set(parts.test["unseen"]) <= set(parts.test["covered"])
    met = {entity for number in parts.train for entity in some[number].entities}
    assert not any(met & set(some[number].entities) for number in parts.test["unseen"])
    assert all(known(some)[number] for number in parts.train)
    assert split(some, known(some), 5, seed=1) == parts != split(some, known(some), 5, seed=2)


def test_a_relation_with_a_single_covered_example_is_named() -> None:
    some = [example("Q1", "Q2", "rare"), *examples()]
    with pytest.raises(InputError, match='relation "rare" has 1 examples'):
        split(some, known(some), 5, seed=0)


def test_the_controls_hold_the_same_vectors_elsewhere_or_vectors_as_spread() -> None:
    shuffled, random = (controlled(table(), arm, 3) for arm in ("shuffled", "random"))
    assert sorted(map(tuple, shuffled.vectors.tolist())) == sorted(map(tuple, table().vectors.tolist()))
    assert not np.array_equal(shuffled.vectors, table().vectors)
    assert list(shuffled.names) == list(table().names)
    assert np.allclose(random.vectors.mean(0), table().vectors.mean(0), atol=0.5)
    assert not np.isin(random.vectors, table().vectors).any()


def test_automatic_links_replace_the_entities_and_keep_the_places() -> None:
    linker = AliasLinker([("name Q3", "Q3"), ("name Q4", "Q9")])
    (found,) = relink([example("Q3", "Q4", "friend")], linker)
    assert found.entities == ("Q3", "Q9")
    assert (found.head.start, found.tail.end) == (0, len(found.text) - 2)
    (none,) = relink([example("Q5", "Q6", "friend")], linker)
    assert none.entities == (None, None)


def test_the_probe_sees_no_mention_words_and_the_vectors_of_its_arm() -> None:
    some = examples()
    assert probe.without_mentions(some[0]).split() == ["HEAD", "belongs", "with", "TAIL", "."]
    parts = split(some, known(some), 5, seed=0)
    train, test = ([some[n] for n in numbers] for numbers in (parts.train, parts.test["covered"]))
    right = [e.relation for e in test]
    with_vectors, without = (probe.predict(train, test, given) for given in (table(), None))
    assert np.mean([a == b for a, b in zip(with_vectors, right, strict=True)]) > 0.95
    assert np.mean([a == b for a, b in zip(without, right, strict=True)]) < 0.7


def test_means_have_students_interval() -> None:
    values = [0.5, 0.6, 0.55, 0.7]
    found, expected = mean(values), ttest_1samp(values, 0).confidence_interval(0.95)
    assert (found.value - found.half, found.value + found.half) == pytest.approx((expected.low, expected.high))
    assert math.isnan(mean([0.5]).half)


def outcome(arm: str, seed: int, accuracy: float) -> Outcome:
    return Outcome("ernie", arm, "gold", seed, 5, "covered", 100, accuracy, accuracy)


def test_gains_are_paired_by_seed() -> None:
    some = [
        outcome("knowledge", 0, 0.8),
        outcome("knowledge", 1, 0.6),
        outcome("none", 0, 0.5),
        outcome("none", 1, 0.3),
    ]
    gained = report.gain(some, "none", model="ernie", per_relation=5)
    assert gained is not None
    assert (gained.value, gained.n) == (pytest.approx(0.3), 2)
    assert gained.half == pytest.approx(0.0, abs=1e-9)  # the seeds differ, the difference does not


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    folder = tmp_path_factory.mktemp("study")
    some = examples()
    tokenizer = vocabulary.train([e.text for e in some], 80, "wordpiece", lower=True)
    pretrain(
        Pretraining(width=32, layers=2, steps=5, tokens=128, length=32),
        lambda: [e.text for e in some],
        tokenizer,
        folder,
    )
    texts = [LinkedText(e.text, e.mentions, "text") for e in some[:20]]
    return Material(folder / "base", tokenizer, table(), texts, {"gold": some, "automatic": some})


SMALL = Study(
    per_relation=(8,),
    seeds=(0,),
    arms=("none", "knowledge"),
    length=32,
    align=Alignment(steps=5, tokens=256),
    fine_tune=FineTuning(steps=60, examples=16, rate=5e-3),
)


def test_in_a_study_knowledge_tells_what_hidden_words_do_not(material: Material, tmp_path: Path) -> None:
    outcomes = run(SMALL, material, tmp_path)
    found = {(o.model, o.arm): o.accuracy for o in outcomes if o.slice == "covered"}
    assert found["ernie", "knowledge"] > 0.9
    assert found["ernie", "none"] < 0.75
    assert {o.slice for o in outcomes} >= {"covered", "uncovered"}
    text = report.table(outcomes)
    assert "**covered, gold links** (accuracy, 64 test sentences, 1 seeds)" in text
    assert "| ernie | knowledge | " in text
    report.picture(outcomes, tmp_path / "accuracy.png", title="small")
    assert (tmp_path / "accuracy.png").read_bytes().startswith(b"\x89PNG")


def test_a_checkpoint_is_taken_as_it_is_if_there_are_no_steps_to_make(material: Material, tmp_path: Path) -> None:
    def never() -> list[str]:
        raise AssertionError("no text is needed")

    start = Pretraining(hf=str(material.base), steps=0)
    made = pretrain(start, never, material.tokenizer, tmp_path)
    given, taken = (Encoder.from_hf(place).state_dict() for place in (material.base, made))
    assert given.keys() == taken.keys() and all(torch.equal(given[name], taken[name]) for name in given)
    assert pretrain(replace(start, steps=9), never, material.tokenizer, tmp_path) == made  # it is there


def test_a_study_that_was_interrupted_makes_nothing_twice(material: Material, tmp_path: Path) -> None:
    quick = replace(SMALL, arms=("none",), align=Alignment(steps=0), fine_tune=FineTuning(steps=2))
    said: list[str] = []
    first = run(quick, material, tmp_path, say=said.append)
    assert any("fine-tuning" in line for line in said)
    said.clear()
    assert run(quick, material, tmp_path, say=said.append) == first
    assert said == []


def test_examples_beyond_the_length_are_given_up_and_hidden_words_are_gone(material: Material) -> None:
    long = example("Q1", "Q2", "friend", words="belongs with " * 20)
    short = example("Q1", "Q2", "friend")
    cut, kept = encode_examples([long, short], material.tokenizer, ["friend"], lambda name: 0, length=48, hidden=True)
    assert cut is None
    assert kept is not None
    assert (kept.tokens == material.tokenizer.mask).sum() == 2


def test_a_line_that_a_kill_cut_off_is_made_again(material: Material, tmp_path: Path) -> None:
    quick = replace(SMALL, arms=("none",), align=Alignment(steps=0), fine_tune=FineTuning(steps=2))
    first = run(quick, material, tmp_path)
    kept = tmp_path / "outcomes.jsonl"
    kept.write_text(kept.read_text(encoding="utf-8")[:-20], encoding="utf-8")
    assert run(quick, material, tmp_path) == first
    assert kept.read_text(encoding="utf-8").count("\n") == 1


@pytest.mark.parametrize("relations", [2, 3])
def test_a_fitted_head_answers_as_logistic_regression_on_the_same_features(material: Material, relations: int) -> None:
    """Oracle: scikit-learn's own predictions."""
    some = [replace(e, relation=f"r{number % relations}") for number, e in enumerate(examples()[:30])]
    names = [f"r{number}" for number in range(relations)]
    encoded = encode_examples(some, material.tokenizer, names, lambda name: -1, length=32, hidden=False)
    texts = [text for text in encoded if text is not None]
    encoder = Encoder.from_hf(material.base, extensions={"ernie": {"width": 8, "heads": 4}})
    task = RelationClassification(
        encoder.config, relations=names, states=("mentions", "mean"), entities=8, unit=True
    ).eval()
    fit_head(task, encoder, texts, strength=5.0)
    batch = task.collate(texts, 0)
    with torch.no_grad():
        features = task.features(batch, encoder.encode(batch)).numpy()
        probabilities = task.logits(batch, encoder.encode(batch)).softmax(-1).numpy()
    answers = batch[Pairs].relation.numpy()
    fitted = LogisticRegression(C=5.0, max_iter=500).fit(features - features.mean(0), answers)
    assert np.allclose(probabilities, fitted.predict_proba(features - features.mean(0)), atol=1e-4)


def test_frozen_layers_stay_and_the_others_learn(material: Material) -> None:
    start = Encoder.from_hf(material.base, extensions={"ernie": {"width": 8, "heads": 4}})
    encoded = encode_examples(
        examples()[20:60], material.tokenizer, ["friend", "lives"], lambda name: -1, length=32, hidden=False
    )
    options = FineTuning(steps=3, passes=0, frozen=1, rate=1e-2)
    encoder, _ = fine_tuned(options, start, [t for t in encoded if t is not None], ["friend", "lives"], 8, seed=0)
    changed = {name for name, value in encoder.state_dict().items() if not value.equal(start.state_dict()[name])}
    assert not any(name.startswith(("embeddings.", "encoder.layer.0.")) for name in changed)
    assert any(name.startswith("encoder.layer.1.") for name in changed)


def test_a_fingerprint_tells_texts_links_and_relations_apart_and_not_where_they_were_read() -> None:
    one = examples()[0]
    other = replace(one.head, candidates=(Candidate("Q9", 1.0),))
    changed = [replace(one, text=f"{one.text}."), replace(one, relation="x"), replace(one, head=other)]
    assert fingerprint([one]) == fingerprint([replace(one, origin="elsewhere:3")])
    assert len({fingerprint([it]) for it in (one, *changed)}) == 4


@pytest.mark.parametrize("content", ["{", "[]", '{"data": 3}', "{}"])
def test_a_damaged_record_is_refused_by_name(content: str, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=r"run\.json.*damaged"):
        record.keep(tmp_path, {"graph": "1"})


def test_a_slice_holds_at_most_as_many_examples_as_asked_for() -> None:
    some = examples()
    whole, cut = (split(some, known(some), 5, seed=1, covered=most) for most in (None, 7))
    assert len(cut.test["covered"]) == 7
    assert set(cut.test["covered"]) < set(whole.test["covered"])
    assert set(cut.test["unseen"]) == set(whole.test["unseen"]) & set(cut.test["covered"])
    assert cut.train == whole.train


@pytest.mark.parametrize("name", ["zhang2019_ernie_fewrel", "zhang2019_ernie_fewrel_minilm"])
def test_the_recipes_that_we_ship_are_valid(name: str) -> None:
    path = Path(kg.__file__).parent / "recipes" / f"{name}.toml"
    shipped = recipe_file.read_as(lambda values: values.pop("evaluation") and ErnieFewRel, path)
    assert shipped.study.seeds == (0, 1, 2)
    assert shipped.study.links == ("gold", "automatic")
    assert shipped.study.arms == ("none", "knowledge", "shuffled", "random")


def test_443_answers_are_taken_out_of_the_graph_of_the_fewrel_study(data: Path) -> None:
    graph = fewrel.joined_graph(data)
    gold_examples = read_fewrel(data / "linked_text/fewrel/val_wiki.json.gz")
    known_graph, removed = fewrel.without_answers(graph, gold_examples)
    assert (len(graph), graph.entity_count, removed) == (312_613, 118_497, 443)
    assert len(known_graph) == 312_613 - 443
    heads, tails = (
        known_graph.entities.ids([getattr(e, side).entity or "" for e in gold_examples]) for side in ("head", "tail")
    )
    assert int(((heads >= 0) | (tails >= 0)).sum()) == 4_826


def test_the_quickstart_shows_in_small_that_knowledge_tells_what_words_do_not(tmp_path: Path) -> None:
    study = Cldr(
        examples=300,
        texts=300,
        vocabulary=900,
        embedding=EmbeddingRecipe(width=16, epochs=30),
        base=Pretraining(width=32, layers=2, steps=5, tokens=512, length=64),
        study=replace(
            Cldr().study,
            per_relation=(10,),
            seeds=(0,),
            arms=("none", "knowledge"),
            align=Alignment(steps=10, tokens=512, rate=1e-3),
            fine_tune=FineTuning(steps=40, rate=3e-3),
        ),
    )
    said: list[str] = []
    outcomes = study.outcomes(tmp_path, said.append)
    found = {(o.model, o.arm): o.accuracy for o in outcomes if o.slice == "covered"}
    assert found["ernie", "knowledge"] > found["ernie", "none"] + 0.15
    assert any("linked by name to the right entity" in line for line in said)
    assert (tmp_path / "accuracy.png").is_file()
    kept = json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))
    assert {"torch", "babel"} <= kept["versions"].keys()
    assert kept["data"].keys() == {"graph", "examples", "texts"}
    with pytest.raises(InputError, match=r"run\.json.*from other data \(changed: examples.*another folder"):
        replace(study, examples=299).outcomes(tmp_path, said.append)
