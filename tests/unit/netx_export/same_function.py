"""Two forms of one network must do the same: spikes identical, outputs to 1e-9 of their magnitude."""

from __future__ import annotations

from typing import Any

import numpy as np

from netx_export.float_run import FloatRun, float_run


def assert_same(before: Any, after: Any, frames: Any) -> FloatRun:
    """Run both on frames (T,B,C,H,W); returns what the first did. At least one spike or output must be compared."""
    first = before if isinstance(before, FloatRun) else float_run(before, frames)
    second = float_run(after, frames)
    compared = 0
    for name, spikes in first.spikes.items():
        if name in second.spikes:
            np.testing.assert_array_equal(spikes, second.spikes[name], err_msg=name)
            compared += int(spikes.sum())
    for name, values in first.outputs.items():
        if name in second.outputs:
            scale = max(float(np.abs(values).max()), 1e-30)
            np.testing.assert_allclose(second.outputs[name] / scale, values / scale, rtol=0, atol=1e-9, err_msg=name)
            compared += int(np.count_nonzero(values))
    assert compared > 0
    return first
