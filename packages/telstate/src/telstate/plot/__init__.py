"""Plots of sensors against time, as a matplotlib figure or as text; needs the extra ``plot``."""

from __future__ import annotations

from telstate.plot._figure import plot_sensors
from telstate.plot._terminal import plot_sensors_as_text

__all__ = ["plot_sensors", "plot_sensors_as_text"]
