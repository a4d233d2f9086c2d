"""Languages in turn: p ~ n ** alpha, nothing left out, the same order for every shard and after every stop."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kelm.data.corpus import InMemory, Shard, Text
from kelm.data.stream import BatchStream
from kelm.errors import FormatError, InputError
from kelm.model import Encoder, EncoderConfig
from kelm.objectives.mlm import MaskedLanguageModel
from kelm.objectives.next_sentence import NextSentence
from kelm.text import vocabulary
from kelm.training.learner import Learner
from multilingual.corpora.sampling import Sampled, monolingual_text, shares
from multilingual.languages import Languages, code_of

COUNTS = {"en": 900, "sw": 90, "yo": 10}


def parts(counts: dict[str, int] | None = None) -> dict[str, Any]:
    return {name: InMemory([Text(f"{name} {n}") for n in range(size)]) for name, size in (counts or COUNTS).items()}


def read(corpus: Sampled, shard: Shard | None = None) -> list[Text]:
    return [text for text, _ in corpus.stream(shard or Shard())]


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.7, 1.0])
def test_languages_come_as_often_as_the_formula_says_in_every_stretch(alpha: float) -> None:
    texts = read(Sampled(parts(), alpha=alpha))
    powers = {name: size**alpha for name, size in COUNTS.items()}
    for stretch in (texts, texts[: len(texts) // 2], texts[len(texts) // 2 :]):
        found = Counter(text.text.split()[0] for text in stretch)
        for name, power in powers.items():
            assert abs(found[name] - len(stretch) * power / sum(powers.values())) <= 2
    assert dict(zip(COUNTS, shares(list(COUNTS.values()), alpha), strict=True)) == pytest.approx(
        {name: power / sum(powers.values()) for name, power in powers.items()}
    )


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=5), st.sampled_from([0.0, 0.3, 1.0]), st.integers(0, 9))
def test_a_pass_leaves_no_text_out_and_with_alpha_1_gives_each_once(sizes: list[int], alpha: float, seed: int) -> None:
    counts = {f"x-{number}": size for number, size in enumerate(sizes)}
    corpus = Sampled(parts(counts), alpha=alpha, seed=seed)
    found = Counter(text.text for text in read(corpus))
    assert len(found) == sum(sizes)
    if alpha == 1:
        assert set(found.values()) == {1}
    for name, times in corpus.times.items():
        assert sum(found[f"{name} {n}"] for n in range(counts[name])) == pytest.approx(times * counts[name], abs=1)


def test_bytes_count_where_they_are_the_unit() -> None:
    long = {"a": InMemory(["ää" * 10] * 10), "b": InMemory(["aa"] * 10)}
    assert Sampled(long, alpha=1, unit="texts").probabilities == {"a": 0.5, "b": 0.5}
    assert Sampled(long, alpha=1, unit="bytes").probabilities["a"] == pytest.approx(40 / 42)


def test_shards_divide_the_draws_and_a_stop_changes_nothing() -> None:
    corpus = Sampled(parts(), alpha=0.3, seed=4)
    whole = read(corpus)
    assert [text.number for text in whole] == list(range(len(whole)))
    shared = [read(corpus, Shard(index, 3)) for index in range(3)]
    assert sorted((text for texts in shared for text in texts), key=lambda text: text.number) == whole
    for stop in (1, 17, 400):
        pairs = list(corpus.stream(Shard(1, 3)))
        assert [text for text, _ in corpus.stream(Shard(1, 3), pairs[stop][1])] == [
            text for text, _ in pairs[stop + 1 :]
        ]


def test_a_repeated_text_has_another_number_and_so_other_masks() -> None:
    numbers = [text.number for text in read(Sampled(parts(), alpha=0.0)) if text.text == "yo 3"]
    assert len(numbers) == len(set(numbers)) == 90


def test_the_table_says_what_is_read_how_often() -> None:
    rows = Sampled(parts(), alpha=0.0).table()
    assert rows[0] == ["language", "texts", "bytes", "probability", "times read"]
    assert rows[3] == ["yo", "10", "40", "0.333", "90.0"]


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"alpha": -0.1}, "alpha"),
        ({"alpha": float("nan")}, "alpha"),
        ({"unit": "words"}, "unit"),
        ({"parts": {}}, "files"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], field: str) -> None:
    with pytest.raises(InputError) as told:
        Sampled(**{"parts": parts(), **options})
    assert told.value.field == field


WORDS = vocabulary.train(["a cat sat here", "eine katze sass hier"], 50, "wordpiece", lower=True)
CONFIG = EncoderConfig(
    vocab_size=WORDS.vocabulary_size, hidden_size=16, num_attention_heads=2, max_position_embeddings=20
)


def opened(files: dict[str, Any], **options: Any) -> Any:
    return monolingual_text(files, tokenizer=WORDS, config=CONFIG, **options)


def test_files_of_languages_become_texts_that_know_their_language(tmp_path: Path) -> None:
    (tmp_path / "en.txt").write_text("a cat\n\na cat sat\n")
    (tmp_path / "de.jsonl").write_text('{"text": "eine katze"}\n')
    texts = [
        text for text, _ in opened({"eng": str(tmp_path / "en.txt"), "German": str(tmp_path / "de.jsonl")}).stream()
    ]
    found = {text.text: code_of(int(text[Languages].language[0])) for text in texts}
    assert found == {"a cat": "en", "a cat sat": "en", "eine katze": "de"}


def test_a_long_text_is_split_and_each_part_knows_its_language(tmp_path: Path) -> None:
    (tmp_path / "en.txt").write_text("a cat sat " * 20 + "\n")
    texts = [text for text, _ in opened({"en": str(tmp_path / "en.txt")}).stream()]
    assert len(texts) > 1 and all(text[Languages].last.tolist() == [len(text) - 1] for text in texts)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"en": "en.txt", "englsh": "en.txt"}, 'no language has the code "englsh". Did you mean "english"'),
        ({"en": "en.txt", "eng": "en.txt"}, "en is named twice"),
        ({"en": "en.txt", "de": "empty.txt"}, '"de" has no text'),
        ({"en": ["en.txt", "en.jsonl"]}, "lines and JSON lines together"),
        ({"en": "none.txt"}, "none.txt: cannot be opened"),
        ({}, "no file is given"),
    ],
)
def test_bad_files_are_told_before_anything_is_learned(files: dict[str, Any], said: str, tmp_path: Path) -> None:
    for name, content in (("en.txt", "a cat\n"), ("empty.txt", "\n \n\u200b\n"), ("en.jsonl", "{}")):
        (tmp_path / name).write_text(content)
    placed = {
        tag: [str(tmp_path / one) for one in paths] if isinstance(paths, list) else str(tmp_path / paths)
        for tag, paths in files.items()
    }
    with pytest.raises((InputError, FormatError), match=said):
        opened(placed)


def test_several_alphas_are_taken_one_after_the_other_and_a_language_goes_on_where_it_stood() -> None:
    corpus = Sampled(parts(), alpha=[1.0, 0.0], phases=[400])
    texts = read(corpus)
    first, second = texts[:400], texts[400:]
    for stretch, powers in ((first, COUNTS), (second, dict.fromkeys(COUNTS, 1))):
        found = Counter(text.text.split()[0] for text in stretch)
        for name, power in powers.items():
            assert abs(found[name] - len(stretch) * power / sum(powers.values())) <= 2
    assert [text.number for text in texts] == list(range(len(texts)))
    for name, size in COUNTS.items():
        order = [int(text.text.split()[1]) for text in texts if text.text.split()[0] == name]
        assert order == [number % size for number in range(len(order))]
        assert len(order) / size == pytest.approx(corpus.times[name], abs=2 / size)


@pytest.mark.parametrize("stop", [0, 199, 398, 399, 400, 401, 700])
def test_a_stop_in_or_between_phases_changes_nothing(stop: int) -> None:
    corpus = Sampled(parts(), alpha=[0.7, 0.5, 0.3], phases=[400, 100], seed=2)
    pairs = list(corpus.stream())
    assert [text for text, _ in corpus.stream(Shard(), pairs[stop][1])] == [text for text, _ in pairs[stop + 1 :]]


@pytest.mark.parametrize("phases", [[], [10, 10], [0]])
def test_each_alpha_but_the_last_has_its_texts(phases: list[int]) -> None:
    with pytest.raises(InputError, match="phases"):
        Sampled(parts(), alpha=[1.0, 0.3], phases=phases)


def test_how_often_each_language_was_read_is_what_a_count_says() -> None:
    corpus = Sampled(parts(), alpha=[1.0, 0.3], phases=[300])
    found: Counter[str] = Counter()
    for text, cursor in corpus.stream():
        found[text.text.split()[0]] += 1
        if text.number in (5, 299, 300, 900):
            told = corpus.times_read(2, cursor)
            for name, size in COUNTS.items():
                assert told[name] == pytest.approx(2 * corpus.times[name] + found[name] / size)
    assert corpus.times_read(0, None) == dict.fromkeys(COUNTS, 0.0)


def test_pure_batches_have_one_language_each_and_no_text_is_lost(tmp_path: Path) -> None:
    (tmp_path / "en.txt").write_text("a cat\n" * 40)
    (tmp_path / "de.txt").write_text("eine katze sass\n" * 25)
    files = {code: str(tmp_path / f"{code}.txt") for code in ("en", "de")}
    for pure in (True, False):
        corpus = opened(files, alpha=1.0, pure=pure)
        collate = MaskedLanguageModel(CONFIG, tokenizer=WORDS).collate
        batches = list(BatchStream(corpus, collate, tokens=30, pool=32, passes=1, seed=3))
        languages = [set(batch[Languages].language.tolist()) for batch in batches]
        assert all(len(some) == 1 for some in languages) == pure
        assert sum(len(batch[Languages].row) for batch in batches) == 65
        assert len({tuple(some) for some in languages}) > 1
    assert opened(files, pure=True).fingerprint() != opened(files).fingerprint()


def test_pairs_that_follow_each_other_know_it_and_their_language(tmp_path: Path) -> None:
    (tmp_path / "en.txt").write_text("".join(f"a cat sat {'here ' * (n % 3)}\n" for n in range(60)))
    texts = [text for text, _ in opened({"en": str(tmp_path / "en.txt")}, follows=True).stream()]
    assert len(texts) == 59 and all(text.segments.any() for text in texts)
    follows = [int(text[NextSentence].follows) for text in texts]
    assert 15 < sum(follows) < 45
    mlm = MaskedLanguageModel(CONFIG, tokenizer=WORDS, next_sentence=True)
    learner = Learner(Encoder(CONFIG), [mlm])
    losses = learner(mlm.collate(texts[:8], 0))
    assert set(losses) == {"mlm", "next_sentence"}
    losses["next_sentence"].backward()
    assert mlm.next_sentence is not None and mlm.next_sentence.dense.weight.grad is not None
