"""kelm: knowledge-enhanced and cross-lingual language models on one Transformer encoder."""

__version__ = "0.1.0"
