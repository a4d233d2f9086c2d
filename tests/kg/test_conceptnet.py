"""ConceptNet's assertions: names, languages, weights, and what a broken line says."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

import kg.io
from kelm.errors import FormatError
from kg.io import conceptnet


def assertion(relation: str, start: str, end: str, about: str = '{"weight": 1.0}') -> str:
    return f"/a/[{relation}/,{start}/,{end}/]\t{relation}\t{start}\t{end}\t{about}\n"


LINES = [
    assertion("/r/IsA", "/c/en/guide_dog/n", "/c/en/dog", '{"weight": 2.5, "dataset": "/d/x"}'),
    assertion("/r/Synonym", "/c/en/dog", "/c/de/hund"),
    assertion("/r/ExternalURL", "/c/en/dog", "http://dbpedia.org/resource/Dog", "{}"),
    assertion("/r/RelatedTo", "/c/de/hund", "/c/de/tier", '{"weight": 0.5}'),
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "assertions.csv").write_text("".join(LINES))
    return tmp_path / "assertions.csv"


def test_assertions_become_triples_with_labels_by_language(path: Path) -> None:
    graph = kg.io.read(path)
    assert list(graph.names())[:2] == [
        ("/c/en/guide_dog/n", "/r/IsA", "/c/en/dog"),
        ("/c/en/dog", "/r/Synonym", "/c/de/hund"),
    ]
    assert graph.label(graph.entities.id("/c/en/guide_dog/n")) == "guide dog"
    assert graph.label(graph.entities.id("/c/de/hund"), "de") == "hund"
    assert graph.relation_label(graph.relation_names.id("/r/IsA")) == "is a"
    (report,) = graph.reports
    assert (report.format, report.lines, report.triples, report.labels) == ("conceptnet", 4, 4, 8)
    assert report.dropped == {"weight and sources of an assertion": 4, "name without a label": 1}


def test_languages_and_a_weight_choose_assertions(path: Path) -> None:
    english = kg.io.read(path, languages=["en"])
    assert [relation for _, relation, _ in english.names()] == ["/r/IsA", "/r/ExternalURL"]
    assert english.reports[0].dropped["assertion in an unwanted language"] == 2
    heavy = conceptnet.read(path, min_weight=1.0)
    assert len(heavy) == 3
    assert heavy.reports[0].dropped["assertion of a low weight"] == 1
    assert conceptnet.read(path, languages=["de"]).relation_label(0) is None


def test_a_compressed_file_is_known_and_another_csv_is_not_mistaken(path: Path) -> None:
    packed = path.with_name("assertions.csv.gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert kg.io.read(packed) == kg.io.read(path)
    other = path.with_name("other.csv")
    other.write_text("a,p,b\n")
    assert kg.io.read(other).reports[0].format == "tsv"
    packed.write_bytes(gzip.compress(path.read_bytes())[:-9])
    with pytest.raises(FormatError, match="cut: it ends in the middle"):
        kg.io.read(packed)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("nonsense", "expected 5 columns"),
        (assertion("IsA", "/c/en/a", "/c/en/b"), "expected a relation"),
        (assertion("/r/IsA", "/c/en/a", " "), "two ends"),
        (assertion("/r/IsA", "/c/en/a", "/c/en/b", "{"), "no JSON"),
        (assertion("/r/IsA", "/c/en/a", "/c/en/b", "[]"), "expected an object"),
        (assertion("/r/IsA", "/c/en/a", "/c/en/b", '{"weight": "1"}'), "expected a number"),
        (assertion("/r/IsA", "/c/en/a", "/c/en/b", '{"weight": NaN}'), "expected a number"),
        (assertion("/r/IsA", "/c/en/a", "/c/en/b", '{"weight": true}'), "expected a number"),
    ],
)
def test_a_broken_line_is_refused_by_file_and_line_or_skipped(path: Path, line: str, problem: str) -> None:
    expected = kg.io.read(path)
    path.write_text("".join([*LINES, line.rstrip("\n") + "\n"]))
    with pytest.raises(FormatError, match=rf"assertions\.csv, line 5.*{problem}"):
        kg.io.read(path)
    assert kg.io.read(path, skip_bad=1) == expected
