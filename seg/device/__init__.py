"""The parts that depend on the device: resident images, cached features, precision, memory, latency."""
