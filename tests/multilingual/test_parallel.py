"""Parallel text in all its formats, and what is wrong with it."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from kelm.data.corpus import Corpus, Shard, Text
from kelm.errors import FormatError, InputError
from kelm.model import EncoderConfig
from kelm.text import vocabulary
from multilingual.corpora.parallel import parallel_text, translations
from multilingual.languages import Languages, code_of

PAIRS = [("a cat", "eine katze"), ("it sat", "sie sass"), ("here", "hier"), ("a mat", "eine matte")]
TMX = """<?xml version="1.0"?>
<tmx version="1.4"><header/><body>
{units}
</body></tmx>
"""


def write_tsv(folder: Path) -> str:
    (folder / "pairs.tsv").write_text("".join(f"{one}\t{other}\n" for one, other in PAIRS))
    return str(folder / "pairs.tsv")


def write_named(folder: Path) -> str:
    rows = "".join(f"{n}\t{other}\t{one}\n" for n, (one, other) in enumerate(PAIRS))
    (folder / "named.tsv").write_text("id\tde\ten\n" + rows)
    return str(folder / "named.tsv")


def write_jsonl(folder: Path) -> str:
    rows = "".join(f'{{"en": "{one}", "de": "{other}"}}\n' for one, other in PAIRS)
    with gzip.open(folder / "pairs.jsonl.gz", "wt") as file:
        file.write(rows)
    return str(folder / "pairs.jsonl.gz")


def write_moses(folder: Path) -> list[str]:
    """With a sentence that has no translation."""
    for side, code in enumerate(("en", "de")):
        lines = [pair[side] for pair in PAIRS]
        lines.insert(2, ("alone", "")[side])
        (folder / f"train.{code}").write_text("".join(f"{line}\n" for line in lines))
    return [str(folder / "train.en"), str(folder / "train.de")]


def write_keyed(folder: Path) -> list[str]:
    """With a verse that only one has, and in another order."""
    first = "".join(f"GEN.1.{n}\t{one}\n" for n, (one, _) in enumerate(PAIRS)) + "GEN.2.1\talone\n"
    second = "".join(f"GEN.1.{n}\t{other}\n" for n, (_, other) in reversed(list(enumerate(PAIRS))))
    (folder / "eng.tsv").write_text(first)
    (folder / "deu.tsv").write_text(second)
    return [str(folder / "eng.tsv"), str(folder / "deu.tsv")]


def write_tmx(folder: Path) -> str:
    """With a third language, a code of a region, inline marks, and a unit that lacks a side."""
    unit = '<tu><tuv xml:lang="fr"><seg>x</seg></tuv><tuv xml:lang="EN-us"><seg>{0}</seg></tuv>{1}</tu>'
    marked = "<tuv lang='deu'><seg>{0}<ph>&lt;br&gt;</ph> <hi>{1}</hi></seg></tuv>"
    units = [unit.format(one, marked.format(*[*other.split(), ""][:2])) for one, other in PAIRS]
    units.insert(1, unit.format("alone", ""))
    (folder / "memory.tmx").write_text(TMX.format(units="\n".join(units)))
    return str(folder / "memory.tmx")


WRITERS = {
    "tsv": (write_tsv, {}),
    "named": (write_named, {"columns": ("en", "de")}),
    "jsonl": (write_jsonl, {}),
    "moses": (write_moses, {}),
    "keyed": (write_keyed, {}),
    "tmx": (write_tmx, {}),
}


def opened(form: str, folder: Path, **more: Any) -> Corpus[Text]:
    write, options = WRITERS[form]
    return translations(write(folder), ["en", "de"], **{**options, **more})  # type: ignore[arg-type]


@pytest.mark.parametrize("form", WRITERS)
def test_every_format_gives_the_same_pairs(form: str, tmp_path: Path) -> None:
    texts = [text for text, _ in opened(form, tmp_path).stream()]
    assert sorted((text.text, text.pair) for text in texts) == sorted(PAIRS)
    assert [text.number for text in texts] == list(range(len(PAIRS)))
    assert {(text.fields["language"], text.fields["pair_language"]) for text in texts} == {("en", "de")}
    assert all(str(tmp_path) in text.origin for text in texts)


@pytest.mark.parametrize("form", WRITERS)
def test_shards_and_stops_change_nothing(form: str, tmp_path: Path) -> None:
    corpus = opened(form, tmp_path, order="mixed")
    whole = [text for text, _ in corpus.stream()]
    shared = [text for index in range(2) for text, _ in corpus.stream(Shard(index, 2))]
    assert sorted(shared, key=lambda text: text.number) == whole
    for place, (_, cursor) in enumerate(list(corpus.stream())):
        assert [text for text, _ in corpus.stream(start=cursor)] == whole[place + 1 :]
    assert opened(form, tmp_path, order="mixed").fingerprint() == corpus.fingerprint()
    assert opened(form, tmp_path, order="given").fingerprint() != corpus.fingerprint()


def test_half_of_the_pairs_come_the_other_way_round(tmp_path: Path) -> None:
    (tmp_path / "many.tsv").write_text("".join(f"en {n}\tde {n}\n" for n in range(400)))
    texts = [text for text, _ in translations(str(tmp_path / "many.tsv"), ["en", "de"], order="mixed").stream()]
    turned = [text for text in texts if text.fields["language"] == "de"]
    assert 160 < len(turned) < 240
    assert all(text.text.startswith(text.fields["language"]) for text in texts)
    assert all((text.pair or "").startswith(text.fields["pair_language"]) for text in texts)


def test_sides_of_different_length_are_refused_with_both_counts_before_anything_is_read(tmp_path: Path) -> None:
    first, second = write_moses(tmp_path)
    with Path(second).open("a") as file:
        file.write("zu viel\n")
    with pytest.raises(FormatError, match=r"train\.en has 5 lines and .*train\.de 6") as told:
        translations([first, second], ["en", "de"])
    assert told.value.path == Path(second) and told.value.line == 6


@pytest.mark.parametrize(
    ("content", "said", "line"),
    [
        ("GEN.1.1\ta\nGEN.1.1\tb\n", "comes twice", 2),
        ("GEN.1.1 a\n", "no tab", 1),
        ("EXO.1.1\ta\n", "shares no key", None),
    ],
)
def test_keys_that_do_not_match_are_told(content: str, said: str, line: int | None, tmp_path: Path) -> None:
    first, second = write_keyed(tmp_path)
    Path(first).write_text(content)
    with pytest.raises(FormatError, match=said) as told:
        list(translations([first, second], ["en", "de"]).stream())
    assert told.value.path == Path(first) and told.value.line == line


def test_a_memory_that_is_no_xml_or_lacks_a_language_is_told(tmp_path: Path) -> None:
    path = Path(write_tmx(tmp_path))
    with pytest.raises(FormatError, match=r"no unit has both en and sw; the file has .*fr"):
        list(translations(str(path), ["en", "sw"]).stream())
    path.write_text(path.read_text().replace("</tu>", "", 1))
    with pytest.raises(FormatError, match="this is no XML") as told:
        list(translations(str(path), ["en", "de"]).stream())
    assert told.value.path == path and told.value.line


@pytest.mark.parametrize(
    ("paths", "languages", "field"),
    [
        ("pairs.tsv", ["en"], "languages"),
        ("pairs.tsv", ["en", "eng"], "languages"),
        ("pairs.tsv", ["en", "germn"], "languages"),
        (["a", "b", "c"], ["en", "de"], "files"),
        ("pairs.csv", ["en", "de"], "files"),
    ],
)
def test_options_that_make_no_sense_are_refused(paths: Any, languages: list[str], field: str) -> None:
    with pytest.raises(InputError) as told:
        translations(paths, languages)
    assert told.value.field == field


def test_a_row_without_its_translation_is_told_by_line(tmp_path: Path) -> None:
    (tmp_path / "pairs.tsv").write_text("a cat\teine katze\nalone\n")
    with pytest.raises(FormatError, match="expected 2 columns") as told:
        list(translations(str(tmp_path / "pairs.tsv"), ["en", "de"]).stream())
    assert told.value.line == 2


def test_pairs_of_several_languages_are_sampled_and_know_theirs(tmp_path: Path) -> None:
    words = vocabulary.train(["a cat sat", "eine katze sass"], 50, "wordpiece", lower=True)
    config = EncoderConfig(
        vocab_size=words.vocabulary_size, hidden_size=16, num_attention_heads=2, max_position_embeddings=20
    )
    (tmp_path / "few.tsv").write_text("a cat\t一隻貓\n")
    files = {"en-de": write_tsv(tmp_path), "en-zh_hant": str(tmp_path / "few.tsv")}
    corpus = parallel_text(files, tokenizer=words, config=config, alpha=0.0, order="given")
    texts = [text for text, _ in corpus.stream()]
    told = [tuple(code_of(one) for one in text[Languages].language.tolist()) for text in texts]
    assert told.count(("en", "de")) == told.count(("en", "zh-hant")) == 4
    assert all(text.segments.any() for text in texts)
    cut = parallel_text(files, tokenizer=words, config=config, length=6)
    assert max(len(text) for text, _ in cut.stream()) == 6


def test_real_verses_meet_their_translation(data: Path) -> None:
    folder = data / "parallel" / "bible"
    paths = [str(next(folder.glob(f"{code}.tsv*"))) for code in ("eng", "swh")]
    texts = [text for text, _ in translations(paths, ["eng", "swh"]).stream()]
    assert 7_000 < len(texts) < 8_000 and texts[0].fields["key"] == "MAT.1.1"


def refused(folder: Path, files: dict[str, Any]) -> InputError:
    words = vocabulary.train([side for pair in PAIRS for side in pair], 60, "wordpiece", lower=True)
    with pytest.raises(InputError) as raised:
        parallel_text(files, tokenizer=words, config=EncoderConfig(vocab_size=words.vocabulary_size))
    return raised.value


def test_files_in_the_other_order_than_their_languages_are_told_by_their_names(tmp_path: Path) -> None:
    told = refused(tmp_path, {"en-de": write_moses(tmp_path)[::-1]})
    assert told.field == "files.en-de"
    assert "train.de and train.en are named de, en, the languages are en, de" in str(told)


def test_swapped_sides_in_different_scripts_are_told_before_training(tmp_path: Path) -> None:
    rows = [("a cat", "кот"), ("a mat", "коврик"), ("we are here", "мы здесь")]
    (tmp_path / "pairs.tsv").write_text("".join(f"{other}\t{one}\n" for one, other in rows))
    told = refused(tmp_path, {"en-ru": str(tmp_path / "pairs.tsv")})
    assert (told.field, told.problem) == ("files.en-ru", "3 of the first 3 pairs are swapped")


def test_sides_in_another_script_than_their_language_are_told_with_a_line_to_look_at(tmp_path: Path) -> None:
    (tmp_path / "pairs.tsv").write_text("a cat\tkot\na mat\tkovrik\n")
    told = refused(tmp_path, {"en-ru": str(tmp_path / "pairs.tsv")})
    assert "2 of the first 2 texts are not in en and ru; most often: other script" in str(told)
    assert "pairs.tsv:1" in str(told)
    translations(str(tmp_path / "pairs.tsv"), ["en", "ru-latn"])
