"""SenseBERT's input, masking and losses against slow oracles, and a model that is read without its graph."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import AutoModel

import kg
from kelm.batch import Encoded, Texts, pack
from kelm.data.bucketing import with_room
from kelm.errors import KelmError
from kelm.model import Encoder, EncoderConfig
from kelm.text import tokenizer as tokenizers
from kelm.text import vocabulary
from kelm.text.tokenizer import Tokenizer
from kelm.training.learner import Learner
from kelm.training.recipe_file import read
from kelm.training.run import train
from kg.fusion.supersense import Supersense as SenseVectors
from kg.graph import KnowledgeGraph
from kg.linking.supersenses import JOINS, SenseLexicon
from kg.objectives.supersense import AllowedSenses, SensePieces, Supersense

TYPES = {"bass1": ["noun.food"], "bass2": ["noun.animal"], "river": ["noun.object"], "swim": ["verb.motion"]}
TYPES |= {"swimming": ["noun.act"], "trout": ["noun.animal"], "lake": ["noun.object"], "deep": ["adj.all"]}
LABELS = {"bass1": "bass", "bass2": "bass", "river": "river", "swim": "swim", "swimming": "swimming", "trout": "trout"}
LABELS |= {"lake": "lake", "deep": "deep"}
GERMAN = {"river": "Fluss", "trout": "Forelle"}
GRAPH = KnowledgeGraph.from_triples([], labels={"en": LABELS, "de": GERMAN}, types=TYPES)
LEXICON = SenseLexicon.from_graph(GRAPH)
SENTENCES = [
    "a trout and a bass swim in the deep river",
    "the bass in that lake is a fish we swam with",
    "swimming is what they do in rivers, and in the lake, too",
    "who is there",
]


PIECES = "[PAD] [UNK] [CLS] [SEP] [MASK] , a trout and bass swim in the deep river that lake is fish we sw what they do"
PIECES += " too who there with to ##ming ##am ##s"


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """A vocabulary with most words whole; swimming, swam and rivers are two pieces each."""
    path = tmp_path_factory.mktemp("words") / "vocab.txt"
    path.write_text("\n".join(PIECES.split()) + "\n", encoding="utf-8")
    return tokenizers.open(path)


def sizes(tokenizer: Tokenizer, **changes: Any) -> dict[str, Any]:
    return {
        "vocab_size": tokenizer.vocabulary_size,
        "pad_token_id": tokenizer.pad,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 24,
        "max_position_embeddings": 50,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "initializer_range": 0.2,
        **changes,
    }


def vectors_of(encoder: Encoder) -> SenseVectors:
    vectors = encoder.extensions["supersense"]
    assert isinstance(vectors, SenseVectors)
    return vectors


def made(tokenizer: Tokenizer, **options: Any) -> tuple[Encoder, Supersense]:
    torch.manual_seed(0)
    encoder = Encoder(EncoderConfig(**sizes(tokenizer), extensions={"supersense": {}})).eval()
    vectors_of(encoder).attach(LEXICON.tokens(tokenizer, encoder.config.vocab_size))
    objective = Supersense(
        encoder.config, tokenizer=tokenizer, encoder=encoder, **{"lexicon": LEXICON, **options}
    ).eval()
    torch.nn.init.normal_(vectors_of(encoder).vectors)
    return encoder, objective


def texts_of(tokenizer: Tokenizer, sentences: list[str] = SENTENCES) -> list[Encoded]:
    return [text.having(number=number) for number, text in enumerate(tokenizer.encode(sentences))]


def word_tokens(text: Encoded) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for place, word in enumerate(text.words.tolist()):
        if word >= 0:
            found.setdefault(word, []).append(place)
    return found


def surface(text: Encoded, places: list[int]) -> str:
    return text.text[text.spans[places[0], 0] : text.spans[places[-1], 1]].strip(" ,")


# what goes in


def test_a_whole_word_shows_the_sum_of_the_vectors_of_its_senses(words: Tokenizer) -> None:
    encoder, _ = made(words)
    texts = texts_of(words)
    batch = pack(texts, pad=words.pad, room=50)
    added = vectors_of(encoder).embed(torch.zeros(*batch.tokens.shape, 16), batch)
    shown = set()
    for number, text in enumerate(texts):
        row, first = int(batch[Texts].row[number]), int(batch[Texts].first[number])
        expected = {place: torch.zeros(16) for place in range(len(text))}
        for places in word_tokens(text).values():
            if len(places) == 1:
                for sense in LEXICON.of(surface(text, places)):
                    expected[places[0]] = expected[places[0]] + vectors_of(encoder).vectors[sense].detach()
                    shown.add(surface(text, places))
        for place, vector in expected.items():
            assert torch.allclose(added[row, first + place], vector, atol=1e-6), text.text
    assert {"bass", "river"} <= shown


def test_a_hidden_word_shows_no_senses_and_a_muted_model_none_at_all(words: Tokenizer) -> None:
    encoder, _ = made(words)
    [text] = texts_of(words, ["bass"])
    hidden = text.having(tokens=np.where(text.special, text.tokens, words.mask))
    nothing = torch.zeros(1, len(text), 16)
    assert bool(vectors_of(encoder).embed(nothing, pack([text], pad=words.pad)).any())
    assert not bool(vectors_of(encoder).embed(nothing, pack([hidden], pad=words.pad)).any())
    vectors_of(encoder).muted = True
    assert not bool(vectors_of(encoder).embed(nothing, pack([text], pad=words.pad)).any())


def test_a_word_of_the_vocabulary_that_goes_on_in_another_piece_shows_no_senses(words: Tokenizer) -> None:
    encoder, _ = made(words)
    bass, piece = words.find("bass"), next(t for t in range(words.vocabulary_size) if words.piece(t).startswith("##"))
    assert bass is not None
    assert LEXICON.tokens(words).codes[piece] == JOINS
    [text] = texts_of(words, ["a a"])
    first, last = text.tokens[0], text.tokens[-1]
    for tokens, shows in (([first, bass, last], True), ([first, bass, piece, last], False)):
        batch = pack([_plain(tokens)], pad=words.pad)
        added = vectors_of(encoder).embed(torch.zeros(1, len(tokens), 16), batch)
        assert bool(added[0, 1].any()) == shows


def _plain(tokens: list[Any]) -> Encoded:
    count = np.arange(len(tokens))
    return Encoded("", np.array(tokens), np.stack([count, count + 1], 1), count, np.zeros_like(count))


def test_the_first_word_of_a_byte_level_text_is_a_word_though_no_space_stands_before_it(tmp_path: Path) -> None:
    from tokenizers import ByteLevelBPETokenizer
    from transformers import RobertaTokenizerFast

    from kelm.text.hugging_face import HuggingFace

    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(
        ["trout trout", "xtrout river"] * 9, 400, special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    )
    trained.save_model(str(tmp_path))
    roberta = HuggingFace(RobertaTokenizerFast(str(tmp_path / "vocab.json"), str(tmp_path / "merges.txt")))
    encoder, _ = made(roberta)
    [text] = texts_of(roberta, ["trout trout"])
    assert len(text) == 4
    batch = pack([text], pad=roberta.pad)
    added = vectors_of(encoder).embed(torch.zeros(1, 4, 16), batch)[0]
    [animal] = LEXICON.of("trout")
    for place in (1, 2):
        assert torch.allclose(added[place], vectors_of(encoder).vectors[animal])


def test_saved_and_read_again_it_needs_no_graph_and_keeps_matrix_and_names(words: Tokenizer, tmp_path: Path) -> None:
    words.save(tmp_path / "words")
    GRAPH.save(tmp_path / "graph")
    options = {"graph": str(tmp_path / "graph"), "tokenizer": str(tmp_path / "words")}
    encoder = Encoder(EncoderConfig(**sizes(words), extensions={"supersense": options})).eval()
    torch.nn.init.normal_(vectors_of(encoder).vectors)
    encoder.save_pretrained(tmp_path / "model")
    (tmp_path / "graph").rename(tmp_path / "moved")
    again = AutoModel.from_pretrained(tmp_path / "model")
    assert torch.equal(vectors_of(again).allowed, torch.from_numpy(LEXICON.tokens(words).allowed))
    assert torch.equal(vectors_of(again).codes, vectors_of(encoder).codes)
    assert vectors_of(again).senses == LEXICON.senses
    batch = pack(texts_of(words), pad=words.pad)
    assert torch.equal(again.encode(batch).hidden, encoder.encode(batch).hidden)


# what is hidden


def test_shares_of_the_masking_are_the_papers(words: Tokenizer) -> None:
    _, objective = made(words, mlm={"rate": 0.4})
    text = texts_of(words)[0]
    groups = word_tokens(text)
    single = {word for word, places in groups.items() if len(LEXICON.of(surface(text, places))) == 1}
    assert 2 <= len(single) < len(groups) - 2
    masking = objective.collate.words.masking
    draws = 4000
    tokens = kept = masked = chosen_words = chosen_single = 0
    for number in range(draws):
        seen, targets = masking([text.having(number=number)], 0)[0]
        tokens += len(targets)
        chosen = {int(text.words[place]) for place in targets}
        assert sorted(place for word in chosen for place in groups[word]) == targets.tolist()  # whole words
        for word in chosen:
            places = groups[word]
            fates = {(seen[place] == words.mask, seen[place] == text.tokens[place]) for place in places}
            assert len(places) == 1 or len(fates) == 1 or not any(mask for mask, _ in fates)
            masked += bool(all(seen[place] == words.mask for place in places))
            kept += bool(all(seen[place] == text.tokens[place] for place in places))
        chosen_words += len(chosen)
        chosen_single += len(chosen & single)
    count = sum(map(len, groups.values()))
    assert tokens / draws == pytest.approx(0.4 * count, rel=0.1)  # words that do not fit are passed over
    assert masked / chosen_words == pytest.approx(0.8, abs=0.02)
    assert kept / chosen_words == pytest.approx(0.1, abs=0.02)
    assert chosen_single / chosen_words > 1.2 * len(single) / len(groups)  # preferred


@pytest.mark.parametrize(
    ("single", "most", "expected"), [(1.0, 1.0, "all"), (0.0, 1.0, "chance"), (1.0, 0.0, "chance")]
)
def test_the_two_shares_bound_how_many_single_words_come_first(
    words: Tokenizer, single: float, most: float, expected: str
) -> None:
    _, objective = made(words, single=single, most=most, mlm={"rate": 0.3})
    text = texts_of(words)[0]
    groups = word_tokens(text)
    of_one = {word for word, places in groups.items() if len(LEXICON.of(surface(text, places))) == 1}
    found = []
    for number in range(600):
        _, targets = objective.collate.words.masking([text.having(number=number)], 0)[0]
        chosen = {int(text.words[place]) for place in targets}
        found.append(len(chosen & of_one) / len(chosen))
    chance = len(of_one) / len(groups)
    assert (np.mean(found) > 1.7 * chance) if expected == "all" else (np.mean(found) < 1.3 * chance)


@pytest.mark.parametrize("wrong", [{"single": 1.2}, {"most": -0.1}])
def test_shares_that_are_none_are_refused(words: Tokenizer, wrong: dict[str, float]) -> None:
    with pytest.raises(KelmError, match="share"):
        made(words, **wrong)


def test_the_same_text_is_masked_the_same_in_any_batch(words: Tokenizer) -> None:
    _, objective = made(words)
    texts = texts_of(words)
    alone = objective.collate([texts[2]], 7)
    _, expected = objective.collate.words.masking([texts[2]], 7)[0]
    together = objective.collate(texts, 7)
    assert alone.units["mlm"] == len(expected)
    row = int(together[Texts].row[2])
    assert torch.equal(together.tokens[row, : alone.tokens.shape[1]], alone.tokens[0])


# what is learned


def slow_losses(encoder: Encoder, objective: Supersense, texts: list[Encoded], seed: int) -> tuple[float, float, int]:
    """Word by word and sense by sense, from the formulas."""
    table = vectors_of(encoder).vectors.detach()
    allowed_loss = regularization = 0.0
    count = 0
    for text in texts:
        seen, targets = objective.collate.words.masking([text], seed)[0]
        hidden = encoder.encode(pack([text.having(tokens=seen)], pad=0)).hidden[0].detach()
        for places in word_tokens(text).values():
            senses = LEXICON.of(surface(text, places))
            if places[0] not in targets or not senses:
                continue
            letters = [place for place in places if surface(text, [place]).strip()]
            mean = sum(hidden[place] for place in letters) / len(letters)
            logits = [float(mean @ vector) for vector in table]
            most = max(logits)
            total = sum(math.exp(logit - most) for logit in logits)
            chances = [math.exp(logit - most) / total for logit in logits]
            allowed_loss -= math.log(sum(chances[sense] for sense in senses))
            regularization -= sum(math.log(chances[sense]) for sense in senses) / len(senses)
            count += 1
    return allowed_loss, regularization, count


@pytest.mark.parametrize("seed", range(4))
def test_both_losses_are_those_of_a_slow_oracle_and_sums_over_the_hidden_words_with_senses(
    words: Tokenizer, seed: int
) -> None:
    encoder, objective = made(words, mlm={"rate": 0.8})
    encoder, objective, texts = encoder.double(), objective.double(), texts_of(words)
    allowed, regularization, count = slow_losses(encoder, objective, texts, seed)
    for collate in (objective.collate, with_room(objective.collate, 50)):
        batch = collate(texts, seed)
        losses = objective.loss(batch, encoder.encode(batch))
        assert losses["supersense"].item() == pytest.approx(allowed, rel=1e-5)
        assert losses["supersense_regularization"].item() == pytest.approx(regularization, rel=1e-5)
        assert batch.units["supersense"] == batch.units["supersense_regularization"] == count > 3
        assert losses["mlm"] > 0


def test_a_word_in_pieces_counts_once_by_the_mean_of_its_pieces(words: Tokenizer) -> None:
    encoder, objective = made(words, mlm={"rate": 1.0})
    texts = texts_of(words, ["trout swimming"])
    pieces = word_tokens(texts[0])
    assert max(map(len, pieces.values())) > 1
    batch = objective.collate(texts, 0)
    assert batch[SensePieces].word.bincount().tolist() == [len(places) for places in pieces.values()]
    assert batch[AllowedSenses].word.bincount().tolist() == [1, 2]  # an animal; an act, or motion
    stream = encoder.encode(batch)
    for state, places in zip(objective.states(batch, stream), pieces.values(), strict=True):
        assert torch.allclose(state, stream.hidden[0, places].mean(0), atol=1e-6)


def test_a_batch_without_senses_has_losses_of_nothing(words: Tokenizer) -> None:
    encoder, objective = made(words)
    batch = objective.collate(texts_of(words, ["who is there"]), 0)
    losses = Learner(encoder, [objective])(batch)
    assert losses["supersense"].item() == losses["supersense_regularization"].item() == 0
    assert batch.units["supersense"] == 0
    sum(losses.values(), torch.zeros(())).backward()
    assert all(bool(one.grad.isfinite().all()) for one in encoder.parameters() if one.grad is not None)


def test_gradients_reach_the_sense_vectors_from_the_start(words: Tokenizer) -> None:
    encoder, objective = made(words, mlm={"rate": 0.8})
    torch.nn.init.zeros_(vectors_of(encoder).vectors)
    losses = Learner(encoder, [objective])(objective.collate(texts_of(words), 0))
    losses["supersense"].backward(retain_graph=True)
    gradient: Tensor | None = vectors_of(encoder).vectors.grad
    assert gradient is not None and bool(gradient.any())


def test_it_learns_what_hidden_words_may_mean(words: Tokenizer) -> None:
    encoder, objective = made(words, mlm={"rate": 0.8})
    torch.nn.init.zeros_(vectors_of(encoder).vectors)
    learner = Learner(encoder, [objective])
    batch = objective.collate(texts_of(words), 1)
    optimizer = torch.optim.AdamW(learner.parameters(), lr=1e-2, fused=True)
    for _ in range(150):
        losses = learner(batch)
        optimizer.zero_grad()
        sum(losses.values(), torch.zeros(())).backward()
        optimizer.step()
    scores = objective.compare(objective.states(batch, encoder.encode(batch)), vectors_of(encoder).vectors)
    allowed = batch[AllowedSenses]
    for word, best in enumerate(scores.argmax(1).tolist()):
        assert best in allowed.sense[allowed.word == word]
    assert losses["supersense"].item() / batch.units["supersense"] < 0.05


@pytest.mark.parametrize(("kind", "size"), [("wordpiece", 60), ("unigram", 34), ("bpe", 40)])
def test_it_learns_in_another_language_and_with_other_vocabularies(kind: Any, size: int) -> None:
    sentences = ["Die Forelle schwimmt im Fluss", "Der Fluss ist tief", "Forelle blau"]
    tokenizer = vocabulary.train(sentences * 5, size, kind, coverage=1.0)
    torch.manual_seed(0)
    family = "bert" if kind == "wordpiece" else "xlm-roberta"
    config = EncoderConfig(**sizes(tokenizer, family=family), extensions={"supersense": {}})
    encoder = Encoder(config)
    german = SenseLexicon.from_graph(GRAPH, ["de"])
    vectors_of(encoder).attach(german.tokens(tokenizer, config.vocab_size))
    objective = Supersense(config, tokenizer=tokenizer, encoder=encoder, lexicon=german, mlm={"rate": 1.0})
    batch = objective.collate(texts_of(tokenizer, sentences), 0)
    named = [german.senses[sense] for sense in batch[AllowedSenses].sense.tolist()]
    assert named == ["noun.animal", "noun.object", "noun.object", "noun.animal"]
    assert bool(Learner(encoder, [objective])(batch)["supersense"] > 0)


# what is asked for


def test_without_vectors_without_a_lexicon_or_with_another_one_it_says_what_to_do(words: Tokenizer) -> None:
    plain = Encoder(EncoderConfig(**sizes(words)))
    with pytest.raises(KelmError, match=r"model\.extensions\.supersense"):
        Supersense(plain.config, tokenizer=words, encoder=plain, lexicon=LEXICON)
    encoder, _ = made(words)
    with pytest.raises(KelmError, match="Give `graph`"):
        Supersense(encoder.config, tokenizer=words, encoder=encoder)
    with pytest.raises(KelmError, match="same names"):
        Supersense(
            encoder.config, tokenizer=words, encoder=encoder, lexicon=replace(LEXICON, senses=LEXICON.senses[::-1])
        )
    with pytest.raises(KelmError, match="without tokenizer"):
        Encoder(EncoderConfig(**sizes(words), extensions={"supersense": {"graph": "graph"}}))
    with pytest.raises(KelmError, match="with the model"):
        vectors_of(encoder).attach(LEXICON.tokens(words, words.vocabulary_size + 1))


def test_it_goes_with_ernie(words: Tokenizer) -> None:
    from kg.linking.base import Mentions

    config = EncoderConfig(
        **sizes(words), extensions={"ernie": {"width": 8, "heads": 2, "entities": 0}, "supersense": {}}
    )
    encoder = Encoder(config).eval()
    vectors_of(encoder).attach(LEXICON.tokens(words, config.vocab_size))
    objective = Supersense(config, tokenizer=words, encoder=encoder, lexicon=LEXICON, mlm={"rate": 0.8})
    nothing = torch.zeros(0, dtype=torch.long)
    texts = [text.having(Mentions(*[nothing] * 6)) for text in texts_of(words)]
    batch = objective.collate(texts, 0)
    side = encoder.encode(batch).side
    assert {"senses", "entities"} <= side.keys()
    assert bool(Learner(encoder, [objective])(batch)["supersense"] > 0)


def test_the_shipped_recipe_trains(words: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    GRAPH.save(tmp_path / "graph")
    Encoder(EncoderConfig(**sizes(words))).to_hf(tmp_path / "start")
    words.save(tmp_path / "start")
    (tmp_path / "texts.txt").write_text("\n".join(SENTENCES * 3) + "\n", encoding="utf-8")
    shipped = Path(kg.__file__).parent / "recipes" / "levine2020_sensebert.toml"
    quick = ["model.hf=start", "model.extensions.supersense.tokenizer=start", "train.steps=3", "optim.warmup=0"]
    recipe = read(shipped, [*quick, "train.accumulation=1", "batch.tokens=200"])
    train(recipe, "run", show=False)
    model = AutoModel.from_pretrained(tmp_path / "run" / "model")
    assert bool(vectors_of(model).vectors.any()) and bool(vectors_of(model).allowed.any())
