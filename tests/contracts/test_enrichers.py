"""What every enricher keeps to, whoever wrote it."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from kelm import plugins
from kelm.batch import Encoded, pack
from kelm.data.corpus import Corpus, InMemory, Shard
from kelm.data.reader import Enriched, Enricher
from kg.linking.base import Mentions
from tests.contracts.examples import ENRICHERS, RESPELLING, enriched_texts, lacking

NAMES = sorted(ENRICHERS)


def contents(texts: list[Encoded]) -> list[str]:
    return [InMemory([text]).fingerprint() for text in texts]


def test_every_enricher_has_an_example() -> None:
    assert not (told := lacking("ENRICHERS", ENRICHERS, plugins.all("enrichers"))), told


@pytest.mark.parametrize("name", NAMES)
def test_it_does_something_and_keeps_every_text_with_its_words(name: str, tmp_path: Path) -> None:
    texts, enriched = enriched_texts(), ENRICHERS[name](tmp_path)(enriched_texts())
    assert contents(enriched) != contents(texts)
    for text, changed in zip(texts, enriched, strict=True):
        assert (changed.text, changed.number, changed.origin) == (text.text, text.number, text.origin)
        trunk = np.ones(len(changed), bool) if changed.branch is None else changed.branch == 0
        for column in ("spans", "words", "segments", *(() if name in RESPELLING else ("tokens",))):
            assert np.array_equal(getattr(changed, column)[trunk], getattr(text, column))


@pytest.mark.parametrize("name", NAMES)
def test_what_becomes_of_a_text_does_not_depend_on_the_others(name: str, tmp_path: Path) -> None:
    enricher = ENRICHERS[name](tmp_path)
    together = contents(enricher(enriched_texts()))
    assert contents([enricher([text])[0] for text in enriched_texts()]) == together
    assert contents(enricher(enriched_texts()[::-1])) == together[::-1]


@pytest.mark.parametrize("name", NAMES)
def test_it_crosses_a_queue_and_says_what_it_does(name: str, tmp_path: Path) -> None:
    enricher = ENRICHERS[name](tmp_path)
    before = contents(enricher(enriched_texts()))
    copy: Enricher = pickle.loads(pickle.dumps(enricher))
    assert len(pickle.dumps(enricher)) < 1 << 20
    assert contents(copy(enriched_texts())) == before
    assert copy.fingerprint() == enricher.fingerprint()


@pytest.mark.parametrize("name", NAMES)
def test_parts_move_along_with_their_tokens_and_through_a_batch(name: str, tmp_path: Path) -> None:
    texts, enriched = enriched_texts(), ENRICHERS[name](tmp_path)(enriched_texts())
    batch = pack(enriched, pad=0, room=sum(map(len, enriched)))
    spelled = enriched if name in RESPELLING else texts
    places = [text[Mentions].first.numpy() for text in texts]
    before = np.concatenate([text.tokens[place] for text, place in zip(spelled, places, strict=True)])
    assert batch.tokens[batch[Mentions].row, batch[Mentions].first].tolist() == before.tolist()


@pytest.mark.parametrize("name", NAMES)
def test_a_corpus_enriched_is_divided_and_resumed_as_before(name: str, tmp_path: Path) -> None:
    enricher = ENRICHERS[name](tmp_path)
    plain: Corpus[Encoded] = InMemory(enriched_texts())
    whole, small = Enriched(plain, [enricher]), Enriched(plain, [enricher], chunk=2)
    given = list(whole.stream())
    assert contents([text for text, _ in small.stream()]) == contents([text for text, _ in given])
    assert whole.fingerprint() == small.fingerprint() != plain.fingerprint()
    for place, (_, cursor) in enumerate(given):
        rest = [text for text, _ in small.stream(start=cursor)]
        assert contents(rest) == contents([text for text, _ in given[place + 1 :]])
    halves = [text for part in range(2) for text, _ in whole.stream(Shard(part, 2))]
    assert sorted(contents(halves)) == sorted(contents([text for text, _ in given]))
