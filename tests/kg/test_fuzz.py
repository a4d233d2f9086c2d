"""Every reader gets broken files: it says a `KelmError` or reads on, in time, and accounts for every line.

A case is a number: it seeds the edits of a valid file, or random bytes. KELM_FUZZ says how many cases each reader gets
(40 if it is not set); ``KELM_FUZZ=100000 pytest tests/kg/test_fuzz.py --timeout 0`` is the long run.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

import kg.io
from kelm.errors import KelmError
from kg.graph import GraphBuilder, KnowledgeGraph
from kg.io import codex, fb15k237, names, sparql, wordnet
from tests.kg import test_conceptnet, test_lmf, test_wikidata, test_wordnet
from tests.kg.test_graph import berlin

CASES = int(os.environ.get("KELM_FUZZ", "40"))
SECONDS = 5  # a case that takes longer hangs

TABLE = "Q64\tP17\tQ183\n# a comment\n\nQ64\tP1376\tQ183\r\nQ1055\tP17\tQ183\n베를린\tin\tЕвропа\n"
TRIPLES = (
    '<http://e/a> <http://e/p> <http://e/b> .\n# comment\n\n_:x <http://e/p> "text \\"\\u00e9"@en-GB .\n'
    '<http://e/a> <http://www.w3.org/2000/01/rdf-schema#label> "name"@de .\n'
    '<http://e/a> <http://e/year> "1237"^^<http://www.w3.org/2001/XMLSchema#gYear> .\n'
    "<http://e/a> <http://www.w3.org/1999/02/22-rdf-syntax-ns#type> <http://e/City> .\n"
)
TURTLE = (
    '@prefix : <http://e/> .\n@base <http://e/> .\n:a a :City ; :p "x"@en, """long\n"text" """, 1, 2.5e3, true ;\n'
    "  :q ( :a [ :p <b> ] ) . # comment\n<<( :a :p :b )>> :said _:me .\n"
)
TRIG = TURTLE + "GRAPH :g { :a :p :b . }\n:h { :c :p [] }\n"
RDF = (
    '<?xml version="1.0"?>\n<!DOCTYPE rdf:RDF [<!ENTITY e "http://e/">]>\n'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:e="http://e/">\n'
    '<e:City rdf:about="&e;a" e:p="x"><e:q rdf:parseType="Collection"><e:B/></e:q><!-- no --></e:City>\n</rdf:RDF>\n'
)
JSONLD = (
    '{"@context": {"@vocab": "http://e/", "name": {"@id": "http://www.w3.org/2000/01/rdf-schema#label"}},\n'
    ' "@graph": [{"@id": "a", "@type": "City", "name": {"@value": "A", "@language": "en"}, "p": [{"@id": "b"}, 1]}]}\n'
)
WIKIDATA = (
    "[\n"
    + ",\n".join(
        test_wikidata.json.dumps(record, ensure_ascii=False)
        for record in (
            test_wikidata.BERLIN,
            {"type": "property", "id": "P17", "labels": test_wikidata.texts(en="country")},
            {
                "id": "Q1",
                "claims": {"P1": [test_wikidata.claim("time", {"time": "+1237-01-02T00:00:00Z", "precision": 11})]},
            },
            {"id": "L1", "type": "lexeme"},
        )
    )
    + "\n]\n"
)

FILES = {
    "a.tsv": TABLE,
    "a.csv": TABLE.replace("\t", ",") + '"New ""York"", NY",in,"USA\nand more"\n',
    "a.spo": TABLE,
    "a.nt": TRIPLES,
    "a.nq": TRIPLES.replace(" .\n", " <http://e/g> .\n"),
    "a.ttl": TURTLE,
    "a.trig": TRIG,
    "a.rdf": RDF,
    "a.jsonld": JSONLD,
    "a.json": WIKIDATA,
    "a.xml": test_lmf.HEAD + test_lmf.BODY + test_lmf.TAIL,
    "conceptnet.csv": "".join(test_conceptnet.LINES),
}
PACKED: dict[str, Callable[[bytes], bytes]] = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}
TOKENS = [
    *(b"\t", b"\n", b"\r", b"\0", b" ", b'"', b"'", b"\\", b"<", b">", b"&", b"#", b"@", b"|", b",", b"[", b"]", b"{"),
    *(b"}", b"<<", b">>", b'"""', b"<!--", b"-->", b"<![CDATA[", b"<!ENTITY x '&x;'>", b"\\ud800", b"\\u0000", b"^^"),
    *(b"\xff", b"\xc3", b"\xef\xbb\xbf", "é".encode(), "\u2028".encode(), b"1e999", b"NaN", b"null", b"-1", b"0" * 400),
    *(b"[" * 600, b"<a>" * 600, b"_:", b"urn:kelm:entity:%", b".", b"/c/", b"/a/["),
]


def broken(valid: bytes, seed: int) -> bytes:
    """Returns what a few edits make of `valid`, or now and then random bytes."""
    chance = random.Random(seed)
    if chance.random() < 0.05:
        return chance.randbytes(chance.randrange(200))
    content = bytearray(valid)
    for _ in range(chance.choice((1, 1, 2, 3, 10))):
        start = chance.randrange(len(content) + 1)
        stop = min(start + chance.choice((0, 1, 1, 5, 40)), len(content))
        edit = chance.randrange(6)
        if edit == 0:
            del content[start:stop]
        elif edit == 1:
            content[start:stop] = chance.choice(TOKENS)
        elif edit == 2:
            content[start:start] = content[start : start + 60]
        elif edit == 3:
            content[start:stop] = chance.randbytes(stop - start)
        elif edit == 4:
            del content[chance.randrange(len(content) + 1) :]
        else:
            place = chance.randrange(len(content) + 1)
            content[place:place] = valid[start:stop]
    return bytes(content)


def cases(test: Callable[..., None]) -> Callable[..., None]:
    """Runs a test with as many seeds as KELM_FUZZ says; one that takes too long fails."""
    checks = (HealthCheck.function_scoped_fixture, HealthCheck.too_slow)
    limits = settings(deadline=1000 * SECONDS, max_examples=CASES, suppress_health_check=checks, database=None)
    return limits(given(seed=some.integers(0, 2**62))(test))


def lost(source: Path) -> bool:
    """Reads strictly, and with bad lines allowed: whether the second misses what the first reads.

    Anything but a `KelmError` goes through.
    """
    found = []
    for skip_bad in (0, 1_000_000):
        try:
            found.append(kg.io.read(source, skip_bad=skip_bad).fingerprint())
        except KelmError:
            found.append("")
    strict, lenient = found
    return strict not in ("", lenient)


@pytest.mark.parametrize("name", FILES)
@cases
def test_a_broken_file_is_refused_or_read(name: str, tmp_path: Path, seed: int) -> None:
    (tmp_path / name).write_bytes(broken(FILES[name].encode(), seed))
    assert not lost(tmp_path / name)


@pytest.mark.parametrize("ending", PACKED)
@cases
def test_a_broken_compressed_file_is_refused_or_read(ending: str, tmp_path: Path, seed: int) -> None:
    path = tmp_path / f"a.tsv{ending}"
    path.write_bytes(broken(PACKED[ending](50 * TABLE.encode()), seed))
    assert not lost(path)


FOLDERS: dict[str, dict[str, str]] = {
    "wordnet": {
        f"{kind}.{name}": test_wordnet.LICENSE + text
        for kind, files in (("data", test_wordnet.DATA), ("index", test_wordnet.INDEX))
        for name, text in files.items()
    },
    "xfactr": {
        "facts.tsv": "Q64\tP17\tQ183\tx\nQ1055\tP17\tQ183\tx\n",
        "labels.en.tsv": "Q64\tBerlin\tBerlin, Germany\nQ183\t\tGermany\n",
        "relations.jsonl": '{"relation": "P17", "label": "country"}\n',
        "instance_of.txt": "Q64\tQ515,city\n",
    },
    "codex": {
        "codex-s/train.txt": "Q64\tP17\tQ183\nQ1055\tP17\tQ183\n",
        "codex-s/valid.txt": "Q64\tP17\tQ183\n",
        "codex-s/test.txt": "Q1055\tP17\tQ183\n",
        "entity2types.json": '{"Q64": ["Q515"]}',
        "types.en.json": '{"Q515": {"label": "city"}}',
        "relations.en.json": '{"P17": {"label": "country"}}',
        "entities.en.json": '{"Q64": {"label": "Berlin", "description": "a city", "wiki": null}}',
        "entity_labels.partial.tsv": "Q64\ten\tBerlin\twikidata\n",
    },
    "fb15k237": {
        "train.txt": "/m/1\t/in\t/m/2\n",
        "valid.txt": "/m/2\t/in\t/m/1\n",
        "test.txt": "/m/2\t/has\t/m/1\n",
        "entities.jsonl": '{"mid": "/m/1", "wikidata_id": "Q1", "label": "a", "alternatives": ["b"], '
        '"description": "c"}\n'
        '{"mid": "/m/2", "wikidata_id": null, "label": "d", "wikipedia": "https://e/f"}\n',
        "relation2text.txt": "/in\tlies in\n",
    },
    "splits": {"train.txt": "Q64\tP17\tQ183\n", "test.txt": "Q1055\tP17\tQ183\n"},
}


@pytest.mark.parametrize("kind", FOLDERS)
@cases
def test_a_folder_with_a_broken_file_is_refused_or_read(kind: str, tmp_path: Path, seed: int) -> None:
    files = FOLDERS[kind]
    spoiled = sorted(files)[seed % len(files)]
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(broken(text.encode(), seed) if name == spoiled else text.encode())
    assert kind != "wordnet" or wordnet.holds(tmp_path)
    assert kind != "codex" or codex.holds(tmp_path)
    assert kind != "fb15k237" or fb15k237.holds(tmp_path)
    assert not lost(tmp_path)


@cases
def test_a_broken_table_of_names_is_refused_or_read(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "names.tsv"
    path.write_bytes(broken(b"Q64\ten\tBerlin\nQ64\ten\tBerlin, Germany\talias\nP17\tde\tStaat\tlabel\n", seed))
    found = []
    for skip_bad in (0, 1_000_000):
        builder = GraphBuilder()
        builder.triple("Q64", "P17", "Q183")
        try:
            report = names.feed(builder, path, skip_bad=skip_bad)
        except KelmError:
            found.append(None)
        else:
            found.append(builder.build().fingerprint())
            assert report.lines == len(text_lines(path.read_bytes()))
    assert found[0] in (None, found[1])


@cases
def test_a_broken_manifest_of_a_saved_graph_is_refused_or_the_graph_is_what_it_was(tmp_path: Path, seed: int) -> None:
    path, whole = tmp_path / "graph" / "manifest.json", tmp_path / "manifest.json"
    if not whole.exists():
        berlin().save(tmp_path / "graph")
        whole.write_bytes(path.read_bytes())
    path.write_bytes(broken(whole.read_bytes(), seed))
    with suppress(KelmError):
        opened = KnowledgeGraph.open(tmp_path / "graph")
        assert set(opened.names()) == set(berlin().names())
        assert kg.io.read(opened).entity_count == berlin().entity_count


QUERY = (
    "PREFIX e: <http://e/> SELECT ?s ?p ?o WHERE { ?s a e:City ; ?p ?o . FILTER(?p != e:q && STRLEN(STR(?o)) < 99) }"
)


@cases
def test_a_broken_query_is_refused_or_answered(tmp_path: Path, seed: int) -> None:
    (tmp_path / "a.ttl").write_text(TURTLE, encoding="utf-8")
    query = broken(QUERY.encode(), seed).decode(errors="replace")
    with suppress(KelmError):
        answered = sparql.read(tmp_path / "a.ttl", query=query)
        assert answered.fingerprint() == sparql.read(tmp_path / "a.ttl", query=query, skip_bad=1_000_000).fingerprint()


def text_lines(content: bytes) -> list[bytes]:
    """Returns the lines of a file as the readers count them."""
    content = content.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return content.removesuffix(b"\n").split(b"\n")


def blank(line: bytes) -> bool:
    try:
        return not line.decode().strip()
    except UnicodeDecodeError:
        return False


def is_comment(line: bytes) -> bool:
    return line.strip(b" \t").startswith(b"#") and line.decode(errors="replace").encode() == line


@pytest.mark.parametrize("name", ["a.tsv", "a.nt", "a.json", "conceptnet.csv", "data.noun"])
@cases
def test_every_line_is_read_or_accounted_for(name: str, tmp_path: Path, seed: int) -> None:
    files = {**FOLDERS["wordnet"], **FILES} if name == "data.noun" else FILES
    content = broken(files[name].encode(), seed)
    builder, path = GraphBuilder(), tmp_path / name
    if name == "data.noun":
        for other, text in FOLDERS["wordnet"].items():
            (tmp_path / other).write_text(text)
    path.write_bytes(content)
    try:
        format = "conceptnet" if name == "conceptnet.csv" else None  # its first line may no longer tell
        kg.io.feed(builder, tmp_path if name == "data.noun" else path, format=format, skip_bad=1_000_000)
    except KelmError:
        return  # the file as a whole
    report = next(report for report in builder.reports if report.source == str(path))
    lines = text_lines(content)
    assert report.lines == len(lines)
    dropped = dict(report.dropped)
    garbled = dropped.pop("not UTF-8", 0)  # such a line goes on as a blank one
    if report.format == "tsv":
        read = report.triples + sum(map(blank, lines)) + garbled
    elif report.format == "ntriples":
        said = report.triples + report.types + report.labels + report.attributes
        read = said + garbled + sum(not line.strip(b" \t") or is_comment(line) for line in lines)
    elif report.format == "wikidata":
        read, others = len(builder.kept_rows), ("line without an entity", "no entity of Wikidata")
        dropped = {why: count for why, count in dropped.items() if why in others or "of another kind" in why}
    elif report.format == "conceptnet":
        read, others = report.triples, ("blank line", "no assertion")
        dropped = {why: count for why, count in dropped.items() if why in others}
    else:
        read, others = report.types, ("line of the license", "no synset", "synset given twice")
        dropped = {why: count for why, count in dropped.items() if why in others}
    assert read + sum(dropped.values()) == len(lines)
