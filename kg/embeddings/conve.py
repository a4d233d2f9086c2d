"""A convolution over head and relation as one image: ConvE (Dettmers et al., 2018).

    score(h, r, t) = f(vec(f([h̄; r̄] * ω)) W) · t + b_t

    h, r as pictures of height × width/height, one above the other -> norm -> `filters` kernels -> norm -> f = max(0, x)
    -> flat -> W to `width` numbers -> norm -> f = the query

It has no query for heads: they are asked as tails of inverse relations.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from kelm.errors import InputError
from kg.embeddings.answers import Side
from kg.embeddings.interactions import ALONE, Interaction
from kg.embeddings.noise import SILENT, Noise, batch_norm, first_norm

__all__ = ["ConvE"]


@dataclass(frozen=True, slots=True)
class ConvE(Interaction):
    """A query by convolution; candidates have a bias.

    Args:
        height: of the picture of an entity; 0 is the largest divisor of the width up to its root, such as 10 for the
            paper's width of 200 (10 × 20).
        filters: number of kernels; the paper's 32.
        kernel: height and width of a kernel; the paper's 3.
        normalized: batch norm of picture, feature maps and query.

    Source: Dettmers et al. (2018), equation 1 and section 5.
    """

    height: int = 0
    filters: int = 32
    kernel: int = 3
    normalized: bool = True

    two_sided = False
    biased = True

    def relation_width(self, width: int) -> int:
        """Returns `width`.

        Raises:
            InputError: the width is no multiple of the height, or the kernel is larger than the picture.
        """
        height, wide = self._picture(width)
        if height * wide != width or self.kernel > min(2 * height, wide):
            raise InputError(
                f"a vector of {width} numbers makes no picture of height {height} for kernels of {self.kernel}",
                field="width",
                remedy="Choose a width and an image_height that divides it, such as 200 and 10.",
            )
        return width

    def _picture(self, width: int) -> tuple[int, int]:
        height = self.height or next(size for size in range(math.isqrt(width), 0, -1) if width % size == 0)
        return height, width // height

    def shared(self, width: int, random: torch.Generator) -> dict[str, Tensor]:
        """Returns kernels and projection, uniform within 1/√inputs, and the norms."""
        height, wide = self._picture(width)
        inner = self.filters * (2 * height - self.kernel + 1) * (wide - self.kernel + 1)

        def uniform(*shape: int, inputs: int) -> Tensor:
            edge = inputs**-0.5
            return torch.empty(shape).uniform_(-edge, edge, generator=random)

        values = {
            "kernels": uniform(self.filters, 1, self.kernel, self.kernel, inputs=self.kernel**2),
            "kernel_biases": uniform(self.filters, inputs=self.kernel**2),
            "projection": uniform(width, inner, inputs=inner),
            "projection_bias": uniform(width, inputs=inner),
        }
        if self.normalized:
            for name, size in (("picture", 1), ("maps", self.filters), ("query", width)):
                values |= first_norm(name, size)
        return values

    def queries(
        self,
        given: Float[Tensor, "row width"],
        relations: Float[Tensor, "relation number"],
        links: Int64[Tensor, "row"],
        side: Side,
        shared: Mapping[str, Tensor] = ALONE,
        noise: Noise = SILENT,
    ) -> Float[Tensor, "row width"]:
        """Returns the query for tails.

        Raises:
            InputError: heads are asked for.
        """
        if side == "head":
            raise InputError("ConvE has no query for heads", remedy="Set reciprocal = true in the recipe.")
        shape = (1, *self._picture(given.shape[1]))
        pictures = [vectors.unflatten(1, shape) for vectors in (given, relations[links])]
        both = batch_norm(torch.cat(pictures, dim=2), "picture", shared, noise)
        upper, lower = both.chunk(2, dim=2)
        both = torch.cat((noise.entities(upper), noise.relations(lower)), dim=2)
        maps = functional.conv2d(both, shared["kernels"], shared["kernel_biases"])
        maps = noise.maps(batch_norm(maps, "maps", shared, noise).relu())
        flat = noise.queries(functional.linear(maps.flatten(1), shared["projection"], shared["projection_bias"]))
        return batch_norm(flat, "query", shared, noise).relu()
