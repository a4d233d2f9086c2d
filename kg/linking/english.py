"""From an English word to the forms that a dictionary may list it under, and the words that say nothing by themselves.

    cities -> citi, citie, city (noun) ...      stopped -> stopped, stoppe, stopp, stop (verb)      went -> go (verb)

The detachment rules are WordNet's ("morphy"), a doubled consonant before an ending beside them. WordNet lists irregular
forms in files; here are those of the common verbs, nouns and adjectives. Source: morphy(7WN), https://wordnet.princeton.edu
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["STOP_WORDS", "base_forms"]

_ENDINGS = {
    "noun": (
        *(("s", ""), ("ses", "s"), ("ves", "f"), ("xes", "x"), ("zes", "z")),
        *(("ches", "ch"), ("shes", "sh"), ("men", "man"), ("ies", "y")),
    ),
    "verb": (
        *(("s", ""), ("ies", "y"), ("ied", "y"), ("es", "e"), ("es", "")),
        *(("ed", "e"), ("ed", ""), ("ing", "e"), ("ing", "")),
    ),
    "adj": (("er", ""), ("est", ""), ("er", "e"), ("est", "e"), ("ier", "y"), ("iest", "y")),
}
_DOUBLING = {"verb": ("ed", "ing"), "adj": ("er", "est")}

_VERBS = """
arise arose arisen, awake awoke awoken, be am is are was were been being, bear bore borne born, beat beaten,
become became, begin began begun, bend bent, bet, bind bound, bite bit bitten, bleed bled, blow blew blown,
break broke broken, breed bred, bring brought, build built, burn burnt, burst, buy bought, catch caught,
choose chose chosen, cling clung, come came, creep crept, deal dealt, die dying, dig dug, do did done does,
draw drew drawn, dream dreamt, drink drank drunk,
drive drove driven, eat ate eaten, fall fell fallen, feed fed, feel felt, fight fought,
find found, flee fled, fling flung, fly flew flown, forbid forbade forbidden, forget forgot forgotten,
forgive forgave forgiven, freeze froze frozen, get got gotten, give gave given, go went gone goes, grind ground,
grow grew grown, hang hung, have has had having, hear heard, hide hid hidden, hold held, keep kept, kneel knelt,
know knew known, lay laid, lead led, leap leapt, learn learnt, leave left, lend lent, lie lay lain lying, light lit,
lose lost, make made, mean meant, meet met, overcome overcame, pay paid, prove proven, ride rode ridden,
ring rang rung, rise rose risen, run ran, say said, see saw seen, seek sought, sell sold, send sent, sew sewn,
shake shook shaken, shine shone, shoot shot, show shown, shrink shrank shrunk, sing sang sung, sink sank sunk, sit sat,
sleep slept, slide slid, speak spoke spoken, spend spent, spin spun, spring sprang sprung, stand stood,
steal stole stolen, stick stuck, sting stung,
strike struck stricken, strive strove striven, swear swore sworn, sweep swept, swell swollen,
swim swam swum, swing swung, take took taken, teach taught, tear tore torn, tell told, think thought,
throw threw thrown, tie tying, understand understood, undertake undertook undertaken, wake woke woken, wear wore worn,
weave wove woven, weep wept, win won, wind wound, withdraw withdrew withdrawn, withstand withstood, write wrote written
"""
_NOUNS = """
analysis analyses, axis axes, bacterium bacteria, basis bases, brother brethren, calf calves, child children,
crisis crises, criterion criteria, curriculum curricula, datum data, diagnosis diagnoses, die dice, elf elves,
foot feet, formula formulae, fungus fungi, goose geese, half halves, hypothesis hypotheses, knife knives, larva larvae,
leaf leaves, life lives, loaf loaves, matrix matrices, medium media, mouse mice, nucleus nuclei, oasis oases, ox oxen,
person people, phenomenon phenomena, self selves, shelf shelves, spectrum spectra, stimulus stimuli, stratum strata,
synthesis syntheses, thesis theses, thief thieves, tooth teeth, vertebra vertebrae, wife wives, wolf wolves
"""
_ADJECTIVES = (
    "good better best, bad worse worst, far farther farthest further furthest, little less least, old elder eldest"
)

_STOP_WORDS = """
about above across after again against almost along already also although always among another anyone anything are
around because been before behind being below beneath beside besides between beyond both cannot could despite does
doing done down during each either else ever every everyone everything from further had has have having hence here
hers herself himself his however into itself just less many might mine more most much must myself near neither
never nobody none nothing often once only onto other others otherwise ought ours ourselves over perhaps quite
rather same several shall should since some somebody someone something still such than that their theirs them
themselves then there therefore these they this those though through throughout thus together toward towards under
unless until unto upon very were what whatever when whenever where wherever whether which whichever while whom
whose will with within without would your yours yourself yourselves
"""


STOP_WORDS = frozenset(_STOP_WORDS.split())


def _irregular() -> Mapping[str, Mapping[str, tuple[str, ...]]]:
    """Returns the base forms of irregular ones by part of speech."""
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    for pos, table in (("verb", _VERBS), ("noun", _NOUNS), ("adj", _ADJECTIVES)):
        forms = found.setdefault(pos, {})
        for base, *others in (row.split() for row in table.split(",")):
            for form in others:
                forms[form] = (*forms.get(form, ()), base)
    return found


_IRREGULAR = _irregular()


def base_forms(word: str) -> dict[str, list[str]]:
    """Returns the forms, by part of speech, that a lower-case word may be an inflection of; most are no words.

    >>> base_forms("cities")["noun"], base_forms("went")["verb"], base_forms("stopped")["verb"]
    (['citie', 'city'], ['go'], ['stoppe', 'stopp', 'stop'])
    """
    found: dict[str, list[str]] = {}
    for pos, endings in _ENDINGS.items():
        forms = list(_IRREGULAR[pos].get(word, ()))
        for ending, instead in endings:
            stem = word.removesuffix(ending)
            if stem == word or len(stem) < 2 or (pos == "noun" and word.endswith("ss")):
                continue
            forms.append(stem + instead)
            doubled = ending in _DOUBLING.get(pos, ()) and len(stem) > 2 and stem[-1] == stem[-2]
            if doubled and not instead:
                forms.append(stem[:-1])
        if forms:
            found[pos] = list(dict.fromkeys(forms))
    return found
