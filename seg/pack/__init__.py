"""A dataset that is decoded once, into memory-mapped arrays at one image size."""

from seg.pack.pack import Obtain, Pack, adopt, build, default_root, open_pack

__all__ = ["Obtain", "Pack", "adopt", "build", "default_root", "open_pack"]
