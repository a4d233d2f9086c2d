"""The page of linked texts: what a browser would read of it is the text, whatever is marked."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kelm.errors import CheckpointError
from kg.linking.base import NIL, Candidate, Mention
from kg.linking.page import marked, write_page

ASIDE = ("entity", "candidates")


class Page(HTMLParser):
    """Reads a page: the texts, the pieces that are marked, what is said beside them, and how tags nest."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[tuple[str, str]] = []
        self.texts: list[str] = []
        self.directions: list[str | None] = []
        self.pieces: list[str] = []
        self.said: list[str] = []
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self._marks: list[int] = []
        self.feed(source)
        self.close()
        assert [tag for tag, _ in self.open] == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append(tag)
        self.addresses += [str(given[name]) for name in ("src", "href") if name in given]
        if tag == "meta":
            return
        self.open.append((tag, given.get("class") or ""))
        if (tag, given.get("class")) == ("div", "text"):
            self.texts.append("")
            self.directions.append(given.get("dir"))
        if tag == "mark":
            self._marks.append(len(self.texts[-1]))
        if given.get("class") in ASIDE:
            self.said.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop()[0] == tag
        if tag == "mark":
            self.pieces.append(self.texts[-1][self._marks.pop() :])

    def handle_data(self, data: str) -> None:
        kinds = [kind for _, kind in self.open]
        if any(kind in ASIDE for kind in kinds):
            self.said[-1] += data
        elif "text" in kinds:
            self.texts[-1] += data


def page_of(text: str, mentions: list[Mention]) -> Page:
    return Page(f'<div class="text">{marked(text, mentions)}</div>')


@st.composite
def texts_with_mentions(draw: st.DrawFn) -> tuple[str, list[Mention]]:
    text = draw(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=20))
    place = st.integers(0, len(text))
    spans = draw(st.lists(st.tuples(place, place).map(sorted).filter(lambda span: span[0] < span[1]), max_size=6))
    entity = st.sampled_from(["Q1", NIL, "<b>&\"'"])
    return text, [
        Mention(start, end, text[start:end], (Candidate(draw(entity), 0.5),) * draw(st.integers(0, 2)))
        for start, end in spans
    ]


@given(texts_with_mentions())
def test_the_text_is_read_from_the_page_as_it_was(given: tuple[str, list[Mention]]) -> None:
    text, mentions = given
    page = page_of(text, mentions)
    assert page.texts == [text]
    assert "".join(sorted("".join(page.pieces))) == "".join(sorted("".join(mention.text for mention in mentions)))
    assert set(page.tags) <= {"div", "mark", "span", "bdi", "code"}


def test_a_mention_shows_its_entity_and_its_candidates() -> None:
    candidates = (Candidate("Q90", 0.8), Candidate(NIL, 0.15), Candidate("Q167646", 0.05, score=0.051))
    source = marked("In Paris.", [Mention(3, 8, "Paris", candidates)], {"Q90": "Paris, France"}.get)
    page = Page(f'<div class="text">{source}</div>')
    assert (page.texts, page.pieces) == (["In Paris."], ["Paris"])
    assert page.said == ["Paris, France Q90", "80.0% Paris, France Q9015.0% no entity5.1% Q167646"]
    assert 'tabindex="0"' in source


def test_mentions_within_each_other_nest_and_crossing_ones_are_cut() -> None:
    def at(start: int, end: int) -> Mention:
        return Mention(start, end, "new york university"[start:end], (Candidate(f"Q{start}", 1.0),))

    assert page_of("new york university", [at(0, 19), at(0, 8)]).pieces == ["new york", "new york university"]
    page = page_of("new york university", [at(0, 8), at(4, 19)])
    assert page.pieces == ["york", "new york", " university"]
    assert page.said == ["Q0", "100.0% Q0", "Q4", "100.0% Q4"]  # said once of each


def test_a_page_needs_nothing_else_and_is_safe_in_every_direction_and_spelling(tmp_path: Path) -> None:
    texts = [
        ("زرت القاهرة أمس.", [Mention(4, 11, "القاهرة", (Candidate("Q85", 1.0),))]),
        ("<script>alert('x')</script> & \"Bonn\"\r\n  two  spaces", []),
        ("", []),
    ]
    path = tmp_path / "page.html"
    assert write_page(path, iter(texts), title="a <b> & c") == (3, 1)
    source = path.read_text(encoding="utf-8")
    page = Page(source)
    assert page.texts == [text for text, _ in texts]
    assert page.directions == ["auto"] * 3
    assert page.pieces == ["القاهرة"]
    assert not page.addresses
    assert not {"script", "link", "img", "iframe", "b"} & set(page.tags)
    assert "default-src 'none'" in source
    assert "<title>a &lt;b&gt; &amp; c</title>" in source
    assert "Texts: 3. Mentions: 1." in source


def test_what_html_cannot_hold_is_replaced_by_one_character_each(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    write_page(path, [("a\0b\ud800c Bonn", [Mention(6, 10, "Bonn")])], title="")
    page = Page(path.read_text(encoding="utf-8"))
    assert page.texts == ["a\ufffdb?c Bonn"]
    assert page.pieces == ["Bonn"]


def test_a_page_that_fails_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("old")

    def failing():
        yield "text", []
        raise OSError(5, "Input/output error")

    with pytest.raises(CheckpointError, match="Input/output"):
        write_page(path, failing(), title="")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["page.html"]
