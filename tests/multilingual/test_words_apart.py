"""Partial sharing: words of its own for each language, a softmax over these alone, words switched by a dictionary."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from kelm import cli
from kelm.batch import Encoded, Targets
from kelm.data.corpus import InMemory, Text
from kelm.data.reader import Reader
from kelm.errors import FormatError, InputError, KelmError
from kelm.model import Encoder, EncoderConfig
from kelm.objectives.masking import Masking
from kelm.objectives.mlm import MaskedLanguageModel
from kelm.text import tokenizer, vocabulary
from kelm.text.sentence_piece import SentencePiece
from multilingual.corpora.code_switched import CodeSwitched, dictionaries, read_dictionary
from multilingual.corpora.sampling import monolingual_text
from multilingual.languages import Languages, number_of, with_languages
from multilingual.words_apart import apart, words_apart

LINES = {
    "en": ["the hand of a man", "a warm day in 2020.", "man and hand"],
    "de": ["die hand im warm", "man war in 2020."],
}


@pytest.fixture(scope="module", params=["bpe", "unigram"])
def words(request: pytest.FixtureRequest) -> SentencePiece:
    made = vocabulary.train(
        [line for lines in LINES.values() for line in lines] * 4, 60 if request.param == "bpe" else 34, request.param
    )
    assert isinstance(made, SentencePiece)
    return made


@pytest.fixture(scope="module")
def both(words: SentencePiece) -> SentencePiece:
    return apart(words, ["en", "de", "sw"])


def encoded(words: SentencePiece, text: str, *codes: str) -> Encoded:
    sides = text.split(" | ")
    [read] = words.encode([sides[0]], *([[sides[1]]] if len(sides) > 1 else []))
    return with_languages(read, *codes)


def test_the_vocabulary_is_repeated_and_reads_texts_as_before(words: SentencePiece, both: SentencePiece) -> None:
    own = words.vocabulary_size - len(words.special)
    assert both.vocabulary_size == words.vocabulary_size + 2 * own
    assert both.special == words.special
    lines = [line for some in LINES.values() for line in some]
    for before, after in zip(words.encode(lines), both.encode(lines), strict=True):
        assert before.tokens.tolist() == after.tokens.tolist()
        assert before.spans.tolist() == after.spans.tolist()


def test_the_vocabulary_opens_as_a_fast_tokenizer_with_equal_ids(both: SentencePiece, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    both.save(tmp_path / "words")
    theirs = AutoTokenizer.from_pretrained(tmp_path / "words")
    opened = tokenizer.open(tmp_path / "words")
    lines = [line for some in LINES.values() for line in some]
    assert theirs(lines)["input_ids"] == [text.tokens.tolist() for text in opened.encode(lines)]


def test_a_token_moves_into_its_languages_block_and_special_ones_stay(
    words: SentencePiece, both: SentencePiece
) -> None:
    move, first = words_apart(languages=["en", "de", "sw"], tokenizer=both), len(words.special)
    own = words.vocabulary_size - first
    for row, code in enumerate(("en", "de", "sw")):
        text = encoded(both, "man war in 2020.", code)
        [moved] = move([text])
        for before, after in zip(text.tokens.tolist(), moved.tokens.tolist(), strict=True):
            assert after == (before if before in words.special else before + row * own)
        assert moved.spans.tolist() == text.spans.tolist()
        back = [both.piece(token).rpartition("\ue000")[2] for token in moved.tokens.tolist()]
        assert back == [words.piece(token) for token in text.tokens.tolist()]


def test_each_side_of_a_pair_has_the_words_of_its_own_language(words: SentencePiece, both: SentencePiece) -> None:
    move = words_apart(languages=["en", "de", "sw"], tokenizer=both)
    pair = encoded(both, "hand of a man | die hand im warm", "en", "de")
    [moved] = move([pair])
    first, own = len(words.special), words.vocabulary_size - len(words.special)
    inside = pair.words >= 0
    block = (moved.tokens - first) // own
    assert (block[inside & (pair.segments == 0)] == 0).all()
    assert (block[inside & (pair.segments == 1)] == 1).all()
    assert (moved.tokens[~inside] == pair.tokens[~inside]).all()


def test_texts_without_their_language_or_in_another_are_refused(words: SentencePiece, both: SentencePiece) -> None:
    [plain] = both.encode(["a man"])
    with pytest.raises(InputError, match=r"no blocks of en, de"):
        words_apart(languages=["en", "de"], tokenizer=both)
    move = words_apart(languages=["en", "de", "sw"], tokenizer=both)
    with pytest.raises(InputError, match=r"does not say its language.* monolingual_text"):
        move([plain])
    [told] = words_apart(languages=["en", "de", "sw"], tokenizer=both, language="German")([plain])
    assert told.tokens.tolist() == move([encoded(both, "a man", "de")])[0].tokens.tolist()
    assert told[Languages].language.tolist() == [number_of("de")]
    with pytest.raises(InputError, match=r"is in fr.*de, en, sw"):
        move([encoded(both, "a man", "fr")])
    with pytest.raises(InputError, match=r"no blocks of en, de.*kelm vocab apart WORDS --languages en,de"):
        words_apart(languages=["en", "de"], tokenizer=words)
    with pytest.raises(InputError, match="apart already"):
        apart(both, ["en", "de"])
    with pytest.raises(InputError, match="Name two or more"):
        apart(words, ["en"])
    other = words_apart(languages=["en", "de", "sw"], tokenizer=both, language="de")
    assert move.fingerprint() != other.fingerprint()


def test_a_hidden_word_is_told_from_the_words_of_its_block_only(words: SentencePiece, both: SentencePiece) -> None:
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = EncoderConfig(family="xlm-roberta", vocab_size=both.vocabulary_size, pad_token_id=both.pad, **sizes)
    encoder, mlm = Encoder(config).eval(), MaskedLanguageModel(config, tokenizer=both, rate=0.5, blocks=3)
    move = words_apart(languages=["en", "de", "sw"], tokenizer=both)
    texts = [encoded(both, line, code) for code, lines in LINES.items() for line in lines]
    batch = mlm.collate([text.having(number=number) for number, text in enumerate(move(texts))], 0)
    stream, targets = encoder.encode(batch), batch[Targets]
    logits = mlm.head.logits(stream.hidden[targets.row, targets.token], stream.vocabulary)
    first, own = len(both.special), words.vocabulary_size - len(words.special)
    wanted = 0.0
    for scores, label in zip(logits, targets.label.tolist(), strict=True):
        start = first + (label - first) // own * own
        inside = scores[start : start + own]
        wanted += (inside.logsumexp(0) - scores[label]).item()
    assert mlm.loss(batch, stream)["mlm"].item() == pytest.approx(wanted, rel=1e-5)
    assert len({(label - first) // own for label in targets.label.tolist()}) == 2  # both languages were asked


def test_a_replacement_comes_from_the_block_of_its_token() -> None:
    masking = Masking(mask=4, vocabulary=305, special=(0, 1, 2, 3, 4), rate=1.0, mask_share=0, random_share=1, blocks=3)
    tokens = np.arange(5, 305)
    count = np.arange(300)
    text = Encoded("", tokens, np.stack([count, count + 1], 1), count, np.zeros_like(count))
    for kind in ("token", "word"):
        [(seen, _)] = Masking(**{**_fields(masking), "kind": kind})([text], 3)
        assert ((seen - 5) // 100 == (tokens - 5) // 100).all()
        assert (seen != tokens).mean() > 0.9
    with pytest.raises(KelmError, match="do not make 7 blocks"):
        Masking(mask=4, vocabulary=305, special=(0, 1, 2, 3, 4), blocks=7)
    with pytest.raises(KelmError, match="blocks of equal size"):
        Masking(mask=4, vocabulary=305, special=(0, 1, 2, 3, 9), blocks=3)


def _fields(masking: Masking) -> dict[str, object]:
    return {name: getattr(masking, name) for name in Masking.__dataclass_fields__}


def test_a_model_without_anchors_is_trained_from_the_command_line(words: SentencePiece, tmp_path: Path) -> None:
    words.save(tmp_path / "words")
    split = ["vocab", "apart", str(tmp_path / "words"), "--languages", "en,de", "--out", str(tmp_path / "apart")]
    assert cli.run(split) == 0
    assert cli.run(split) == 2  # it is there already
    for code, lines in LINES.items():
        (tmp_path / f"{code}.txt").write_text("\n".join(lines * 8) + "\n")
    (tmp_path / "en-de.tsv").write_text("hand\thand\nman\tmann\n")
    (tmp_path / "recipe.toml").write_text(f"""\
[model.config]
hidden_size = 16
num_hidden_layers = 1
num_attention_heads = 2
intermediate_size = 16
family = "xlm-roberta"
[tokenizer]
path = "{tmp_path}/apart"
[[objectives]]
name = "mlm"
options = {{ blocks = 2 }}
[objectives.corpus]
name = "monolingual_text"
[objectives.corpus.options]
files = {{ en = "{tmp_path}/en.txt", de = "{tmp_path}/de.txt" }}
switch = {{ en-de = "{tmp_path}/en-de.tsv" }}
[objectives.corpus.enrich.words_apart]
languages = ["en", "de"]
[train]
steps = 30
[optim]
rate = 1e-2
[log]
every = 1
""")
    assert cli.run(["train", str(tmp_path / "recipe.toml"), "--out", str(tmp_path / "run"), "--quiet"]) == 0
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in log if "loss" in line]
    own = words.vocabulary_size - len(words.special)
    assert losses[0] == pytest.approx(np.log(own), rel=0.15)  # of one language's words, not of both
    assert losses[-1] < 0.8 * losses[0]


def test_words_are_switched_as_often_as_asked_the_same_each_time_and_their_case_is_kept(tmp_path: Path) -> None:
    (tmp_path / "en-de.tsv").write_text("dog\thund\nold\talt\nold\talte\n")
    known = dictionaries({"en-de": str(tmp_path / "en-de.tsv")})
    assert known == {
        "en": {"dog": ("hund",), "old": ("alt", "alte")},
        "de": {"hund": ("dog",), "alt": ("old",), "alte": ("old",)},
    }
    texts = [Text(f"Old dog, {number}!", number=number) for number in range(2000)]
    made = CodeSwitched(InMemory(texts), known["en"], share=0.3)
    found = [text.text for text, _ in made.stream()]
    assert found == [text.text for text, _ in made.stream()]
    switched = sum(("Alt" in text) + ("hund" in text) for text in found)
    assert switched / 4000 == pytest.approx(0.3, abs=0.02)
    assert {text.partition(" ")[0] for text in found} == {"Old", "Alt", "Alte"}
    for share, wanted in ((0.0, "Old dog, 0!"), (1.0, "hund, 0!")):
        [text] = [text.text for text, _ in CodeSwitched(InMemory(texts[:1]), known["en"], share=share).stream()]
        assert text.endswith(wanted)
    assert made.fingerprint() != CodeSwitched(InMemory(texts), known["en"], share=0.4).fingerprint()
    with pytest.raises(InputError, match="field switch_share"):
        CodeSwitched(InMemory(texts), known["en"], share=1.1)


def test_a_switched_corpus_goes_on_where_it_was(tmp_path: Path, words: SentencePiece) -> None:
    for code, lines in LINES.items():
        (tmp_path / f"{code}.txt").write_text("\n".join(lines * 5) + "\n")
    (tmp_path / "en-de.tsv").write_text("hand\tarm\nman\twarm\n")
    config = EncoderConfig(family="xlm-roberta", vocab_size=words.vocabulary_size, pad_token_id=words.pad)
    files = {code: str(tmp_path / f"{code}.txt") for code in LINES}
    options = {"tokenizer": words, "config": config, "switch_share": 1.0}
    corpus = monolingual_text(files, switch={"en-de": str(tmp_path / "en-de.tsv")}, **options)  # type: ignore[arg-type]
    assert isinstance(corpus, Reader)
    whole = list(corpus.stream())
    assert any("arm" in text.text.split() for text, _ in whole)
    cursor = whole[3][1]
    assert [text.text for text, _ in corpus.stream(start=cursor)] == [text.text for text, _ in whole[4:]]
    plain = monolingual_text(files, tokenizer=words, config=config)
    assert plain.fingerprint() != corpus.fingerprint()


def test_dictionaries_are_read_with_tabs_or_spaces_and_errors_name_the_line(tmp_path: Path) -> None:
    path = tmp_path / "muse.txt.gz"
    with gzip.open(path, "wt") as file:
        file.write("Dog hund\n\nice cream\teis\n")
    assert read_dictionary(str(path)) == {"dog": ("hund",), "ice cream": ("eis",)}
    (tmp_path / "bad.tsv").write_text("dog\thund\nice cream eis\n")
    with pytest.raises(FormatError, match=r"bad.tsv.*line 2.*expected a word and its translation"):
        read_dictionary(str(tmp_path / "bad.tsv"))
    (tmp_path / "empty.tsv").write_text("\n")
    with pytest.raises(InputError, match="has no words"):
        read_dictionary(str(tmp_path / "empty.tsv"))
    for name, said in (("en", "is no pair"), ("en-xx1", "xx1")):
        with pytest.raises(InputError, match=said):
            dictionaries({name: str(path)})
