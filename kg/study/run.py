"""A study: one model trained with knowledge and with its controls, on the same data, with several seeds.

    base encoder  --align (words + entities)-->  an encoder an arm and seed  --fine-tune on n examples-->  scores

Each score is written to ``outcomes.jsonl`` as soon as it is there; a study that was interrupted goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from kelm.evaluation.outcomes import OutcomeLog
from kelm.model import Encoder, hub
from kelm.text.tokenizer import Tokenizer
from kelm.training.learner import Learner
from kelm.training.recipe import Optimization
from kg.embeddings.table import EntityTable
from kg.fusion.ernie import Ernie
from kg.linking.linked_text import LinkedText, RelationText, encode
from kg.objectives.entity_alignment import EntityAlignment
from kg.study import probe
from kg.study.fine_tuning import FineTuning, answers, fine_tuned, train
from kg.study.material import ARMS, Arm, Links, Split, controlled, encode_examples, split

__all__ = ["Alignment", "FineTuning", "Material", "Outcome", "Study", "run"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Alignment:
    """Pre-training with entities, from the base encoder on.

    Attributes:
        steps: updates; 0 leaves it out.
        tokens: of a batch.
        hide: share of the mentions whose words are all masked, as they are in fine-tuning.
    """

    steps: int = 300
    tokens: int = 2048
    rate: float = 5e-4
    hide: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """What is compared.

    Attributes:
        per_relation: numbers of training examples of each relation.
        length: tokens of a text.
        hidden: the mentions' words are hidden in the examples.
        links: whose entities the examples have: "gold" ones, or those found by a linker ("automatic").
        heads: of the entity attention.
        covered, uncovered: test examples with and without an entity in the graph, at most; None: all.
    """

    per_relation: tuple[int, ...] = (5, 20, 100)
    seeds: tuple[int, ...] = (0, 1, 2)
    arms: tuple[Arm, ...] = ARMS
    links: tuple[Links, ...] = ("gold",)
    length: int = 128
    hidden: bool = True
    heads: int = 4
    covered: int | None = None
    uncovered: int | None = 2000
    align: Alignment = field(default_factory=Alignment)
    fine_tune: FineTuning = field(default_factory=FineTuning)


@dataclass(frozen=True, slots=True)
class Material:
    """What the study is made on.

    Attributes:
        base: a plain Hugging Face folder with its vocabulary head.
        table: the graph's vectors.
        texts: linked texts for the alignment.
        examples: by kind of links; the same sentences in the same order.
    """

    base: Path
    tokenizer: Tokenizer
    table: EntityTable
    texts: Sequence[LinkedText]
    examples: Mapping[str, Sequence[RelationText]]

    @property
    def relations(self) -> list[str]:
        return sorted({example.relation for example in self.examples["gold"]})

    def known(self) -> list[bool]:
        """Whether an entity of each example is in the table."""
        examples = self.examples["gold"]
        rows = [self.table.ids([e.head.entity or "", e.tail.entity or ""]) for e in examples]
        return [bool((row >= 0).any()) for row in rows]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One score: of a model ("ernie", or the linear "probe") in an arm, with n test examples of a slice."""

    model: str
    arm: str
    links: str
    seed: int
    per_relation: int
    slice: str
    n: int
    accuracy: float
    macro_f1: float


def run(
    study: Study, material: Material, folder: Path, *, say: Callable[[str], None] = lambda text: None
) -> list[Outcome]:
    """Returns all outcomes of a study, those of an earlier, interrupted run included.

    Args:
        folder: where ``outcomes.jsonl`` is kept.
        say: is told what happens.
    """
    log = OutcomeLog(folder / "outcomes.jsonl", Outcome)
    known, relations = material.known(), material.relations
    for seed in study.seeds:
        gold = material.examples["gold"]
        splits = {
            n: split(gold, known, n, seed, covered=study.covered, uncovered=study.uncovered) for n in study.per_relation
        }
        for arm in study.arms:
            missing = [
                (links, n)
                for links in study.links
                for n in study.per_relation
                if not any((o.arm, o.links, o.seed, o.per_relation) == (arm, links, seed, n) for o in log.done)
            ]
            if not missing:
                continue
            table = controlled(material.table, arm, seed)
            say(f"seed {seed}, {arm}: aligning")
            aligned = _aligned(study, material, table, arm, seed, folder)
            for links, n in missing:
                say(f"seed {seed}, {arm}, {links} links: fine-tuning on {n} examples of each relation")
                examples = material.examples[links]
                said = {
                    "probe": _probed(examples, splits[n], None if arm == "none" else table),
                    "ernie": _classified(study, material, aligned, table, arm, examples, splits[n], seed),
                }
                fresh = list(_outcomes(said, examples, splits[n], arm, links, seed, n, relations))
                log.add(fresh)
                told = ", ".join(f"{o.model} {o.accuracy:.3f}" for o in fresh if o.slice == "covered")
                say(f"    covered: {told}")
    return log.done


def _rows(table: EntityTable, arm: Arm) -> Callable[[str], int]:
    """The table's rows by name; in the arm "none" nothing is linked."""
    if arm == "none":
        return lambda name: -1
    number_of = {name: number for number, name in enumerate(table.names)}
    return lambda name: number_of.get(name, -1)


def _aligned(study: Study, material: Material, table: EntityTable, arm: Arm, seed: int, folder: Path) -> Encoder:
    """Returns the base encoder with ERNIE's fusion, trained on linked texts."""
    torch.manual_seed(seed)
    options = {"width": table.width, "heads": study.heads}
    encoder = Encoder.from_hf(material.base, extensions={"ernie": options})
    ernie = encoder.extensions["ernie"]
    assert isinstance(ernie, Ernie)
    ernie.attach(table)
    if not study.align.steps:
        return encoder
    texts = encode(material.texts, material.tokenizer, _rows(table, arm), length=study.length)
    objective = EntityAlignment(
        encoder.config, tokenizer=material.tokenizer, entities=len(table), width=table.width, hide=study.align.hide
    )
    objective.mlm.head.load_state_dict(hub.head_weights(material.base))
    optim = Optimization(rate=study.align.rate, warmup=0.1)
    train(Learner(encoder, [objective]), objective, texts, study.align.steps, study.align.tokens, optim, seed)
    return encoder


def _classified(
    study: Study,
    material: Material,
    aligned: Encoder,
    table: EntityTable,
    arm: Arm,
    examples: Sequence[RelationText],
    parts: Split,
    seed: int,
) -> dict[int, str]:
    """Returns the fine-tuned encoder's answer to each test example by its number."""
    rows, length = _rows(table, arm), study.length
    encoded = encode_examples(
        examples, material.tokenizer, material.relations, rows, length=length, hidden=study.hidden
    )
    texts = [text for number in parts.train if (text := encoded[number]) is not None]
    encoder, task = fine_tuned(
        study.fine_tune, aligned, texts, material.relations, table.width if study.fine_tune.entities else 0, seed
    )
    asked = sorted({number for numbers in parts.test.values() for number in numbers})
    return answers(encoder, task, {n: text for n in asked if (text := encoded[n]) is not None})


def _probed(examples: Sequence[RelationText], parts: Split, table: EntityTable | None) -> dict[int, str]:
    asked = sorted({number for numbers in parts.test.values() for number in numbers})
    train, test = ([examples[number] for number in some] for some in (parts.train, asked))
    return dict(zip(asked, probe.predict(train, test, table), strict=True))


def _outcomes(
    answers: Mapping[str, Mapping[int, str]],
    examples: Sequence[RelationText],
    parts: Split,
    arm: str,
    links: str,
    seed: int,
    per_relation: int,
    relations: Sequence[str],
) -> Iterator[Outcome]:
    from sklearn.metrics import accuracy_score, f1_score

    for model, of_model in answers.items():
        for name, numbers in parts.test.items():
            gold = [examples[number].relation for number in numbers]
            said = [of_model.get(number, "") for number in numbers]  # one whose mention was cut off counts as wrong
            if not gold:
                continue
            macro = f1_score(gold, said, average="macro", labels=list(relations), zero_division=0)
            accuracy = accuracy_score(gold, said)
            yield Outcome(model, arm, links, seed, per_relation, name, len(gold), float(accuracy), float(macro))
