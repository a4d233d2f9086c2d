"""Sentences made here, in several scripts, from which small vocabularies are learned."""

import itertools

__all__ = ["SENTENCES"]

NAMES = ["Ada", "Bruno", "Chiara", "Dmitri", "Emília", "François", "Gülşen", "李雷"]
VERBS = ["visited", "described", "remembered", "photographed", "avoided"]
PLACES = ["Washington", "the unaffable museum", "東京 tower", "a café, near Lyon", "that ﬁne river", "São Paulo"]
SYLLABLES = ["ba", "chen", "dor", "el", "fi", "gan", "ho", "ist", "ju", "kel", "lo", "mar", "nu", "or", "pe", "ting"]
WORDS = ["".join(syllables) for syllables in itertools.product(SYLLABLES, SYLLABLES, SYLLABLES[::3])]
SENTENCES = [f"{name} {verb} {place}." for name, verb, place in itertools.product(NAMES, VERBS, PLACES)]
SENTENCES += [" ".join(WORDS[start::200]) for start in range(200)]
