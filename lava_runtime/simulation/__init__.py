"""Networks in Lava's CPU simulator: what a Lava user needs, and what the `sim` backend is made of.

from lava_runtime.simulation import CompiledSimCfg, NetworkProcess, NetworkStepper
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lava_runtime.simulation.lava_import import import_lava

if TYPE_CHECKING:
    from lava_runtime.lava.network_process import NetworkProcess
    from lava_runtime.simulation.network_stepper import NetworkStepper
    from lava_runtime.simulation.run_config import CompiledSimCfg

_PLACES = {
    "CompiledSimCfg": "lava_runtime.simulation.run_config",
    "NetworkProcess": "lava_runtime.lava.network_process",
    "NetworkStepper": "lava_runtime.simulation.network_stepper",
}

__all__ = ["CompiledSimCfg", "NetworkProcess", "NetworkStepper"]


def __getattr__(name: str) -> Any:
    """Lava and numba load when a name that needs them is first asked for; BackendUnavailableError where Lava cannot."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name != "NetworkStepper":
        import_lava("sim")
    return getattr(import_module(_PLACES[name]), name)
