"""Comparison by several objectives at once: the points that no other beats, and a few that represent them.

Points are (N, objectives) arrays in which less is better.
"""

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]


def front(points: Points) -> NDArray[np.bool_]:
    """Return (N,) whether no other point is as good in every objective and better in one.

    Equal points are either all on the front or all off it.
    """
    on_front = np.zeros(len(points), bool)
    left = np.lexsort(points.T[::-1])  # no remaining point beats the first one
    while len(left):
        best = points[left[0]]
        equal = (points[left] == best).all(1)
        on_front[left[equal]] = True
        left = left[~equal & (points[left] < best).any(1)]
    return on_front


def representatives(points: Points, count: int) -> list[int]:
    """Return the indices of `count` points that represent a front, or of all points if there are no more.

    The first is the best by the first objective. Each next one adds most to the hypervolume that the chosen points
    dominate, up to the worst value of each objective. This prefers trade-offs in the middle to the ends, where the
    last bit of one objective costs most of the other. The objectives' units do not matter.

    Guerreiro, Fonseca & Paquete 2016, "Greedy Hypervolume Subset Selection in Low Dimensions", Evolutionary
    Computation 24(3).
    """
    order = list(np.lexsort(points.T[::-1]))
    chosen, left = order[:1], order[1:]
    worst = points.max(0, initial=-np.inf)
    while left and len(chosen) < count:
        volumes = [hypervolume(points[[*chosen, one]], worst) for one in left]
        chosen.append(left.pop(int(np.argmax(volumes))))
    return [int(index) for index in chosen[:count]]


def hypervolume(points: Points, reference: NDArray[np.float64]) -> float:
    """Return the hypervolume between the points and `reference`, which no point exceeds.

    It is summed slice by slice along the last objective (Zitzler 1999, "Evolutionary Algorithms for Multiobjective
    Optimization", section 3.1).
    """
    if points.shape[1] == 1:
        return float(reference[0] - points.min())
    points = points[points[:, -1].argsort(kind="stable")]
    depths = np.diff(points[:, -1], append=reference[-1])
    return sum(
        depth * hypervolume(points[: place + 1, :-1], reference[:-1]) for place, depth in enumerate(depths) if depth
    )
