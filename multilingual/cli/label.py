"""`kelm label`: a trained classifier gives texts labels, from which a model of their language learns."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["label"]


def label(
    run: Annotated[Path, typer.Argument(help="The folder of a run of kelm train with a classifier: the teacher.")],
    text: Annotated[Path, typer.Argument(help="A file of texts, one a line; plain or compressed.")],
    out: Annotated[Path, typer.Option(help="JSON lines with text, label and confidence.")],
    least: Annotated[float, typer.Option(help="Leave out texts whose label is less probable.")] = 0.0,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress.")] = False,
) -> None:
    """Give texts the labels that a trained classifier would.

    Each line has "text", "label" and "confidence", its probability; the corpus labeled_text reads it. So a model
    of one language learns from a teacher of many, without a label of its own: MultiFiT's bootstrapping. Blank lines are
    left out.

    Example: kelm label runs/teacher german.txt --out pseudo.jsonl
    """
    import json
    from collections import Counter

    from kelm.data.folders import file_aside
    from kelm.data.sources import TextFiles
    from kelm.errors import InputError
    from kelm.training import finished
    from multilingual.cli.terminal import counted, show

    if not 0 <= least <= 1:
        raise InputError(f"found {least}", field="--least", remedy="Give a probability.")
    texts = (one.text for one, _ in TextFiles(str(text)).stream() if one.text.strip())
    labels: Counter[str] = Counter()
    left, sure = 0, 0.0
    judged = finished.open(run).judged(texts)
    with file_aside(out) as aside, aside.open("w", encoding="utf-8") as file:
        for given, answer, confidence in counted(judged, "labeling", None, shown=not quiet):
            if confidence < least:
                left += 1
                continue
            labels[answer] += 1
            sure += confidence
            line = {"text": given, "label": answer, "confidence": round(confidence, 4)}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
        if not labels:
            raise InputError(f"no text of {text} has a label that is sure enough", remedy="Lower --least.")
    count = labels.total()
    rows = [("label", "texts", "share")] + [
        (name, f"{number:,}", f"{number / count:.1%}") for name, number in labels.most_common()
    ]
    said = f"{out}: {count:,} texts, mean confidence {sure / count:.3f}" + (f"; {left:,} left out" if left else "")
    show(rows, left=1, title=said)
