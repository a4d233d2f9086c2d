"""Names of labels: listed, in a file, or found in the data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from kelm.data.labels import label_names
from kelm.errors import FormatError

NAMES = ["located in", "flows by"]


def write(path: Path, *lines: Mapping[str, Any]) -> str:
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return str(path)


def test_labels_come_from_a_list_a_file_or_the_data(tmp_path: Path) -> None:
    one = write(
        tmp_path / "pairs.jsonl", {"relation": "flows by"}, {"relation": "located in"}, {"relation": "flows by"}
    )
    several = write(
        tmp_path / "types.jsonl", {"types": ["city", "place"]}, {"types": ["river", "place"]}, {"types": []}
    )
    (tmp_path / "names.txt").write_text("located in\nflows by\n\n")
    assert label_names(NAMES, "relation") == ("located in", "flows by")
    assert label_names(str(tmp_path / "names.txt"), "relation") == ("located in", "flows by")
    assert label_names(one, "relation") == ("flows by", "located in")
    assert label_names(several, "types") == ("city", "place", "river")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("a\nb\na\n", "names.txt, line 3, field relation: 'a' comes twice"),
        ("\n\n", "names.txt, field relation: no label is named"),
    ],
)
def test_a_bad_list_of_labels_is_told(content: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text(content)
    with pytest.raises(FormatError) as caught:
        label_names(str(tmp_path / "names.txt"), "relation")
    assert told in str(caught.value)
