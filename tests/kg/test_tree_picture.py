"""`kelm graph tree`: the tree in the terminal, as JSON and as a picture."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from kelm.cli import run
from kg.enrich.branches import BranchOptions
from kg.enrich.shown_tree import show_tree_of
from kg.enrich.tree_picture import draw_tree, visible
from kg.graph import KnowledgeGraph
from tests.kg.test_sentence_tree import GRAPH, TEXT

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def saved(tmp_path: Path) -> str:
    GRAPH.save(tmp_path / "graph")
    return str(tmp_path / "graph")


def test_a_tree_is_printed_with_its_branches_and_what_had_no_room(
    saved: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["graph", "tree", saved, TEXT, "--length", "14"]) == 0
    shown = capsys.readouterr().out
    lines = [line.strip("│├└─ ") for line in shown.splitlines()]
    assert lines[:6] == [
        TEXT, "Tim Cook Cook", "CEO: Apple", "Beijing Beijing", "capital of: China no room", "located in: Asia no room",
    ]  # fmt: skip
    assert re.search(r"Apple +│ +5 │ +5 │ +1 │ +0", shown)


def test_tokens_come_as_json_in_any_language(saved: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["graph", "tree", saved, "我爱北京。", "--language", "zh", "--json"]) == 0
    tokens = json.loads(capsys.readouterr().out)
    assert "".join(token["piece"] for token in tokens) == "[CLS]我爱北京首都:中国。[SEP]"
    assert [token["soft"] for token in tokens] == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 5, 6]
    assert [token["branch"] for token in tokens] == [0] * 5 + [1] * 5 + [0] * 2
    assert [token["mention"] for token in tokens] == [-1] * 3 + [0] * 7 + [-1] * 2


def test_a_sentence_without_mentions_is_a_trunk(saved: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["graph", "tree", saved, "Nothing & <nobody>"]) == 0
    assert "no mention of an entity of the graph" in capsys.readouterr().out
    assert run(["graph", "tree", saved, " "]) == 2
    assert "TEXT: there is no sentence" in capsys.readouterr().err


def test_the_picture_shows_every_token_and_who_sees_whom() -> None:
    found = show_tree_of(TEXT, GRAPH, BranchOptions(), length=64)
    sees = visible(found.tree)
    picture = ElementTree.fromstring(draw_tree(found.tokens, sees))
    texts = [text.text for text in picture.iter(f"{SVG}text")]
    assert [text for text in texts if "·" not in str(text)] == [
        token.piece for token in sorted(found.tokens, key=lambda token: (token.branch, token.hard))
    ]
    assert {f"{token.hard}·{token.soft}" for token in found.tokens} <= set(texts)
    rects = list(picture.iter(f"{SVG}rect"))
    boxes = [rect for rect in rects if rect.get("class") in ("trunk", "mention", "branch")]
    assert [rect.get("class") for rect in boxes].count("mention") == 3  # Tim, Cook, Beijing
    places = {(rect.get("x"), rect.get("y")) for rect in boxes}
    assert len(places) == len(boxes) == len(found.tokens)
    drawn = np.zeros_like(sees)
    [frame] = [rect for rect in rects if rect.get("class") == "frame"]
    for rect in rects:
        if rect.get("class") == "cell":
            x, y, width, cell = (float(rect.get(name, "")) for name in ("x", "y", "width", "height"))
            first = round((x - float(frame.get("x", ""))) / cell)
            drawn[round(y / cell), first : first + round(width / cell)] = True
    assert np.array_equal(drawn, sees)


def test_a_picture_and_a_page_are_written(saved: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    svg, html = tmp_path / "tree.svg", tmp_path / "tree.html"
    assert run(["graph", "tree", saved, "Beijing & <Tim Cook>", "--svg", str(svg), "--html", str(html)]) == 0
    assert capsys.readouterr().out.splitlines()[-2:] == [str(svg), str(html)]
    assert ElementTree.parse(svg).getroot().tag == f"{SVG}svg"
    page = html.read_text(encoding="utf-8")
    assert "<h1>Beijing &amp; &lt;Tim Cook&gt;</h1>" in page
    assert svg.read_text(encoding="utf-8") in page


def test_a_mention_within_a_token_gets_its_branches(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = {"th": {"Bangkok": "กรุงเทพ", "Thailand": "ประเทศไทย", "capital": "เมืองหลวง"}}
    KnowledgeGraph.from_triples([("Bangkok", "capital", "Thailand")], labels=labels).save(tmp_path / "thai")
    assert run(["graph", "tree", str(tmp_path / "thai"), "ฉันรักกรุงเทพมาก", "--language", "th"]) == 0
    assert "เมืองหลวง: ประเทศไทย" in capsys.readouterr().out


def test_the_option_and_not_the_ending_says_what_is_written(saved: str, tmp_path: Path) -> None:
    svg, html = tmp_path / "tree.html", tmp_path / "page"
    assert run(["graph", "tree", saved, TEXT, "--svg", str(svg), "--html", str(html)]) == 0
    assert svg.read_text(encoding="utf-8").startswith("<svg")
    assert html.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
