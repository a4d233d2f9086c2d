"""Sources: what is read, how it is divided among processes, and where reading continues."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from kelm.data.corpus import Corpus, InMemory, Shard, Text
from kelm.data.sources import Dataset, Files, JsonLines, Table, TextFiles
from kelm.errors import FormatError, InputError

ROWS = [
    ("an apple", "ein Apfel"),
    ("two pears", "zwei Birnen"),
    ("a ﬁg", "eine Feige"),
    ("日本", "Japan"),
    ("end", "Ende"),
]


def text_files(folder: Path) -> Corpus[Text]:
    (folder / "a.txt").write_text("one\n\ntwo\n   \nthree\n", encoding="utf-8")
    (folder / "b.txt.gz").write_bytes(gzip.compress(b"four\r\nfive"))
    return TextFiles([folder / "a.txt", folder / "b.txt.gz"])


def documents(folder: Path) -> Corpus[Text]:
    (folder / "a.txt").write_text("\none\ntwo\n\n\nthree\n \nfour\nfive", encoding="utf-8")
    return TextFiles(folder / "a.txt", documents=True)


def json_lines(folder: Path) -> Corpus[Text]:
    for name, rows in (("1", ROWS[:2]), ("2", ROWS[2:])):
        lines = [json.dumps({"body": en, "other": de, "id": number}) for number, (en, de) in enumerate(rows)]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return JsonLines(str(folder / "*.jsonl"), field="body", pair="other", keep=["id"])


def table(folder: Path) -> Corpus[Text]:
    lines = ["id\ten\tde", *(f"{number}\t{en}\t{de}" for number, (en, de) in enumerate(ROWS))]
    (folder / "a.tsv").write_text("\n".join(lines), encoding="utf-8")
    return Table(folder / "a.tsv", text="en", pair="de", keep=["id"])


def held_dataset(folder: Path) -> Corpus[Text]:
    import datasets

    held = datasets.Dataset.from_dict({"en": [en for en, _ in ROWS], "de": [de for _, de in ROWS], "id": [*range(5)]})
    return Dataset(held, field="en", pair="de", keep=["id"])


def streaming_dataset(folder: Path) -> Corpus[Text]:
    import datasets

    held = datasets.Dataset.from_dict({"en": [en for en, _ in ROWS], "de": [de for _, de in ROWS], "id": [*range(5)]})
    return Dataset(held.to_iterable_dataset(), field="en", pair="de", keep=["id"])


def in_memory(folder: Path) -> Corpus[Text]:
    return InMemory([Text(en, de) for en, de in ROWS])


SOURCES = [text_files, documents, json_lines, table, held_dataset, streaming_dataset, in_memory]
Source = Callable[[Path], Corpus[Text]]


@pytest.fixture(params=SOURCES, ids=lambda source: source.__name__)
def corpus(request: pytest.FixtureRequest, tmp_path: Path) -> Corpus[Text]:
    source: Source = request.param
    return source(tmp_path)


# what every source promises


def test_texts_are_numbered_in_their_order(corpus: Corpus[Text]) -> None:
    texts = [text for text, _ in corpus.stream()]
    assert [text.number for text in texts] == list(range(len(texts)))
    assert len({text.origin for text in texts}) == len(texts)


def test_shards_divide_the_texts_among_them(corpus: Corpus[Text]) -> None:
    whole = [text for text, _ in corpus.stream()]
    for count in (1, 2, 3, 7):
        shards = [[text for text, _ in corpus.stream(Shard(index, count))] for index in range(count)]
        assert sorted((text for shard in shards for text in shard), key=lambda text: text.number) == whole
        assert all(text.number % count == index for index, shard in enumerate(shards) for text in shard)


@pytest.mark.parametrize("shard", [Shard(), Shard(1, 2)])
def test_a_stream_continues_after_any_item(corpus: Corpus[Text], shard: Shard) -> None:
    whole = list(corpus.stream(shard))
    for place, (_, cursor) in enumerate(whole):
        stored = json.loads(json.dumps(cursor))
        assert list(corpus.stream(shard, stored)) == whole[place + 1 :]


def test_the_fingerprint_is_stable_and_follows_the_options(corpus: Corpus[Text], tmp_path: Path) -> None:
    assert corpus.fingerprint() == corpus.fingerprint()
    if isinstance(corpus, Table):
        assert Table(tmp_path / "a.tsv", text="de").fingerprint() != corpus.fingerprint()
    if isinstance(corpus, Files):
        before, path = corpus.fingerprint(), corpus.paths[-1]
        path.write_bytes(path.read_bytes() + b"more")
        assert corpus.fingerprint() != before


# what each reads


def test_every_line_with_something_in_it_is_a_text(tmp_path: Path) -> None:
    texts = [text for text, _ in text_files(tmp_path).stream()]
    assert [text.text for text in texts] == ["one", "two", "three", "four", "five"]
    assert [text.origin.rsplit("/", 1)[1] for text in texts] == [
        "a.txt:1",
        "a.txt:3",
        "a.txt:5",
        "b.txt.gz:1",
        "b.txt.gz:2",
    ]


def test_blank_lines_divide_documents(tmp_path: Path) -> None:
    assert [text.text for text, _ in documents(tmp_path).stream()] == ["one\ntwo", "three", "four\nfive"]


@pytest.mark.parametrize("source", [json_lines, table, held_dataset, streaming_dataset])
def test_fields_become_text_pair_and_kept_fields(source: Source, tmp_path: Path) -> None:
    texts = [text for text, _ in source(tmp_path).stream()]
    assert [(text.text, text.pair) for text in texts] == ROWS
    ids = [int(text.fields["id"]) for text in texts]
    assert ids == ([0, 1, 0, 1, 2] if source is json_lines else [0, 1, 2, 3, 4])


def test_columns_go_by_number_too(tmp_path: Path) -> None:
    table(tmp_path)
    plain = Table(tmp_path / "a.tsv", text=2, keep=[0])
    assert [text.text for text, _ in plain.stream()] == ["de", *(de for _, de in ROWS)]
    skipping = Table(tmp_path / "a.tsv", text=2, header=True)
    assert [text.text for text, _ in skipping.stream()] == [de for _, de in ROWS]
    with pytest.raises(InputError, match="header=True"):
        Table(tmp_path / "a.tsv", text="en", header=False)


def test_a_pattern_that_no_file_has_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no file has such a name"):
        TextFiles(str(tmp_path / "*.txt"))
    with pytest.raises(FormatError, match="no file is given"):
        TextFiles([])


def test_a_shard_is_divided_without_overlap() -> None:
    parts = [part for shard in (Shard(0, 2), Shard(1, 2)) for part in shard.split(3)]
    owners = [[part for part in parts if part.owns(number)] for number in range(60)]
    assert all(len(owning) == 1 for owning in owners)
    assert all(Shard(number % 2, 2).split(3).count(owning[0]) == 1 for number, owning in enumerate(owners))
    with pytest.raises(ValueError, match="index 2 of 2"):
        Shard(2, 2)
