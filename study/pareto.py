"""Of several objectives at once: the points that no other beats, and a few that stand for all of these.

Points are (N, objectives) arrays in which less is better.
"""

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]


def front(points: Points) -> NDArray[np.bool_]:
    """(N,) whether no other point is as good in every objective and better in one. Of equal points, all or none."""
    on_front = np.zeros(len(points), bool)
    left = np.lexsort(points.T[::-1])  # the first of what is left is beaten by nobody in it
    while len(left):
        best = points[left[0]]
        equal = (points[left] == best).all(1)
        on_front[left[equal]] = True
        left = left[~equal & (points[left] < best).any(1)]
    return on_front


def representatives(points: Points, count: int) -> list[int]:
    """Indices of `count` points of a front, all where there are no more: the best by the first objective, then one
    after the other the point that adds most to the hypervolume that those before it dominate, up to the worst value of
    each objective. It prefers the trade-offs in the middle to the ends, where the last bit of one objective costs most
    of the other; the objectives' units do not matter.

    Guerreiro, Fonseca & Paquete 2016, "Greedy Hypervolume Subset Selection in Low Dimensions", Evolutionary
    Computation 24(3)."""
    order = list(np.lexsort(points.T[::-1]))
    chosen, left = order[:1], order[1:]
    worst = points.max(0, initial=-np.inf)
    while left and len(chosen) < count:
        volumes = [hypervolume(points[[*chosen, one]], worst) for one in left]
        chosen.append(left.pop(int(np.argmax(volumes))))
    return [int(index) for index in chosen[:count]]


def hypervolume(points: Points, reference: NDArray[np.float64]) -> float:
    """Of what lies between the points and `reference`, which none of them exceeds: slice by slice along the last
    objective (Zitzler 1999, "Evolutionary Algorithms for Multiobjective Optimization", section 3.1)."""
    if points.shape[1] == 1:
        return float(reference[0] - points.min())
    points = points[points[:, -1].argsort(kind="stable")]
    depths = np.diff(points[:, -1], append=reference[-1])
    return sum(
        depth * hypervolume(points[: place + 1, :-1], reference[:-1]) for place, depth in enumerate(depths) if depth
    )
