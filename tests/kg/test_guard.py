"""Files that would overflow a parser's stack, or fill the memory, and files that only look like it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kelm.errors import FormatError
from kg.graph import GraphBuilder
from kg.io import guard, rdf

RDF = '<r:RDF xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:e="http://e/">'


def turtle(depth: int) -> str:
    return "<e:a> <e:p> " + "<<( <e:a> <e:p>\n" * depth + "<e:c>" + " )>>" * depth + " .\n"


def subjects(depth: int) -> str:
    return "<<" * depth + " <e:a> <e:p> <e:c> " + ">> <e:p> <e:c> " * depth + ".\n"


def triples(depth: int) -> str:
    return turtle(depth).replace("\n", " ") + "\n"


def objects(depth: int) -> str:
    return '{"e:p":\n' * depth + '"x"' + "}" * depth


def elements(depth: int) -> str:
    return RDF + "<r:Description>\n<e:p>" * depth + "x" + "</e:p></r:Description>" * depth + "</r:RDF>"


DEEP: dict[str, tuple[str, Callable[[int], str]]] = {
    "triples in Turtle": ("deep.ttl", turtle),
    "subjects in Turtle": ("deep.ttl", subjects),
    "triples in TriG": ("deep.trig", turtle),
    "triples in N-Quads": ("deep.nq", triples),
    "triples in N-Triples": ("deep.nt", triples),
    "objects in JSON-LD": ("deep.jsonld", objects),
    "elements in RDF/XML": ("deep.rdf", elements),
}


@pytest.mark.parametrize("case", DEEP)
def test_what_nests_too_deep_is_refused_with_its_line_and_what_nests_less_is_read(case: str, tmp_path: Path) -> None:
    name, content = DEEP[case]
    path = tmp_path / name
    path.write_text(content(40))
    rdf.read(path)
    path.write_text(content(100_000))  # ends the whole process without the guard
    with pytest.raises(FormatError, match=r"deep\.\w+, line \d+: .*nest(ed)? more than 500 deep") as caught:
        rdf.read(path)
    assert caught.value.remedy


BRACKETS = "<< " * 2000
SHALLOW = {
    "a short string": ("flat.ttl", f'<e:a> <e:p> "{BRACKETS}\\"{BRACKETS}" .\n'),
    "a single-quoted string": ("flat.ttl", f"<e:a> <e:p> '{BRACKETS}\\'{BRACKETS}' .\n"),
    "a long string": ("flat.ttl", f'<e:a> <e:p> """{BRACKETS}\n"" \\""" {BRACKETS}\n""" .\n'),
    "a long single-quoted string": ("flat.trig", f"<e:a> <e:p> '''{BRACKETS}\n'' \\''' {BRACKETS}\n''' .\n"),
    "a comment": ("flat.ttl", f'# it\'s {BRACKETS}\n<e:a> <e:p#> "x" . # {BRACKETS}\n'),
    "a string of N-Triples": ("flat.nt", f'<e:a> <e:p> "{BRACKETS}\\"{BRACKETS}" .\n'),
    "many triples of triples": ("flat.ttl", '<e:a> <e:p> "x" .\n' + "<e:a> <e:q> <<( <e:a> <e:p> <e:b> )>> .\n" * 600),
    "a string of JSON": ("flat.jsonld", '{"@id": "e:a", "e:p": "\\"' + "[{" * 2000 + '"}'),
    "a comment of XML": ("flat.rdf", f"{RDF}<!-- {'<a>' * 600} --><r:Description r:about='e:a' e:p='x>'/></r:RDF>"),
    "character data": (
        "flat.rdf",
        f"{RDF}<r:Description r:about='e:a'><e:p><![CDATA[{'<a>' * 600}\n]]></e:p></r:Description></r:RDF>",
    ),
}


@pytest.mark.parametrize("case", SHALLOW)
def test_brackets_that_nest_nothing_are_read(case: str, tmp_path: Path) -> None:
    name, content = SHALLOW[case]
    (tmp_path / name).write_text(content)
    assert len(rdf.read(tmp_path / name).attributes) == 1


def test_a_long_string_over_many_chunks_is_one_string() -> None:
    chunks = [(1, b'<e:a> <e:p> """\n'), *((line, b"<< <e:a> \n") for line in range(2, 700)), (700, b'""" .\n')]
    assert list(guard.terms(iter(chunks), "a.ttl", chunks)) == chunks
    opened = [(1, b'<e:a> <e:p> """""" , \n'), *chunks[1:]]
    with pytest.raises(FormatError, match=r"a\.ttl, line \d+"):
        list(guard.terms(iter(opened), "a.ttl", opened))


def entities(*declared: str) -> str:
    return (
        f'<?xml version="1.0"?>\n<!DOCTYPE r:RDF [\n{"".join(declared)}]>\n'
        f'{RDF}<r:Description r:about="&ns;a"><e:p>&ns;</e:p></r:Description></r:RDF>\n'
    )


def laughs() -> str:
    more = (f'<!ENTITY l{level} "{f"&l{level - 1};" * 10}">\n' for level in range(1, 30))
    return entities('<!ENTITY ns "http://e/">\n<!ENTITY l0 "lol">\n', *more)


@pytest.mark.parametrize(
    "content",
    [
        laughs(),
        entities(f'<!ENTITY ns "http://e/">\n<!ENTITY long "{"x" * 2000}">\n'),
        entities('<!ENTITY ns "http://e/">\n<!ENTITY long "' + "x\n" * 600_000 + '">\n'),
    ],
    ids=["billion laughs", "a long entity", "an entity longer than a chunk"],
)
def test_entities_that_explode_are_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "bomb.rdf").write_text(content)
    with pytest.raises(FormatError, match=r"bomb\.rdf, line \d: the entity .* is longer than 1,000 bytes"):
        rdf.read(tmp_path / "bomb.rdf")


def test_a_short_entity_that_is_said_too_often_is_refused(tmp_path: Path) -> None:
    often = entities('<!ENTITY ns "http://e/">\n<!ENTITY x "' + "x" * 900 + '">\n')
    (tmp_path / "bomb.rdf").write_text(often.replace("<e:p>&ns;", f"<e:p>{'&x;' * 1000}"))
    with pytest.raises(FormatError, match=r"bomb\.rdf, line \d: entities make the file 50 times as long"):
        rdf.read(tmp_path / "bomb.rdf")


def test_entities_that_stand_for_namespaces_are_read(tmp_path: Path) -> None:
    (tmp_path / "owl.rdf").write_text(entities('<!ENTITY base "http://e/">\n<!ENTITY ns "&base;ns#">\n'))
    graph = rdf.read(tmp_path / "owl.rdf")
    assert list(graph.entities) == ["http://e/ns#a"]
    assert graph.attributes.of(0)[0].text == "http://e/ns#"


@pytest.mark.parametrize("name", ["big.ttl", "big.nt", "big.nq", "big.rdf", "big.jsonld"])
def test_a_line_of_ten_megabytes_is_read(name: str, tmp_path: Path) -> None:
    text = "long " * (1_000_000 if name == "big.jsonld" else 2_000_000)
    written = {
        ".rdf": f"{RDF}<r:Description r:about='e:a'><e:p>{text}</e:p></r:Description></r:RDF>",
        ".jsonld": f'{{"@id": "e:a", "e:p": "{text}"}}',
    }
    (tmp_path / name).write_text(written.get(Path(name).suffix, f'<e:a> <e:p> "{text}" .\n'))
    assert rdf.read(tmp_path / name).attributes.of(0)[0].text == text


def test_a_text_that_pyoxigraph_does_not_take_is_refused(tmp_path: Path) -> None:
    (tmp_path / "big.jsonld").write_text(f'{{"@id": "e:a", "e:p": "{"long " * 2_000_000}"}}')
    with pytest.raises(FormatError, match=r"big\.jsonld: a name or text is longer than the parser takes"):
        rdf.read(tmp_path / "big.jsonld")


def test_a_lone_surrogate_is_refused_wherever_it_stands() -> None:
    builder = GraphBuilder()
    for add in (
        lambda: builder.triple("a", "p", "\ud800"),
        lambda: builder.label("a", "en", "x\udfff"),
        lambda: builder.attribute("a", "p", "\ud800"),
        lambda: builder.type("a", "\ud800"),
    ):
        with pytest.raises(FormatError, match=r"lone surrogate '\\ud"):
            add()
    assert builder.build().entity_count == 0


def test_a_blank_name_is_refused_wherever_it_stands() -> None:
    builder = GraphBuilder()
    for add in (lambda: builder.type("a", " "), lambda: builder.attribute("", "p", "x")):
        with pytest.raises(FormatError, match="expected a name, found nothing"):
            add()
