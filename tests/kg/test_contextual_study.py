"""The study of contextual linking on a world of two towns of one name, where only the text can tell which is meant."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from kelm.errors import RecipeError
from kelm.model import Encoder, EncoderConfig
from kelm.text import vocabulary
from kelm.training import recipe_file
from kg.study import linking_report
from kg.study.contextual import ContextTraining
from kg.study.linking import Linking
from kg.study.linking_data import JudgedSet
from kg.study.linking_report import Outcome

FACTS = [("Q1", "P1", "Q2"), ("Q3", "P1", "Q4"), ("Q1", "P1", "Q5"), ("Q6", "P1", "Q1")]
NAMES = {"Q1": "Paris", "Q2": "France", "Q3": "Paris", "Q4": "Texas", "Q5": "Europe", "Q6": "Lyon"}
SENTENCES = ["{} is a town in {}", "the road from {} crosses {}", "{} , the pride of {}", "we saw {} and then {}"]


def write_world(folder: Path) -> None:
    """A graph, sets to learn from, to tune on and to judge by, and a small checkpoint."""
    graph = folder / "kg" / "xfactr"
    graph.mkdir(parents=True)
    (graph / "facts.tsv").write_text("".join("\t".join(fact) + "\t\n" for fact in FACTS), encoding="utf-8")
    (graph / "labels.en.tsv").write_text("".join(f"{e}\t{name}\n" for e, name in NAMES.items()), encoding="utf-8")
    sets = folder / "linked_text" / "entity_linking"
    sets.mkdir(parents=True)
    said: list[str] = []
    for name, sentences in (("learn", SENTENCES[:3]), ("dev", SENTENCES[2:3]), ("test", SENTENCES[3:])):
        lines = []
        for sentence in sentences:
            for town, land in (("Q1", "Q2"), ("Q3", "Q4")):
                text = sentence.format(NAMES[town], NAMES[land])
                spans = [(town, text.index("Paris"), 5), (land, text.index(NAMES[land]), len(NAMES[land]))]
                labels = [{"span": [start, start + size], "entity_id": entity} for entity, start, size in spans]
                lines.append(json.dumps({"text": text, "labels": labels}) + "\n")
                said.append(text.lower())
        (sets / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    words = vocabulary.train([*said, "paris france texas europe lyon p1"], 120, "wordpiece", lower=True)
    torch.manual_seed(0)
    config = EncoderConfig(
        vocab_size=words.vocabulary_size,
        pad_token_id=words.pad,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=48,
        initializer_range=0.2,
    )
    Encoder(config).to_hf(folder / "checkpoint")
    words.save(folder / "checkpoint")


def f1_of(outcomes: Path, method: str, task: str) -> list[float]:
    found = [one for line in outcomes.read_text(encoding="utf-8").splitlines() for one in json.loads(line)]
    chosen = [one for one in found if (one["method"], one["task"]) == (method, task)]
    return [one["rates"]["strong graph"]["f1"]["value"] for one in chosen]


@pytest.mark.parametrize("nothings", [(-1.0, 0.2), ()])
def test_a_trained_linker_tells_towns_of_one_name_apart_where_priors_and_shuffled_texts_cannot(
    tmp_path: Path, nothings: tuple[float, ...]
) -> None:
    write_world(tmp_path / "data")
    # The two seeds move the vectors of both towns, also where there are no others.
    recipe = Linking(
        sets=(JudgedSet(name="test", development="dev"),),
        graphs=("xfactr",),
        languages=("en",),
        methods=("degree", "contextual", "shuffled", "untrained"),
        context=ContextTraining(
            hf=str(tmp_path / "data" / "checkpoint"),
            sets=("learn",),
            seeds=(3, 4),
            steps=80,
            examples=6,
            rate=1e-2,
            nothings=nothings,
        ),
        draws=10,
    )
    told: list[str] = []
    report = recipe.run(tmp_path / "data", tmp_path / "out", told.append)
    outcomes = tmp_path / "out" / "outcomes.jsonl"
    assert f1_of(outcomes, "degree", "given") == [0.75]  # always the better connected Paris
    assert f1_of(outcomes, "contextual", "given") == f1_of(outcomes, "contextual", "text") == [1.0, 1.0]
    assert sum(f1_of(outcomes, "shuffled", "given")) < 2
    assert len(f1_of(outcomes, "untrained", "given")) == 1
    assert (
        f"untrained, seed 0: {2 if nothings == () else 4} entities have vectors" in told
    )  # those that are asked about
    assert "6 texts to learn from, 12 mentions" in told
    assert report.count("| contextual |") == 2 and "1.000 (1.000 to 1.000)" in report
    again: list[str] = []
    assert recipe.run(tmp_path / "data", tmp_path / "out", again.append) == report
    assert again == []


def test_a_contextual_method_asks_for_a_checkpoint(tmp_path: Path) -> None:
    write_world(tmp_path / "data")
    recipe = Linking(
        sets=(JudgedSet(name="test", development="dev"),), graphs=("xfactr",), languages=("en",), methods=("untrained",)
    )
    with pytest.raises(RecipeError, match=r"context\.hf"):
        recipe.run(tmp_path / "data", tmp_path / "out", print)


def test_several_seeds_are_told_as_their_mean_with_the_widest_interval() -> None:
    def outcome(seed: int, value: float, low: float, high: float) -> Outcome:
        figure = {"value": value, "low": low, "high": high}
        rates = dict.fromkeys(("precision", "recall", "f1", "macro_f1"), figure) | {"gold": 3}
        return Outcome(
            "test", "contextual", "given", 1, 0.0, 0.5, dict.fromkeys(("strong graph", "strong all"), rates), seed
        )

    report = linking_report.table([outcome(0, 0.5, 0.3, 0.6), outcome(1, 0.6, 0.4, 0.9)], ["contextual"], ["test"])
    assert "| test | contextual | 3 (3) | 0.500 | .550 (.300 to .900)" in report


def test_the_shipped_recipe_is_read() -> None:
    path = Path(__file__).parents[2] / "kg" / "recipes" / "linking-contextual.toml"
    recipe = recipe_file.read_as(lambda values: values.pop("evaluation") and Linking, path)
    assert set(recipe.methods) == {"degree", "untrained", "contextual", "shuffled"}
    judged = {one.name for one in recipe.sets} | {one.development for one in recipe.sets}
    assert not judged & set(recipe.context.sets)
