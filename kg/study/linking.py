"""How well a graph's entities are found in text: linkers of growing means on sets that were linked by hand.

    dictionary   names alone: every entity of a name is as probable as every other
    degree       the better connected an entity, the more probable; labels before aliases
    counts       and the more often linked text means it by this name (`kg.linking.counts`)
    coherence    and the more it is related to what else the document names (`kg.linking.coherence`)
    contextual   the better its description fits the text, too; with the controls of `kg.study.contextual`

Each is judged twice: on the text alone (find the mentions, and say which entity), and with the gold mentions given
(only say which). What is counted is told in `kg.linking.scores`. The threshold under which a linker says "no
entity" is chosen for each judged set on its development set, separately for both tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from kelm.errors import RecipeError, closest
from kelm.evaluation.base import given
from kelm.evaluation.outcomes import OutcomeLog
from kg.graph import KnowledgeGraph
from kg.linking.alias import AliasLinker
from kg.linking.base import Disambiguator, Mention
from kg.linking.coherence import Coherent
from kg.linking.contextual import ContextualLinker
from kg.linking.counts import MentionCounts
from kg.linking.linking_sets import LinkingText
from kg.linking.names import AliasOptions
from kg.linking.nil import silenced, tuned_threshold
from kg.linking.scores import count_links, known_candidates, rates
from kg.study import linking_report
from kg.study.contextual import CONTEXTUAL, ContextTraining, ContextWorkshop
from kg.study.linking_data import JudgedSet, LinkingSet, linking_graph, read_set
from kg.study.linking_report import TASKS, Outcome, Task

__all__ = ["Linking", "Method"]

Method = Literal["dictionary", "degree", "counts", "coherence", "contextual", "shuffled", "untrained"]

_NEWS = ("kore50", "derczynski", "spotlight", "oke-2016-eval", "reuters-128", "rss-500")
_ARTICLES = ("wiki-fair-v2-no-coref", "news-fair-v2-no-coref")
_HIPE = {
    **{f"{name}-{code}": code for name in ("ajmc", "hipe2020") for code in ("en", "fr")},
    **dict.fromkeys(("ajmc-de", "hipe2020-de", "newseye-fi", "newseye-sv"), ""),  # few names in these languages
}
_SETS = (
    *(JudgedSet(name=name, development="oke-2016-train") for name in (*_NEWS, *_ARTICLES)),
    JudgedSet(name="fewrel-test", development="fewrel-dev", whole=False),
    *(JudgedSet(name=f"{name}-test", development=f"{name}-dev", language=code) for name, code in _HIPE.items()),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Linking:
    """Linkers compared on several sets, as an evaluation.

    Attributes:
        sets: what is judged on.
        graphs: whose entities are linked, together: "xfactr", "codex", "fb15k237".
        languages: of the names.
        methods: what is compared.
        linked: English sets that counts are learned from; none of them may be judged or be a development set.
        names: which names count.
        context: how the encoders of contextual linkers are trained.
        draws: bootstrap samples of each interval.
    """

    sets: tuple[JudgedSet, ...] = _SETS
    graphs: tuple[str, ...] = ("xfactr", "codex", "fb15k237")
    languages: tuple[str, ...] = ("en", "fr", "de", "es")
    methods: tuple[Method, ...] = ("dictionary", "degree", "counts", "coherence")
    linked: tuple[str, ...] = ("fewrel-train", "articles")
    names: AliasOptions = field(default_factory=AliasOptions)
    context: ContextTraining = field(default_factory=ContextTraining)
    draws: int = 1000
    seed: int = 0

    def run(self, data: Path | None, out: Path, say: Callable[[str], None]) -> str:
        """Returns the report; see `kelm.evaluation.base.Evaluation`."""
        data = given(data)
        for method in self.methods:
            if method not in get_args(Method):
                raise RecipeError(
                    f'no method is called "{method}"', field="methods", remedy=closest(method, get_args(Method))
                )
        used = {name for one in self.sets for name in (one.name, one.development)}
        for place, learned in (("linked", self.linked), ("context.sets", self.context.sets)):
            if seen := used & {*learned}:
                problem = f"{', '.join(sorted(seen))} would be learned from and judged by"
                raise RecipeError(problem, field=place, remedy="Leave it out.")
        workshop = _Workshop(self, data, out, say)
        log = OutcomeLog(out / "outcomes.jsonl", Outcome)
        for method, seed in workshop.runs():
            for judged in self.sets:
                if any((one.set, one.method, one.seed) == (judged.name, method, seed) for one in log.done):
                    continue
                fresh = list(workshop.outcomes(method, seed, judged))
                log.add(fresh)
                told = ", ".join(f"{one.task} F1 {one.rates['strong graph']['f1']['value']:.3f}" for one in fresh)
                say(f"{method} on {judged.name}: {told}")
        return linking_report.table(log.done, self.methods, [judged.name for judged in self.sets])


@dataclass(frozen=True, eq=False)
class _Workshop:
    """Makes linkers and judges them; what is needed twice is made once."""

    recipe: Linking
    data: Path
    out: Path
    say: Callable[[str], None]
    sets: dict[str, LinkingSet] = field(default_factory=dict)
    linkers: dict[tuple[str, int], Disambiguator] = field(default_factory=dict)

    @cached_property
    def graph(self) -> KnowledgeGraph:
        return linking_graph(self.data, self.recipe.graphs, self.recipe.languages)

    @cached_property
    def known(self) -> frozenset[str]:
        return frozenset(self.graph.entities)

    def texts(self, name: str) -> list[LinkingText]:
        if name not in self.sets:
            self.sets[name] = read_set(self.data, name)
        return self.sets[name].texts

    def runs(self) -> Iterator[tuple[Method, int]]:
        """Yields each method with each of the seeds that it depends on."""
        for method in self.recipe.methods:
            for seed in self.context.seeds(method) if method in CONTEXTUAL else (0,):
                yield method, seed

    @cached_property
    def context(self) -> ContextWorkshop:
        recipe, names = self.recipe, self.linker("degree")
        assert isinstance(names, AliasLinker)
        return ContextWorkshop(
            recipe.context, self.data, self.out, self.graph, names, recipe.languages, self._candidates, self.say
        )

    @cached_property
    def _candidates(self) -> frozenset[str]:
        """All that the texts' mentions may mean by their names, where the text has a say."""
        names, least = self.linker("degree"), 1 if self.recipe.context.nothings else 2
        found = (
            mentions
            for judged in self.recipe.sets
            for name in (judged.name, judged.development)
            for task in TASKS[: 1 + judged.whole]
            for mentions in _answers(names, self.texts(name), task, judged.language or None)
        )
        asked = (mention.candidates for mentions in found for mention in mentions)
        return frozenset(one.entity for candidates in asked if len(candidates) >= least for one in candidates)

    def linker(self, method: Method, seed: int = 0) -> Disambiguator:
        if (method, seed) not in self.linkers:
            self.linkers[method, seed] = self._made(method, seed)
        return self.linkers[method, seed]

    def _made(self, method: Method, seed: int) -> Disambiguator:
        if method in CONTEXTUAL:
            return self.context.linker(method, seed)
        if method == "coherence":
            return Coherent(self.linker("counts"), self.graph)
        plain = method == "dictionary"
        return AliasLinker.from_graph(
            self.graph,
            self.recipe.languages,
            options=self.recipe.names,
            alias_weight=1.0 if plain else 0.5,
            popularity=not plain,
            counts=self.counts if method == "counts" else None,
        )

    @cached_property
    def counts(self) -> MentionCounts:
        return MentionCounts.of((text for name in self.recipe.linked for text in self.texts(name)), "en")

    def outcomes(self, method: Method, seed: int, judged: JudgedSet) -> Iterator[Outcome]:
        """Yields what a method does on a set, in each task that the set can judge."""
        made, language = self.linker(method, seed), judged.language or None
        texts, tuning = self.texts(judged.name), self.texts(judged.development)
        for task in TASKS:
            if task == "text" and not judged.whole:
                continue
            linker = made
            if isinstance(made, ContextualLinker):
                linker = self.context.tuned(made, tuning, _answers(made.names, tuning, task, language), self.known)
            threshold = tuned_threshold(tuning, _answers(linker, tuning, task, language), self.known)
            answers = _answers(linker, texts, task, language)
            bound = known_candidates(texts, answers, self.known) if task == "given" else None
            said = [silenced(mentions, threshold) for mentions in answers]
            yield Outcome(judged.name, method, task, len(texts), threshold, bound, self._rates(texts, said), seed)

    def _rates(self, texts: Sequence[LinkingText], said: Sequence[Sequence[Mention]]) -> dict[str, dict[str, Any]]:
        found = {}
        for match in ("strong", "weak"):
            for scope in ("graph", "all"):
                counts = count_links(texts, said, match=match, scope=scope, known=self.known)
                random = np.random.default_rng(self.recipe.seed)
                found[f"{match} {scope}"] = asdict(rates(counts, random, draws=self.recipe.draws))
        return found


def _answers(
    linker: Disambiguator, texts: Sequence[LinkingText], task: Task, language: str | None
) -> list[list[Mention]]:
    plain = [text.text for text in texts]
    if task == "text":
        return linker.link_all(plain, language)
    places = [[(mention.start, mention.end) for mention in text.mentions] for text in texts]
    return linker.disambiguate(plain, places, language)
