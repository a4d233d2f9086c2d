"""`kelm graph link`: what is printed and written, and how candidates are chosen."""

from __future__ import annotations

import io
import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from kelm.cli import run
from kelm.model import Encoder, EncoderConfig
from kelm.text import vocabulary
from kg.linking.linked_text import read_linked


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


@pytest.mark.parametrize(("options", "told"), [([], "no names. Names"), (["--language", "xx"], "no names in xx")])
def test_a_graph_without_names_links_nothing_and_says_so(
    options: list[str], told: str, table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["graph", "link", str(table), str(table), *options]) == 2
    shown = " ".join(capsys.readouterr().err.split())
    assert told in shown
    assert "--labels names.tsv" in shown


@pytest.fixture
def two_towns(tmp_path: Path) -> Path:
    """Two towns called Oxford: town1 has more triples, town2 lies in Mississippi."""
    (tmp_path / "towns.tsv").write_text("town1\tin\tland0\nland0\tborders\ttown1\ntown2\tin\tstate\n")
    (tmp_path / "towns.names.tsv").write_text("town1\ten\tOxford\ntown2\ten\tOxford\nstate\ten\tMississippi\n")
    out = tmp_path / "towns"
    names = ["--labels", str(tmp_path / "towns.names.tsv")]
    assert run(["graph", "build", str(tmp_path / "towns.tsv"), *names, "--out", str(out), "--quiet"]) == 0
    return out


class Linked:
    """Links one text from the command line."""

    def __init__(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.path, self.capsys = tmp_path / "one text.txt", capsys

    def __call__(self, source: Path, text: str, *options: str) -> dict[str, Any]:
        self.path.write_text(text + "\n")
        self.capsys.readouterr()
        assert run(["graph", "link", str(source), str(self.path), *options]) == 0
        line: dict[str, Any] = json.loads(self.capsys.readouterr().out)
        return line


@pytest.fixture
def linked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Linked:
    return Linked(tmp_path, capsys)


def test_case_marks_stopped_names_and_length_are_options(folder: Path, tmp_path: Path, linked: Linked) -> None:
    assert linked(folder, "In oxford.")["mentions"] == []
    assert linked(folder, "In oxford.", "--fold-case")["mentions"] == [[3, 9, "city1"]]
    assert linked(folder, "In Öxford.")["mentions"] == []
    assert linked(folder, "In Öxford.", "--fold-marks")["mentions"] == [[3, 9, "city1"]]
    (tmp_path / "stop.txt").write_text("\nOxford\n")
    assert linked(folder, "In Oxford.", "--stop", str(tmp_path / "stop.txt"))["mentions"] == []
    assert linked(folder, "In Oxford.", "--min-length", "7")["mentions"] == []


def test_entities_that_are_related_decide_for_each_other(two_towns: Path, linked: Linked) -> None:
    text = "Oxford, Mississippi"
    assert linked(two_towns, text)["mentions"][0][2] == "town1"
    assert linked(two_towns, text, "--coherence", "8")["mentions"][0][2] == "town2"


def test_what_is_not_probable_enough_links_to_nothing(two_towns: Path, linked: Linked) -> None:
    assert linked(two_towns, "Oxford")["scores"] == pytest.approx(
        [0.6]
    )  # one more than two triples, against one more than one
    assert linked(two_towns, "Oxford", "--threshold", "0.55")["mentions"] == [[0, 6, "town1"]]
    doubted = linked(two_towns, "Oxford", "--threshold", "0.61")
    assert (doubted["mentions"], doubted["scores"]) == ([[0, 6, None]], [None])
    assert [entity for entity, _ in doubted["candidates"][0]] == ["", "town1", "town2"]
    assert sum(share for _, share in doubted["candidates"][0]) == pytest.approx(1)


def test_a_checkpoint_reads_the_text_and_keeps_the_entities_vectors(
    two_towns: Path, tmp_path: Path, linked: Linked
) -> None:
    words = vocabulary.train(["oxford in mississippi borders land"], 60, "wordpiece", lower=True)
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
    encoder = Encoder(EncoderConfig(vocab_size=words.vocabulary_size, initializer_range=0.3, **sizes))
    encoder.save_pretrained(tmp_path / "checkpoint")
    words.save(tmp_path / "checkpoint")
    options = ["--encoder", str(tmp_path / "checkpoint"), "--vectors", str(tmp_path / "vectors")]
    plain, read = (linked(two_towns, "Oxford in Mississippi", *more)["candidates"][0] for more in ([], options))
    assert {entity for entity, _ in read} == {"town1", "town2"}
    assert dict(read) != dict(plain)
    assert sum(share for _, share in read) == pytest.approx(1)
    [kept] = (tmp_path / "vectors").iterdir()
    before = {path.name: path.stat().st_mtime_ns for path in kept.iterdir()}
    assert linked(two_towns, "Oxford in Mississippi", *options)["candidates"][0] == read
    assert {path.name: path.stat().st_mtime_ns for path in kept.iterdir()} == before
    doubtful = linked(two_towns, "Oxford in Mississippi", *options, "--nothing", "0.9")["candidates"][0]
    assert sum(share for _, share in doubtful) < 1


def test_saved_names_link_without_their_graph(
    folder: Path, tmp_path: Path, linked: Linked, capsys: pytest.CaptureFixture[str]
) -> None:
    saved = tmp_path / "names.safetensors"
    capsys.readouterr()
    assert run(["graph", "link", str(folder), "--save", str(saved), "--min-length", "7"]) == 0
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", f"{saved}: 2 names\n")
    text = "Oxford and Oxenfurt, City of Oxford"
    assert linked(saved, text) == linked(folder, text, "--min-length", "7")
    assert linked(saved, text, "--language", "de") == linked(folder, text, "--min-length", "7", "--language", "de")
    assert linked(saved, text, "--language", "de")["mentions"] == [[11, 19, "city1"]]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["names.safetensors", "--min-length", "2", "--also", "graph"], "also --min-length, --also"),
        (["names.safetensors", "--coherence", "4"], "--coherence: saved names do not say what relates"),
        (["graph", "--nothing", "0.4"], "--encoder: nothing reads the texts"),
        (["graph", "--encoder", "graph", "--also", "towns"], "described by one graph only"),
        (["graph", "--threshold", "1"], "threshold: expected 0 or more and less than 1"),
        (["graph", "--save", "names.json"], "--save: a file of names ends with .safetensors"),
        (["graph", "--stop", "gone.txt"], "gone.txt"),
    ],
)
def test_options_that_do_not_fit_are_refused_before_anything_is_linked(
    folder: Path,
    two_towns: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    told: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["graph", "link", "graph", "--save", "names.safetensors"]) == 0
    Path("text.txt").write_text("Oxford\n")
    capsys.readouterr()
    source, *rest = options
    assert run(["graph", "link", source, "text.txt", *rest]) == 2
    shown = capsys.readouterr()
    assert told in " ".join(shown.err.split())
    assert shown.out == ""


def test_a_pipe_is_read_as_a_file_and_a_folder_is_no_text(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_text("In Oxford.\n"))
    writer.start()
    capsys.readouterr()
    assert run(["graph", "link", str(folder), str(pipe)]) == 0
    writer.join()
    assert json.loads(capsys.readouterr().out)["mentions"] == [[3, 9, "city1"]]
    assert run(["graph", "link", str(folder), str(tmp_path)]) == 2
    assert "is a folder, not a text" in capsys.readouterr().err


def test_a_page_shows_as_many_candidates_as_are_asked_for(two_towns: Path, tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("Oxford\n")
    shown = []
    for most in ("5", "1"):
        page = tmp_path / f"{most}.html"
        arguments = [str(two_towns), str(tmp_path / "t.txt"), "--html", str(page), "--candidates", most]
        assert run(["graph", "link", *arguments]) == 0
        shown.append(page.read_text().count("town2"))
    assert shown[0] > shown[1] == 0


def test_names_alone_are_kept_without_options_of_linking(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["graph", "link", str(folder), "--save", str(tmp_path / "n.safetensors"), "--coherence", "4"]) == 2
    assert "names alone are kept, without --coherence" in capsys.readouterr().err
