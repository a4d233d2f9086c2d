"""CKA, Procrustes and word alignment against slow formulas, other libraries, and encoders that were made for it."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import orthogonal_procrustes

from kelm import cli
from kelm.errors import InputError
from kelm.model import Encoder, EncoderConfig
from kelm.text import tokenizer as tokenizers
from kelm.text import vocabulary
from multilingual.alignment.layers import layer_scores, table, words_found
from multilingual.alignment.similarity import linear_cka, procrustes
from multilingual.evaluation.retrieval import retrieval
from multilingual.study.known_links import known_link_error, known_links
from multilingual.word_alignment import Method, alignment_scores, links, token_links, token_states

RANDOM = np.random.default_rng(0)


def slow_cka(first: np.ndarray, second: np.ndarray) -> float:
    """By HSIC, over every two rows (Kornblith et al., 2019, equation 3)."""
    n = len(first)
    centering = np.eye(n) - 1 / n

    def hsic(one: np.ndarray, other: np.ndarray) -> float:
        return float(np.trace(one @ one.T @ centering @ other @ other.T @ centering))

    return hsic(first, second) / np.sqrt(hsic(first, first) * hsic(second, second))


@pytest.mark.parametrize(("rows", "width", "other"), [(30, 5, 8), (6, 20, 20), (10, 10, 3)])
def test_cka_is_that_of_the_slow_formula_in_both_forms(rows: int, width: int, other: int) -> None:
    first, second = RANDOM.normal(size=(rows, width)) + 3, RANDOM.normal(size=(rows, other))
    second[:, : min(width, other)] += first[:, : min(width, other)]
    assert linear_cka(first, second) == pytest.approx(slow_cka(first, second), abs=1e-10)


def test_cka_sees_through_rotation_scale_and_shift_and_nothing_is_alike_to_a_constant() -> None:
    first = RANDOM.normal(size=(40, 6))
    turn = np.linalg.qr(RANDOM.normal(size=(6, 6)))[0]
    assert linear_cka(first, 3 * first @ turn + 7) == pytest.approx(1)
    assert linear_cka(first, RANDOM.normal(size=(40, 6))) < 0.5
    assert np.isnan(linear_cka(first, np.ones((40, 2))))
    with pytest.raises(InputError, match="39 rows"):
        linear_cka(first, first[1:])


def test_procrustes_is_scipys_and_finds_a_rotation() -> None:
    first, turn = RANDOM.normal(size=(50, 7)), np.linalg.qr(RANDOM.normal(size=(7, 7)))[0]
    second = first @ turn + 0.01 * RANDOM.normal(size=(50, 7))
    found = procrustes(first, second)
    np.testing.assert_allclose(found, orthogonal_procrustes(first, second)[0], atol=1e-8)
    np.testing.assert_allclose(found @ found.T, np.eye(7), atol=1e-8)
    np.testing.assert_allclose(found, turn, atol=0.02)
    with pytest.raises(InputError, match="one width"):
        procrustes(first, second[:, :3])


def test_csls_is_the_slow_formula() -> None:
    first, second = RANDOM.normal(size=(25, 4)), RANDOM.normal(size=(25, 4))
    unit = [side / np.linalg.norm(side, axis=1, keepdims=True) for side in (first, second)]
    cosines = unit[0] @ unit[1].T
    near = [np.sort(table, axis=1)[:, -3:].mean(1) for table in (cosines, cosines.T)]
    scores = 2 * cosines - near[0][:, None] - near[1]
    found = retrieval(first, second, csls=3)
    assert found.forward == np.mean(scores.argmax(1) == np.arange(25))
    assert found.backward == np.mean(scores.argmax(0) == np.arange(25))
    with pytest.raises(InputError, match="two scores"):
        retrieval(first, second, margin=3, csls=3)


def slow_links(similarity: np.ndarray, rounds: int) -> set[tuple[int, int]]:
    """SimAlign's rule, place by place."""
    found: set[tuple[int, int]] = set()
    for number in range(rounds):
        if number and min(similarity.shape) <= 2:
            break
        rows, columns = {one for one, _ in found}, {other for _, other in found}
        if len(rows) == similarity.shape[0] or len(columns) == similarity.shape[1]:
            break
        scored = np.zeros(similarity.shape)
        for one, other in itertools.product(*map(range, similarity.shape)):
            free = (one not in rows) + (other not in columns)
            scored[one, other] = similarity[one, other] * (0.0, 0.9, 1.0)[free]
        for one, other in itertools.product(*map(range, similarity.shape)):
            best = scored[one].argmax() == other and scored[:, other].argmax() == one
            if best and (one not in rows or other not in columns):
                found.add((one, other))
    return found


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 7), st.integers(1, 7), st.integers(0, 10_000), st.sampled_from([1, 2, 3]))
def test_links_are_those_of_the_slow_rule(rows: int, columns: int, seed: int, rounds: int) -> None:
    random = np.random.default_rng(seed)
    first, second = random.normal(size=(rows, 5)), random.normal(size=(columns, 5))
    states = torch.from_numpy(first), torch.from_numpy(second)
    unit = [side / np.linalg.norm(side, axis=1, keepdims=True) for side in (first, second)]
    similarity = (unit[0] @ unit[1].T + 1) / 2
    for method, times in (("argmax", 1), ("itermax", rounds)):
        found = token_links(*states, method, rounds=rounds)  # type: ignore[call-overload]
        assert {tuple(pair) for pair in found.nonzero().tolist()} == slow_links(similarity, times)
    scores = first @ second.T
    plan = np.maximum(scores, 1e-6)
    for _ in range(rounds):
        plan = plan / plan.sum(0)
        plan = plan / plan.sum(1)[:, None]
    found = token_links(*states, "transport", rounds=rounds)
    assert {tuple(pair) for pair in found.nonzero().tolist()} == slow_links(plan, rounds)


@pytest.mark.parametrize("method", get_args(Method))
def test_pairs_have_the_links_together_that_they_have_alone(method: Method) -> None:
    random = torch.Generator().manual_seed(0)
    sizes = [(5, 7), (1, 4), (2, 6), (7, 7), (6, 3), (0, 4)]
    states = [[torch.randn(count, 4, generator=random) for count in size] for size in sizes]
    padded = [torch.full((len(sizes), 8, 4), 9.0) for _ in (0, 1)]  # what is no piece is like everything
    seen = torch.zeros(len(sizes), 8, 8, dtype=torch.bool)
    for number, (first, second) in enumerate(states):
        padded[0][number, : len(first)], padded[1][number, : len(second)] = first, second
        seen[number, : len(first), : len(second)] = True
    together = token_links(*padded, method, seen=seen, rounds=3)
    for number, (first, second) in enumerate(states):
        expected = torch.zeros(8, 8, dtype=torch.bool)
        expected[: len(first), : len(second)] = token_links(first, second, method, rounds=3)
        assert torch.equal(together[number], expected)


def test_links_do_not_depend_on_the_precision_around_them() -> None:
    first, second = torch.randn(2, 40, 8, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        found = token_links(first, second)
    assert torch.equal(found, token_links(first, second))


def test_an_empty_side_has_no_links_and_an_unknown_method_is_named() -> None:
    assert token_links(torch.zeros(0, 3), torch.zeros(2, 3)).shape == (0, 2)
    with pytest.raises(InputError, match='Did you mean "itermax"'):
        token_links(torch.ones(1, 3), torch.ones(2, 3), "intermax")  # type: ignore[arg-type]


def test_the_error_rate_is_och_and_neys() -> None:
    found = [frozenset({(0, 0), (1, 1), (2, 1)}), frozenset({(0, 1)})]
    sure = [frozenset({(0, 0), (2, 2)}), frozenset({(0, 1)})]
    possible = [frozenset({(1, 1)}), frozenset[tuple[int, int]]()]
    scores = alignment_scores(found, sure, possible)
    assert scores.precision == pytest.approx(3 / 4)
    assert scores.recall == pytest.approx(2 / 3)
    assert scores.error == pytest.approx(1 - (2 + 3) / (4 + 3))
    assert scores.f1 == pytest.approx(2 * 0.75 * (2 / 3) / (0.75 + 2 / 3))
    alone = alignment_scores(found, sure)
    assert alone.error == pytest.approx(1 - alone.f1)  # without possible links they are the same
    with pytest.raises(InputError, match="1 with sure links"):
        alignment_scores(found, sure[:1])


WORDS = {"en": ["cat", "dog", "sleeping", "running", "house"], "de": ["Katze", "Hund", "schlafend", "rennend", "Haus"]}
LINES = [" ".join(words) for words in WORDS.values()]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder of one layer that adds nothing, whose words have the vectors of their translations, turned."""
    folder = tmp_path_factory.mktemp("model")
    words = vocabulary.train(LINES * 30, 130, "wordpiece")
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = EncoderConfig(vocab_size=words.vocabulary_size, pad_token_id=words.pad, intermediate_size=8, **sizes)
    encoder = Encoder(config)
    with torch.no_grad():
        for name, parameter in encoder.named_parameters():
            if "position" in name or "token_type" in name or "encoder.layer" in name:
                parameter.zero_()
            if "LayerNorm.weight" in name:
                parameter.fill_(1.0)
        table = encoder.embeddings.word_embeddings.weight
        table.normal_()
        for one, other in zip(*WORDS.values(), strict=True):
            pieces = [text.tokens[text.words >= 0] for text in words.encode([one, other])]
            table[pieces[0][1:]] = table[pieces[0][0]].clone()
            table[pieces[1]] = table[pieces[0][0]] + 0.01
    words.save(folder)
    encoder.save_pretrained(folder)
    random = np.random.default_rng(0)
    rows = [random.permutation(5)[:3] for _ in range(40)]
    for code, known in WORDS.items():
        turned = [row if code == "en" else row[::-1] for row in rows]
        (folder / f"dev.{code}").write_text("".join(" ".join(known[word] for word in row) + "\n" for row in turned))
    lines = [f"{one}\t{other}\n" for one, other in zip(*WORDS.values(), strict=True)]
    (folder / "dictionary.tsv").write_text("".join(lines))
    return folder


def test_words_of_an_encoder_that_knows_them_are_linked_whole(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pair = f"en-de={model}/dev.en,{model}/dev.de"
    assert cli.run(["align", "words", str(model), "--pair", pair, "--layer", "0", "--method", "argmax"]) == 0
    assert capsys.readouterr().out == "0-2 1-1 2-0\n" * 40
    (model / "gold").write_text("0-2 1-1 2p0\n" * 40)
    told = ["align", "words", str(model), "--pair", pair, "--layer", "0", "--gold", str(model / "gold")]
    assert cli.run(told) == 0
    assert "alignment error 0.000, precision 1.000, recall 1.000" in capsys.readouterr().out
    (model / "gold").write_text("0-2 1:1\n")
    assert cli.run(told) == 2
    assert "gold, line 1: this is no line of links" in capsys.readouterr().err
    assert cli.run([*told[:-2], "--layer", "9"]) == 2
    assert "Give a number from 0 to 1" in capsys.readouterr().err


def test_line_n_of_the_links_is_of_line_n_whatever_is_blank(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sides = ["cat dog\n\ncat\nhouse\n", "Hund Katze\nHund\n \nHaus\n"]
    for code, text in zip(WORDS, sides, strict=True):
        (model / f"holes.{code}").write_text(text)
    rows = zip(*(text.splitlines() for text in sides), strict=True)
    (model / "holes.tsv").write_text("".join(f"{one}\t{other}\n" for one, other in rows))
    for files in (f"{model}/holes.en,{model}/holes.de", f"{model}/holes.tsv"):
        assert cli.run(["align", "words", str(model), "--pair", f"en-de={files}", "--layer", "0"]) == 0
        assert capsys.readouterr().out == "0-1 1-0\n\n\n0-0\n"
    (model / "holes.de").write_text("Hund\n")
    assert cli.run(["align", "words", str(model), "--pair", f"en-de={model}/holes.en,{model}/holes.de"]) == 2
    assert "has no translation" in capsys.readouterr().err


def test_the_report_finds_all_where_all_is_alike(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = ["align", "report", str(model), "--pair", f"en-de={model}/dev.en,{model}/dev.de"]
    more = ["--dictionary", str(model / "dictionary.tsv"), "--plot", str(model / "layers.svg")]
    assert cli.run([*told, *more, "--json"]) == 0
    layers = json.loads(capsys.readouterr().out)
    assert [one["layer"] for one in layers] == [0, 1]
    assert layers[0]["words"] == 1 and layers[0]["cka"] > 0.9
    assert "<svg" in (model / "layers.svg").read_text()
    assert cli.run([*told, "--most", "3"]) == 2
    assert "found 3 pairs" in capsys.readouterr().err
    assert cli.run(told) == 0
    assert "mapped" in capsys.readouterr().out


def test_turned_vectors_are_found_only_once_they_are_mapped() -> None:
    first, turn = RANDOM.normal(size=(60, 8)), np.linalg.qr(RANDOM.normal(size=(8, 8)))[0]
    second = first @ turn
    assert retrieval(first[30:], second[30:]).mean < 0.3
    assert retrieval(first[30:] @ procrustes(first[:30], second[:30]), second[30:]).mean == 1


def test_a_text_is_its_own_translation_after_every_layer() -> None:
    words = vocabulary.train(LINES * 30, 130, "wordpiece")
    sizes: dict[str, Any] = {"hidden_size": 4, "num_hidden_layers": 2, "num_attention_heads": 1}
    encoder = Encoder(EncoderConfig(vocab_size=words.vocabulary_size, initializer_range=0.5, **sizes))
    scores = layer_scores(encoder, words, [(text, text) for text in (*LINES, *WORDS["en"], *WORDS["de"])])
    assert [one.layer for one in scores] == [0, 1, 2]
    assert all(one.forward == one.backward == 1 and one.cka == pytest.approx(1) for one in scores)
    assert table(scores)[0] == ["layer", "found ->", "found <-", "CSLS", "CKA", "half", "mapped"]


def test_any_translation_of_a_word_is_right() -> None:
    first, second = np.eye(3), np.eye(3)
    known = (["cat", "dog", "bank"], ["Katze", "Bank", "Ufer"])
    gold = [("cat", "Katze"), ("bank", "Bank"), ("bank", "Ufer")]
    assert words_found(first, second, known, gold) == pytest.approx((2 / 3 + 2 / 3) / 2)


def test_states_are_those_of_each_text_alone(model: Path) -> None:
    words, encoder = vocabulary.train(LINES * 30, 130, "wordpiece"), Encoder.from_pretrained(model)
    texts = words.encode(["cat", "dog sleeping house", ""])
    together = token_states(encoder, texts, pad=words.pad, layer=1)
    for text, states in zip(texts, together, strict=True):
        [alone] = token_states(encoder, [text], pad=words.pad, layer=1)
        assert len(states) == (text.words >= 0).sum()
        np.testing.assert_allclose(states, alone, atol=1e-5)


def test_a_piece_is_of_the_word_in_which_it_begins() -> None:
    words = vocabulary.train(LINES * 30, 80, "wordpiece")
    first, second = words.encode(["cat dog", "cat dog"])
    pieces = int((first.words >= 0).sum())
    assert links(torch.eye(pieces, dtype=torch.bool), first, second, ([0, 4], [0, 4])) == {(0, 0), (1, 1)}


@given(st.lists(st.sampled_from("abcd"), max_size=6), st.lists(st.sampled_from("ABCD"), max_size=6))
def test_a_link_is_known_if_neither_word_has_another_translation_in_the_sentences(
    first: list[str], second: list[str]
) -> None:
    dictionary = {"a": ("A", "B"), "b": ("B",), "c": ("C", "C"), "e": ("D",)}

    def allowed(one: str, other: str) -> bool:
        return other.casefold() in [word.casefold() for word in dictionary.get(one, ())]

    expected = {
        (row, column)
        for row, one in enumerate(first)
        for column, other in enumerate(second)
        if allowed(one, other)
        and sum(allowed(one, there) for there in second) == 1 == sum(allowed(here, other) for here in first)
    }
    assert known_links(" ".join(first), " ".join(second), dictionary) == expected


def test_words_that_a_dictionary_does_not_know_do_not_count(model: Path) -> None:
    encoder, words = Encoder.from_pretrained(model), tokenizers.open(model)
    ours, theirs = (WORDS[code][:3] for code in ("en", "de"))
    first, second = (words.encode([" ".join(side)]) for side in (ours, theirs))

    def error(*pairs: tuple[int, int]) -> float:
        told = {ours[one]: (theirs[other],) for one, other in pairs}
        return known_link_error(encoder, first, second, told, pad=words.pad, layer=0)

    assert error((0, 0), (1, 1)) == 0
    assert error((0, 1), (1, 0)) == 1
    assert error((0, 0), (1, 2)) == pytest.approx(1 - 2 / 5)  # of links 0-0, 1-1 and 2-2 one is right, of two
    with pytest.raises(InputError, match="0 are right"):
        error()
