"""How probable each meaning of a name is, unread: what linked text counted, smoothed by what the graph says.

    p(e | m) = (c(m, e) + mu p_graph(e | m)) / (c(m) + mu)
    p_graph(e | m) = (1 - nil) w(m, e) / sum of all w(m, .)

The shares of counts are the "commonness" of the linking literature (Medelyan & Legg, 2008). Where a name was seldom
seen, or never, the graph decides: Dirichlet smoothing, by which `mu` mentions that are spread as the graph says come
before the first one that was seen (Zhai & Lafferty, 2004, equation 6). "No entity" is a meaning as any other: its
back-off is `nil`.
"""

from __future__ import annotations

from collections.abc import Mapping

from kg.linking.base import NIL

__all__ = ["smoothed"]


def smoothed(
    weights: Mapping[str, float], counts: Mapping[str, int], *, mu: float, nil: float = 0.0
) -> dict[str, float]:
    """Returns the prior of each entity that has a weight, and of `NIL` where it has a count or a back-off.

    Args:
        weights: positive, of the entities that a name may mean.
        counts: how often it was seen to mean what; entities without a weight do not count.

    >>> smoothed({"Q90": 3.0, "Q167646": 1.0}, {"Q167646": 5, NIL: 1}, mu=4.0)
    {'Q90': 0.3, 'Q167646': 0.6, '': 0.1}
    """
    share = (1.0 - nil) / sum(weights.values())
    shares = {entity: weight * share for entity, weight in weights.items()}
    if nil or counts.get(NIL):
        shares[NIL] = nil
    seen = sum(counts.get(entity, 0) for entity in shares)
    if not seen:
        return shares
    return {entity: (counts.get(entity, 0) + mu * prior) / (seen + mu) for entity, prior in shares.items()}
