"""Masked and causal language modelling: losses equal to Hugging Face's, packing without effect, learning by heart."""

import pickle
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from kelm.batch import Batch, Targets
from kelm.data.corpus import InMemory
from kelm.data.reader import Reader
from kelm.data.stream import BatchStream
from kelm.errors import VocabularyMismatch
from kelm.model import Encoder, EncoderConfig
from kelm.objectives.causal_lm import CausalLanguageModel
from kelm.objectives.mlm import MaskedLanguageModel
from kelm.text import vocabulary
from kelm.text.hugging_face import HuggingFace
from kelm.training.learner import Learner

SENTENCES = ["the quick brown fox jumps over the lazy dog", "a dog is no fox", "over and over the fox jumps", "lazy"]


@pytest.fixture(scope="module")
def tokenizer() -> HuggingFace:
    found = vocabulary.train(SENTENCES, 80, "wordpiece", coverage=1.0)
    assert isinstance(found, HuggingFace)
    return found


def config(**options: Any) -> EncoderConfig:
    return EncoderConfig(
        **{
            "vocab_size": 80,
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 64,
            "max_position_embeddings": 64,
            "hidden_dropout_prob": 0.0,
            "attention_probs_dropout_prob": 0.0,
            **options,
        }
    )


def batches(tokenizer: HuggingFace, objective: Any, **options: Any) -> list[Batch]:
    reader = Reader(InMemory(SENTENCES), tokenizer, 32)
    return list(BatchStream(reader, objective.collate, **{"tokens": 1000, "passes": 1, "shuffle": False, **options}))


def test_the_loss_is_hugging_face_s(tokenizer: HuggingFace, tmp_path: Any) -> None:
    from transformers import AutoModelForMaskedLM

    torch.manual_seed(0)
    shape = config(pooler=False)
    mlm, encoder = MaskedLanguageModel(shape, tokenizer=tokenizer), Encoder(shape)
    (batch,) = batches(tokenizer, mlm)
    ours = mlm.loss(batch, encoder.encode(batch))["mlm"] / batch.units["mlm"]
    encoder.to_hf(tmp_path, head=mlm.head)
    theirs = AutoModelForMaskedLM.from_pretrained(tmp_path).eval()
    targets, labels = batch[Targets], torch.full_like(batch.tokens, -100)
    labels[targets.row, targets.token] = targets.label
    loss = theirs(input_ids=batch.tokens, attention_mask=batch.real.long(), labels=labels).loss
    assert ours.item() == pytest.approx(loss.item(), abs=1e-5)


@pytest.mark.parametrize("kind", [MaskedLanguageModel, CausalLanguageModel])
def test_packing_does_not_change_the_loss(tokenizer: HuggingFace, kind: Any) -> None:
    torch.manual_seed(0)
    objective, encoder = kind(config(), tokenizer=tokenizer), Encoder(config()).eval()
    name = objective.name
    (plain,), (packed,) = (batches(tokenizer, objective, room=room) for room in (None, 40))
    assert len(packed.tokens) < len(plain.tokens)
    assert plain.units == packed.units
    one, other = (objective.loss(batch, encoder.encode(batch))[name] for batch in (plain, packed))
    assert one.item() == pytest.approx(other.item(), rel=1e-5)


def test_a_causal_model_guesses_each_token_from_those_before(tokenizer: HuggingFace) -> None:
    torch.manual_seed(0)
    objective, encoder = CausalLanguageModel(config(), tokenizer=tokenizer), Encoder(config()).eval()
    (batch,) = batches(tokenizer, objective)
    slow = torch.zeros(())
    for text in tokenizer.encode(SENTENCES):
        for end in range(1, len(text)):
            (single,) = batches_of(objective, text.having(tokens=text.tokens), end)
            stream = encoder.encode(single)
            logits = objective.head.logits(stream.hidden[0, -1:], stream.vocabulary)
            slow = slow + cross_entropy(logits, torch.tensor([text.tokens[end]]), reduction="sum")
    assert batch.units["causal_lm"] == sum(len(text) - 1 for text in tokenizer.encode(SENTENCES))
    ours = objective.loss(batch, encoder.encode(batch))["causal_lm"]
    assert ours.item() == pytest.approx(slow.item(), rel=1e-5)


def batches_of(objective: CausalLanguageModel, text: Any, end: int) -> list[Batch]:
    """The batch of a text's first `end` tokens."""
    columns = {name: getattr(text, name)[:end] for name in ("tokens", "spans", "words", "segments")}
    return [objective.collate([text.having(**columns)], 0)]


@pytest.mark.parametrize("kind", [MaskedLanguageModel, CausalLanguageModel])
def test_a_tiny_corpus_is_learned_by_heart(tokenizer: HuggingFace, kind: Any) -> None:
    torch.manual_seed(0)
    objective = kind(config(), tokenizer=tokenizer)
    learner = Learner(Encoder(config()), [objective])
    optimizer = torch.optim.AdamW(learner.parameters(), lr=5e-3)
    (batch,) = batches(tokenizer, objective)
    for _ in range(60):
        loss = learner(batch)[objective.name] / batch.units[objective.name]
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    # Every text but the first token's choice is certain; the causal model cannot know which sentence begins.
    assert loss.item() < (0.05 if kind is MaskedLanguageModel else 0.35)


@pytest.mark.parametrize("kind", [MaskedLanguageModel, CausalLanguageModel])
def test_the_collate_is_small_and_picklable(tokenizer: HuggingFace, kind: Any) -> None:
    collate = kind(config(), tokenizer=tokenizer).collate
    stored = pickle.dumps(collate)
    assert len(stored) < 1000
    texts = tokenizer.encode(SENTENCES)
    assert torch.equal(pickle.loads(stored)(texts, 3).tokens, collate(texts, 3).tokens)


@pytest.mark.parametrize("kind", [MaskedLanguageModel, CausalLanguageModel])
def test_a_vocabulary_that_does_not_fit_the_model_is_refused(tokenizer: HuggingFace, kind: Any) -> None:
    with pytest.raises(VocabularyMismatch, match="80 tokens, the model's vocabulary 50 rows"):
        kind(config(vocab_size=50), tokenizer=tokenizer)


def test_a_batch_without_targets_costs_nothing_and_has_gradients(tokenizer: HuggingFace) -> None:
    mlm = MaskedLanguageModel(config(), tokenizer=tokenizer)
    batch = mlm.collate([tokenizer.encode([""])[0]], 0)
    assert batch.units == {"mlm": 0}
    loss = Learner(Encoder(config()), [mlm])(batch)["mlm"]
    assert loss.item() == 0.0
    loss.backward()
