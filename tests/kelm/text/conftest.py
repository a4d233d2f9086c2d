"""Small vocabularies learned from text made here."""

import pytest

from kelm.text import vocabulary
from kelm.text.hugging_face import HuggingFace
from kelm.text.sentence_piece import SentencePiece
from tests.kelm.text.sentences import SENTENCES


@pytest.fixture(scope="session")
def unigram() -> SentencePiece:
    tokenizer = vocabulary.train(SENTENCES, 150, "unigram", coverage=1.0)
    assert isinstance(tokenizer, SentencePiece)
    return tokenizer


@pytest.fixture(scope="session")
def word_pieces() -> HuggingFace:
    tokenizer = vocabulary.train(SENTENCES, 150, "wordpiece", lower=True)
    assert isinstance(tokenizer, HuggingFace)
    return tokenizer


@pytest.fixture(scope="session")
def byte_level() -> HuggingFace:
    """A tokenizer like RoBERTa's."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    specials = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=specials, initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator(SENTENCES, trainer)
    backend.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return HuggingFace(
        PreTrainedTokenizerFast(
            tokenizer_object=backend,
            bos_token="<s>",
            eos_token="</s>",
            cls_token="<s>",
            sep_token="</s>",
            unk_token="<unk>",
            pad_token="<pad>",
            mask_token="<mask>",
        )
    )


@pytest.fixture(params=["unigram", "word_pieces", "byte_level"])
def tokenizer(request: pytest.FixtureRequest) -> HuggingFace | SentencePiece:
    found: HuggingFace | SentencePiece = request.getfixturevalue(request.param)
    return found
