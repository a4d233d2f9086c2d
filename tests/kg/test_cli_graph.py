"""`kelm graph`: build, info, embed, evaluate, link, and what they say of a user's mistake."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from kelm.cli import run
from kg.graph import GraphBuilder, KnowledgeGraph
from kg.linking.linked_text import read_linked
from tests.kg.facts import facts as said
from tests.kg.test_graph import berlin

TRIPLES = [(f"city{number}", "in", f"land{number % 5}") for number in range(30)]
TRIPLES += [(f"land{number}", "borders", f"land{(number + 1) % 5}") for number in range(5)]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "triples.tsv"
    path.write_text("".join("\t".join(triple) + "\n" for triple in TRIPLES))
    return path


@pytest.fixture
def names(tmp_path: Path) -> Path:
    path = tmp_path / "names.tsv"
    path.write_text("city1\ten\tOxford\ncity1\tde\tOxenfurt\ncity1\ten\tCity of Oxford\nin\ten\tlies in\n")
    return path


@pytest.fixture
def folder(table: Path, names: Path, tmp_path: Path) -> Path:
    assert run(["graph", "build", str(table), "--labels", str(names), "--out", str(tmp_path / "graph"), "--quiet"]) == 0
    return tmp_path / "graph"


def test_build_writes_a_graph_and_tells_what_was_read(
    table: Path, names: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table.write_text(table.read_text() + "city1\tin\tland1\nbroken line\n")
    out = tmp_path / "graph"
    arguments = ["graph", "build", str(table), "--labels", str(names), "--out", str(out)]
    assert run([*arguments, "--skip-bad", "1", "--languages", "en"]) == 0
    shown = capsys.readouterr()
    assert shown.out == f"{out}: 35 triples, 35 entities, 2 relations\n"
    assert "left out: 1 wrong column count" in shown.err
    assert "line 37: expected 3 columns" in shown.err
    graph = KnowledgeGraph.open(out)
    assert graph.aliases(graph.entities.id("city1")) == ["Oxford", "City of Oxford"]
    assert graph.labels.languages == ("en",)


def test_build_takes_aliases_from_a_table_of_their_own(table: Path, names: Path, tmp_path: Path) -> None:
    (tmp_path / "more.tsv").write_text("city1\ten\tOxonia\ncity2\ten\tCantabrigia\n")
    more = ["--labels", str(names), "--aliases", str(tmp_path / "more.tsv")]
    assert run(["graph", "build", str(table), *more, "--out", str(tmp_path / "graph"), "--quiet"]) == 0
    graph = KnowledgeGraph.open(tmp_path / "graph")
    assert graph.aliases(graph.entities.id("city1")) == ["Oxford", "City of Oxford", "Oxonia"]
    second = graph.entities.id("city2")
    assert (graph.label(second), graph.aliases(second)) == (None, ["Cantabrigia"])


def test_build_joins_sources_of_any_format(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "more.nt").write_text("<urn:kelm:entity:city1> <urn:kelm:relation:in> <http://e/Atlantis> .\n")
    (tmp_path / "last.csv").write_text("object,subject,predicate\nland9,city9,in\n")
    first = [str(table), str(tmp_path / "more.nt")]
    assert run(["graph", "build", *first, "--out", str(tmp_path / "a"), "--quiet"]) == 0
    assert run(["graph", "build", str(tmp_path / "last.csv"), "--header", "--out", str(tmp_path / "b"), "--quiet"]) == 0
    both = [str(tmp_path / "a"), str(tmp_path / "b")]
    assert run(["graph", "build", *both, "--out", str(tmp_path / "c"), "--quiet"]) == 0
    assert "37 triples" in capsys.readouterr().out.splitlines()[-1]
    assert ("city1", "in", "http://e/Atlantis") in set(KnowledgeGraph.open(tmp_path / "c").names())


def test_build_reads_columns_in_any_order(tmp_path: Path) -> None:
    (tmp_path / "facts").write_text("b\ta\tp\t0.5\n")
    columns = ["--columns", "tail,head,relation,-", "--format", ".tsv"]
    assert run(["graph", "build", str(tmp_path / "facts"), "--out", str(tmp_path / "g"), "--quiet", *columns]) == 0
    assert list(KnowledgeGraph.open(tmp_path / "g").names()) == [("a", "p", "b")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["build", "gone.tsv", "--out", "g"], "gone.tsv: cannot be opened"),
        (["build", "triples.tsv", "--out", "g", "--strict", "--skip-bad", "3"], "contradict each other"),
        (["build", "triples.tsv", "--out", "g", "--languages", "en,,de"], "expected codes between commas"),
        (
            ["build", "triples.tsv", "--out", "g", "--columns", "head,tail"],
            "expected head, relation and tail once each",
        ),
        (["build", "bad.nt", "--out", "g"], "bad.nt, line 1"),
        (["info", "bad.nt.old"], "bad.nt.old: cannot be opened: no such file or folder. Check the path."),
        (["build", "triples.tsv", "--out", "g", "--format", ".xyz"], "cannot tell the format"),
        (
            ["embed", "triples.tsv", "--out", "v", "--set", "engine=pykeen", "--set", "model=TransX"],
            '--set model=TransX, field model: PyKEEN has no model "TransX". Did you mean',
        ),
        (["embed", "triples.tsv", "--out", "v", "--set", f"seed={2**63}"], "field seed: expected 0 to 2 ** 63 - 1"),
        (
            ["embed", "triples.tsv", "--out", "v", "--set", "widht=3"],
            "--set widht=3, field widht: unknown key. Did you",
        ),
        (["embed", "triples.tsv", "--out", "v", "--set", "width=0"], "--set width=0, field width: expected at least 1"),
        (["embed", "triples.tsv", "--out", "v", "--set", "width"], "expected KEY=VALUE"),
        (["link", "triples.tsv", "gone.txt"], "gone.txt: cannot be opened"),
    ],
)
def test_a_mistake_is_one_line_with_its_remedy_and_leaves_nothing(
    table: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.nt").write_text("nonsense\n")
    assert run(["graph", *arguments]) == 2
    shown = capsys.readouterr()
    assert message in " ".join(shown.err.split())
    assert "Traceback" not in shown.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.nt", "triples.tsv"]


def test_info_shows_counts_relations_and_coverage(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert run(["graph", "info", str(folder), "--relations", "1"]) == 0
    shown = capsys.readouterr().out
    assert "lies in" in shown
    assert "borders" not in shown
    assert run(["graph", "info", str(folder), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["triples"], facts["entities"], facts["repeated"]) == (35, 35, 0)
    assert facts["relation_counts"][0] == {"name": "in", "label": "lies in", "triples": 30, "heads": 30, "tails": 5}
    assert facts["coverage"][0] == {"language": "de", "labeled": 1, "named": 1, "names": 1, "relations": 0}
    assert facts["fingerprint"] == KnowledgeGraph.open(folder).fingerprint()


def test_info_of_a_folder_with_parts_tells_what_train_gives_away(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "train.txt").write_text("a\tmet\tb\nb\tmet\ta\nc\tmet\td\nd\tmet\tc\ne\tmet\tf\ne\tin\tg\n")
    (tmp_path / "test.txt").write_text("f\tmet\te\ng\tin\tx\n")
    assert run(["graph", "info", str(tmp_path)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "test: known from train" in shown
    assert "given away by suspicious relations │ 1 │ 50.0 %" in shown
    assert "symmetric │ met │ │ 4 │ 80 % │ 80 % │ 1" in shown
    assert run(["graph", "info", str(tmp_path), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["triples"], facts["components"], facts["largest"]) == (8, 3, 4)
    assert list(facts["leakage"]) == ["test"]
    assert facts["leakage"]["test"]["pairs"][0]["relation"] == "met"


def test_show_prints_an_entity_as_a_tree(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert run(["graph", "show", str(folder), "City of Oxford"]) == 0
    shown = capsys.readouterr().out
    assert shown.splitlines() == [
        "city1 Oxford",
        "├── de  Oxenfurt",
        "├── en  Oxford, City of Oxford",
        "└── → in lies in (1)",
        "    └── land1",
    ]
    assert run(["graph", "show", str(folder), "land1", "--neighbors", "2", "--relations", "1"]) == 0
    shown = capsys.readouterr().out
    assert shown.splitlines() == [
        "land1",
        "├── → borders (1)",
        "│   └── land2",
        "├── ← in lies in (6)",
        "│   ├── city1 Oxford",
        "│   ├── city6",
        "│   └── 4 more",
        "└── ← 1 more relations, 1 triples",
    ]
    assert run(["graph", "show", str(folder), "city1", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["names"] == {"de": ["Oxenfurt"], "en": ["Oxford", "City of Oxford"]}
    assert facts["leaving"] == [
        {
            "relation": {"name": "in", "label": "lies in"},
            "count": 1,
            "shown": [{"name": "land1", "label": ""}],
        }
    ]


def test_show_wraps_a_long_description_and_prints_markup_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = " ".join(f"word{number}" for number in range(60)) + " [bold]end[/bold]"
    (tmp_path / "a.nt").write_text(f'<http://e/a> <http://e/description> "{text}"@en .\n')
    assert run(["graph", "show", str(tmp_path / "a.nt"), "http://e/a"]) == 0
    shown = capsys.readouterr().out.replace("│", "")
    assert f"http://e/description {text} @en" in " ".join(shown.split())


def test_vectors_are_learned_and_judged(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    out = tmp_path / "vectors"
    changes = ["--set", "width=8", "--set", "epochs=2", "--set", "sampler=bernoulli"]
    assert run(["graph", "embed", str(folder), "--out", str(out), *changes, "--quiet"]) == 0
    (tmp_path / "test.tsv").write_text("city1\tin\tland1\ncity2\tin\tnowhere\n")
    test = ["--test", str(tmp_path / "test.tsv")]
    capsys.readouterr()
    assert run(["graph", "evaluate", str(out), str(folder), *test, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["triples"], found["left_out"]) == (1, 1)
    assert 0 < found["both"]["mrr"] <= 1
    assert run(["graph", "evaluate", str(out), str(folder), *test]) == 0
    assert "1 triples, 1 left out" in capsys.readouterr().out


def test_text_is_linked_as_json_lines(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    (tmp_path / "text.txt").write_text("The City of Oxford.\nNothing here.\nOxenfurt\n")
    assert run(["graph", "link", str(folder), str(tmp_path / "text.txt"), "--language", "en"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["mentions"] for line in lines] == [[[4, 18, "city1"]], [], []]
    assert [line["scores"] for line in lines] == [[1.0], [], []]
    assert [line["candidates"] for line in lines] == [[[["city1", 1.0]]], [], []]
    (tmp_path / "linked.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    [first, *_] = read_linked(tmp_path / "linked.jsonl")
    assert [(mention.text, mention.entity) for mention in first.mentions] == [("City of Oxford", "city1")]


def test_mentions_are_printed_without_candidates_and_with_overlapping_names_when_asked_for(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    (tmp_path / "text.txt").write_text("The City of Oxford.\n")
    options = ["--overlapping", "--candidates", "0"]
    assert run(["graph", "link", str(folder), str(tmp_path / "text.txt"), *options]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "text": "The City of Oxford.",
        "mentions": [[4, 18, "city1"], [12, 18, "city1"]],
        "scores": [1.0, 1.0],
    }


def test_two_processes_print_and_show_what_one_does(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text.txt").write_text("The City of Oxford.\nOxenfurt\n" * 5)
    shown = []
    for processes in ("1", "2"):
        capsys.readouterr()
        arguments = ["graph", "link", str(folder), str(tmp_path / "text.txt"), "--processes", processes]
        assert run(arguments) == 0
        assert run([*arguments, "--html", str(tmp_path / "page.html")]) == 0
        shown.append(capsys.readouterr().out + (tmp_path / "page.html").read_text())
    assert shown[0] == shown[1]


def test_linked_text_is_shown_as_a_page_with_labels(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    (tmp_path / "text.txt").write_text("The City of Oxford.\nIn Oxenfurt.\n")
    arguments = ["graph", "link", str(folder), str(tmp_path / "text.txt"), "--html", str(tmp_path / "page.html")]
    assert run(arguments) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'page.html'}: 2 texts, 2 mentions\n"
    page = (tmp_path / "page.html").read_text()
    assert 'The <mark tabindex="0">City of Oxford<span class="entity"><bdi>Oxford <code>city1</code>' in page
    assert run([*arguments, "--language", "de"]) == 0
    assert "Oxenfurt <code>city1</code>" in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize(("most", "expected"), [(1, [["land0", 9 / 11]]), (5, [["land0", 9 / 11], ["city1", 2 / 11]])])
def test_candidates_of_each_mention_are_printed_when_asked_for(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], most: int, expected: list[tuple[str, float]]
) -> None:
    names, text = tmp_path / "names.tsv", tmp_path / "text.txt"
    names.write_text("city1\ten\tOxford\tlabel\nland0\ten\tOxford\tlabel\n")
    text.write_text("Oxford, old Oxford\nNothing here.\n")
    out = str(tmp_path / "graph")
    assert run(["graph", "build", str(table), "--labels", str(names), "--out", out, "--quiet"]) == 0
    capsys.readouterr()
    assert run(["graph", "link", out, str(text), "--candidates", str(most)]) == 0
    first, second = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert first["mentions"] == [[0, 6, "land0"], [12, 18, "land0"]]
    for found in first["candidates"]:
        assert [entity for entity, _ in found] == [entity for entity, _ in expected]
        assert [share for _, share in found] == pytest.approx([share for _, share in expected])
    assert len(first["candidates"]) == 2
    assert second == {"text": "Nothing here.", "mentions": [], "scores": [], "candidates": []}


def test_several_graphs_and_linked_text_tell_what_names_mean(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more, names, out = tmp_path / "more.tsv", tmp_path / "names.tsv", str(tmp_path / "more")
    more.write_text("town1\tin\tland9\n")
    names.write_text("town1\ten\tOxford\tlabel\n")
    assert run(["graph", "build", str(more), "--labels", str(names), "--out", out, "--quiet"]) == 0
    text, linked = tmp_path / "text.txt", tmp_path / "linked.jsonl"
    text.write_text("Oxford, Oxonia\n")
    linked.write_text('{"text": "Oxford, Oxonia", "mentions": [[0, 6, "town1"], [8, 14, "land9"]]}\n' * 9)
    capsys.readouterr()

    def mentions(*options: str) -> list[list[object]]:
        assert run(["graph", "link", str(folder), str(text), "--language", "en", *options]) == 0
        found: list[list[object]] = json.loads(capsys.readouterr().out)["mentions"]
        return found

    assert mentions() == mentions("--also", out) == [[0, 6, "city1"]]
    assert mentions("--counts", str(linked)) == [[0, 6, None]]  # nine times an entity that the graph does not have
    assert mentions("--also", out, "--counts", str(linked)) == [[0, 6, "town1"], [8, 14, "land9"]]


def _type(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8", errors="surrogateescape"))


def test_text_is_linked_from_standard_input_as_from_a_file(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = b"\xef\xbb\xbfOxford\r\n\nOld Oxenfurt\rOxford\r\r\nOxford"
    (tmp_path / "text.txt").write_bytes(data)
    capsys.readouterr()
    assert run(["graph", "link", str(folder), str(tmp_path / "text.txt")]) == 0
    expected = capsys.readouterr().out
    assert expected.count(', "city1"]') == 4
    _type(monkeypatch, data)
    assert run(["graph", "link", str(folder)]) == 0
    assert capsys.readouterr().out == expected
    _type(monkeypatch, data)
    assert run(["graph", "link", str(folder), "-"]) == 0
    assert capsys.readouterr().out == expected


def test_standard_input_that_is_no_utf8_is_refused_as_a_file_is(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    _type(monkeypatch, b"Oxford\n\xff\n")
    assert run(["graph", "link", str(folder)]) == 2
    shown = capsys.readouterr()
    assert "standard input, line 2: expected UTF-8, found byte 0xff at position 1" in " ".join(shown.err.split())
    assert len(shown.out.splitlines()) == 1


@pytest.mark.parametrize("name", ["g.nt", "g.ttl.gz", "g.nq", "g.trig.bz2", "g.rdf", "g.jsonld"])
def test_an_exported_graph_is_read_back_as_it_was(
    name: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["graph", "export", str(folder), "--to", str(tmp_path / name)]) == 0
    assert capsys.readouterr().out == f"{tmp_path / name}: 35 triples\n"
    assert run(["graph", "build", str(tmp_path / name), "--out", str(tmp_path / "again"), "--quiet"]) == 0
    first, again = KnowledgeGraph.open(folder), KnowledgeGraph.open(tmp_path / "again")
    assert sorted(again.names()) == sorted(first.names())
    told = [
        sorted(
            (list(graph.entities)[it.owner], it.language, it.text, it.preferred) for it in graph.labels.entities.each()
        )
        for graph in (first, again)
    ]
    assert told[0] == told[1] != []


def test_a_table_is_exported_with_its_names_beside_it(folder: Path, tmp_path: Path) -> None:
    facts, names = str(tmp_path / "facts.tsv"), str(tmp_path / "names.tsv.gz")
    assert run(["graph", "export", str(folder), "--to", facts, "--labels", names]) == 0
    assert run(["graph", "build", facts, "--labels", names, "--out", str(tmp_path / "again"), "--quiet"]) == 0
    assert said(KnowledgeGraph.open(tmp_path / "again")) == said(KnowledgeGraph.open(folder))


def test_what_an_export_leaves_out_is_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    builder = GraphBuilder().graph(berlin())
    builder.entity("alone")
    builder.build().save(tmp_path / "graph")
    for name, told in {
        "g.ttl": ["1 entities of which it says nothing"],
        "g.tsv": ["1 entities of which it says nothing", "7 labels", "2 types", "2 attributes"],
    }.items():
        assert run(["graph", "export", str(tmp_path / "graph"), "--to", str(tmp_path / name)]) == 0
        assert capsys.readouterr().err == "".join(f"    left out: {line}\n" for line in told)
    names = ["--labels", str(tmp_path / "names.tsv")]
    assert run(["graph", "export", str(tmp_path / "graph"), "--to", str(tmp_path / "g.csv"), *names]) == 0
    assert "labels" not in capsys.readouterr().err


def test_spo_is_exported_in_the_words_of_a_language(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "graph.spo"
    assert run(["graph", "export", str(folder), "--to", str(path), "--language", "en"]) == 0
    assert "Oxford\tlies in\tland1\n" in path.read_text()
    assert run(["graph", "export", str(folder), "--to", str(path)]) == 0
    assert "city1\tin\tland1\n" in path.read_text()


def test_an_export_to_an_unknown_format_is_told_with_the_closest(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["graph", "export", str(folder), "--to", str(tmp_path / "graph.tll")]) == 2
    assert 'no format is called ".tll". Did you mean "ttl"' in capsys.readouterr().err.replace("\n", " ")


@pytest.mark.parametrize(("options", "told"), [([], "no names. Names"), (["--language", "xx"], "no names in , xx")])
def test_a_graph_without_names_links_nothing_and_says_so(
    options: list[str], told: str, table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["graph", "link", str(table), str(table), *options]) == 2
    shown = " ".join(capsys.readouterr().err.split())
    assert told in shown
    assert "--labels names.tsv" in shown


def test_embedding_shows_its_progress_from_before_the_first_epoch_on(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = ["--set", "width=8", "--set", "epochs=3", "--set", "check_every=3", "--valid", str(folder)]
    assert run(["graph", "embed", str(folder), "--out", str(tmp_path / "vectors"), *changes]) == 0
    shown = capsys.readouterr().err
    assert "epoch 3/3" in shown
    assert "validation MRR" in shown


@pytest.mark.parametrize("command", ["build", "info", "show", "export", "embed", "evaluate", "link"])
def test_every_command_has_help_with_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["graph", command, "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"Example: kelm graph {command}" in " ".join(shown.split())
