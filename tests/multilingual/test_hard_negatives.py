"""Translations and near misses: what counts as a translation, which others are nearest, and that they are hard."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch

from kelm.data.corpus import InMemory, Shard, Text
from kelm.errors import InputError
from kelm.text import vocabulary
from multilingual.corpora.hard_negatives import Paraphrases, nearest_others, trained_retriever

NAMES = "abcdefghijklmnop"
WORDS = vocabulary.train([" ".join(f"{name}x {name}y" for name in NAMES)], 80, "wordpiece", lower=True)


def pairs(count: int, seed: int = 0) -> list[Text]:
    random = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        words = random.choice(len(NAMES), 3, replace=False)
        sides = [" ".join(f"{NAMES[word]}{end}" for word in words) for end in "xy"]
        found.append(Text(*sides, fields={"language": "en", "pair_language": "de"}))
    return found


def made(texts: list[Text], **options: Any) -> Paraphrases:
    return Paraphrases(InMemory(texts), WORDS, **{"steps": 60, "width": 16, "hardest": 3, "order": "given", **options})


def test_each_pair_comes_once_as_it_is_and_once_with_a_sentence_that_is_no_translation_of_it() -> None:
    texts = pairs(80)
    texts += [
        Text(texts[0].text, "ax bx", fields=texts[0].fields),
        Text("px ox", texts[1].pair, fields=texts[1].fields),
    ]
    true: dict[str, set[str]] = {}
    for text in texts:
        true.setdefault(text.text, set()).add(str(text.pair))
    found = [text for text, _ in made(texts).stream()]
    assert [(text.text, text.pair) for text in found[::2]] == [(text.text, text.pair) for text in texts]
    assert {text.fields["label"] for text in found[::2]} == {"translation"}
    for text in found[1::2]:
        assert text.fields["label"] == "other" and text.pair not in true[text.text]
        assert text.pair in {one.pair for one in texts}


def test_the_nearest_others_are_those_of_plain_loops() -> None:
    torch.manual_seed(0)
    asking, offered = torch.randn(30, 4), torch.randn(30, 4)
    same = [np.array([number // 2 for number in range(30)]), np.array([number % 9 for number in range(30)])]
    found = nearest_others(asking, offered, same, 5)
    for one in range(30):
        scores = {
            other: float(asking[one] @ offered[other])
            for other in range(30)
            if same[0][one] != same[0][other] and same[1][one] != same[1][other]
        }
        assert found[one].tolist() == sorted(scores, key=lambda other: -scores[other])[:5]


def test_negatives_share_more_words_with_the_sentence_than_random_ones_do() -> None:
    texts = pairs(400)

    def shared(first: str, second: str) -> int:
        return len({word[0] for word in first.split()} & {word[0] for word in second.split()})

    hard = [shared(text.text, str(text.pair)) for text, _ in made(texts, steps=150).stream() if text.number % 2]
    chance = [shared(texts[one].text, str(texts[one - 1].pair)) for one in range(len(texts))]
    assert np.mean(hard) > 1.5 > 1 > np.mean(chance)


def test_half_come_the_other_way_round_with_negatives_of_the_other_language() -> None:
    found = [text for text, _ in made(pairs(200), order="mixed").stream()]
    turned = [text for text in found if text.fields["language"] == "de"]
    assert 120 < len(turned) < 280
    for text in found:
        ends = "yx" if text.fields["language"] == "de" else "xy"
        assert text.text.endswith(ends[0]) and str(text.pair).endswith(ends[1])


def test_the_same_seed_gives_the_same_corpus_in_any_part_and_leaves_torchs_randomness_alone() -> None:
    state = torch.random.get_rng_state()
    one, same, other = made(pairs(60)), made(pairs(60)), made(pairs(60), seed=1)
    assert torch.equal(state, torch.random.get_rng_state())
    assert one.fingerprint() == same.fingerprint() != other.fingerprint()
    shard = Shard(1, 3)
    given = list(one.stream(shard))
    assert [text.number % 3 for text, _ in given] == [1] * len(given)
    for place, (_, cursor) in enumerate(given[:5]):
        rest = [text for text, _ in same.stream(shard, json.loads(json.dumps(cursor)))]
        assert rest == [text for text, _ in given[place + 1 :]]


def test_the_retriever_finds_translations_it_never_saw() -> None:
    sides = [[torch.from_numpy(one.tokens) for one in WORDS.encode([text.text for text in pairs(500)])]]
    sides.append([torch.from_numpy(one.tokens) for one in WORDS.encode([str(text.pair) for text in pairs(500)])])
    model = trained_retriever((sides[0][100:], sides[1][100:]), WORDS.vocabulary_size, width=16, steps=200, seed=0)
    scores = model.vectors(sides[0][:100]) @ model.vectors(sides[1][:100]).T
    best = scores.argmax(1)
    right = [
        set(pairs(500)[int(at)].text.split()) == set(pairs(500)[place].text.split()) for place, at in enumerate(best)
    ]
    assert np.mean(right) > 0.9


def test_too_few_pairs_are_refused() -> None:
    with pytest.raises(InputError, match="Give more pairs"):
        made(pairs(1))
    with pytest.raises(InputError, match="hardest is 0"):
        made(pairs(10), hardest=0)
