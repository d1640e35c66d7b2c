# SPDX-License-Identifier: Apache-2.0
"""A hermetic internet in two network namespaces, see README.md."""

from .capture import CaptureLost, Packet
from .daemon import Daemon
from .lab import Lab

__all__ = ["CaptureLost", "Daemon", "Lab", "Packet"]
