"""Steps together: what each sees, the report, and the same rules in other people's maps."""

from __future__ import annotations

import os
import pickle
from collections import Counter
from collections.abc import Iterator
from dataclasses import FrozenInstanceError, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kelm.data.corpus import InMemory, Text
from kelm.errors import InputError
from multilingual.corpora.filter import (
    Clean,
    Duplicates,
    InLanguage,
    Length,
    LengthRatio,
    NearDuplicates,
    Report,
    Same,
    Script,
    as_map,
    filtered,
)
from tests.multilingual.test_rules import ByWord

RULES = [
    Clean(),
    Length(2, 50),
    LengthRatio(),
    Same(),
    Script(languages=("en", "ru")),
    InLanguage(ByWord(), languages=("en", "de")),
]
STEPS = [*RULES, Duplicates(), NearDuplicates()]

# The whole


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_a_step_is_a_frozen_value_that_travels(step: Any) -> None:
    assert pickle.loads(pickle.dumps(step)) == step and hash(step) == hash(replace(step))
    with pytest.raises(FrozenInstanceError):
        step.side = "first"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_batch_is_judged_as_each_text_is(rule: Any) -> None:
    texts = [Text("en 0.9 hello"), Text("de 0.9 hallo", "en 1"), Text("en 1 э", "de 1 Э"), Text("fr 0.2", "ru 1 " * 30)]
    assert rule.reasons(texts) == [rule.keep(text) for text in texts]
    assert rule.reasons([]) == []


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: Length(0), "shortest"),
        (lambda: Length(5, 4), "longest"),
        (lambda: LengthRatio(-1), "least"),
        (lambda: LengthRatio(2, 1), "most"),
        (lambda: LengthRatio(short=-1), "short"),
        (lambda: Script(0), "share"),
        (lambda: Script(1.1), "share"),
        (lambda: InLanguage("a.bin", 1.5), "threshold"),
        (lambda: Duplicates("third"), "side"),  # type: ignore[arg-type]
        (lambda: NearDuplicates(0), "threshold"),
        (lambda: NearDuplicates(width=0), "width"),
        (lambda: NearDuplicates(hashes=0), "hashes"),
        (lambda: NearDuplicates(seed=-1), "seed"),
        (lambda: NearDuplicates(side="third"), "side"),  # type: ignore[arg-type]
        (lambda: NearDuplicates(shingle="letters"), "shingle"),  # type: ignore[arg-type]
        (lambda: Duplicates("second").key(Text("a")), "side"),
    ],
)
def test_an_option_out_of_range_is_named(make: Any, field: str) -> None:
    with pytest.raises(InputError) as caught:
        make()
    assert caught.value.field == field


def test_each_step_sees_what_the_steps_before_it_kept_and_the_report_adds_up() -> None:
    texts = ["a  house", "a house", " ", "x", "Привет", "a tree"] * 400
    report = Report()
    steps = [Clean(), Length(2), Script(languages=("en",)), Duplicates()]
    kept = list(filtered(map(Text, texts), steps, report))
    assert [text.text for text in kept] == ["a house", "a tree"]
    assert [tally.seen for tally in report.steps] == [2400, 2000, 1600, 1200]
    assert [dict(tally.dropped) for tally in report.steps] == [
        {"empty": 400},
        {"too short": 400},
        {"other script": 400},
        {"duplicate": 1198},
    ]
    assert report.dropped == len(texts) - len(kept)
    assert report.steps[3].examples == {"duplicate": ["a house"] * 3}
    assert all(len(shown) == 3 for tally in report.steps for shown in tally.examples.values())


def test_the_report_is_a_table_of_steps_and_reasons() -> None:
    report = Report()
    texts = [Text("good", origin="a:1"), Text("x", origin="a:2"), Text("y" * 99, "z", origin="a:3"), Text("", "ü")]
    list(filtered(texts, [Length(2, 50), Same()], report))
    assert report.table() == [
        ["step", "seen", "dropped", "share", "example"],
        ["length", "4", "3", "75.0%", ""],
        ["  too short", "", "3", "75.0%", "a:2: x"],
        ["same", "1", "0", "0.0%", ""],
    ]
    report = Report()
    list(filtered([], [Same()], report))
    assert report.table()[1:] == [["same", "0", "0", "", ""]]


def test_passes_of_the_same_steps_add_up_in_one_report_and_others_are_refused() -> None:
    report = Report()
    for _ in range(2):
        list(filtered([Text("a")], [Length(2)], report))
    assert report.steps[0].dropped == {"too short": 2}
    with pytest.raises(InputError, match=r"it is of length, and the steps are clean") as caught:
        filtered([Text("a")], [Clean()], report)
    assert caught.value.field == "report"


def test_two_steps_may_have_one_name() -> None:
    report = Report()
    list(filtered([Text("a"), Text("bbb")], [Length(2), Length(1, 2)], report))
    assert [dict(tally.dropped) for tally in report.steps] == [{"too short": 1}, {"too long": 1}]


def test_no_step_keeps_everything_in_order_and_what_else_a_text_says_stays() -> None:
    corpus = InMemory([Text(f"text {number}", fields={"id": number}) for number in range(3000)])
    texts = [text for text, _ in corpus.stream()]
    assert list(filtered(iter(texts), [])) == texts
    assert list(filtered(iter(texts), [Clean(), Duplicates()])) == texts


def test_texts_are_read_as_they_are_asked_for() -> None:
    read = Counter[str]()

    def endless(size: int) -> Iterator[Text]:
        while True:
            read["texts"] += 1
            yield Text("x" * size + str(read["texts"]))

    next(filtered(endless(10), [Clean()]))
    assert read.pop("texts") == 1024
    next(filtered(endless(400_000), [Same()]))
    assert read.pop("texts") == 3  # a million characters


# Other people's maps

COLUMNS = {"text": [" a  house", "x", "Привет мир", "a tree"], "id": [1, 2, 3, 4]}
MAP = as_map([Clean(), Length(2), Script(languages=("en",))])


def test_a_map_gives_the_rows_that_stay_with_all_their_columns() -> None:
    assert MAP(COLUMNS) == {"text": ["a house", "a tree"], "id": [1, 4]}
    assert MAP.kept(COLUMNS) == [True, False, False, True]
    assert MAP({"text": [], "id": []}) == {"text": [], "id": []}
    assert COLUMNS["text"][0] == " a  house"


def test_a_map_gives_what_filtered_gives() -> None:
    texts = [f"{word} " * times for word in ("a", "Привет", "house") for times in range(40)]
    expected = [text.text for text in filtered(map(Text, texts), MAP.rules)]
    assert MAP({"text": texts})["text"] == expected


def test_arrays_give_arrays_as_ray_wants_them() -> None:
    batch = {"text": np.array(COLUMNS["text"], object), "id": np.array([1, 2, 3, 4]), "vector": np.eye(4)}
    found = MAP(batch)
    assert all(isinstance(column, np.ndarray) for column in found.values())
    assert found["text"].tolist() == ["a house", "a tree"] and found["id"].tolist() == [1, 4]
    assert found["vector"].tolist() == np.eye(4)[[0, 3]].tolist()
    assert MAP({"text": np.array(["x"], object), "id": np.array([1])})["text"].shape == (0,)


def test_a_column_of_reasons_keeps_all_rows() -> None:
    found = as_map(MAP.rules, reason="why")(COLUMNS)
    assert found["why"] == ["", "length: too short", "script: other script", ""]
    assert found["id"] == [1, 2, 3, 4] and found["text"][:2] == ["a house", "x"]


def test_pairs_are_two_columns_and_their_languages_two_more() -> None:
    pairs = as_map([Clean(), InLanguage(ByWord())], text="source", pair="target")
    batch = {
        "source": ["en 1 ", "de 1", "en 1"],
        "target": ["de  1", "en 1", "de 0.1"],
        "language": ["en"] * 3,
        "pair_language": ["de"] * 3,
    }
    assert pairs(batch) == {"source": ["en 1"], "target": ["de 1"], "language": ["en"], "pair_language": ["de"]}
    assert replace(pairs, reason="why")(batch)["why"] == ["", "in language: swapped", "in language: second unsure"]


@pytest.mark.parametrize(
    ("batch", "message"),
    [({"texts": ["a"]}, 'Did you mean "texts"'), ({"text": ["a", None]}, "expected a string, found NoneType in row 1")],
)
def test_a_column_that_is_not_as_it_should_be_is_named(batch: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        MAP(batch)
    assert caught.value.field == "text"


def test_what_remembers_is_no_map() -> None:
    with pytest.raises(InputError, match=r"duplicates, near duplicates compares.*`filtered`"):
        as_map(STEPS)


def test_a_map_works_in_other_processes() -> None:
    with get_context("spawn").Pool(1) as pool:
        assert list(pool.imap(MAP, [COLUMNS, COLUMNS])) == [MAP(COLUMNS)] * 2


@pytest.mark.parametrize("processes", [None, 2])
def test_datasets_maps_and_filters_with_it(processes: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", os.environ)  # datasets puts a copy in its place, which others do not see
    datasets = pytest.importorskip("datasets")
    data = datasets.Dataset.from_dict(COLUMNS)
    options = {"batched": True, "num_proc": processes, "load_from_cache_file": False}
    assert data.map(MAP, **options).to_dict() == MAP(COLUMNS)
    assert data.filter(MAP.kept, **options).to_dict() == {"text": [" a  house", "a tree"], "id": [1, 4]}


def test_datasets_goes_on_after_a_batch_of_which_nothing_stays() -> None:
    datasets = pytest.importorskip("datasets")
    data = datasets.Dataset.from_dict({"text": ["x", "y", "a tree"], "id": [1, 2, 3]})
    found = data.map(MAP, batched=True, batch_size=2)
    assert found.to_dict() == {"text": ["a tree"], "id": [3]}
    stream = data.to_iterable_dataset().map(MAP, batched=True, batch_size=2)
    assert list(stream) == [{"text": "a tree", "id": 3}]


def test_datasets_knows_the_same_map_again() -> None:
    fingerprint = pytest.importorskip("datasets.fingerprint")
    again = as_map([Clean(), Length(2), Script(languages=("en",))])
    assert fingerprint.Hasher.hash(again) == fingerprint.Hasher.hash(MAP)
    assert fingerprint.Hasher.hash(as_map([Clean(), Length(3)])) != fingerprint.Hasher.hash(MAP)


@pytest.mark.filterwarnings("ignore::DeprecationWarning:ray", "ignore::ResourceWarning", "ignore::FutureWarning")
def test_ray_data_gives_what_one_process_gives(tmp_path: Path) -> None:
    ray = pytest.importorskip("ray", reason="Ray Data is not installed: pip install 'ray[data]'")
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {"text": [*COLUMNS["text"]] * 50, "id": list(range(len(COLUMNS["text"]) * 50))}
    pq.write_table(pa.table(columns), tmp_path / "texts.parquet")
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
    try:
        rows = ray.data.read_parquet(str(tmp_path / "texts.parquet")).map_batches(MAP, batch_size=16).take_all()
    finally:
        ray.shutdown()
    wanted = MAP(columns)
    assert sorted((row["id"], row["text"]) for row in rows) == sorted(zip(wanted["id"], wanted["text"], strict=True))
    assert 0 < len(rows) < len(columns["id"])
