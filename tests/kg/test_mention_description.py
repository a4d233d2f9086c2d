"""Bi-encoder linking: the loss against a slow oracle, what is shared and masked, and the corpus that it reads."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from kelm.batch import Encoded, Texts
from kelm.data.bucketing import with_room
from kelm.errors import InputError, KelmError
from kelm.model import Encoder, EncoderConfig
from kelm.model.pooling import span_means
from kelm.text import vocabulary
from kelm.text.tokenizer import Tokenizer
from kg.embeddings.table import EntityTable
from kg.enrich.described_corpus import DescribedMentions, described_mentions
from kg.graph import KnowledgeGraph
from kg.linking.bi_encoder import Choice, Described
from kg.objectives.mention_description import EntityRows, MentionDescription, Twins

SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 40,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "initializer_range": 0.2,
}


def encoder(words: int = 60) -> Encoder:
    torch.manual_seed(0)
    return Encoder(EncoderConfig(vocab_size=words, **SIZES)).eval()


def tokens(*ids: int) -> Encoded:
    count = np.arange(len(ids))
    return Encoded("", np.array(ids), np.stack([count, count + 1], 1), count, np.zeros_like(count))


ENTITIES = {4: tokens(2, 30, 31, 3), 7: tokens(2, 32, 3), 9: tokens(2, 33, 34, 35, 3), 12: tokens(2, 32, 3)}
TEXTS = [
    Described(tokens(2, 11, 12, 13, 3), (Choice(1, 2, 7, (4,)), Choice(3, 3, 9)), {k: ENTITIES[k] for k in (7, 4, 9)}),
    Described(tokens(2, 14, 15, 16, 17, 18, 3), (Choice(2, 4, 9, (12,)),), {k: ENTITIES[k] for k in (9, 12)}),
    Described(tokens(2, 19, 3), ()),
]


def unit(vector: Tensor) -> Tensor:
    return vector / math.sqrt(sum(float(number) ** 2 for number in vector))


def slow_loss(model: Encoder, scale: float, context: float) -> float:
    """Every text is encoded alone, every score is one product; 12 and 7 read alike, so 12 is no rival of 7."""

    def states(text: Encoded) -> Tensor:
        return model(torch.from_numpy(text.tokens)[None]).last_hidden_state[0].detach()

    vectors = {entity: unit(states(text).mean(0)) for entity, text in ENTITIES.items()}
    loss = 0.0
    for text in TEXTS:
        for one in text.mentions:
            read = states(text.text)
            mention = unit((1 - context) * read[one.first : one.last + 1].mean(0) + context * read.mean(0))
            rivals = [entity for entity in vectors if not (one.entity == 7 and entity == 12)]
            scores = {entity: scale * float(mention @ vectors[entity]) for entity in rivals}
            loss += math.log(sum(map(math.exp, scores.values()))) - scores[one.entity]
    return loss


@pytest.mark.parametrize(("scale", "context", "room"), [(20.0, 0.5, None), (3.0, 0.0, None), (5.0, 1.0, 24)])
def test_the_loss_is_that_of_a_slow_oracle(scale: float, context: float, room: int | None) -> None:
    model = encoder()
    objective = MentionDescription(model.config, scale=scale, context=context)
    batch = with_room(objective.collate, room)(TEXTS, 0)
    loss = objective.loss(batch, model.encode(batch))["mention_description"]
    assert batch.units == {"mention_description": 3}
    assert loss.item() == pytest.approx(slow_loss(model, scale, context), rel=1e-4)


def test_each_entity_is_read_once_and_one_that_reads_like_the_right_one_is_no_candidate() -> None:
    batch = MentionDescription(encoder().config).collate(TEXTS, 0)
    assert batch[EntityRows].entity.tolist() == [4, 7, 9, 12]
    assert len(batch[Texts].row) == len(TEXTS) + 4
    assert (batch[Twins].mention.tolist(), batch[Twins].place.tolist()) == ([0], [3])


def test_texts_without_mentions_cost_nothing() -> None:
    model = encoder()
    objective = MentionDescription(model.config)
    batch = objective.collate(TEXTS[2:], 0)
    assert objective.loss(batch, model.encode(batch))["mention_description"].item() == 0


@pytest.mark.parametrize("options", [{"scale": 0.0}, {"scale": math.inf}, {"context": 1.5}, {"context": -0.1}])
def test_impossible_options_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(KelmError, match=next(iter(options))):
        MentionDescription(encoder().config, **options)


def test_means_of_spans_are_those_of_a_loop() -> None:
    hidden = torch.randn(3, 7, 5, generator=torch.Generator().manual_seed(1))
    spans = [(2, 0, 6), (0, 3, 3), (0, 1, 4)]
    expected = torch.stack([hidden[row, first : last + 1].mean(0) for row, first, last in spans])
    assert torch.allclose(span_means(hidden, *torch.tensor(spans).unbind(1)), expected, atol=1e-6)


SENTENCES = ["paris lies on the seine", "paris lies in texas", "the seine flows through france to the sea"]


@pytest.fixture(scope="module")
def words() -> Tokenizer:
    return vocabulary.train(SENTENCES, 90, "wordpiece", lower=True)


@pytest.fixture
def graph(tmp_path: Path) -> str:
    names = {"Q90": ["Paris"], "Q830149": ["Paris"], "Q167646": ["Paris"], "Q1471": ["Seine"], "P17": ["country"]}
    built = KnowledgeGraph.from_triples(
        [("Q90", "P17", "Q142"), ("Q90", "P206", "Q1471"), ("Q830149", "P17", "Q30")], labels={"en": names}
    )
    built.save(tmp_path / "graph")
    return str(tmp_path / "graph")


def corpus(folder: Path, graph: str, words: Tokenizer, **options) -> DescribedMentions:
    lines = [
        {"text": SENTENCES[0], "mentions": [[0, 5, "Q90"], [18, 23, "Q1471"]]},
        {"text": SENTENCES[1], "mentions": [[0, 5, "Q830149"], [14, 19, "Q1439"]]},
        {"text": SENTENCES[2], "mentions": [[4, 9, "Q999"]]},
    ]
    (folder / "lines.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    config = EncoderConfig(vocab_size=words.vocabulary_size, **SIZES)
    return described_mentions(str(folder / "lines.jsonl"), graph=graph, tokenizer=words, config=config, **options)


def test_the_others_of_a_name_are_hard_negatives_and_unknown_entities_ask_nothing(
    tmp_path: Path, graph: str, words: Tokenizer
) -> None:
    items = [item for item, _ in corpus(tmp_path, graph, words).stream()]
    ids = KnowledgeGraph.open(graph).entities.id
    assert [[one.entity for one in item.mentions] for item in items] == [[ids("Q90"), ids("Q1471")], [ids("Q830149")]]
    first, second = items[0].mentions[0], items[1].mentions[0]
    assert first.others == (ids("Q830149"), ids("Q167646"))  # by their number of triples
    assert second.others == (ids("Q90"), ids("Q167646"))
    assert items[0].mentions[1].others == ()
    assert set(items[0].entities) == {ids("Q90"), ids("Q830149"), ids("Q167646"), ids("Q1471")}
    assert items[0].entities[ids("Q830149")].text == "Paris: country: Q30"
    few = next(iter(corpus(tmp_path, graph, words, negatives=1).stream()))[0]
    assert few.mentions[0].others == (ids("Q830149"),)


def test_the_nearest_entities_by_the_vectors_of_an_earlier_round_are_hard_negatives_too(
    tmp_path: Path, graph: str, words: Tokenizer
) -> None:
    ids = KnowledgeGraph.open(graph).entities.id
    angles = {"Q1471": 0.0, "Q90": 0.1, "Q30": 0.3, "Q142": 1.0, "Q830149": 2.0, "elsewhere": 0.2}
    vectors = [[math.cos(angle), math.sin(angle)] for angle in angles.values()]
    EntityTable.from_vectors(list(angles), vectors).save(tmp_path / "near")
    made = corpus(tmp_path, graph, words, negatives=1, near=str(tmp_path / "near"), nearest=2)
    paris, seine = next(iter(made.stream()))[0].mentions
    assert seine.others == (ids("Q90"),)  # "elsewhere" is near too, but not in the graph
    assert paris.others == (ids("Q830149"), ids("Q1471"))
    assert made.fingerprint() != corpus(tmp_path, graph, words, negatives=1, nearest=2).fingerprint()


def test_a_long_text_is_split_and_each_part_asks_its_own_mentions(tmp_path: Path, graph: str, words: Tokenizer) -> None:
    whole = words.encode(SENTENCES[:1])[0]
    items = [item for item, _ in corpus(tmp_path, graph, words, length=len(whole) - 2).stream()]
    assert [len(item.mentions) for item in items if item.origin.endswith(":1")] == [1, 1]


def test_the_fingerprint_changes_with_what_changes_the_texts(tmp_path: Path, graph: str, words: Tokenizer) -> None:
    options = ({}, {"negatives": 1}, {"neighbors": 1}, {"entity_length": 8}, {"languages": ["en"]}, {"length": 9})
    assert len({corpus(tmp_path, graph, words, **each).fingerprint() for each in options}) == len(options)


@pytest.mark.parametrize("options", [{"negatives": -1}, {"nearest": -1}, {"entity_length": 2}])
def test_numbers_that_make_no_sense_are_refused(
    options: dict[str, int], tmp_path: Path, graph: str, words: Tokenizer
) -> None:
    with pytest.raises(InputError, match=next(iter(options))):
        corpus(tmp_path, graph, words, **options)
