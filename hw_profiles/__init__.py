"""Devices as values: one YAML a device, each figure with its source.

`load` finds a profile by its name or path, `save` writes one, `names` lists those that are known.
"""

from hw_profiles.files import load, names, save
from hw_profiles.profile import Figure, HardwareProfile

__all__ = ["Figure", "HardwareProfile", "load", "names", "save"]
