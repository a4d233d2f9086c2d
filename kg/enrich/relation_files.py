"""Relation data sets in the formats they come in, written as the JSON lines that `marked_pairs` reads.

    write_pairs(read_fewrel("train_wiki.json"), "train.jsonl")
    write_pairs(read_tacred("train.json"), "train.jsonl")

Source: Han et al., 2018 (FewRel; read by `kg.linking.linked_text`); Zhang et al., 2017 (TACRED).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import accumulate
from pathlib import Path
from typing import Any

from kelm.data.files import lines
from kelm.errors import FormatError
from kg.linking.base import Mention
from kg.linking.linked_text import RelationText, gold

__all__ = ["read_tacred", "write_pairs"]


def read_tacred(path: str | Path) -> list[RelationText]:
    """Reads TACRED's JSON: a list of ``{"token", "subj_start", "subj_end", "obj_start", "obj_end", "relation"}``.

    The subject is the head. Ends are included; words are joined by spaces. The mentions are linked to nothing.

    Raises:
        FormatError: the file is not of this form.
    """
    content = "\n".join(line for _, line in lines(path))
    try:
        return [
            _tacred(example, f"{path}: example {number}") for number, example in enumerate(json.loads(content), start=1)
        ]
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise FormatError(
            f"this is not TACRED's form ({type(error).__name__}: {error})",
            path=path,
            remedy='Expected [{"token": [...], "subj_start": 0, "subj_end": 0, "obj_start": ..., "relation": ...}].',
        ) from error


def _tacred(example: dict[str, Any], origin: str) -> RelationText:
    words: list[str] = example["token"]
    starts = [0, *accumulate(len(word) + 1 for word in words)]
    text = " ".join(words)

    def mention(of: str) -> Mention:
        first, last = example[f"{of}_start"], example[f"{of}_end"]
        return gold(text, starts[first], starts[last] + len(words[last]), None)

    return RelationText(text, mention("subj"), mention("obj"), example["relation"], origin)


def write_pairs(texts: Iterable[RelationText], path: str | Path) -> int:
    """Writes texts with a pair as JSON lines, and returns how many."""
    written = 0
    with Path(path).open("w", encoding="utf-8") as file:
        for text in texts:
            head, tail = ([one.start, one.end, one.entity] for one in (text.head, text.tail))
            line = {"text": text.text, "head": head, "tail": tail, "relation": text.relation}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
            written += 1
    return written
