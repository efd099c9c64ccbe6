"""Turning a Python function into a static program: source conversion, recorded reads, guards."""

from __future__ import annotations

from duograph import _core as core

from .values.numbers import LiveNumber
from .values.sizes import install

core.set_number_type(LiveNumber)
install()
core.set_hook("value_read", "duograph.capture.values.refuse:value_read")
core.set_hook("lift", "duograph.capture.builder:snapshot")
core.set_hook("view_written", "duograph.capture.memory.histories:view_written")
core.set_hook("localize", "duograph.capture.control.regions:localize")
core.set_hook("written", "duograph.capture.memory.aliases:written")
core.set_hook("overwritten", "duograph.capture.memory.versions:overwritten")
core.set_hook("layout_read", "duograph.capture.values.layout_read:layout_read")
