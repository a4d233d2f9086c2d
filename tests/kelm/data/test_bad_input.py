"""What users really hand in: every broken input ends in a `KelmError` that says where, what and what to do."""

import bz2
import gzip
import lzma
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kelm.data.corpus import InMemory
from kelm.data.reader import Reader
from kelm.data.sources import JsonLines, Table, TextFiles
from kelm.data.stream import BatchStream
from kelm.errors import FormatError, InputError, KelmError, TextTooLong
from kelm.text import vocabulary

MANY = "".join(f"line {number} of a text that is long enough\n" for number in range(5000)).encode()


@dataclass(frozen=True)
class Case:
    """A broken file: its name and bytes, how it is read, and what the error has to name."""

    name: str
    data: bytes
    source: Callable[[Path], Any]
    error: type[KelmError]
    words: tuple[str, ...]


def _table(path: Path) -> Table:
    return Table(path, text=0, pair=1)


def _json(path: Path) -> JsonLines:
    return JsonLines(path, field="text")


BROKEN = {
    "broken UTF-8": Case("a.txt", b"fine\nca\xe9f\n", TextFiles, FormatError, ("a.txt, line 2", "0xe9", "iconv")),
    "cut UTF-8": Case("a.txt", "fine\n日".encode()[:-1], TextFiles, FormatError, ("a.txt, line 2", "not UTF-8")),
    "UTF-16": Case("a.txt", "fine\n".encode("utf-16"), TextFiles, FormatError, ("a.txt, line 1", "iconv -f UTF-16")),
    "no gzip": Case("a.txt.gz", MANY, TextFiles, FormatError, ("a.txt.gz", "damaged", "drop the .gz")),
    "truncated gzip": Case(
        "a.txt.gz",
        gzip.compress(MANY)[:-300],
        TextFiles,
        FormatError,
        ("a.txt.gz, line", "ends in the middle", "again"),
    ),
    "damaged gzip": Case(
        "a.txt.gz",
        gzip.compress(MANY)[:2000] + bytes(range(256)) * 4 + gzip.compress(MANY)[3000:],
        TextFiles,
        FormatError,
        ("a.txt.gz, line", "damaged", "again"),
    ),
    "truncated bzip2": Case(
        "a.txt.bz2", bz2.compress(MANY)[:-50], TextFiles, FormatError, ("a.txt.bz2, line", "ends in the middle")
    ),
    "no bzip2": Case("a.txt.bz2", MANY, TextFiles, FormatError, ("a.txt.bz2", "damaged")),
    "no xz": Case("a.txt.xz", MANY, TextFiles, FormatError, ("a.txt.xz", "damaged", "drop the .xz")),
    "truncated xz": Case(
        "a.txt.xz", lzma.compress(MANY)[:-50], TextFiles, FormatError, ("a.txt.xz, line", "ends in the middle")
    ),
    "damaged xz": Case(
        "a.txt.xz",
        lzma.compress(MANY)[:60] + b"?" * 60 + lzma.compress(MANY)[120:],
        TextFiles,
        FormatError,
        ("a.txt.xz, line", "damaged", "again"),
    ),
    "no zstandard": Case("a.txt.zst", MANY, TextFiles, FormatError, ("a.txt.zst", "damaged")),
    "empty file": Case("a.txt", b"", TextFiles, FormatError, ("a.txt", "empty", "at least one line")),
    "empty gzip": Case("a.txt.gz", gzip.compress(b""), TextFiles, FormatError, ("a.txt.gz", "empty")),
    "empty table": Case("a.tsv", b"", _table, FormatError, ("a.tsv", "empty")),
    "a column too few": Case(
        "a.tsv", b"a\tb\nc\n", _table, FormatError, ("a.tsv, line 2", "expected 2", "found 1", "tab")
    ),
    "a column too many": Case(
        "a.tsv", b"a\tb\nc\td\te\n", _table, FormatError, ("a.tsv, line 2", "expected 2", "found 3")
    ),
    "no such column": Case("a.tsv", b"a\nb\n", _table, FormatError, ("a.tsv, line 1, field 1", "1 columns")),
    "an unknown column": Case(
        "a.tsv",
        b"english\tgerman\nb\tc\n",
        lambda path: Table(path, text="englsh"),
        FormatError,
        ("line 1", "field englsh", '"english"'),
    ),
    "no JSON": Case(
        "a.jsonl", b'{"text": "a"}\n{"text": \n', _json, FormatError, ("a.jsonl, line 2", "no JSON", "line")
    ),
    "a JSON list": Case(
        "a.jsonl", b'["a"]\n', _json, FormatError, ("a.jsonl, line 1", "expected an object, found list")
    ),
    "a missing key": Case(
        "a.jsonl", b'{"txt": "a"}\n', _json, FormatError, ("line 1, field text", 'Did you mean "txt"?')
    ),
    "a number for a text": Case(
        "a.jsonl", b'{"text": 3}\n', _json, FormatError, ("line 1, field text", "found int", "in quotes")
    ),
}


def read_all(source: Iterable[Any]) -> None:
    for _ in source:
        pass


@pytest.mark.parametrize("case", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_file_is_named_with_line_and_remedy(case: Case, tmp_path: Path) -> None:
    path = tmp_path / case.name
    path.write_bytes(case.data)
    with pytest.raises(case.error) as caught:
        read_all(case.source(path).stream())
    message = str(caught.value)
    assert all(word in message for word in case.words), message
    assert str(path) in message


def test_truncated_zstandard_is_noticed(tmp_path: Path) -> None:
    zstd = pytest.importorskip("backports.zstd")
    (tmp_path / "a.txt.zst").write_bytes(zstd.compress(MANY)[:-20])
    with pytest.raises(FormatError, match=r"a\.txt\.zst, line \d+: .*(ends in the middle|damaged)"):
        read_all(TextFiles(tmp_path / "a.txt.zst").stream())


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"none\.txt: cannot be opened: No such file"):
        read_all(TextFiles(tmp_path / "none.txt").stream())
    with pytest.raises(FormatError, match="a folder where a file is expected"):
        read_all(TextFiles(tmp_path).stream())


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return vocabulary.train(["the quick brown fox jumps over the lazy dog " * 3], 70, "wordpiece")


def collate(texts: Any, seed: int) -> Any:
    from kelm.batch import pack

    return pack(texts, pad=0)


def test_a_text_longer_than_the_model_is_refused_by_name(tokenizer: Any, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("the dog\n" + "fox " * 50 + "\n")
    reader = Reader(TextFiles(tmp_path / "a.txt"), tokenizer, 32, long="refuse")
    with pytest.raises(TextTooLong, match=r"a\.txt:2: \d+ tokens, and the model reads 32") as caught:
        read_all(reader.stream())
    assert 'long="cut"' in str(caught.value)


def test_a_pair_that_would_have_to_be_split_is_refused(tokenizer: Any, tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("the dog\t" + "fox " * 50 + "\n")
    reader = Reader(Table(tmp_path / "a.tsv", text=0, pair=1), tokenizer, 32, long="split")
    with pytest.raises(TextTooLong, match=r"a\.tsv:1: \d+ tokens"):
        read_all(reader.stream())


@pytest.mark.parametrize("workers", [0, 2])
def test_a_corpus_without_text_is_an_error_and_not_an_endless_loop(
    tokenizer: Any, tmp_path: Path, workers: int
) -> None:
    (tmp_path / "a.txt").write_text("\n  \n\n")
    reader = Reader(TextFiles(tmp_path / "a.txt"), tokenizer, 32)
    with pytest.raises(FormatError, match="no text"):
        read_all(BatchStream(reader, collate, tokens=100, workers=workers))


def test_an_error_in_a_data_worker_keeps_its_type_and_message(tokenizer: Any, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"the dog\nthe fox\n\xff\n")
    reader = Reader(TextFiles(tmp_path / "a.txt"), tokenizer, 32)
    messages = []
    for workers in (0, 2):
        with pytest.raises(FormatError) as caught:
            read_all(BatchStream(reader, collate, tokens=100, workers=workers))
        messages.append((str(caught.value), caught.value.line))
    assert messages[0] == messages[1]
    assert messages[0][0].startswith(f"{tmp_path}/a.txt, line 3: byte 1 of the line (0xff)")


def test_a_state_of_other_data_or_settings_is_refused(tokenizer: Any) -> None:
    def stream(texts: list[str], **options: Any) -> BatchStream[Any]:
        return BatchStream(Reader(InMemory(texts), tokenizer, 32), collate, **{"tokens": 100, **options})

    state = stream(["the dog", "the fox"]).state()
    for other, word in (
        (stream(["the dog", "the cat"]), "corpus"),
        (stream(["the dog", "the fox"], tokens=50), "tokens"),
        (stream(["the dog", "the fox"], seed=1), "seed"),
        (stream(["the dog", "the fox"], workers=2), "workers"),
    ):
        with pytest.raises(InputError, match=f"field {word}"):
            other.restore(state)
    stream(["the dog", "the fox"]).restore(state)
