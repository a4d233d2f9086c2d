"""What is put into a text moves the words of a tagging task with their tokens."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kelm.batch import pack
from kelm.data.tagged_words import Words, tagged_words
from kelm.model import EncoderConfig
from kelm.text import vocabulary
from kg.enrich.markers import mark

MARKER = 4


def test_tags_stay_with_their_words_when_tokens_are_inserted(tmp_path: Path) -> None:
    words = vocabulary.train(["old bonn lies on the rhine"], 60, "wordpiece", lower=True)
    config = EncoderConfig(hidden_size=16, num_attention_heads=2)
    (tmp_path / "a.conll").write_text("old\tO\nbonn\tB\nlies\tO\n\non\tO\nthe\tO\nrhine\tB\n")
    tags = ["O", "B"]
    texts = [
        text for text, _ in tagged_words(str(tmp_path / "a.conll"), tags=tags, tokenizer=words, config=config).stream()
    ]
    before = [text.tokens[text[Words].token.numpy()] for text in texts]
    changed = [mark(text, [(2, 2)], [MARKER])[0] for text in texts]
    batch = pack(changed, pad=0, room=40)
    found = batch.tokens[batch[Words].row, batch[Words].token]
    assert found.tolist() == np.concatenate(before).tolist()
    assert all(len(new) == len(old) + 2 for new, old in zip(changed, texts, strict=True))
