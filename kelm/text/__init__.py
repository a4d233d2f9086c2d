"""Tokenizers, the training of vocabularies, and the way between characters, tokens and words."""
