"""A Gaussian process over choices whose values are whole curves. D dimensions, N trials, E epochs."""

from dataclasses import dataclass

import numpy as np

SCALES = (0.15, 0.3, 0.6, 1.2, 2.5, 5.0, 40.0)
"""Length scales that are tried of each dimension, whose range is 1; with the last one it does not matter."""
NOISES = (1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3)
"""Variances that are tried of what a trial has that its choices do not explain, over the variance that they do."""
SWEEPS = 3


@dataclass(frozen=True)
class Process:
    """All epochs have one kernel: a curve is their mean, and a sum of the fitted curves about it, weighted by how near
    their places are."""

    places_ND: np.ndarray
    """In [0, 1]."""
    categorical_D: np.ndarray
    """Whether two values of a dimension are the same or not, and nothing between."""
    scales_D: np.ndarray
    mean_E: np.ndarray
    weights_NE: np.ndarray
    noise_NE: np.ndarray
    """What each fitted curve has beyond the mean at its place, in the size of the fitted noise."""

    def distances(self, place_D: np.ndarray, places_ND: np.ndarray) -> np.ndarray:
        """Squared, in length scales."""
        return (_squares(place_D[None], places_ND, self.categorical_D)[0] / self.scales_D**2).sum(-1)

    def mean(self, place_D: np.ndarray) -> np.ndarray:
        kernel_N = np.exp(-self.distances(place_D, self.places_ND) / 2)
        return np.asarray(self.mean_E + kernel_N @ self.weights_NE)

    def noise(self, dice: np.random.Generator) -> np.ndarray:
        """Of a trial drawn at random: a whole curve, so that its epochs are correlated as those of trials are."""
        return np.asarray(self.noise_NE[dice.integers(len(self.noise_NE))])


def fit(places_ND: np.ndarray, curves_NE: np.ndarray, categorical_D: np.ndarray) -> Process:
    """Length scales and noise of greatest likelihood, one after the other, a few times over."""
    scales_D, noise = np.full(places_ND.shape[1], 1.2), 0.1
    centered_NE = curves_NE - curves_NE.mean(0)

    def likelihood(scales_D: np.ndarray, noise: float) -> float:
        return log_likelihood(matrix(places_ND, scales_D, categorical_D, noise), centered_NE)

    for _ in range(SWEEPS):
        for d in range(len(scales_D)):
            tried = [np.where(np.arange(len(scales_D)) == d, scale, scales_D) for scale in SCALES]
            scales_D = max(tried, key=lambda scales_D: likelihood(scales_D, noise))
        noise = max(NOISES, key=lambda noise: likelihood(scales_D, noise))
    weights_NE = np.linalg.solve(matrix(places_ND, scales_D, categorical_D, noise), centered_NE)
    variance_E = noise * (centered_NE * weights_NE).mean(0)
    noise_NE = weights_NE * np.sqrt(variance_E / (weights_NE**2).mean(0))
    return Process(places_ND, categorical_D, scales_D, curves_NE.mean(0), weights_NE, noise_NE)


def matrix(places_ND: np.ndarray, scales_D: np.ndarray, categorical_D: np.ndarray, noise: float) -> np.ndarray:
    """(N, N), of a squared exponential kernel of variance 1, and the noise on its diagonal."""
    distances_NN = (_squares(places_ND, places_ND, categorical_D) / scales_D**2).sum(-1)
    return np.asarray(np.exp(-distances_NN / 2) + noise * np.eye(len(places_ND)))


def log_likelihood(matrix_NN: np.ndarray, centered_NE: np.ndarray) -> float:
    """Of all epochs, each with the variance at which it is greatest, up to a constant (Rasmussen and Williams 2006,
    equation 5.8)."""
    _, log_determinant = np.linalg.slogdet(matrix_NN)
    variance_E = (centered_NE * np.linalg.solve(matrix_NN, centered_NE)).mean(0)
    count, epochs = centered_NE.shape
    return float(-0.5 * (epochs * log_determinant + count * np.log(variance_E).sum()))


def _squares(one_MD: np.ndarray, other_ND: np.ndarray, categorical_D: np.ndarray) -> np.ndarray:
    """Squared differences, (M, N, D)."""
    difference = np.abs(one_MD[:, None] - other_ND[None])
    return np.where(categorical_D, difference > 1e-9, difference) ** 2.0
