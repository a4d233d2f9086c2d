"""KnowBert's knowledge attention, against its formulas computed span by span and word by word."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import gelu, layer_norm

from kelm.batch import Batch, Encoded, Texts, pack
from kelm.errors import KelmError, MissingPart
from kelm.model import Encoder, EncoderConfig
from kelm.model.extension import Stream
from kg.embeddings.table import EntityTable
from kg.fusion.candidate_linker import CandidateLinker, SpanGrid, SpanLayer
from kg.fusion.knowledge_attention import KnowledgeAttention, KnowledgeBase, Recontextualization
from kg.linking.candidate_spans import HIDDEN, NONE, NOTHING, KnowledgeSpans, Spans
from tests.contracts.examples import SIZES, _plain_text, entity_table
from tests.contracts.span_examples import knowing_encoder, with_spans


def texts() -> list[Encoded]:
    return [with_spans(_plain_text(number, length)) for number, length in enumerate((12, 9, 17, 8))]


def stirred() -> Encoder:
    encoder = knowing_encoder(EncoderConfig(**SIZES), entity_table()).eval()
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in encoder.extensions.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=random) * 0.3)
    return encoder


def part(encoder: Encoder, base: str) -> Recontextualization:
    attention = encoder.extensions["knowledge_attention"]
    assert isinstance(attention, KnowledgeAttention)
    return cast(Recontextualization, attention.bases[base])


def normed(norm: torch.nn.LayerNorm, vector: Tensor) -> Tensor:
    return layer_norm(vector, norm.normalized_shape, norm.weight, norm.bias, norm.eps)


def transformed(layer: SpanLayer, asking: Tensor, asked: Tensor) -> Tensor:
    """One query after the other, one head after the other."""
    rows = []
    for query_vector in asking:
        size, heads = len(query_vector) // layer.heads, []
        query, keys, values = layer.query(query_vector), layer.key(asked), layer.value(asked)
        for head in range(layer.heads):
            at = slice(head * size, (head + 1) * size)
            weights = torch.tensor([float(query[at] @ key[at]) / math.sqrt(size) for key in keys]).softmax(0)
            heads.append(sum(weight * value[at] for weight, value in zip(weights, values, strict=True)))
        attended = normed(layer.attention_norm, query_vector + layer.output(torch.cat(heads)))
        rows.append(normed(layer.norm, attended + layer.contract(gelu(layer.expand(attended)))))
    return torch.stack(rows)


def by_hand(module: Recontextualization, hidden: Tensor, spans: Spans) -> tuple[Tensor, float, list[list[float]]]:
    """Equations of section 3.3 for one text; also the linking loss, and the scores of candidates."""
    linker, width = module.linker, module.base.width
    words = hidden @ linker.down.weight.T + linker.down.bias
    vectors = []
    for first, last in zip(spans.first.tolist(), spans.last.tolist(), strict=True):
        inside = words[first : min(last, first + linker.longest - 1) + 1]
        weights = torch.tensor([float(linker.pooling(word)) for word in inside]).softmax(0)
        vectors.append(normed(linker.span_norm, sum(w * x for w, x in zip(weights, inside, strict=True))))
    contextual = transformed(linker.span_layer, torch.stack(vectors), torch.stack(vectors))

    known, loss, told = [], 0.0, []
    for number, span in enumerate(contextual):
        rows = [row for row in spans.entity[number].tolist() if row != NONE]
        raw = [module.vectors[row] if row >= 0 else linker.special[1] for row in rows]
        entities = [normed(linker.entity_norm, vector) for vector in (*raw, linker.special[0])]
        priors = [*spans.prior[number, : len(rows)].tolist(), 0.0]
        scores = []
        for vector, prior in zip(entities, priors, strict=True):
            fit = float(span @ vector) / math.sqrt(width)
            scores.append(float(linker.score(torch.relu(linker.weigh(torch.tensor([fit, prior]))))))
        gold = int(spans.gold[number])
        if linker.loss == "softmax":
            shares = torch.tensor(scores).softmax(0).tolist()
            right = [row == gold for row in rows] + [gold == NOTHING]
            if any(right):
                loss -= math.log(sum(p for p, is_right in zip(shares, right, strict=True) if is_right))
        else:
            scores[-1] = linker.threshold
            kept = [place for place, score in enumerate(scores[:-1]) if score >= linker.threshold] or [len(rows)]
            weights = torch.tensor([scores[place] for place in kept]).softmax(0).tolist()
            shares = [weights[kept.index(place)] if place in kept else 0.0 for place in range(len(scores))]
            if gold == NOTHING or gold in rows:
                hinges = [
                    max(0.0, linker.margin - score) if row == gold else max(0.0, linker.margin + score)
                    for row, score in zip(rows, scores[:-1], strict=True)
                ]
                loss += sum(hinges) / len(hinges)
        told.append(scores)
        mixed = sum(share * vector for share, vector in zip(shares, entities, strict=True))
        known.append(normed(module.known_norm, span + mixed))

    asked = transformed(module.word_layer, words, torch.stack(known))
    changed = normed(module.norm, hidden + asked @ module.up.weight.T + module.up.bias)
    return hidden + module.gate * (changed - hidden), loss, told


@pytest.mark.parametrize("base", ["facts", "words"])
def test_states_scores_and_losses_are_those_of_the_formulas(base: str) -> None:
    encoder = stirred()
    module, batch = part(encoder, base), pack(texts(), pad=0, room=40)
    random = torch.Generator().manual_seed(2)
    hidden = torch.randn(*batch.tokens.shape, SIZES["hidden_size"], generator=random)
    stream = Stream(hidden, batch, torch.empty(0, SIZES["hidden_size"]))
    with torch.no_grad():
        after = module(stream, batch[KnowledgeSpans][base], base)
        spans, where, loss = batch[KnowledgeSpans][base], batch[Texts], 0.0
        for text, (row, first, last) in enumerate(
            zip(*(c.tolist() for c in (where.row, where.first, where.last)), strict=True)
        ):
            at = slice(first, last + 1)
            own = texts()[text][KnowledgeSpans][base]
            expected, its_loss, scores = by_hand(module, hidden[row, at], own)
            assert torch.allclose(after.hidden[row, at], expected, atol=1e-5)
            loss += its_loss
            found = after.side[f"{base}_linking"][spans.text == text]
            for told, wanted in zip(found, scores, strict=True):
                real = told[told > torch.finfo(told.dtype).min]
                assert torch.allclose(real, torch.tensor(wanted), atol=1e-5)
    assert float(after.losses[f"{base}_linking"]) == pytest.approx(loss, abs=1e-4)


def test_the_way_back_begins_as_the_pseudo_inverse_of_the_way_down() -> None:
    """W⁺ W is the projection onto what W keeps: twice is as good as once."""
    module = Recontextualization(KnowledgeBase(width=8, after=1), EncoderConfig(**SIZES))
    there, back = module.linker.down, module.up
    states = torch.randn(5, SIZES["hidden_size"], generator=torch.Generator().manual_seed(0))
    once = back(there(states))
    assert torch.allclose(back(there(once)), once, atol=1e-5)
    assert torch.allclose(there(once), there(states), atol=1e-5)


def test_what_was_trained_is_not_begun_again_when_it_is_opened(tmp_path: Any) -> None:
    encoder = stirred()
    encoder.save_pretrained(tmp_path)
    again = Encoder.from_pretrained(tmp_path)
    assert torch.equal(part(again, "facts").up.weight, part(encoder, "facts").up.weight)
    assert torch.equal(part(again, "facts").vectors, part(encoder, "facts").vectors)


def test_with_the_gate_open_it_is_the_papers_equation_from_the_start() -> None:
    module = Recontextualization(KnowledgeBase(width=8, after=1, heads=2, gate=1.0), EncoderConfig(**SIZES)).eval()
    batch = pack(texts(), pad=0)
    hidden = torch.randn(*batch.tokens.shape, SIZES["hidden_size"], generator=torch.Generator().manual_seed(0))
    module.vectors = torch.from_numpy(np.array(entity_table().vectors))
    stream = Stream(hidden, batch, torch.empty(0, SIZES["hidden_size"]))
    after = module(stream, batch[KnowledgeSpans]["facts"], "facts").hidden
    where = batch[Texts]
    row, at = int(where.row[0]), slice(int(where.first[0]), int(where.last[0]) + 1)
    assert torch.allclose(after[row, at].mean(-1), torch.zeros(len(texts()[0])), atol=1e-5)  # the last is a norm
    assert not torch.allclose(after[row, at], hidden[row, at], atol=1e-2)


def test_words_of_a_text_without_a_span_stay_as_they_are() -> None:
    encoder, (with_some, without, *_) = stirred(), texts()
    bare = without.having(without[KnowledgeSpans].map(lambda values: values[:0]))
    batch = pack([with_some, bare], pad=0, room=40)
    assert batch.tokens.shape[0] == 1  # they share a row
    plain = Encoder(EncoderConfig(**SIZES)).eval()
    plain.load_state_dict(encoder.state_dict(), strict=False)
    where = batch[Texts]
    at = slice(int(where.first[1]), int(where.last[1]) + 1)
    assert torch.allclose(encoder.encode(batch).hidden[0, at], plain.encode(batch).hidden[0, at], atol=1e-6)


def test_a_margin_linker_that_is_sure_of_nothing_takes_the_vector_of_no_entity() -> None:
    encoder = stirred()
    linker: CandidateLinker = part(encoder, "words").linker
    with torch.no_grad():
        linker.score.weight.zero_()
        linker.score.bias.fill_(-1.0)
    batch = pack(texts(), pad=0)
    spans = batch[KnowledgeSpans]["words"]
    words = torch.randn(*batch.tokens.shape, 8, generator=torch.Generator().manual_seed(0))
    linked = linker(words, spans, SpanGrid.of(spans, batch.visibility.document), part(encoder, "words").vectors)
    nothing = normed(linker.entity_norm, linker.special[0])
    assert torch.allclose(linked.entities, nothing.expand_as(linked.entities), atol=1e-6)


def test_losses_count_the_spans_whose_entity_is_known_and_among_the_candidates() -> None:
    [text, *_] = texts()
    own = text[KnowledgeSpans]
    lost = replace(own["facts"], gold=torch.tensor([6, NOTHING, NONE, NONE]))  # 6 is no candidate of span 0
    assert own.units == {"facts_linking": 3, "words_linking": 3}
    assert KnowledgeSpans({"facts": lost}).units == {"facts_linking": 1}
    assert pack(texts(), pad=0).units == {"facts_linking": 12, "words_linking": 12}


def test_masked_candidates_have_a_vector_of_their_own() -> None:
    linker = part(stirred(), "facts").linker
    asked = torch.tensor([[HIDDEN, 2, NONE]])
    table = torch.from_numpy(np.array(entity_table().vectors))
    answers = linker.answers(asked, table)[0]
    assert torch.allclose(answers[0], normed(linker.entity_norm, linker.special[1]), atol=1e-6)
    assert torch.allclose(answers[1], normed(linker.entity_norm, table[2]), atol=1e-6)
    assert torch.allclose(answers[-1], normed(linker.entity_norm, linker.special[0]), atol=1e-6)


def test_trainable_vectors_are_weights_and_learn() -> None:
    options = {"bases": {"facts": {"width": 8, "heads": 2, "entities": 7, "after": 1, "trainable": True}}}
    encoder = Encoder(EncoderConfig(**SIZES, extensions={"knowledge_attention": options}))
    encoder.extensions["knowledge_attention"].attach("facts", entity_table())  # type: ignore[operator]
    only = [t.having(KnowledgeSpans({"facts": t[KnowledgeSpans]["facts"]})) for t in texts()]
    stream = encoder.encode(pack(only, pad=0))
    stream.losses["facts_linking"].backward()
    gradient = part(encoder, "facts").vectors.grad
    assert gradient is not None and bool(gradient.any())


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"widht": 8}, r"facts has an unknown option 'widht'. Did you mean \"width\""),
        ({"after": 3}, r"asked after layer 3, the encoder's last is 2"),
        ({"loss": "hinge"}, r"loss: 'hinge' is none. Known: margin, softmax"),
        ({"width": 9}, r"width 9 is no multiple of 4 heads"),
    ],
)
def test_what_does_not_fit_is_told(options: dict[str, Any], told: str) -> None:
    with pytest.raises(KelmError, match=told):
        Encoder(EncoderConfig(**SIZES, extensions={"knowledge_attention": {"bases": {"facts": options}}}))


def test_a_batch_without_spans_of_the_base_says_what_would_add_them() -> None:
    encoder = stirred()
    spans = with_spans(_plain_text(0, 12))[KnowledgeSpans]
    batch: Batch = pack([_plain_text(0, 12).having(KnowledgeSpans({"facts": spans["facts"]}))], pad=0)
    with pytest.raises(MissingPart, match=r'no spans of the knowledge base "words".*an enricher candidate_spans'):
        encoder.encode(batch)


def test_a_table_of_another_width_is_refused() -> None:
    encoder = knowing_encoder(EncoderConfig(**SIZES), entity_table())
    attention = encoder.extensions["knowledge_attention"]
    assert isinstance(attention, KnowledgeAttention)
    with pytest.raises(KelmError, match="4 numbers a vector, the base 8"):
        attention.attach("facts", EntityTable.from_vectors(["Q1"], np.ones((1, 4), np.float32)))
    with pytest.raises(KelmError, match=r"none called .fact.\. Did you mean .facts"):
        attention.attach("fact", entity_table())
