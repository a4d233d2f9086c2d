"""`kelm graph`: build, info, embed, evaluate, and what they say of a user's mistake."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kelm.cli import run
from kg.graph import GraphBuilder, KnowledgeGraph
from tests.kg.conftest import TRIPLES
from tests.kg.facts import facts as said
from tests.kg.test_graph import berlin


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
        (["build", "bad.nt", "--out", "g", "--header"], "--columns and --header speak of tables, and no source is one"),
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


def test_evaluation_tells_intervals_relations_cardinalities_and_true_from_false(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts, out = tmp_path / "parts", str(tmp_path / "vectors")
    parts.mkdir()
    for name, rows in (("train", TRIPLES[4:]), ("valid", TRIPLES[:2]), ("test", TRIPLES[2:4])):
        (parts / f"{name}.txt").write_text("".join("\t".join(row) + "\n" for row in rows))
    with (parts / "train.txt").open("a") as file:
        file.writelines(f"city{number}\tin\tcountry\n" for number in range(4))  # so that their names are known
    (parts / "valid_negatives.txt").write_text("land0\tin\tcity0\n")
    (parts / "test_negatives.txt").write_text("city2\tborders\tcity3\nland1\tin\tcity9\n")
    assert run(["graph", "embed", str(parts), "--out", out, "--quiet", "--set", "epochs=2", "--set", "width=8"]) == 0
    capsys.readouterr()
    arguments = ["graph", "evaluate", out, str(parts), "--by", "relation", "--by", "cardinality"]
    assert run([*arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    low, high = found["intervals"]["mrr"]
    assert 0 < low <= found["both"]["mrr"] <= high <= 1
    assert found["relation"] == {"in": {"triples": 2, **found["both"]}}
    assert found["cardinality"]["N-1"]["all"] == {"triples": 2, **found["both"]}
    assert found["cardinality"]["N-1"]["head"] == found["head"]
    assert set(found["classification"]) == {"accuracy", "precision", "recall", "f1", "left_out"}
    assert run(arguments) == 0
    shown = capsys.readouterr().out
    assert all(title in shown for title in ("95 % from", "by relation", "N-1, head", "true or false"))

    negatives = ["--negatives", str(parts / "valid_negatives.txt"), str(parts / "test_negatives.txt")]
    more = ["--test", str(parts / "test.txt"), *negatives]
    train = str(parts / "train.txt")
    assert run(["graph", "evaluate", out, train, *more, "--valid", str(parts / "valid.txt"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["classification"] == found["classification"]
    assert run(["graph", "evaluate", out, train, *more]) == 2
    assert "--valid: thresholds need true triples" in capsys.readouterr().err
    assert run(["graph", "evaluate", out, str(parts), "--by", "relations"]) == 2
    assert 'Did you mean "relation"?' in capsys.readouterr().err
    unknown = parts / "unknown.tsv"
    unknown.write_text("nobody\tin\tnowhere\n")
    wrong = ["--negatives", str(unknown), str(unknown), "--valid", str(parts / "valid.txt")]
    assert run(["graph", "evaluate", out, train, "--test", str(parts / "test.txt"), *wrong]) == 2
    assert "none of the 1 triples of valid negatives has names" in " ".join(capsys.readouterr().err.split())
    assert run(["graph", "evaluate", out, str(parts), "--test", str(parts / "valid.txt"), "--json"]) == 0
    assert "classification" not in json.loads(capsys.readouterr().out)  # the folder's negatives are of its own test
    assert run(["graph", "evaluate", out, str(parts), "--valid", str(parts / "valid.txt")]) == 2
    assert "true triples alone tune nothing" in capsys.readouterr().err
