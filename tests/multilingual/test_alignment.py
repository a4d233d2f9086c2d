"""CKA, Procrustes, CSLS and links between words, against plain loops, SciPy and SimAlign's own rules."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.linalg import orthogonal_procrustes

from kelm.errors import FormatError, InputError
from multilingual.alignment import neighbors
from multilingual.alignment.cka import by_features, by_rows, linear_cka
from multilingual.alignment.csls import read_dictionary, word_precision
from multilingual.alignment.links import Gold, Right, as_pharaoh, gold_links, judged
from multilingual.alignment.neighbors import crowding, nearest, unit
from multilingual.alignment.procrustes import orthogonal_map
from multilingual.alignment.words import aligned, argmax, itermax, similarity, transported, word_links


def drawn(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def slow_cka(first: np.ndarray, second: np.ndarray) -> float:
    """Hilbert-Schmidt norms of covariances, entry by entry."""

    def independence(one: np.ndarray, other: np.ndarray) -> float:
        total = 0.0
        for a, b in product(range(one.shape[1]), range(other.shape[1])):
            x, y = one[:, a] - one[:, a].mean(), other[:, b] - other[:, b].mean()
            total += sum(float(p * q) for p, q in zip(x, y, strict=True)) ** 2
        return total

    own = independence(first, first) * independence(second, second)
    return float(independence(first, second) / np.sqrt(own))


@pytest.mark.parametrize(("rows", "width", "other"), [(20, 4, 3), (5, 8, 9), (6, 6, 2)])
def test_cka_is_the_same_by_features_by_rows_and_in_plain_loops(rows: int, width: int, other: int) -> None:
    first = drawn(rows, width) + 5  # a shift that has to be taken out
    second = first[:, :1] + drawn(rows, other, seed=1)
    expected = slow_cka(first, second)
    centered = first - first.mean(0), second - second.mean(0)
    assert by_features(*centered) == pytest.approx(expected)
    assert by_rows(*centered) == pytest.approx(expected)
    assert linear_cka(first, second) == pytest.approx(expected)
    assert 0.05 < expected < 0.95


def test_cka_sees_no_rotation_scale_or_shift_and_of_noise_only_the_width() -> None:
    first = drawn(50, 6)
    turn, _ = np.linalg.qr(drawn(6, 6, seed=1))
    assert linear_cka(first, 3 * first @ turn + 2) == pytest.approx(1)
    assert linear_cka(drawn(400, 100), drawn(400, 100, seed=1)) == pytest.approx(100 / 500, abs=0.01)


def test_cka_asks_for_pairs_that_differ() -> None:
    with pytest.raises(InputError, match="found 3 and 4 rows"):
        linear_cka(drawn(3, 2), drawn(4, 2))
    with pytest.raises(InputError, match="all rows are alike"):
        linear_cka(np.ones((3, 2)), drawn(3, 2))


def test_the_orthogonal_map_is_scipys_and_finds_a_rotation() -> None:
    source, target = drawn(30, 5), drawn(30, 5, seed=1)
    expected, _ = orthogonal_procrustes(source, target)
    assert orthogonal_map(source, target) == pytest.approx(expected)
    turn, _ = np.linalg.qr(drawn(5, 5, seed=2))
    assert orthogonal_map(source, source @ turn) == pytest.approx(turn)
    with pytest.raises(InputError, match="found"):
        orthogonal_map(source, target[:, :4])


@pytest.mark.parametrize("most", [1, 3])
@pytest.mark.parametrize("measure", ["cosine", "ratio", "csls"])
def test_the_nearest_are_those_of_plain_loops_in_blocks_of_any_size(
    measure: neighbors.Measure, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, others = unit(drawn(20, 4) + 1), unit(drawn(15, 4, seed=1) + 1)
    cosines = [[float(one @ other) for other in others] for one in asked]
    mine = [np.mean(sorted(row)[-3:]) for row in cosines]
    its = [np.mean(sorted(column)[-3:]) for column in zip(*cosines, strict=True)]
    rules = {
        "cosine": lambda i, j: cosines[i][j],
        "ratio": lambda i, j: cosines[i][j] / (mine[i] / 2 + its[j] / 2),
        "csls": lambda i, j: 2 * cosines[i][j] - mine[i] - its[j],
    }
    rule = rules[measure]
    expected = [sorted(range(15), key=lambda j, i=i: -rule(i, j))[:most] for i in range(20)]
    for block in (1024, 6):
        monkeypatch.setattr(neighbors, "BLOCK", block)
        found = nearest(asked, others, measure=measure, crowded=crowding(asked, others, 3), most=most)
        assert found.tolist() == expected


def test_csls_finds_words_that_a_hub_hides() -> None:
    words = drawn(40, 8)
    others = words + 0.9 * drawn(40, 8, seed=1)
    others[7] = 40 * words.mean(0)  # near to many
    right = [[number] for number in range(40)]
    words += 0.5
    others += 0.5
    plain = word_precision(words, others, right, measure="cosine")
    assert plain < word_precision(words, others, right, measure="csls") <= word_precision(words, others, right, at=5)
    assert word_precision(words, words, right) == 1
    with pytest.raises(InputError, match="40 words and 2"):
        word_precision(words, others, [[0], [1]])


def test_a_dictionary_is_folded_and_every_translation_kept(tmp_path: Path) -> None:
    path = tmp_path / "en-de.tsv"
    path.write_text("Of\tvon\nof\taus\nof\tVon\n\nice cream\tEis\n", encoding="utf-8")
    assert read_dictionary(path) == {"of": ["von", "aus"], "ice cream": ["eis"]}
    for wrong, said in (("of\tvon\naus\n", "line 2"), ("\n", "no word")):
        path.write_text(wrong, encoding="utf-8")
        with pytest.raises(FormatError, match=said):
            read_dictionary(path)


def simaligns(scores: np.ndarray, rounds: int, alpha: float) -> set[tuple[int, int]]:
    """Section 3.2 of the paper, link by link."""
    rows, columns = scores.shape

    def best(weighted: np.ndarray) -> set[tuple[int, int]]:
        forward = {(i, int(weighted[i].argmax())) for i in range(rows)}
        return forward & {(int(weighted[:, j].argmax()), j) for j in range(columns)}

    found = best(scores)
    for _ in range(rounds - 1):
        first, second = {i for i, _ in found}, {j for _, j in found}
        if min(scores.shape) <= 2 or len(first) == rows or len(second) == columns:
            break
        weights = np.array(
            [[(1, alpha, alpha, 0)[2 * (i in first) + (j in second)] for j in range(columns)] for i in range(rows)]
        )
        found |= {(i, j) for i, j in best(scores * weights) if weights[i, j]}
    return found


@pytest.mark.parametrize("rounds", [1, 2, 4])
def test_the_links_of_padded_batches_are_those_of_single_pairs_by_the_papers_rules(rounds: int) -> None:
    sizes = [(5, 7), (2, 6), (8, 3), (1, 1), (9, 9), (3, 3)]
    states = torch.from_numpy(drawn(len(sizes), 2, 9, 4))
    seen = torch.zeros(len(sizes), 9, 9, dtype=torch.bool)
    for number, (rows, columns) in enumerate(sizes):
        seen[number, :rows, :columns] = True
    scores = similarity(states[:, 0], states[:, 1])
    found = itermax(scores, seen, rounds=rounds, alpha=0.9)
    for number, (rows, columns) in enumerate(sizes):
        alone = scores[number, :rows, :columns].numpy()
        assert {tuple(link) for link in found[number].nonzero().tolist()} == simaligns(alone, rounds, 0.9)
    if rounds == 1:
        assert torch.equal(found, argmax(scores, seen))
    else:
        assert int(found.sum()) > int(argmax(scores, seen).sum())


def test_the_cosine_is_moved_to_0_to_1_and_dot_products_are_positive() -> None:
    first, second = torch.tensor([[[3.0, 0.0]]]), torch.tensor([[[2.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]])
    assert similarity(first, second).tolist() == [[[1.0, 0.5, 0.0]]]
    torch.testing.assert_close(similarity(first, second, dot=True), torch.tensor([[[6.0, 1e-6, 1e-6]]]))


def test_the_transport_plan_is_sinkhorns_of_the_unpadded_pair() -> None:
    states = torch.from_numpy(drawn(2, 2, 6, 5)).float()
    seen = torch.zeros(2, 6, 6, dtype=torch.bool)
    seen[0, :4, :5] = True
    seen[1] = True
    plans = transported(similarity(states[:, 0], states[:, 1], dot=True), seen)
    for number, (rows, columns) in enumerate(((4, 5), (6, 6))):
        plan = np.maximum(states[number, 0, :rows].numpy() @ states[number, 1, :columns].numpy().T, 1e-6)
        for _ in range(2):
            for j in range(columns):
                plan[:, j] /= plan[:, j].sum()
            for i in range(rows):
                plan[i] /= plan[i].sum()
        torch.testing.assert_close(plans[number, :rows, :columns], torch.from_numpy(plan))
        assert not plans[number][~seen[number]].any()
    links = aligned(states[:, 0], states[:, 1], seen, "ot")
    assert torch.equal(links, itermax(plans, seen))
    assert not torch.equal(links, aligned(states[:, 0], states[:, 1], seen, "itermax"))


@pytest.mark.parametrize("method", ["argmax", "itermax", "ot"])
def test_a_permuted_sentence_is_put_in_order(method: str) -> None:
    first = torch.eye(7)[None]
    order = torch.randperm(7, generator=torch.Generator().manual_seed(0))
    links = aligned(first, first[:, order], torch.ones(1, 7, 7, dtype=torch.bool), method)  # type: ignore[arg-type]
    assert word_links(links[0].numpy(), np.arange(7), np.arange(7)) == {(int(n), i) for i, n in enumerate(order)}


def test_words_are_linked_by_any_of_their_pieces_and_special_tokens_by_none() -> None:
    links = np.zeros((4, 4), dtype=bool)
    links[0, 0] = links[1, 2] = links[2, 3] = links[3, 3] = True
    assert word_links(links, np.array([-1, 0, 0, 1]), np.array([0, 0, 1, 1])) == {(0, 1), (1, 1)}


def slow_error(
    found: list[set[tuple[int, int]]], gold: list[tuple[set[tuple[int, int]], set[tuple[int, int]]]]
) -> float:
    """Och and Ney's formula over sets of (sentence, link)."""
    a = {(n, link) for n, links in enumerate(found) for link in links}
    s = {(n, link) for n, (sure, _) in enumerate(gold) for link in sure}
    p = s | {(n, link) for n, (_, possible) in enumerate(gold) for link in possible}
    return 1 - (len(a & s) + len(a & p)) / (len(a) + len(s))


def test_the_error_rate_is_that_of_sets_and_the_gold_file_tells_sure_from_possible(tmp_path: Path) -> None:
    path = tmp_path / "gold"
    path.write_text("1-1 2p3 3?3\n\n1-2 2-1\n", encoding="utf-8")
    gold = list(gold_links(path, first=1))
    assert gold[0] == Gold(frozenset({(0, 0)}), frozenset({(0, 0), (1, 2), (2, 2)})) and not gold[1].possible
    found = [frozenset({(0, 0), (1, 2), (5, 5)}), frozenset({(0, 0)}), frozenset({(0, 1)})]
    right = judged(found, gold)
    assert right == Right(found=5, sure=3, found_sure=2, found_possible=3)
    expected = slow_error([set(one) for one in found], [(set(one.sure), set(one.possible)) for one in gold])
    assert right.error == pytest.approx(expected)
    assert (right.precision, right.recall) == (3 / 5, 2 / 3)
    assert right.f1 == pytest.approx(2 * 0.6 * (2 / 3) / (0.6 + 2 / 3))
    assert judged([], []) == Right() and Right().error == 1
    with pytest.raises(InputError, match="gold"):
        judged(found[:2], gold)
    for wrong in ("0-1", "1_1", "1-x"):
        path.write_text(f"1-1\n{wrong}\n", encoding="utf-8")
        with pytest.raises(FormatError, match="line 2"):
            list(gold_links(path, first=1))
    assert as_pharaoh(found[0]) == "0-0 1-2 5-5"
