"""Wordnets in XML: a made-up lexicon in the format of Open English WordNet, and what broken ones say."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

import kg.io
from kelm.errors import FormatError
from kg.io import lmf
from kg.labels import Attribute
from tests.kg.facts import facts

HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE LexicalResource SYSTEM "http://globalwordnet.github.io/schemas/WN-LMF-1.1.dtd">
<LexicalResource xmlns:dc="https://globalwordnet.github.io/schemas/dc/">
<Lexicon id="x" label="made up" language="en" version="1">
"""
BODY = """<LexicalEntry id="e1"><Lemma writtenForm="glim beast"/><Sense id="s1" synset="x-1-n"/></LexicalEntry>
<LexicalEntry id="e2"><Lemma writtenForm="glim" partOfSpeech="n"><Pronunciation>ɡlɪm</Pronunciation></Lemma>
<Sense id="s2" synset="x-1-n"><SenseRelation relType="derivation" target="s3"/></Sense></LexicalEntry>
<LexicalEntry id="e3"><Lemma writtenForm="to glim" partOfSpeech="v"/><Sense id="s3" synset="x-2-v">
<SenseRelation relType="other" dc:type="agent" target="s1"/></Sense></LexicalEntry>
<Synset id="x-1-n" ili="i1" partOfSpeech="n" lexfile="noun.animal" members="e2 e1">
<Definition>a beast that
glims &amp; shines</Definition><SynsetRelation relType="also" target="x-2-v"/><Example>a glim</Example></Synset>
<Synset id="x-2-v" ili="in" partOfSpeech="v" lexfile="verb.body"><Definition>to shine</Definition></Synset>
<SyntacticBehaviour id="via" subcategorizationFrame="Somebody ----s"/>
"""
TAIL = "</Lexicon>\n</LexicalResource>\n"


def write(folder: Path, body: str = BODY, head: str = HEAD) -> Path:
    (folder / "wordnet.xml").write_text(head + body + TAIL, encoding="utf-8")
    return folder / "wordnet.xml"


def test_synsets_become_entities_with_words_relations_supersenses_and_definitions(tmp_path: Path) -> None:
    graph = kg.io.read(write(tmp_path))
    said = facts(graph)
    assert said["triples"] == {
        ("x-1-n", "also", "x-2-v"),
        ("x-1-n", "derivation", "x-2-v"),
        ("x-2-v", "agent", "x-1-n"),
    }
    beast = graph.entities.id("x-1-n")
    assert graph.aliases(beast) == ["glim", "glim beast"]
    assert said["types"] == {("x-1-n", "noun.animal"), ("x-2-v", "verb.body")}
    assert graph.attributes.of(beast) == [
        Attribute("ili", "i1", "", ""),
        Attribute("partOfSpeech", "n", "", ""),
        Attribute("description", "a beast that glims & shines", "en", ""),
        Attribute("example", "a glim", "en", ""),
    ]
    (report,) = graph.reports
    assert (report.lines, report.triples, report.labels, report.types, report.attributes) == (16, 3, 3, 2, 6)
    assert report.dropped == {
        "senses that a relation joins": 2,
        "element <Pronunciation>": 1,
        "element <SyntacticBehaviour>": 1,
        "attribute label of <Lexicon>": 1,
        "attribute version of <Lexicon>": 1,
        "attribute partOfSpeech of <Lemma>": 2,
    }


def test_a_compressed_file_gives_the_same_graph_and_unwanted_words_are_counted(tmp_path: Path) -> None:
    path = write(tmp_path)
    (tmp_path / "wordnet.xml.gz").write_bytes(gzip.compress(path.read_bytes()))
    assert kg.io.read(tmp_path / "wordnet.xml.gz") == kg.io.read(path)
    german = lmf.read(path, languages=["de"])
    assert german.entity_count == 2 and not len(german.labels)
    assert german.reports[0].dropped["label in an unwanted language"] == 3
    assert german.reports[0].dropped["description in an unwanted language"] == 2


@pytest.mark.parametrize(
    ("element", "problem"),
    [
        ('<Synset partOfSpeech="n"/>', "attribute id"),
        ('<Synset id="x-1-n"/>', "was there before"),
        ('<Synset id=" "/>', "no name"),
        ('<LexicalEntry id="e9"><Lemma/></LexicalEntry>', "attribute writtenForm"),
        ('<LexicalEntry id="e9"><Lemma writtenForm="x"/><Sense synset="x-1-n"/></LexicalEntry>', "attribute id"),
        ('<LexicalEntry id="e9"><Lemma writtenForm=" "/><Sense id="s9" synset="x-1-n"/></LexicalEntry>', "label"),
        ('<LexicalEntry id="e9"><Lemma writtenForm="x"/><Sense id="s9" synset="x-9"/></LexicalEntry>', "synset"),
        ('<Synset id="x-9"><SynsetRelation relType="also" target="x-8"/></Synset>', 'relation "also" to "x-8"'),
        ('<Synset id="x-9"><SynsetRelation relType="also"/></Synset>', "attribute target"),
        ("<Definition>of nothing</Definition>", "a description of a synset"),
        ('<ExternalLexicalEntry id="e"><Sense id="s9" synset="x-1-n"/></ExternalLexicalEntry>', "label"),
        ('<Synset id="x-9"><Definition>&elsewhere;</Definition></Synset>', '"elsewhere" is not declared'),
    ],
)
def test_a_broken_element_is_refused_by_file_and_line_or_skipped(tmp_path: Path, element: str, problem: str) -> None:
    path = write(tmp_path, f"{BODY}\n{element}\n")
    with pytest.raises(FormatError, match=rf"wordnet\.xml, line 16.*{problem}") as caught:
        kg.io.read(path)
    assert caught.value.remedy
    graph = kg.io.read(path, skip_bad=1)
    assert facts(graph)["triples"] == facts(kg.io.read(write(tmp_path)))["triples"]
    assert len(graph.reports[0].bad) == 1


BILLION = '<?xml version="1.0"?><!DOCTYPE LexicalResource [<!ENTITY a "aaaaaaaaaa">\n' + "".join(
    f'<!ENTITY {new} "{10 * f"&{old};"}">\n' for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("<LexicalResource>\n<Lexicon>", "line 2: expected <Lexicon> with the attribute language"),
        ('<LexicalResource>\n<Lexicon language="en">', "line 3: this is not XML: no element found"),
        ("<LexicalResource>\n</Lexicon>", "line 2: this is not XML: mismatched tag"),
        ("<rdf:RDF/>", "expected a wordnet"),
        ("nonsense", "line 1: this is not XML"),
        ('<?xml version="1.0" encoding="nonsense"?><LexicalResource/>', "line 1: .*encoding"),
        (BILLION + "]><LexicalResource>&i;</LexicalResource>", r"line \d+: the entity .* is longer than"),
        ("<LexicalResource>" + "<a>" * 600, "nested more than 500 deep"),
    ],
)
def test_what_is_no_wordnet_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "wordnet.xml"
    path.write_text(text)
    with pytest.raises(FormatError, match=problem):
        kg.io.read(path)
