"""Tagged words from files of columns: which lines are words, whose each sub-token is, what is said of bad lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kelm.batch import Encoded, pack
from kelm.data.reader import Reader
from kelm.data.tagged_words import Words, WordTags, tagged_words
from kelm.data.word_columns import WordColumns
from kelm.errors import FormatError, MissingPart
from kelm.model import EncoderConfig
from kelm.text import vocabulary
from kelm.text.tokenizer import Tokenizer

CONFIG = EncoderConfig(hidden_size=16, num_attention_heads=2, max_position_embeddings=40)
TAGS = ["O", "B-LOC", "I-LOC"]
TEXTS = ["Bonn lies on the Rhine .", "New Bonn !", "北京在中国"]


@pytest.fixture(scope="module")
def pieces() -> Tokenizer:
    return vocabulary.train(TEXTS, 75, "wordpiece", lower=True)


@pytest.fixture(scope="module")
def unigrams() -> Tokenizer:
    """A SentencePiece model, in which a "▁" may stand alone before a word."""
    return vocabulary.train(TEXTS * 20, 31, "unigram")


def read(path: Path, words: Tokenizer, **options: Any) -> list[Encoded]:
    corpus = tagged_words(str(path), **{"tags": TAGS, "tokenizer": words, "config": CONFIG, **options})
    assert isinstance(corpus, Reader)
    return [text for text, _ in corpus.stream()]


def sentences(path: Path, **options: Any) -> list[list[tuple[str, str]]]:
    found = [text.fields for text, _ in WordColumns(path, **options).stream()]
    return [list(zip(fields["words"], fields["tags"], strict=True)) for fields in found]


EXPECTED = [[("Bonn", "B-LOC"), ("lies", "O"), (".", "O")], [("New", "B-LOC"), ("Bonn", "I-LOC")]]
FORMS: dict[str, tuple[str, dict[str, Any]]] = {
    "tabs": ("Bonn\tB-LOC\nlies\tO\n.\tO\n\nNew\tB-LOC\nBonn\tI-LOC\n", {}),
    "blanks, and no line end": ("Bonn B-LOC\nlies O\n. O\n\n\nNew   B-LOC\nBonn I-LOC", {}),
    "Windows": ("Bonn\tB-LOC\r\nlies\tO\r\n.\tO\r\n\r\nNew\tB-LOC\r\nBonn\tI-LOC\r\n", {}),
    "CoNLL-2003": (
        "-DOCSTART- -X- O O\n\nBonn NNP I-NP B-LOC\nlies VBZ I-VP O\n. . O O\n\n"
        "-DOCSTART- -X- O O\n\nNew NNP I-NP B-LOC\nBonn NNP I-NP I-LOC\n",
        {},
    ),
    "numbers, comments and more columns": (
        "# newdoc id = 1\n# text = Bonn\tlies\n1\tBonn\tB-LOC\t-\t-\n2\tlies\tO\t-\t-\n3\t.\tO\t-\t-\n\n"
        "# sent_id = 2\n1\tNew\tB-LOC\t-\t-\n2\tBonn\tI-LOC\t-\t-\n\n",
        {"word": 1, "tag": 2},
    ),
    "lines of blanks between": ("Bonn\tB-LOC\nlies\tO\n.\tO\n\t\nNew\tB-LOC\nBonn\tI-LOC\n", {}),
}


@pytest.mark.parametrize(("content", "options"), FORMS.values(), ids=FORMS)
def test_every_form_gives_the_same_sentences(content: str, options: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "a.conll").write_text(content, newline="")
    assert sentences(tmp_path / "a.conll", **options) == EXPECTED


def test_a_number_sign_is_a_word_and_not_always_a_comment(tmp_path: Path) -> None:
    (tmp_path / "a.conll").write_text("# a comment of a file with blanks\n# O\n7 O\n\n# O\n")
    assert sentences(tmp_path / "a.conll") == [[("#", "O"), ("7", "O")], [("#", "O")]]
    (tmp_path / "b.conll").write_text("# a comment\n#\tO\n7\tO\n")
    assert sentences(tmp_path / "b.conll") == [[("#", "O"), ("7", "O")]]


def test_only_ascii_blanks_separate(tmp_path: Path) -> None:
    (tmp_path / "a.conll").write_text("10\u00a0000 O\nMark O\n")
    assert sentences(tmp_path / "a.conll") == [[("10\u00a0000", "O"), ("Mark", "O")]]


def test_each_sub_token_knows_its_word(pieces: Tokenizer, tmp_path: Path) -> None:
    (tmp_path / "a.conll").write_text("Bonn\tB-LOC\nxlies\tO\nO'Bonn\tO\n.\tO\n")
    [text] = read(tmp_path / "a.conll", pieces)
    assert text.text == "Bonn xlies O'Bonn ."
    assert text.words[0] == text.words[-1] == -1
    for token, word in enumerate(text.words.tolist()[1:-1], 1):
        start, end = text.spans[token]
        assert text.text[start:end] in ["Bonn", "xlies", "O'Bonn", "."][word]
    assert text[Words].token.tolist() == [text.words.tolist().index(word) for word in range(4)]
    assert text[WordTags].tag.tolist() == [1, 0, 0, 0]


@pytest.mark.parametrize("kind", ["pieces", "unigrams"])
def test_the_text_may_have_no_blanks_and_its_tokens_stay_the_same(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    words = request.getfixturevalue(kind)
    (tmp_path / "a.conll").write_text("北京\tB-LOC\n在\tO\nBo\tB-LOC\nnn\tO\n中国\tB-LOC\n")
    [apart], [joined] = read(tmp_path / "a.conll", words), read(tmp_path / "a.conll", words, blanks=False)
    assert (apart.text, joined.text) == ("北京 在 Bo nn 中国", "北京在Bonn中国")
    assert joined.tokens.tolist() == apart.tokens.tolist()
    assert joined[Words].token.tolist() == apart[Words].token.tolist()
    assert min(joined[Words].token.tolist()) > 0
    for one, other in zip(joined.spans.tolist(), apart.spans.tolist(), strict=True):
        assert one == other == [-1, -1] or joined.text[slice(*one)] == apart.text[slice(*other)] != ""
    assert set(joined.words[1:-1].tolist()) == set(range(5))  # "▁" alone belongs to the word after it
    assert joined.words[1:-1].tolist() == sorted(joined.words[1:-1].tolist())


def test_words_that_were_cut_off_have_no_token_but_keep_their_tags(pieces: Tokenizer, tmp_path: Path) -> None:
    (tmp_path / "a.conll").write_text("Bonn\tB-LOC\n" * 9)
    [text] = read(tmp_path / "a.conll", pieces, length=6)
    assert len(text) == 6
    token = text[Words].token.tolist()
    kept = len(set(text.words.tolist()) - {-1})
    assert token[:kept] == [text.words.tolist().index(word) for word in range(kept)]
    assert token[kept:] == [-1] * (9 - kept)
    assert text[WordTags].tag.tolist() == [1] * 9


def test_a_word_that_is_nothing_to_the_tokenizer_has_no_token(pieces: Tokenizer, tmp_path: Path) -> None:
    (tmp_path / "a.conll").write_text("\u200b\tB-LOC\nBonn\tB-LOC\n\u200b\tO\n")
    [text] = read(tmp_path / "a.conll", pieces)
    assert text[Words].token.tolist() == [-1, 1, -1]
    assert text[WordTags].tag.tolist() == [1, 1, 0]


def test_words_point_at_their_tokens_wherever_the_text_lies(pieces: Tokenizer, tmp_path: Path) -> None:
    (tmp_path / "a.conll").write_text("Bonn\tB-LOC\nlies\tO\n\nNew\tB-LOC\nBonn\tI-LOC\n")
    texts = read(tmp_path / "a.conll", pieces)
    batch = pack(texts, pad=0, room=40)
    words = batch[Words]
    expected = [int(text.tokens[token]) for text in texts for token in text[Words].token.tolist()]
    assert batch.tokens[words.row, words.token].tolist() == expected
    assert words.text.tolist() == [0, 0, 1, 1]


def test_without_tags_their_column_may_be_missing(pieces: Tokenizer, tmp_path: Path) -> None:
    (tmp_path / "a.conll").write_text("Bonn\nlies\n")
    [text] = read(tmp_path / "a.conll", pieces, tags=None)
    assert len(text[Words].token) == 2
    with pytest.raises(MissingPart, match="WordTags"):
        text[WordTags]


BAD: dict[str, tuple[str, dict[str, Any], str]] = {
    "an unknown tag": (
        "Bonn\tB-LOC\n\nBonn\tO\nlies\tB-LOK\n",
        {},
        'line 4, field tag: "B-LOK" is none of the 3 tags. Did you mean "B-LOC"? Known: B-LOC, I-LOC, O.',
    ),
    "no tag": ("Bonn\tB-LOC\nlies\n", {}, "line 2: expected 2 columns as in line 1, found 1. Give each word a line"),
    "a blank tag": ("Bonn\tB-LOC\nlies\t \n", {}, "line 2, field tag: nothing stands there. Give a word and a tag."),
    "a blank word": ("Bonn\tB-LOC\n\tO\n", {}, "line 2, field word: nothing stands there."),
    "no such column": ("Bonn\tB-LOC\n", {"word": 2}, "line 1, field word: there is no column 2 among 2. Give a number"),
    "no such last column": ("\nBonn\tO\n", {"tag": -3}, "line 2, field tag: there is no column -3 among 2."),
    "no word": (
        "# only a comment\n\n",
        {},
        "a.conll: no line holds a word. Give a file with a word and its tag a line.",
    ),
}


@pytest.mark.parametrize(("content", "options", "told"), BAD.values(), ids=BAD)
def test_a_bad_line_is_told_by_file_line_field_and_remedy(
    content: str, options: dict[str, Any], told: str, pieces: Tokenizer, tmp_path: Path
) -> None:
    (tmp_path / "a.conll").write_text(content)
    with pytest.raises(FormatError) as caught:
        read(tmp_path / "a.conll", pieces, **options)
    assert told in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "a.conll"))


REAL: dict[str, tuple[str, dict[str, Any], tuple[int, int, int]]] = {
    "WikiNEuRal": ("wikineural/en.val.conllu.gz", {"word": 1}, (11_590, 267_839, 19_182)),
    "WNUT-17": ("wnut17/train.conll.gz", {}, (3_394, 62_730, 1_975)),
    "MasakhaNER 2": ("masakhaner2/hau.dev.txt.gz", {}, (816, 21_537, 1_162)),
    "Universal NER": ("uner/zh_gsd-ud-dev.iob2.gz", {"word": 1, "tag": 2}, (500, 12_663, 810)),
}


@pytest.mark.parametrize(("name", "options", "counts"), REAL.values(), ids=REAL)
def test_real_files_give_as_many_sentences_words_and_entities_as_they_have(
    name: str, options: dict[str, Any], counts: tuple[int, int, int], data: Path
) -> None:
    found = sentences(data / "ner" / name, **options)
    begun = sum(tag.startswith("B-") for sentence in found for _, tag in sentence)
    assert (len(found), sum(map(len, found)), begun) == counts


def test_of_conllu_only_words_are_read(tmp_path: Path) -> None:
    rest = "\t_" * 6
    rows = [
        "# text = im Haus",
        f"1-2\tim\t_\t_{rest}",
        f"1\tin\t_\tADP{rest}",
        f"2\tdem\t_\tDET{rest}",
        f"2.1\tx\t_\tX{rest}",
    ]
    (tmp_path / "some.conllu").write_text("\n".join([*rows, f"3\tHaus\t_\tNOUN{rest}"]) + "\n")
    [(text, _)] = WordColumns(tmp_path / "some.conllu", word=1, tag=3).stream()
    assert (text.text, text.fields["tags"]) == ("in dem Haus", ["ADP", "DET", "NOUN"])
