"""What goes wrong with simulated lanes: slow ones, and nodes that are lost for a while."""

from dataclasses import dataclass

import numpy as np

LANES_A_NODE = 8
REPAIR_SECONDS = 300.0
"""Until a lost node is replaced."""
SLOW = 3.0
"""How much longer a straggler takes."""
DAY = 24 * 3600.0


@dataclass(frozen=True)
class Faults:
    """How often. What goes wrong with trials themselves is their curves' (see study.simulation.course)."""

    stragglers: float = 0.0
    """Share of lanes that take SLOW times as long."""
    node_losses: float = 0.0
    """Of each node, a day, at random moments."""

    def paces(self, lanes: int, chance: np.random.Generator) -> np.ndarray:
        """Seconds that each lane takes for a second's work."""
        return np.where(chance.random(lanes) < self.stragglers, SLOW, chance.lognormal(0, 0.03, lanes))

    def seconds_to_loss(self, chance: np.random.Generator) -> float:
        return chance.exponential(DAY / self.node_losses) if self.node_losses else np.inf
