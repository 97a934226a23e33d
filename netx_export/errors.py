"""Every error Basalt raises for a user's mistake.

    BasaltError
    ├── GraphError          a network that contradicts itself (shapes, names, wiring)
    │   └── NotBinaryError  something other than a 0/1 spike would cross a projection
    ├── ExportError         a torch module or lava-dl network that cannot be exported as it is
    ├── QuantisationError   a weight, bias, threshold or decay that no integer of the chip can hold
    ├── NetxError           a `.net` file that cannot be read or written
    ├── RecordingError      an event recording or box file that cannot be trusted
    ├── CheckpointError     a checkpoint that cannot be loaded
    ├── ConfigError         a setting outside its limits
    ├── NotInstalledError   an optional library that a step needs is missing
    ├── RunError            inputs or probes that do not fit the network, or a run that cannot start
    │   └── BackendUnavailableError  the backend needs something that is not installed here
    └── ProfileError        a chip file that is malformed, or a network that a chip cannot hold
        └── DoesNotFitError the network needs more of a resource than the profile's board has

A message names the layer or file, the value, the limit and the remedy. The scripts print the message
without a traceback and exit with `exit_code`.
"""

from __future__ import annotations


class BasaltError(Exception):
    """A mistake the user can mend; the message says how."""

    exit_code = 2


class GraphError(BasaltError):
    """A network that contradicts itself."""


class NotBinaryError(GraphError):
    """Something other than a 0/1 spike would cross a projection."""


class ExportError(BasaltError):
    """A module that cannot be exported as it is."""


class QuantisationError(BasaltError):
    """A number that no integer of the chip's width can hold."""


class NetxError(BasaltError):
    """A `.net` file that cannot be read or written."""


class RecordingError(BasaltError):
    """An event recording or box file that cannot be trusted."""


class CheckpointError(BasaltError):
    """A checkpoint that cannot be loaded."""


class ConfigError(BasaltError):
    """A setting outside its limits."""


class NotInstalledError(BasaltError):
    """An optional library that this step needs is missing."""

    exit_code = 3


class RunError(BasaltError):
    """Inputs or probes that do not fit the network, or a run that cannot start."""


class BackendUnavailableError(RunError):
    """The backend needs something that is not installed on this machine."""

    exit_code = 3


class ProfileError(BasaltError):
    """A chip file that is malformed."""


class DoesNotFitError(ProfileError):
    """The network needs more of a resource than the profile's board has."""


__all__ = [
    "BackendUnavailableError",
    "BasaltError",
    "CheckpointError",
    "ConfigError",
    "DoesNotFitError",
    "ExportError",
    "GraphError",
    "NetxError",
    "NotBinaryError",
    "NotInstalledError",
    "ProfileError",
    "QuantisationError",
    "RecordingError",
    "RunError",
]
