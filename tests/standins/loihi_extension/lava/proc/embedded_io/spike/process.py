"""The adapters' processes."""

from __future__ import annotations

from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess

MADE: list[tuple[str, tuple[int, ...], int]] = []


class _Adapter(AbstractProcess):
    def __init__(self, *, shape: tuple[int, ...], num_message_bits: int = 0) -> None:
        super().__init__(shape=shape, num_message_bits=num_message_bits)
        self.inp = InPort(shape=shape)
        self.out = OutPort(shape=shape)
        MADE.append((type(self).__name__, tuple(shape), num_message_bits))


class PyToN3ConvAdapter(_Adapter):
    """Host to board, into a convolution: shapes are (W,H,C)."""

    def __init__(self, *, shape: tuple[int, int, int], num_message_bits: int = 0) -> None:
        if len(shape) != 3:
            raise ValueError(f"PyToN3ConvAdapter carries (W,H,C), not {shape}")
        super().__init__(shape=shape, num_message_bits=num_message_bits)


class PyToNxAdapter(_Adapter):
    """Host to board, flat."""

    def __init__(self, *, shape: tuple[int], num_message_bits: int = 0) -> None:
        if len(shape) != 1:
            raise ValueError(f"PyToNxAdapter carries (N,), not {shape}")
        super().__init__(shape=shape, num_message_bits=num_message_bits)


class NxToPyAdapter(_Adapter):
    """Board to host."""
