from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from kelm.errors import RecipeError
from kelm.training.recipe import Checkpoints, Optimization
from kelm.training.recipe_file import parse, read, write

RECIPE = """\
name = "small"

[model.config]
family = "bert"
hidden_size = 64

[model.extensions.ernie]
after = 2

[tokenizer]
path = "words.model"

[[objectives]]
name = "mlm"
options = { rate = 0.2 }
[objectives.corpus]
name = "text"
options = { path = "a.txt" }

[[objectives]]
name = "entity_alignment"
weight = 2
[objectives.corpus]
name = "linked"

[optim]
rate = 1e-4
betas = [0.9, 0.98]

[train]
steps = 100
"""


def test_a_recipe_reads_as_typed_values() -> None:
    recipe = parse(RECIPE)
    assert recipe.optim == Optimization(rate=1e-4, betas=(0.9, 0.98))
    assert recipe.checkpoint == Checkpoints()
    assert [objective.name for objective in recipe.objectives] == ["mlm", "entity_alignment"]
    assert recipe.objectives[0].corpus.options == {"path": "a.txt"}
    assert recipe.objectives[1].weight == 2.0
    assert type(recipe.objectives[1].weight) is float
    assert recipe.model.extensions == {"ernie": {"after": 2}}


def test_a_written_recipe_reads_back_equal(tmp_path: Path) -> None:
    recipe = parse(RECIPE)
    write(recipe, tmp_path / "recipe.toml")
    assert read(tmp_path / "recipe.toml") == recipe
    assert "epsilon = 1e-08" in (tmp_path / "recipe.toml").read_text()  # defaults are written out


@given(rate=some.floats(1e-9, 10), steps=some.integers(1, 2**40), name=some.text())
@settings(max_examples=50, deadline=None)
def test_any_value_survives_writing_and_reading(
    tmp_path_factory: pytest.TempPathFactory, rate: float, steps: int, name: str
) -> None:
    recipe = parse(RECIPE, [f"optim.rate={rate!r}", f"train.steps={steps}"])
    path = tmp_path_factory.getbasetemp() / "recipe.toml"
    write(recipe, path)
    assert read(path) == recipe
    assert (recipe.optim.rate, recipe.train.steps) == (rate, steps)


@pytest.mark.parametrize(
    ("override", "found"),
    [
        ("optim.rate=2e-5", lambda recipe: recipe.optim.rate == 2e-5),
        ("optim.schedule=cosine", lambda recipe: recipe.optim.schedule == "cosine"),
        ('name="two words"', lambda recipe: recipe.name == "two words"),
        ("name=two words", lambda recipe: recipe.name == "two words"),
        ("objectives.mlm.options.rate=0.3", lambda recipe: recipe.objectives[0].options["rate"] == 0.3),
        (
            "objectives.1.corpus.options.path=b.txt",
            lambda recipe: recipe.objectives[1].corpus.options == {"path": "b.txt"},
        ),
        ("train.compile=true", lambda recipe: recipe.train.compile is True),
        ("optim.betas=[0.8, 0.9]", lambda recipe: recipe.optim.betas == (0.8, 0.9)),
        ("model.extensions.kar.layer=1", lambda recipe: list(recipe.model.extensions) == ["ernie", "kar"]),
    ],
)
def test_an_override_changes_one_value(override: str, found: object) -> None:
    assert callable(found)
    assert found(parse(RECIPE, [override]))
    assert not found(parse(RECIPE))


@pytest.mark.parametrize(
    ("old", "new", "field", "line", "told"),
    [
        ("rate = 1e-4", "rat = 1e-4", "optim.rat", 27, 'unknown key. Did you mean "rate"?'),
        ("rate = 1e-4", 'rate = "fast"', "optim.rate", 27, "expected a number, found a string 'fast'"),
        ("rate = 1e-4", "rate = -1.0", "optim.rate", 27, "expected more than 0, found -1.0"),
        ("rate = 1e-4", "rate = true", "optim.rate", 27, "expected a number, found true or false True"),
        ("steps = 100", "steps = 1.5", "train.steps", 31, "expected a whole number, found a number 1.5"),
        ("steps = 100", "steps = 0", "train.steps", 31, "expected more than 0"),
        ("steps = 100", "passes = 1\nsteps = 1", "train.steps", 32, "one of train.steps and train.passes"),
        ("steps = 100", "", "train.steps", 30, "one of train.steps and train.passes is needed"),
        ("steps = 100", "steps = 1\nprecision = 'bf61'", "train.precision", 32, 'Did you mean "bf16"?'),
        ("[0.9, 0.98]", "[0.9]", "optim.betas", 28, "expected 2 values, found 1"),
        ("[0.9, 0.98]", "[0.9, 'b']", "optim.betas.1", 28, "expected a number"),
        ("[optim]", "[optimm]", "optimm", 26, 'Did you mean "optim"?'),
        ('name = "linked"', 'nam = "linked"', "objectives.1.corpus.nam", 24, 'Did you mean "name"?'),
        ('name = "linked"', "", "objectives.1.corpus.name", 23, "missing key. Add name"),
        ("weight = 2", "weight = 2\nrate = 1.0", "objectives", 13, "only some objectives have a rate"),
        ('"entity_alignment"', '"mlm"', "objectives", 13, "named twice"),
        ('path = "words.model"', "", "tokenizer.path", 10, "a fresh model needs a tokenizer"),
    ],
)
def test_a_wrong_recipe_names_file_line_key_and_remedy(
    tmp_path: Path, old: str, new: str, field: str, line: int, told: str
) -> None:
    path = tmp_path / "wrong.toml"
    assert RECIPE.count(old) == 1
    path.write_text(RECIPE.replace(old, new))
    with pytest.raises(RecipeError) as raised:
        read(path)
    assert (raised.value.path, raised.value.field, raised.value.line) == (path, field, line)
    assert told in str(raised.value)


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("optim.rat=1", "field optim.rat: unknown key"),
        ("rate", '"rate" is no override'),
        ("optim.rate.x=1", "rate is a plain value"),
        ("objectives.mml.weight=1", 'has no single item "mml". Did you mean "mlm"?'),
        ("objectives.7.weight=1", 'has no single item "7"'),
        ("objectives=3", "field objectives: expected"),
        ("evaluation.patience=3", "field evaluation.patience: there is nothing to wait for"),
    ],
)
def test_a_wrong_override_is_told(override: str, told: str) -> None:
    with pytest.raises(RecipeError) as raised:
        parse(RECIPE, [override])
    assert told in str(raised.value)


def test_what_is_no_toml_names_its_line(tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text("name = 'a'\nrate 3\n")
    with pytest.raises(RecipeError) as raised:
        read(path)
    assert raised.value.line == 2
    with pytest.raises(RecipeError, match="cannot be read"):
        read(tmp_path / "none.toml")
    path.write_bytes(b"name = '\xff'")
    with pytest.raises(RecipeError, match="cannot be read"):
        read(path)
