"""What stands nearest to an operation that has no spiking form."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

_DEFAULT_REMEDY = "put what it computes into a neuron that offers neuron_spec(), or express it as a convolution."
_POOL_REMEDY = "a convolution with stride 2, or nn.MaxPool2d on the spikes after a neuron (a logical OR)."
_RELU_REMEDY = "a spiking neuron (PLIF) in its place."
_NEAREST: Mapping[str, str] = {
    "avgpool2d": _POOL_REMEDY,
    "avg_pool2d": _POOL_REMEDY,
    "adaptiveavgpool2d": _POOL_REMEDY,
    "adaptive_avg_pool2d": _POOL_REMEDY,
    "adaptivemaxpool2d": _POOL_REMEDY,
    "mean": "return every time step and average after the run; in space, a convolution with stride.",
    "relu": _RELU_REMEDY,
    "relu_": _RELU_REMEDY,
    "leakyrelu": _RELU_REMEDY,
    "sigmoid": _RELU_REMEDY,
    "tanh": _RELU_REMEDY,
    "silu": _RELU_REMEDY,
    "gelu": _RELU_REMEDY,
    "softmax": "return the currents and apply softmax after the run.",
    "getitem": "a 1x1 convolution that reads the channels wanted; for a loop over time steps, layers that take all of them, "
    "or the export of the module of one step with an example (B,C,H,W).",
    "conv2d": "the same as a module, nn.Conv2d.",
    "linear": "the same as a module, nn.Linear.",
    "matmul": "nn.Linear.",
    "convtranspose2d": "nearest upsampling followed by a convolution.",
    "layernorm": "BatchNorm2d, which folds into the convolution.",
    "groupnorm": "BatchNorm2d, which folds into the convolution.",
}


def nearest_form(names: Iterable[str]) -> str:
    """The remedy for an operation, by its names in order: a function's, or a module's class and the classes it derives from."""
    return next((_NEAREST[name.lower()] for name in names if name.lower() in _NEAREST), _DEFAULT_REMEDY)
