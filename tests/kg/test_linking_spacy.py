"""The spaCy component: what it sets is what the linker finds, and it travels with its pipeline."""

from __future__ import annotations

from pathlib import Path

import pytest

from kelm.errors import FormatError, InputError
from kg.linking.alias import AliasLinker
from kg.linking.base import NIL
from kg.linking.names import AliasOptions, Name

spacy = pytest.importorskip("spacy")

NAMES = [
    *(Name("New York", "Q60"), Name("York University", "Q1"), Name("New York University", "Q2", 3.0, "en")),
    *(Name("北京", "Q956", 1.0, "zh"), Name("서울", "Q8684"), Name("القاهرة", "Q85"), Name("New York", "Q1384", 0.5)),
]
TEXTS = [
    "She left New York University (in  New York).",
    "",
    "我爱北京天安门",
    "زرت القاهرة أمس.",
    "nothing",
    "New York\u00a0!",
]


@pytest.fixture
def linker() -> AliasLinker:
    return AliasLinker(NAMES)


def pipeline(given: AliasLinker | None = None, **config):
    nlp = spacy.blank("xx")
    component = nlp.add_pipe("kelm_linker", config=config)
    if given is not None:
        component.linker = given
    return nlp


def spans(found) -> list[tuple[int, int, str]]:
    return [(span.start_char, span.end_char, span.kb_id_) for span in found]


def expected(linker: AliasLinker, text: str, language: str | None = None) -> list[tuple[int, int, str | None]]:
    return [(mention.start, mention.end, mention.entity) for mention in linker.link(text, language)]


def test_entities_are_the_mentions_of_the_linker(linker: AliasLinker) -> None:
    nlp = spacy.blank("zh")  # a token a character
    nlp.add_pipe("kelm_linker").linker = linker
    for doc, text in zip(nlp.pipe(TEXTS, batch_size=2), TEXTS, strict=True):
        assert spans(doc.ents) == expected(linker, text)
        assert spans(nlp(text).ents) == spans(doc.ents)
        for span, mention in zip(doc.ents, linker.link(text), strict=True):
            assert span.label_ == "ENTITY"
            assert span._.kelm_candidates == tuple((one.entity, one.prior) for one in mention.candidates)


def test_overlapping_mentions_go_into_spans_and_the_longest_into_entities() -> None:
    every = AliasLinker(NAMES, AliasOptions(matches="all"))
    text = TEXTS[0]
    doc = pipeline(every, spans="kelm")(text)
    assert spans(doc.spans["kelm"]) == expected(every, text)
    assert len(expected(every, text)) == 4
    assert spans(pipeline(every)(text).ents) == expected(AliasLinker(NAMES), text)


def test_a_language_restricts_the_names(linker: AliasLinker) -> None:
    text = "New York University, 北京"
    assert spans(pipeline(linker, language="zh")(text).ents) == expected(linker, text, "zh")
    assert expected(linker, text, "zh") != expected(linker, text)


def test_a_mention_within_a_token_takes_the_token_or_is_left_out(linker: AliasLinker) -> None:
    text = "서울은 수도"
    assert spans(pipeline(linker)(text).ents) == [(0, 3, "Q8684")]
    assert spans(pipeline(linker, alignment="strict")(text).ents) == []
    assert spans(pipeline(linker, alignment="contract")(text).ents) == []
    with pytest.raises(InputError, match=r'field alignment: "strickt" is not a choice\. Did you mean "strict"'):
        pipeline(linker, alignment="strickt")


@pytest.mark.parametrize(
    ("overwrite", "expected"),
    [
        (False, "CITY Q60 'New York', REST  'as', PLACE  'York University', ENTITY Q60 'New York'"),
        (True, "ENTITY Q60 'New York', REST  'as', ENTITY Q2 'New York University', ENTITY Q60 'New York'"),
    ],
)
def test_entities_that_are_there_stay_and_get_their_names_or_are_replaced(linker, overwrite: bool, expected) -> None:
    nlp = pipeline(linker, overwrite=overwrite)
    doc = nlp.make_doc("New York: as New York University New York")
    doc.ents = [doc.char_span(0, 8, "CITY"), doc.char_span(10, 12, "REST"), doc.char_span(17, 32, "PLACE")]
    found = nlp.get_pipe("kelm_linker")(doc).ents
    assert ", ".join(f"{entity.label_} {entity.kb_id_} {entity.text!r}" for entity in found) == expected


def test_no_entity_is_said_in_spacys_word() -> None:
    names = [("Smith", f"Q{number}") for number in range(4)]
    [entity] = pipeline(AliasLinker(names, AliasOptions(nil=0.5)))("Smith").ents
    assert entity.kb_id_ == "NIL"
    assert entity._.kelm_candidates[0] == ("NIL", 0.5)
    assert NIL not in dict(entity._.kelm_candidates)


def test_a_pipeline_is_saved_with_its_linker(linker: AliasLinker, tmp_path: Path) -> None:
    linker.save(tmp_path / "names.safetensors")
    nlp = pipeline(linker=str(tmp_path / "names.safetensors"), language="en")
    before = spans(nlp(TEXTS[0]).ents)
    assert before == expected(linker, TEXTS[0], "en")
    nlp.to_disk(tmp_path / "pipeline")
    data = nlp.to_bytes()
    (tmp_path / "names.safetensors").unlink()  # it is within the pipeline now
    assert spans(spacy.load(tmp_path / "pipeline")(TEXTS[0]).ents) == before
    assert spans(pipeline(language="en").from_bytes(data)(TEXTS[0]).ents) == before


def test_without_names_it_says_where_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no names to look for.*AliasLinker\.save"):
        pipeline()("Paris")
    with pytest.raises(FormatError, match=r"gone\.jsonl: cannot be opened"):
        pipeline(linker=str(tmp_path / "gone.jsonl"))("Paris")
