"""Axis names and tensor aliases, in one place.

Axis words, used in every annotation of the project:

    row         a line of a batch; may hold several texts
    token       a position within a row (or within one text)
    text        one input text, or one pair of texts that are read together
    width       the size of a hidden vector
    head        an attention head (in `kg.graph`: the subject of a triple)
    mention     a stretch of text that names an entity
    candidate   an entity that a mention may mean
    entity, relation, triple, language      rows of a table of that name
    target      a position whose token is to be predicted
"""

from jaxtyping import Bool, Float, Int
from torch import Tensor

__all__ = ["Bool", "Float", "Int", "Tensor"]
