"""The alias linker: against a slow oracle that tries every span, and in examples."""

from __future__ import annotations

import sys
import unicodedata
from itertools import combinations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kelm.errors import FormatError, InputError, UnknownName
from kg.graph import KnowledgeGraph
from kg.linking.alias import _CASELESS, AliasLinker, _Page
from kg.linking.base import NIL, Candidate, Mention
from kg.linking.folding import fold
from kg.linking.names import AliasOptions, Name, written


def found(linker: AliasLinker, text: str, language: str | None = None) -> list[tuple[str, str | None]]:
    return [(mention.text, mention.entity) for mention in linker.link(text, language)]


def slowly(names: list[tuple[str, str]], text: str, options: AliasOptions) -> list[tuple[int, int, set[str]]]:
    """Every span, longest first at each start: folds equal, boundaries at both ends, capitals as written."""
    folded = fold(text, marks=options.marks)
    count = len(folded.codes)
    whole = [
        place in (0, count) or folded.start[place - 1] != folded.start[place] for place in range(count + 1)
    ]  # between two characters of the text, not within one
    shapes = [(shaped(fold(" ".join(alias.split()), marks=options.marks)), alias, entity) for alias, entity in names]
    result, first = [], 0
    while first < count:
        for last in range(count, first, -1):
            if not (folded.starts[first] and folded.ends[last] and whole[first] and whole[last]):
                continue
            surface = text[folded.start[first] : folded.end[last - 1]]
            here = shaped(folded, first, last)
            small = surface.islower() and not text.islower() and options.case == "names"
            entities = {
                entity
                for shape, alias, entity in shapes
                if shape == here and any(map(str.isalnum, shape[0]))
                if is_written_so(alias, surface, small, options)
            }
            if entities:
                result.append((int(folded.start[first]), int(folded.end[last - 1]), entities))
                first = last
                break
        else:
            first += 1
    return result


def every(names: list[tuple[str, str]], text: str, options: AliasOptions) -> list[tuple[int, int, set[str]]]:
    """Every substring of the text that is a name where it stands, by start, the longest first."""
    folded = fold(text, marks=options.marks)
    spans: dict[tuple[int, int], tuple[int, int]] = {}
    for first, last in combinations(range(len(folded.codes) + 1), 2):
        inside = bool(folded.starts[first] and folded.ends[last])
        split = (first > 0 and folded.start[first] == folded.start[first - 1]) or (
            last < len(folded.codes) and folded.start[last] == folded.start[last - 1]
        )
        if inside and not split:
            spans[int(folded.start[first]), int(folded.end[last - 1])] = first, last
    result = []
    for start, end in sorted(combinations(range(len(text) + 1), 2), key=lambda span: (span[0], -span[1])):
        if (start, end) not in spans:
            continue
        surface, here = text[start:end], shaped(folded, *spans[start, end])
        small = surface.islower() and not text.islower() and options.case == "names"
        entities = {
            entity
            for alias, entity in names
            if shaped(fold(" ".join(alias.split()), marks=options.marks)) == here and any(map(str.isalnum, here[0]))
            if is_written_so(alias, surface, small, options)
        }
        if entities:
            result.append((start, end, entities))
    return result


def is_written_so(alias: str, surface: str, small: bool, options: AliasOptions) -> bool:
    if alias.isupper() and len(" ".join(alias.split())) <= options.cased_length:
        return not small and written(alias) == written(surface)
    return not (small and any(map(str.isupper, alias)))


def shaped(folded, first: int = 0, last: int | None = None) -> tuple[str, tuple[bool, ...], tuple[bool, ...]]:
    """A folded stretch and its inner boundaries."""
    last = len(folded.codes) if last is None else last
    inner = slice(first + 1, last)
    return str(folded)[first:last], tuple(folded.starts[inner].tolist()), tuple(folded.ends[inner].tolist())


PIECES = st.sampled_from(
    [
        *("a", "b", "A", "B", "us", "US", " ", "  ", "\n", ".", "'", "’", "…", "北", "京", "서", "울", "ß", "ss", "İ"),
        *("é", "e\u0301", "\u0301", "\u00ad", "ก", "\u0e33", "℃", "°", "C", "c", "™", "½", "1", "2", "⁄", "ﬁ", "fi"),
        *("i", "ı", "\u0307", "I"),
        *("f", "\0", "\u1100\u1161", "न", "\u094d", "ﾊ", "ﾞ", "\ud800", "\udc00\u0301", "\ufffd"),
    ]
)
ALIASES = st.lists(
    st.tuples(st.lists(PIECES, min_size=1, max_size=4).map("".join), st.sampled_from(["x", "y", "z"])), max_size=12
)
TEXTS = st.lists(PIECES, max_size=14).map("".join)


@pytest.mark.parametrize(("matches", "search"), [("longest", slowly), ("all", every)])
@settings(max_examples=200, deadline=None)
@given(
    names=ALIASES,
    texts=st.lists(TEXTS, min_size=1, max_size=3),
    marks=st.sampled_from(["keep", "drop"]),
    case=st.sampled_from(["fold", "names"]),
)
def test_finds_exactly_what_a_search_of_every_span_finds(matches, search, names, texts, marks, case) -> None:
    options = AliasOptions(min_length=1, cased_length=3, marks=marks, case=case, matches=matches)
    names = [(alias, entity) for alias, entity in names if "\0" not in alias and _whole(alias, marks)]
    linker = AliasLinker(names, options)
    for text, mentions in zip(texts, linker.link_all(texts), strict=True):
        assert mentions == linker.link(text)
        assert all(text[mention.start : mention.end] == mention.text for mention in mentions)
        expected = search(names, text, options)
        assert [(m.start, m.end, {c.entity for c in m.candidates}) for m in mentions] == expected


@pytest.mark.parametrize("marks", ["keep", "drop"])
def test_turkic_names_are_found_in_capitals_of_either_i(marks: str) -> None:
    names = [("İzmir", "Q35997"), ("Diyarbakır", "Q83387"), ("Isparta", "Q272870"), ("Kırıkkale", "Q272856")]
    linker = AliasLinker(names, AliasOptions(marks=marks))
    text = "İZMİR, DİYARBAKIR, ISPARTA; i\u0307zmir ısparta KIRIKKALE"
    found = [(one.text, one.entity) for one in AliasLinker(names, AliasOptions(marks=marks, case="fold")).link(text)]
    assert [entity for _, entity in found] == ["Q35997", "Q83387", "Q272870", "Q35997", "Q272870", "Q272856"]
    assert all(part in text for part, _ in found)
    assert [one.entity for one in linker.link("In IZMIR and İzmir’de")] == ["Q35997", "Q35997"]


def test_all_names_are_found_within_and_across_others() -> None:
    names = [
        ("New York", "Q60"),
        ("York University", "Q1"),
        ("New York University", "Q2"),
        ("US", "Q3"),
        ("us open", "Q4"),
    ]
    linker = AliasLinker(names, AliasOptions(matches="all"))
    assert found(linker, "New York University, US Open, us open") == [
        ("New York University", "Q2"),
        ("New York", "Q60"),
        ("York University", "Q1"),
        ("US Open", "Q4"),
        ("US", "Q3"),
        ("us open", "Q4"),
    ]
    assert found(AliasLinker([("北京", "Q956"), ("京大", "Q1")], AliasOptions(matches="all")), "北京大") == [
        ("北京", "Q956"),
        ("京大", "Q1"),
    ]


def _whole(alias: str, marks: str) -> bool:
    """Whether a name may be where it is alone, and is more than half a character."""
    folded = fold(" ".join(alias.split()), marks=marks)
    if any("\ud800" <= character <= "\udfff" for character in alias):
        return False
    return len(folded.codes) > 0 and bool(folded.starts[0] and folded.ends[-1])


@settings(max_examples=200, deadline=None)
@given(text=st.text(max_size=20))
@example(text="İ")
def test_folding_is_that_of_the_unicode_standard_where_nothing_is_removed(text: str) -> None:
    gone = {"Cf", "Cc", "Cs", "Zs", "Zl", "Zp", "Cn", "Co"}
    kept = "".join(c for c in text if unicodedata.category(c) not in gone and c not in "‘’‚‛ʼ′“”„‟″‐‑‒–—―−\u034f")
    kept = "".join(c for c in kept if not (0xFE00 <= ord(c) <= 0xFE0F or 0xE0100 <= ord(c) <= 0xE01EF))
    folded = unicodedata.normalize("NFKC", kept).casefold().replace("ı", "i").replace("i\u0307", "i")  # one letter
    normal = unicodedata.normalize("NFKC", folded).casefold()
    assert unicodedata.normalize("NFKC", str(fold(kept))) == unicodedata.normalize("NFKC", normal)


def test_a_name_is_found_in_parentheses_and_before_punctuation() -> None:
    linker = AliasLinker([("Portville", "Q1"), ("New York", "Q2")])
    assert found(linker, "He left (Portville), then «NEW\n YORK».") == [("Portville", "Q1"), ("NEW\n YORK", "Q2")]


def test_a_name_is_not_found_within_a_word() -> None:
    linker = AliasLinker([("cat", "Q1"), ("art", "Q2")], AliasOptions(min_length=1))
    assert found(linker, "The cartel concatenates category art.") == [("art", "Q2")]


def test_chinese_names_are_found_in_running_text_and_thai_ones_not_within_a_syllable() -> None:
    linker = AliasLinker([("北京", "Q956"), ("ไทย", "Q869"), ("ก", "Q0")], AliasOptions(min_length=1))
    assert found(linker, "我爱北京天安门") == [("北京", "Q956")]
    assert found(linker, "ประเทศไทยกว้าง กำ") == [("ไทย", "Q869"), ("ก", "Q0")]


def test_a_korean_name_is_found_before_a_particle_but_not_inside_a_word() -> None:
    linker = AliasLinker([("서울", "Q8684"), ("울", "Q1")], AliasOptions(min_length=1))
    assert found(linker, "서울은 한국의 수도") == [("서울", "Q8684")]


def test_a_longer_name_that_ends_within_a_word_does_not_hide_a_shorter_one() -> None:
    linker = AliasLinker([("New York", "Q60"), ("New York Mets", "Q2")])
    assert found(linker, "New York Metsfans") == [("New York", "Q60")]


def test_a_name_in_capitals_matches_only_as_written() -> None:
    linker = AliasLinker([("US", "Q30"), ("us Weekly", "Q9"), ("WHO", "Q7"), ("the who", "Q8"), ("us", "Q6")])
    assert found(linker, "The US told us that the who read US weekly; Us? WHO, who.") == [
        ("US", "Q30"),
        ("the who", "Q8"),
        ("US weekly", "Q9"),
        ("WHO", "Q7"),
    ]


def test_a_name_with_a_capital_is_not_found_in_small_letters_unless_the_whole_text_is_small() -> None:
    names = [("He", "helium"), ("he", "pronoun"), ("Cork", "city"), ("iPod", "player")]
    linker = AliasLinker(names, AliasOptions(min_length=2))
    assert found(linker, "Then he saw a cork; CORK and an ipod.") == [("he", "pronoun"), ("CORK", "city")]
    assert {candidate.entity for candidate in linker.link("He")[0].candidates} == {"helium", "pronoun"}
    assert found(linker, "from cork") == [("cork", "city")]
    assert found(linker, "from 北京 cork") == [("cork", "city")]
    assert linker.link_all(["from cork", "From cork"])[1] == []
    assert found(AliasLinker(names, AliasOptions(case="fold")), "A cork") == [("cork", "city")]


def test_a_name_in_small_letters_counts_though_the_same_entity_has_a_heavier_one_with_a_capital() -> None:
    linker = AliasLinker([("Cork", "Q36647", 2.0), ("cork", "Q36647", 1.0), ("Cork", "Q7", 1.0)])
    assert found(linker, "A cork from Cork") == [("cork", "Q36647"), ("Cork", "Q36647")]
    small, capital = (mention.candidates for mention in linker.link("A cork from Cork"))
    assert small == (Candidate("Q36647", 1.0),)
    assert capital == (Candidate("Q36647", 2 / 3), Candidate("Q7", 1 / 3))


def test_what_a_discarded_match_hid_is_found() -> None:
    linker = AliasLinker(
        [("IT IS", "Q1"), ("is", "Q2"), ("is ok now", "Q3"), ("now and", "Q4"), ("and", "Q5")],
        AliasOptions(min_length=2),
    )
    assert found(linker, "it is ok now and") == [("is ok now", "Q3"), ("and", "Q5")]
    assert found(linker, "IT IS ok now and") == [("IT IS", "Q1"), ("now and", "Q4")]


def test_other_spellings_of_the_same_characters_match() -> None:
    linker = AliasLinker([("Café ﬁn", "Q1"), ("Straße", "Q2"), ("O'Neill", "Q3"), ("Berlin", "Q4"), ("ﾊﾞｽ", "Q5")])
    text = "CAFE\u0301 fin, STRASSE, O’Neill, Ber\u00adlin, バス"
    assert [entity for _, entity in found(linker, text)] == ["Q1", "Q2", "Q3", "Q4", "Q5"]


def test_dropping_marks_finds_names_without_their_accents() -> None:
    names = [("São Tomé", "Q1"), ("مُحَمَّد", "Q2"), ("हिन्दी", "Q3")]
    assert found(AliasLinker(names), "Sao Tome محمد") == []
    drop = AliasLinker(names, AliasOptions(marks="drop"))
    assert found(drop, "Sao Tome محمد हिनदी हिन्दी") == [("Sao Tome", "Q1"), ("محمد", "Q2"), ("हिन्दी", "Q3")]


def test_priors_are_shares_of_the_weights_best_first() -> None:
    linker = AliasLinker([("Paris", "Q90", 6.0), ("paris", "Q167646", 2.0), ("PAris", "Q90", 1.0)])
    assert linker.link("Paris")[0].candidates == (Candidate("Q90", 0.75), Candidate("Q167646", 0.25))
    assert linker.candidates(" Paris ") == linker.link("Paris")[0].candidates
    assert linker.candidates("London") == ()
    assert linker.dropped == {"repeated": 1}


def test_no_entity_is_an_answer_when_no_candidate_is_sure_enough() -> None:
    names = [("Smith", f"Q{number}") for number in range(4)] + [("Adam Smith", "Q0")]
    linker = AliasLinker(names, AliasOptions(nil=0.25))
    unsure, sure = linker.link("Smith read Adam Smith.")
    assert unsure.entity is None
    assert unsure.candidates[0] == Candidate(NIL, 0.25)
    assert sum(candidate.prior for candidate in unsure.candidates) == pytest.approx(1.0)
    assert sure.entity == "Q0"
    assert sure.candidates == (Candidate("Q0", 0.75), Candidate(NIL, 0.25))


def test_options_leave_out_short_stopped_and_too_ambiguous_names() -> None:
    names = [
        ("of", "Q1"),
        ("x", "Q2"),
        ("?!", "Q3"),
        ("  ", "Q4"),
        ("Li", "Q5"),
        ("Li", "Q6"),
        ("Li", "Q7"),
        ("Bo", "Q8"),
    ]
    names += [("half \ud800 character", "Q9"), ("whole \ufffd character", "Q9")]
    linker = AliasLinker(names, AliasOptions(min_length=2, stop=("OF",), max_entities=2))
    assert found(linker, "x of ?! Li Bo") == [("Bo", "Q8")]
    assert linker.dropped == {
        "stopped": 1,
        "too short": 1,
        "no letter or digit": 2,
        "too many entities": 3,
        "half a character": 1,
    }
    assert len(AliasLinker(names, AliasOptions(min_length=2, max_candidates=2)).candidates("Li")) == 2


@pytest.mark.parametrize("marks", ["keep", "drop"])
def test_half_a_character_with_an_accent_is_one_that_is_not_known(marks: str) -> None:
    assert str(fold("half \ud800\u0301 x", marks=marks)) == str(fold("half \ufffd\u0301 x", marks=marks))
    linker = AliasLinker([("half \ud800\u0301 x", "Q1"), ("Paris", "Q90")], AliasOptions(marks=marks))
    assert linker.dropped == {"half a character": 1}
    assert found(linker, "\ud800\u0301 Paris \udfff\u0301") == [("Paris", "Q90")]


@settings(max_examples=200, deadline=None)
@given(
    text=st.lists(st.sampled_from(["\ud800", "\udfff", "\u0301", "\u0327", "a", " ", "ﾞ", "\u00ad"]), max_size=12),
    marks=st.sampled_from(["keep", "drop"]),
)
def test_half_characters_fold_like_the_sign_for_a_character_that_is_not_known(text, marks) -> None:
    folded = fold("".join(text), marks=marks)
    known = fold("".join("\ufffd" if "\ud800" <= one <= "\udfff" else one for one in text), marks=marks)
    assert str(folded) == str(known)
    assert all((getattr(folded, name) == getattr(known, name)).all() for name in ("start", "end", "starts", "ends"))


def test_an_entity_with_half_a_character_is_refused_with_a_remedy() -> None:
    with pytest.raises(FormatError, match=r"field entity: .*Q\\ud800.* Remove the lone surrogates") as raised:
        AliasLinker([("Paris", "Q\ud800")])
    assert str(raised.value).isascii()


def test_short_names_count_in_capitals_and_in_scripts_that_say_more_in_a_character() -> None:
    linker = AliasLinker(
        [("EU", "Q458"), ("in", "Q668"), ("北京", "Q956"), ("서울", "Q8684"), ("京", "Q1"), ("I", "Q2")]
    )
    assert found(linker, "EU in eu 北京 서울 京 I") == [("EU", "Q458"), ("北京", "Q956"), ("서울", "Q8684")]
    assert linker.dropped == {"too short": 3}


def test_a_language_restricts_the_names() -> None:
    linker = AliasLinker([Name("Gift", "poison", 1.0, "de"), Name("gift", "present", 1.0, "en"), Name("Bonn", "Q586")])
    assert found(linker, "Gift in Bonn", "de") == [("Gift", "poison"), ("Bonn", "Q586")]
    assert found(linker, "Gift in Bonn", "EN") == [("Gift", "present"), ("Bonn", "Q586")]
    assert {candidate.entity for candidate in linker.link("Gift")[0].candidates} == {"poison", "present"}
    with pytest.raises(UnknownName, match='language "fr"'):
        linker.link("Gift", "fr")
    assert found(AliasLinker([("Bonn", "Q586")]), "Bonn", "de") == [("Bonn", "Q586")]


def test_a_graph_gives_labels_more_weight_than_aliases_and_popular_entities_more_than_others() -> None:
    graph = KnowledgeGraph.from_triples(
        [("Q90", "P17", "Q142"), ("Q90", "P31", "Q515"), ("Q167646", "P17", "Q30")],
        labels={
            "en": {"Q90": "Paris", "Q167646": "Paris", "Q142": ["France", "Hexagon"], "Q515": "hexagon"},
            "de": {"Q142": "Frankreich"},
        },
    )
    linker = AliasLinker.from_graph(graph)
    assert found(linker, "Paris, Frankreich, Hexagon") == [
        ("Paris", "Q90"),
        ("Frankreich", "Q142"),
        ("Hexagon", "Q515"),
    ]
    assert [candidate.prior for candidate in linker.candidates("Paris")] == pytest.approx([0.6, 0.4])
    assert AliasLinker.from_graph(graph, popularity=False).candidates("Paris")[0].prior == 0.5
    assert found(AliasLinker.from_graph(graph, ["de"]), "Paris, Frankreich") == [("Frankreich", "Q142")]


@pytest.mark.parametrize(("name", "field"), [(("Paris", ""), "entity"), (("Paris", "Q90", 0.0), "weight")])
def test_a_name_without_entity_or_weight_is_refused(name, field: str) -> None:
    with pytest.raises(FormatError, match=f"field {field}"):
        AliasLinker([name])


@pytest.mark.parametrize(
    "options",
    [{"nil": 1.0}, {"min_length": 0}, {"marks": "some"}, {"case": "no"}, {"matches": "some"}, {"max_entities": 0}],
)
def test_impossible_options_are_refused(options) -> None:
    with pytest.raises(InputError, match=f"field {next(iter(options))}: .*(expected|not a choice)") as raised:
        AliasOptions(**options)
    assert raised.value.remedy


def test_without_names_or_text_nothing_is_found() -> None:
    assert AliasLinker([]).link("Paris") == []
    assert AliasLinker([("Paris", "Q90")]).link_all([]) == []
    assert AliasLinker([("Paris", "Q90")]).link_all(["", "Paris", ""]) == [
        [],
        [Mention(0, 5, "Paris", (Candidate("Q90", 1.0),))],
        [],
    ]


def test_a_name_does_not_reach_from_one_text_into_the_next() -> None:
    assert AliasLinker([("New York", "Q60")]).link_all(["New", "York", "New York"])[:2] == [[], []]


@settings(max_examples=200, deadline=None)
@given(
    text=st.text(st.sampled_from("aAßǅªİ京 1.𝒜𐐨"), max_size=12), spans=st.lists(st.tuples(*[st.integers(0, 12)] * 2))
)
def test_a_stretch_is_small_where_python_says_so(text: str, spans: list[tuple[int, int]]) -> None:
    page = _Page.of(["A", text], "keep")
    start, end = np.array([sorted(min(place, len(text)) + 2 for place in span) for span in spans], int).reshape(-1, 2).T
    small = page.small(start, end, np.zeros(len(start), np.int64), np.ones(len(start), dtype=bool))
    assert small.tolist() == [page.text[a:b].islower() for a, b in zip(start.tolist(), end.tolist(), strict=True)]


def test_no_character_of_higher_planes_is_small_or_a_capital() -> None:
    high = map(chr, range(_CASELESS, sys.maxunicode + 1))
    assert not any(one.islower() or one.isupper() or one.istitle() for one in high)


def test_texts_are_folded_in_portions_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    linker = AliasLinker([("Paris", "Q90"), ("us", "Q1"), ("US", "Q30")])
    texts = [f"{'x' * number} Paris, us and US" for number in range(40)]
    whole = linker.link_all(texts)
    monkeypatch.setattr("kg.linking.alias._TOGETHER", 50)
    assert linker.link_all(texts) == whole
