"""WordNet's database: a made-up lexicon in its format, broken lines, and the real one where it is installed."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

import kg.io
from kelm.errors import FormatError
from kg.graph import KnowledgeGraph
from kg.io import wordnet
from kg.labels import Attribute
from tests.kg.facts import facts

LICENSE = "  1 A made-up lexicon.  \n"
DATA = {
    "noun": "00000100 05 n 02 Glim 0 glim_beast 0 002 @ 00000200 n 0000 + 00000100 v 0101 | a beast that glims  \n"
    '00000200 03 n 01 thing 0 001 ~ 00000100 n 0000 | whatever there is; "a thing"  \n',
    "verb": "00000100 29 v 01 glim 0 001 + 00000100 n 0101 02 + 02 00 + 08 00 | to shine | like a beast  \n",
    "adj": "00000100 00 a 01 glimmy(p) 0 001 & 00000200 a 0000 | shining  \n"
    "00000200 00 s 01 glimming 0 001 & 00000100 a 0000 | shining a little  \n",
    "adv": "00000100 02 r 01 glimmily 0 001 \\ 00000100 a 0101 | in a glimmy way  \n",
}
INDEX = {
    "noun": "glim n 2 1 @ 2 0 00000900 00000100  \nthing n 1 1 ~ 1 0 00000200  \n",
    "verb": "glim v 1 1 + 1 0 00000100  \n",
    "adj": "glimmy a 1 1 & 1 0 00000100  \nglimming a 1 1 & 1 0 00000200  \n",
    "adv": "glimmily r 1 0 1 0 00000100  \n",
}
INSTALLED = Path("/usr/share/wordnet")
needs_wordnet = pytest.mark.skipif(
    not wordnet.holds(INSTALLED), reason="WordNet is not installed in /usr/share/wordnet (Debian: wordnet-base)"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for kind, files in (("data", DATA), ("index", INDEX)):
        for name, text in files.items():
            (tmp_path / f"{kind}.{name}").write_text(LICENSE + text)
    return tmp_path


def test_synsets_become_entities_with_words_pointers_supersenses_and_glosses(folder: Path) -> None:
    graph = kg.io.read(folder)
    said = facts(graph)
    assert said["triples"] == {
        ("glim.n.02", "hypernym", "thing.n.01"),
        ("thing.n.01", "hyponym", "glim.n.02"),
        ("glim.n.02", "derivationally_related_form", "glim.v.01"),
        ("glim.v.01", "derivationally_related_form", "glim.n.02"),
        ("glimmy.a.01", "similar_to", "glimming.s.01"),
        ("glimming.s.01", "similar_to", "glimmy.a.01"),
        ("glimmily.r.01", "pertainym", "glimmy.a.01"),
    }
    beast = graph.entities.id("glim.n.02")
    assert graph.aliases(beast) == ["Glim", "glim beast"]
    assert graph.attributes.of(beast) == [
        Attribute("description", "a beast that glims", "en", ""),
        Attribute("offset", "00000100-n", "", ""),
    ]
    assert said["types"] >= {("glim.n.02", "noun.animal"), ("thing.n.01", "noun.Tops"), ("glim.v.01", "verb.body")}
    assert graph.label(graph.entities.id("glimmy.a.01")) == "glimmy"
    assert ("glimming.s.01", Attribute("offset", "00000200-a", "", "")) in said["attributes"]
    assert ("glim.v.01", Attribute("description", "to shine | like a beast", "en", "")) in said["attributes"]
    assert graph.relation_label(graph.relation_names.id("similar_to")) == "similar to"
    noun, verb, adjective, _ = graph.reports
    assert (noun.lines, noun.triples, noun.labels, noun.types, noun.attributes) == (3, 3, 3, 2, 4)
    assert noun.dropped == {"line of the license": 1, "words that a pointer joins": 1}
    assert verb.dropped["verb frame"] == 2
    assert adjective.dropped["marker of an adjective's place"] == 1


def test_compressed_files_are_read_and_unwanted_words_counted(folder: Path) -> None:
    plain = kg.io.read(folder)
    for path in list(folder.iterdir()):
        (folder / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    assert kg.io.read(folder) == plain
    german = wordnet.read(folder, languages=["de"])
    assert not len(german.labels.entities)
    assert german.reports[0].dropped["label in an unwanted language"] == 3


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("00000300 05 n 01 x 0 000", "no gloss"),
        ("00000300 05 x 01 x 0 000 | x", "unknown part of speech"),
        ("00000300 05 s 01 x 0 000 | x", "unknown part of speech"),
        ("00000300 45 n 01 x 0 000 | x", "expected a synset"),
        ("00000300 -1 n 01 x 0 000 | x", "no number: -1"),
        ("300 05 n 01 x 0 000 | x", "no offset"),
        ("00000300 05 n 02 x 0 000 | x", "expected a synset"),
        ("00000300 05 n 01 x 0 002 @ 00000200 n 0000 | x", "expected 8 more fields, found 4"),
        ("00000300 05 n 01 x 0 001 ? 00000200 n 0000 | x", "expected a synset"),
        ("00000300 05 n 01 x 0 000 01 + 02 00 + 03 00 | x", "another number"),
        ("00000300 05 n 00 000 | x", "another number"),
        ("00000300 05 n 01 (p) 0 000 | x", "without a letter"),
        ("nonsense", "expected a synset"),
    ],
)
def test_a_broken_line_is_refused_by_file_and_line_or_skipped(folder: Path, line: str, problem: str) -> None:
    expected = kg.io.read(folder)
    path = folder / "data.noun"
    path.write_text(f"{path.read_text()}{line}\n")
    with pytest.raises(FormatError, match=rf"data\.noun, line 4: .*{problem}"):
        kg.io.read(folder)
    graph = kg.io.read(folder, skip_bad=1)
    assert graph == expected
    assert graph.reports[0].dropped["no synset"] == 1


def test_a_pointer_to_nowhere_and_a_broken_index_are_refused(folder: Path) -> None:
    path = folder / "data.adv"
    path.write_text("00000100 02 r 01 x 0 001 \\ 00000999 a 0101 | x\n")
    with pytest.raises(FormatError, match=r"data\.adv, line 1: the pointer leads to 00000999-a"):
        kg.io.read(folder)
    assert kg.io.read(folder, skip_bad=1).reports[3].dropped["pointer to nowhere"] == 1
    (folder / "index.noun").write_text("glim n 3 1 @ 2 0 00000100\n")
    with pytest.raises(FormatError, match=r"index\.noun, line 1: .*another number of offsets"):
        kg.io.read(folder)
    assert kg.io.read(folder, skip_bad=1).reports[0].dropped == {"no word": 1}


def test_a_synset_outside_the_index_keeps_its_offset_and_a_second_one_is_refused(folder: Path) -> None:
    (folder / "index.noun").write_text("thing n 1 1 ~ 1 0 00000200\n")
    assert "00000100-n" in kg.io.read(folder).entities
    path = folder / "data.noun"
    path.write_text(DATA["noun"] + DATA["noun"].splitlines()[0])
    with pytest.raises(FormatError, match=r"data\.noun, line 3: the synset 00000100-n was there before"):
        kg.io.read(folder)
    (folder / "index.noun").write_text(2 * "thing n 1 1 ~ 1 0 00000200\n")
    with pytest.raises(FormatError, match=r'index\.noun, line 2: the word "thing" was there before'):
        kg.io.read(folder)


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / "data.verb").unlink()
    with pytest.raises(FormatError, match=r"no data\.verb"):
        kg.io.read(folder)


@pytest.fixture(scope="module")
def english() -> KnowledgeGraph:
    return kg.io.read(INSTALLED)


@needs_wordnet
def test_the_installed_wordnet_is_read_whole(english: KnowledgeGraph) -> None:
    assert len(english.types) == english.entity_count == 117_659  # wnstats(7WN)
    assert len(english.types.names) == 45
    assert english.reports[0].dropped.keys() == {"line of the license", "words that a pointer joins"}
    dog = english.entities.id("dog.n.01")
    assert english.aliases(dog) == ["dog", "domestic dog", "Canis familiaris"]
    assert [english.types.names[kind] for kind in english.types.of(dog)] == ["noun.animal"]


@needs_wordnet
def test_its_names_are_those_of_wn18rr(english: KnowledgeGraph, data: Path) -> None:
    with gzip.open(data / "kg" / "wn18rr" / "entity2synset.tsv.gz", "rt", encoding="utf-8") as file:
        names = [line.rstrip("\n").split("\t")[1] for line in file]
    assert len(names) == 40_943
    assert (english.entities.ids(names) >= 0).all()
