"""Sizes by name: as many parameters as Hugging Face's classes have, and as many as was published."""

import pytest
import torch
import transformers

from kelm.errors import RecipeError
from kelm.model import Encoder, EncoderConfig, VocabularyHead, presets
from kelm.training import recipe_file

ARCHITECTURES = {"bert": "Bert", "xlm-roberta": "XLMRoberta", "xlm-roberta-xl": "XLMRobertaXL"}
PUBLISHED = {  # millions, as the papers round them; BERT's and mBERT's without the vocabulary head's bias
    "bert-base": 110,
    "bert-large": 340,
    "mbert": 178,
    "xlm-r-base": 270,
    "xlm-r-large": 550,
    "xlm-r-xl": 3_500,
    "xlm-r-xxl": 10_700,
}
HUGGING_FACES = [name for name, sizes in presets.PRESETS.items() if sizes["family"] in ARCHITECTURES]


def count(*modules: torch.nn.Module) -> int:
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


@pytest.mark.parametrize("name", HUGGING_FACES)
def test_a_size_has_the_parameters_of_hugging_faces_class_and_those_published(name: str) -> None:
    sizes = presets.fields(name)
    with torch.device("meta"):
        config = EncoderConfig(**sizes)
        ours = count(Encoder(config), VocabularyHead(config))
        told = {key: value for key, value in sizes.items() if key not in ("family", "pooler")}
        family = ARCHITECTURES[config.family]
        theirs = getattr(transformers, f"{family}ForMaskedLM")(getattr(transformers, f"{family}Config")(**told))
    theirs.tie_weights()
    assert ours == count(theirs)
    assert ours / 1e6 == pytest.approx(PUBLISHED[name], rel=0.035)


def test_sizes_are_those_of_hugging_faces_default_configurations() -> None:
    for name, kind in (("bert-base", transformers.BertConfig), ("xlm-r-xl", transformers.XLMRobertaXLConfig)):
        default = kind()
        for key, value in presets.fields(name).items():
            if key not in ("family", "pooler"):
                assert getattr(default, key) == value, key


RECIPE = """\
[model]
preset = "{preset}"
[model.config]
num_hidden_layers = 1
[tokenizer]
path = "words"
[[objectives]]
name = "mlm"
[objectives.corpus]
name = "text"
options = {{ paths = "text.txt" }}
[train]
steps = 1
"""


def test_a_recipe_names_a_size_and_changes_it() -> None:
    made = recipe_file.parse(RECIPE.format(preset="xlm-r-base"))
    assert made.model.preset == "xlm-r-base" and made.model.config == {"num_hidden_layers": 1}
    with pytest.raises(
        RecipeError, match=r'field model\.preset: no size is called "xlmr-base". Did you mean "xlm-r-base"'
    ):
        recipe_file.parse(RECIPE.format(preset="xlmr-base"))
    with pytest.raises(RecipeError, match=r"Give model\.hf or model\.preset"):
        recipe_file.parse(RECIPE.format(preset="xlm-r-base"), ["model.hf=folder"])
