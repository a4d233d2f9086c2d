"""The numbers behind pictures against slow versions, and the files they end in."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from sklearn.decomposition import PCA

from kelm.cli import run
from kelm.errors import CheckpointError, InputError, MissingDependency
from kg.embeddings import EmbeddingRecipe, KnowledgeGraphEmbedding, PykeenEmbedding, draw, embed, open_embedding
from kg.embeddings.classification import triple_scores
from kg.embeddings.confusion import relation_confusion
from kg.embeddings.entity_map import entity_map, kinds_of, principal_components, spread_out
from kg.embeddings.pictures import curve, draw_confusion, draw_curve, draw_map
from kg.embeddings.pykeen import factory_of, untrained
from kg.embeddings.query_training import QueryTraining
from kg.graph import KnowledgeGraph

ENTITIES, RELATIONS = 12, 5
SVG = "{http://www.w3.org/2000/svg}"


def some_triples(seed: int, count: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    return np.stack([random.integers(0, size, count) for size in (ENTITIES, RELATIONS, ENTITIES)], axis=1)


def untaught(model: str) -> KnowledgeGraphEmbedding | PykeenEmbedding:
    if model == "pykeen":
        recipe = EmbeddingRecipe(engine="pykeen", model="DistMult", width=6)
        return PykeenEmbedding.of(untrained(recipe, factory_of(some_triples(0, 30), ENTITIES, RELATIONS)).eval())
    recipe = EmbeddingRecipe(
        model=model, width=32, training="1vsall", loss="cross_entropy", reciprocal=model != "transe", kernel=2
    )
    return QueryTraining(some_triples(0, 30), ENTITIES, RELATIONS, recipe).run()


def slow_confusion(
    embedding: KnowledgeGraphEmbedding | PykeenEmbedding, judged: np.ndarray, known: np.ndarray, most: int
) -> tuple[list[int], np.ndarray]:
    times = Counter(judged[:, 1].tolist())
    rows = sorted(times, key=lambda one: (-times[one], one))[:most]
    joined = {tuple(triple) for triple in (*known.tolist(), *judged.tolist())}
    counts = np.zeros((len(rows), len(rows) + 1))
    for head, true, tail in judged.tolist():
        if true not in rows:
            continue
        scores = {}
        for relation in range(RELATIONS):
            if relation == true or (head, relation, tail) not in joined:
                scores[relation] = float(triple_scores(embedding, np.array([[head, relation, tail]]))[0])
        best = [relation for relation, score in scores.items() if score == max(scores.values())]
        for relation in best:
            counts[rows.index(true), rows.index(relation) if relation in rows else -1] += 1 / len(best)
    return rows, counts


@pytest.mark.parametrize("model", ["transe", "complex", "tucker", "conve", "pykeen"])
@pytest.mark.parametrize("most", [2, 20])
def test_confusion_equals_the_best_of_single_scores(model: str, most: int) -> None:
    embedding, judged, known = untaught(model), some_triples(1, 80), some_triples(2, 150)
    found = relation_confusion(embedding, judged, known=known, most=most)
    rows, counts = slow_confusion(embedding, judged, known, most)
    assert found.relations.tolist() == rows
    np.testing.assert_allclose(found.counts, counts)
    np.testing.assert_allclose(found.shares.sum(1), 1)


def test_relations_with_equal_vectors_share_a_triple() -> None:
    embedding = untaught("transe")
    alike = replace(embedding, relations=np.repeat(embedding.relations[:1], RELATIONS, axis=0))
    found = relation_confusion(alike, np.array([[0, 3, 1], [2, 3, 1]]), known=np.array([[0, 4, 1]]))
    np.testing.assert_allclose(found.counts, [[1 / 4 + 1 / 5, 3 / 4 + 4 / 5]])


def test_nothing_to_judge_is_refused() -> None:
    with pytest.raises(InputError, match="no triples to judge"):
        relation_confusion(untaught("transe"), np.empty((0, 3), np.int64))


@pytest.mark.parametrize("shape", [(40, 2), (5, 9), (300, 17)])
def test_principal_components_are_those_of_scikit_learn(shape: tuple[int, int]) -> None:
    vectors = np.random.default_rng(0).normal(size=shape) * np.arange(1, shape[1] + 1)
    points, explained = principal_components(vectors)
    peer = PCA(2, svd_solver="full").fit(vectors)
    np.testing.assert_allclose(np.abs(points), np.abs(peer.transform(vectors)), atol=1e-9)
    np.testing.assert_allclose(explained, peer.explained_variance_ratio_)
    np.testing.assert_allclose(principal_components(vectors[:, ::-1])[0], points)  # no sign hangs on the order


def towns() -> KnowledgeGraph:
    """Nine towns and a land; names that a picture has to survive."""
    triples = [(f"town{number}", "in", "land") for number in range(9)] + [("town0", "near_$to$", "town1")]
    kinds = {f"town{number}": ["thing", "town"] for number in range(9)} | {"land": ["thing", "land"]}
    labels = {"en": {"land": "_The $land$ & <more>", "town0": "베를린", "town": "Town"}}
    return KnowledgeGraph.from_triples([*triples, ("far", "in", "away")], labels=labels, types=kinds)


def test_an_entity_counts_as_the_rarest_of_its_frequent_types() -> None:
    graph = towns()
    shown, kinds = kinds_of(graph, np.arange(graph.entity_count), 2)
    assert [graph.types.names[kind] for kind in shown.tolist()] == ["thing", "town"]
    for entity, kind in enumerate(kinds.tolist()):
        own = {graph.types.names[one] for one in graph.types.of(entity).tolist()}
        assert kind == (1 if "town" in own else 0 if "thing" in own else -1)


def test_the_map_shows_the_best_connected_entities() -> None:
    graph = towns()
    vectors = np.random.default_rng(0).normal(size=(graph.entity_count, 4)).astype(np.float32)
    found = entity_map(vectors, graph, most=3, types=2)
    assert [graph.entities[one] for one in found.entities.tolist()] == ["land", "town0", "town1"]
    assert found.legend == (("thing", 1), ("Town", 2))
    assert found.labels[:2] == ("_The $land$ & <more>", "베를린")
    assert len(entity_map(vectors, graph).entities) == graph.entity_count


def test_entities_in_no_triple_are_not_on_the_map() -> None:
    graph = towns().without(towns().triples()[-1:])
    vectors = np.random.default_rng(0).normal(size=(graph.entity_count, 4)).astype(np.float32)
    assert len(entity_map(vectors, graph).entities) == graph.entity_count - 2
    for wrong in (vectors[1:], vectors[:, :1]):
        with pytest.raises(InputError, match="expected a vector of width 2 or more"):
            entity_map(wrong, graph)


@given(some.integers(0, 2**32 - 1), some.integers(1, 60), some.integers(1, 30))
@settings(max_examples=30, deadline=None)
def test_labels_lie_apart_and_none_is_left_out_without_need(seed: int, count: int, most: int) -> None:
    points = np.random.default_rng(seed).normal(size=(count, 2))
    chosen = spread_out(points, most).tolist()
    extent = points.max(0) - points.min(0)
    extent[extent == 0] = 1

    def clash(one: int, other: int) -> bool:
        across, up = np.abs(points[one] - points[other]) / extent
        return across < 0.14 and up < 0.03

    slow: list[int] = []
    for number in range(count):
        if len(slow) < most and not any(clash(number, other) for other in slow):
            slow.append(number)
    assert chosen == slow


def test_a_curve_has_the_epochs_that_were_measured() -> None:
    history = [{"epoch": n, "seconds": n / 2, "loss": 9 - n, **({"mrr": n / 10} if n % 2 else {})} for n in range(1, 5)]
    assert [part.tolist() for part in curve(history, "mrr")] == [[1, 3], [0.5, 1.5], [0.1, 0.3]]
    assert curve(history, "loss").values.tolist() == [8, 7, 6, 5]
    assert not len(curve([], "loss").values)


def texts(path: Path) -> list[str]:
    return [" ".join("".join(one.itertext()).split()) for one in ElementTree.parse(path).iter(f"{SVG}text")]


def test_pictures_are_the_same_bytes_again_and_say_what_they_show(tmp_path: Path) -> None:
    graph = towns()
    recipe = EmbeddingRecipe(width=8, epochs=4, check_every=2)
    embedding = embed(graph, tmp_path / "vectors", recipe, validation=graph, pictures="pca")
    written = sorted((tmp_path / "vectors" / "pictures").iterdir())
    assert [path.name for path in written] == ["entities.svg", "relations.svg", "training.svg"]
    opened = open_embedding(tmp_path / "vectors")
    again = sorted(draw(opened, graph, tmp_path / "again", held_out=graph))
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in written]
    for path in written:
        root = ElementTree.parse(path).getroot()
        assert root.get("role") == "img"
        assert root.findtext(f"{SVG}title")
        assert len(root.findtext(f"{SVG}desc") or "") > 20
    assert {"_The $land$ & <more>", "베를린", "Town (9)", "other (2)"} <= {
        one.lstrip("\xa0") for one in texts(written[0])
    }
    assert {"near_$to$ (1)", "in (10)", "best relation"} <= set(texts(written[1]))
    assert {"loss of a question", "validation MRR", "epochs", "seconds"} <= set(texts(written[2]))
    assert len(draw(embedding, graph, tmp_path / "few")) == 2  # nothing held out, no relations


def test_a_picture_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="could not be written"):
        draw_curve([{"epoch": 1, "seconds": 1.0, "loss": 2.0}], tmp_path / "file" / "training.svg")


def test_large_pictures_stay_small_files(tmp_path: Path) -> None:
    graph = KnowledgeGraph.from_triples((f"a{number}", f"r{number % 40}", f"b{number % 900}") for number in range(4000))
    vectors = np.random.default_rng(0).normal(size=(graph.entity_count, 6)).astype(np.float32)
    found = entity_map(vectors, graph)
    assert len(found.entities) == 2000
    assert draw_map(found, tmp_path / "map.svg").stat().st_size < 250_000
    embedding = replace(untaught("transe"), entities=vectors, relations=vectors[:40])
    judged = relation_confusion(embedding, graph)
    assert draw_confusion(judged, [f"r{one}" for one in judged.relations], tmp_path / "r.svg").stat().st_size < 250_000


def test_an_impossible_projection_is_refused_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "triples.tsv").write_text("a\tr\tb\n")
    words = ["graph", "embed", str(tmp_path / "triples.tsv"), "--out", str(tmp_path / "v"), "--pictures"]
    assert run([*words, "pac"]) == 2
    assert 'no projection is "pac". Did you mean "pca"' in capsys.readouterr().err
    monkeypatch.setattr("kg.embeddings.entity_map.find_spec", lambda name: None)
    with pytest.raises(MissingDependency, match="pip install umap-learn"):
        embed(towns(), tmp_path / "v", pictures="umap")
    assert not (tmp_path / "v").exists()


def test_umap_is_used_where_it_is_installed(tmp_path: Path) -> None:
    pytest.importorskip("umap", reason="umap-learn is not installed")
    vectors = np.random.default_rng(0).normal(size=(towns().entity_count, 4)).astype(np.float32)
    one, two = (entity_map(vectors, towns(), projection="umap") for _ in range(2))
    assert one.explained is None
    np.testing.assert_array_equal(one.points, two.points)
