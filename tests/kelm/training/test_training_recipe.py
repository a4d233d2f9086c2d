import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from kelm.errors import RecipeError
from kelm.model import Encoder, EncoderConfig
from kelm.text import tokenizer
from kelm.training import construct
from kelm.training.recipe import Checkpoints, Optimization
from kelm.training.recipe_file import located, parse, read, read_as, write
from tests.kelm.training import tiny_text

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


def test_a_value_comes_from_overrides_alone_where_there_is_no_file() -> None:
    assert read_as(lambda _: Optimization, None, ["rate=1e-4", "schedule=cosine"]) == Optimization(
        rate=1e-4, schedule="cosine"
    )


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
        ("optim.rat=1", '--set optim.rat=1, field optim.rat: unknown key. Did you mean "rate"?'),
        ("optimm.rate=1", '--set optimm.rate=1, field optimm: unknown key. Did you mean "optim"?'),
        ("optim.rate=-1", "--set optim.rate=-1, field optim.rate: expected more than 0"),
        ("optim.betas=[0.9, 2]", "--set optim.betas=[0.9, 2], field optim.betas.1: expected 0 or more"),
        ("objectives.mlm.weight=-1", "--set objectives.mlm.weight=-1, field objectives.0.weight: expected 0"),
        ("rate", '--set rate: expected KEY=VALUE, found "rate". Write rate=VALUE.'),
        ("=3", '--set =3: expected KEY=VALUE, found "=3". Write KEY=3.'),
        ("optim.=3", 'expected KEY=VALUE, found "optim.=3". Write optim=3.'),
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


@pytest.mark.parametrize(
    ("override", "field", "told"),
    [
        ("optim.rate=inf", "optim.rate", "expected more than 0, found inf. Give a positive, finite number"),
        ("optim.rate=nan", "optim.rate", "expected more than 0, found nan"),
        ("optim.clip=0", "optim.clip", "expected more than 0, found 0.0. Give a positive number; inf does not clip"),
        ("optim.clip=-1", "optim.clip", "expected more than 0, found -1.0"),
        ("optim.clip=nan", "optim.clip", "expected more than 0, found nan"),
        ("optim.epsilon=0", "optim.epsilon", "expected more than 0, found 0.0"),
        ("optim.warmup=-0.1", "optim.warmup", "expected 0 or more, found -0.1"),
        ("optim.weight_decay=-1", "optim.weight_decay", "expected 0 or more, found -1.0"),
        ("optim.layer_decay=0", "optim.layer_decay", "expected more than 0 and at most 1, found 0.0"),
        ("optim.layer_decay=1.1", "optim.layer_decay", "expected more than 0 and at most 1, found 1.1"),
        ("optim.betas=[-0.1, 0.9]", "optim.betas.0", "expected 0 or more and less than 1, found -0.1"),
        ("optim.betas=[0.9, 1]", "optim.betas.1", "expected 0 or more and less than 1, found 1.0"),
        ("evaluation.patience=0", "evaluation.patience", "expected at least 1, found 0"),
        ("train.seed=-1", "train.seed", "expected 0 to 2 ** 63 - 1, found -1"),
        (f"train.seed={2**63}", "train.seed", "expected 0 to 2 ** 63 - 1, found 9223372036854775808"),
        ("batch.workers=-1", "batch.workers", "expected 0 or more, found -1"),
        ("objectives.entity_alignment.weight=-2", "objectives.1.weight", "expected 0 or more, found -2.0"),
        ("objectives.mlm.corpus.length=0", "objectives.0.corpus.length", "expected more than 0, found 0"),
        ("objectives.mlm.held_out={name='text', length=-5}", "objectives.0.held_out.length", "found -5"),
        ("objectives.mlm.weight=nan", "objectives.0.weight", "expected 0 or more, found nan"),
    ],
)
def test_an_impossible_number_is_told_with_its_bound(override: str, field: str, told: str) -> None:
    with pytest.raises(RecipeError) as raised:
        parse(RECIPE, [override])
    assert raised.value.field == field
    assert told in str(raised.value)
    assert raised.value.remedy


@pytest.mark.parametrize(
    "override",
    [
        "optim.clip=inf",
        "optim.warmup=0",
        "optim.layer_decay=1",
        "optim.betas=[0, 0]",
        "objectives.mlm.weight=0",
        "train.seed=0",
        "batch.workers=0",
    ],
)
def test_a_number_at_its_bound_is_allowed(override: str) -> None:
    key, _, text = override.partition("=")
    value: Any = parse(RECIPE, [override])
    for step in key.split("."):
        value = getattr(value, step) if hasattr(value, step) else next(item for item in value if item.name == step)
    expected = tomllib.loads(f"value = {text}")["value"]
    assert value == (tuple(expected) if isinstance(expected, list) else expected)


@pytest.mark.parametrize(
    ("override", "remedy"),
    [
        ("optim.betas=[0.9]", "Give a list of 2."),
        ("optim.betas=[0.9, 'b']", "Write it as 0.1."),
        ("optim.rate=fast", "Write it as in rate = 0.1."),
        ("train.steps=1.5", "Write it as in steps = 3."),
        ("train.compile=1", "Write it as in compile = true."),
        ("name=3", 'Write it as in name = "text".'),
        ("optim=3", "Write [optim]."),
        ("optim.betas=3", "Write it in brackets: [..., ...]."),
        ("objectives=3", "Write it in brackets: [..., ...]."),
    ],
)
def test_a_wrong_type_has_its_remedy(override: str, remedy: str) -> None:
    with pytest.raises(RecipeError) as raised:
        parse(RECIPE, [override])
    assert raised.value.remedy == remedy


EXTENSION_MISTAKES = [
    (["model.extensions.erni={}"], "model.extensions.erni", 'no extension is called "erni". Did you mean "ernie"?'),
    (["model.extensions.ernie.head=2"], "model.extensions.ernie.head", 'unknown option. Did you mean "heads"?'),
    (["model.extensions.ernie.heads=0"], "model.extensions.ernie.heads", "expected at least 1, found 0. Choose heads"),
    (["model.extensions.ernie.heads=3"], "model.extensions.ernie.heads", "is not a multiple of 3 heads. Choose heads"),
    (["model.extensions.ernie.heads=two"], "model.extensions.ernie.heads", "expected a whole number"),
    (["model.extensions.ernie.width=-1"], "model.extensions.ernie.width", "expected at least 1, found -1. Give"),
    (["model.extensions.ernie.entities=-1"], "model.extensions.ernie.entities", "expected at least 0, found -1. Leave"),
    (["model.extensions.ernie.kinds=['mix']"], "model.extensions.ernie.kinds", "1 for an encoder of 2 layers. Give"),
    (["model.extensions.ernie.kinds=['mix', 'nom']"], "model.extensions.ernie.kinds", 'Did you mean "norm"?'),
    (["model.extensions.ernie.table=nowhere"], "model.extensions.ernie.table", "nowhere"),
]


@pytest.mark.parametrize(
    ("changes", "field", "told"),
    [
        (["model.config.hidden_act=gleu"], "model.config.hidden_act", '"gleu" is unknown. Did you mean "gelu"?'),
        (["model.config.attention=spda"], "model.config.attention", '"spda" is unknown. Choose sdpa or flex'),
        (
            ["model.config.num_attention_heads=0"],
            "model.config.num_attention_heads",
            "expected a whole number from 1, found 0",
        ),
        (["model.config.num_hidden_layers=-1"], "model.config.num_hidden_layers", "expected a whole number from 1"),
        (["model.config.intermediate_size=1.5"], "model.config.intermediate_size", "from 1, found 1.5"),
        (["model.config.hidden_dropout_prob=2.0"], "model.config.hidden_dropout_prob", "from 0 to below 1, found 2.0"),
        (["model.config.hidden_dropout_prob=much"], "model.config.hidden_dropout_prob", "found 'much'"),
        (
            ["model.config.attention_probs_dropout_prob=-0.1"],
            "model.config.attention_probs_dropout_prob",
            "from 0 to below 1, found -0.1",
        ),
        (["model.config.pooler=3"], "model.config.pooler", "expected true or false, found 3"),
        (["model.config.layer_norm_eps=0"], "model.config.layer_norm_eps", "a positive number, found 0"),
        (["model.config.pad_token_id=-1"], "model.config.pad_token_id", "expected an id from 0 to"),
        (
            ["model.config.family=roberta", "model.config.max_position_embeddings=1"],
            "model.config.max_position_embeddings",
            "leave none",
        ),
        (["model.config.hidden_size=15"], "model.config.hidden_size", "is not a multiple of num_attention_heads"),
        *EXTENSION_MISTAKES,
    ],
)
def test_an_encoder_that_cannot_be_made_names_the_right_field(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: list[str], field: str, told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    sizes = "num_hidden_layers = 2\nhidden_size = 16\nintermediate_size = 16\nnum_attention_heads = 2"
    text = RECIPE.replace("hidden_size = 64", sizes).replace("after = 2", "width = 100")
    words = tokenizer.open(tiny_text.vocabulary(tmp_path))
    construct.encoder(parse(text), words)
    with pytest.raises(RecipeError) as raised:
        construct.encoder(parse(text, changes), words)
    assert raised.value.field == field
    assert told in str(raised.value)


@pytest.mark.parametrize(
    ("changes", "field", "told"),
    [
        *EXTENSION_MISTAKES,
        (["model.config.hidden_dropout_prob=2.0"], "model.config.hidden_dropout_prob", "from 0 to below 1, found 2.0"),
    ],
)
def test_a_mistake_about_a_checkpoint_of_hugging_faces_names_the_right_field(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: list[str], field: str, told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    sizes = {"num_hidden_layers": 2, "hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2}
    Encoder(EncoderConfig(vocab_size=30, **sizes)).to_hf(tmp_path / "bert")
    head, tail = RECIPE.split("[model.config]")[0], RECIPE[RECIPE.index("[model.extensions") :]
    text = f'{head}[model]\nhf = "bert"\n{tail.replace("after = 2", "width = 100")}'
    words = tokenizer.open(tiny_text.vocabulary(tmp_path))
    assert list(construct.encoder(parse(text), words).extensions) == ["ernie"]
    with pytest.raises(RecipeError) as raised:
        construct.encoder(parse(text, changes), words)
    assert raised.value.field == field
    assert told in str(raised.value)


def test_an_override_is_named_before_the_line_that_it_replaces(tmp_path: Path) -> None:
    path = tmp_path / "good.toml"
    path.write_text(RECIPE)
    with pytest.raises(RecipeError) as raised:
        read(path, ["optim.rate=fast"])
    assert (raised.value.path, raised.value.line) == ("--set optim.rate=fast", None)


def test_what_only_the_run_finds_wrong_is_located(tmp_path: Path) -> None:
    path = tmp_path / "good.toml"
    path.write_text(RECIPE)

    def refused(field: str, overrides: list[str], place: Path | None = None) -> RecipeError:
        with pytest.raises(RecipeError) as raised, located(path, overrides):
            raise RecipeError("not there", path=place, field=field, remedy="Look again.")
        return raised.value

    found = refused("objectives.0.corpus.options.path", [])
    assert (found.path, found.line) == (path, 18)
    found = refused("objectives.0.corpus.options.path", ["objectives.mlm.corpus.options.path=b.txt"])
    assert (found.path, found.line) == ("--set objectives.mlm.corpus.options.path=b.txt", None)
    found = refused("field", [], tmp_path / "other")
    assert (found.path, found.line) == (tmp_path / "other", None)
    assert str(found).endswith("Look again.")


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
