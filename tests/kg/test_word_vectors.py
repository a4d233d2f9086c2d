"""Vectors of words: text files of several forms, pieces of an encoder, and look-ups of what is not there as such."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kelm.cli import run
from kelm.errors import FormatError
from kg.embeddings.table import EntityTable
from kg.embeddings.word_vectors import WordVectors, piece_vectors, read_vectors
from tests.kg.lexicon_files import GRAPH, encoder_of, tokenizer_of, write


def test_files_with_and_without_a_head_line_are_read_alike(tmp_path: Path) -> None:
    rows = ["car 1 0", "house cat 0.5 -2e-1 ", "car 9 9"]
    for name, lines in (("fast.vec", ["3 2", *rows]), ("glove.txt", rows)):
        table = read_vectors(write(tmp_path / name, *lines))
        assert list(table.names) == ["car", "house cat"]
        assert np.allclose(table.vectors, [[1, 0], [0.5, -0.2]])


def test_only_the_wanted_words_and_their_parts_are_kept(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.vec", *(f"{word} {place} 1" for place, word in enumerate(["cat", "house", "dog", "auto"]))
    )
    assert list(read_vectors(path, ["house cat", "Auto"]).names) == ["cat", "house", "auto"]


@pytest.mark.parametrize(
    ("line", "said"), [("dog 1", "expected a word and 2 numbers, found 2 fields"), ("dog 1 x", "a value is no number")]
)
def test_a_bad_line_is_named(line: str, said: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.vec", "1 2", "cat 1 2", line)
    with pytest.raises(FormatError, match=f"a.vec, line 3: {said}"):
        read_vectors(path)


def test_a_word_is_looked_up_as_such_then_in_lower_case_then_by_its_parts(tmp_path: Path) -> None:
    vectors = {"cat": [2.0, 0.0], "house": [0.0, 4.0], "Felix": [0.0, -3.0], "nil": [0.0, 0.0]}
    EntityTable.from_vectors(vectors, list(vectors.values())).save(tmp_path / "table")
    near = WordVectors(str(tmp_path / "table"))
    found = near(["cat", "Cat", "Felix", "house cat", "house_zebra", "zebra", "nil"])
    middle = np.array([1.0, 2.0]) / np.sqrt(5)
    assert np.allclose(found, [[1, 0], [1, 0], [0, -1], middle, [0, 1], [0, 0], [0, 0]])
    assert near([]).shape == (0, 2)
    assert near == WordVectors(str(tmp_path / "table"))


def test_the_vector_of_a_word_is_the_mean_of_its_pieces() -> None:
    words = tokenizer_of()
    encoder = encoder_of(words)
    table = piece_vectors(["house cat", "auto", "​"], words, encoder)
    assert list(table.names) == ["auto", "house cat"]
    [encoded] = words.encode(["house cat"])
    weights = encoder.embeddings.word_embeddings.weight.detach().numpy()
    slow = sum(weights[token] for token in encoded.tokens[1:-1].tolist()) / (len(encoded) - 2)
    assert np.allclose(table.vectors[1], slow, atol=1e-6)


def test_the_command_writes_the_words_of_graphs_and_lists(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = tokenizer_of()
    encoder_of(words).to_hf(tmp_path / "model")
    words.save(tmp_path / "model")
    GRAPH.save(tmp_path / "graph")
    pairs = write(tmp_path / "pairs.txt", "medieval mediaeval")
    vec = write(tmp_path / "a.vec", "medieval 1 0", "zebra 2 0", "car 0 1")
    start = ["graph", "word-vectors", "--out", str(tmp_path / "out")]
    named = ["--graph", str(tmp_path / "graph"), "--pairs", pairs]
    assert run([*start, "--model", str(tmp_path / "model"), *named]) == 0
    table = EntityTable.open(tmp_path / "out")
    assert {"medieval", "mediaeval", "house cat", "automobile"} <= set(table.names)
    assert run([*start, "--vec", vec, *named]) == 0
    assert set(EntityTable.open(tmp_path / "out").names) == {"medieval", "car"}
    assert run([*start, "--vec", vec]) == 0
    assert "3 words, width 2" in capsys.readouterr().out
    for wrong in ([], ["--vec", vec, "--model", "m"], ["--model", "m"]):
        assert run([*start, *wrong]) == 2
