"""The few pieces of LLVM that the vector kernels are written with: array pointers, splats, loops."""

from __future__ import annotations

from typing import Any, Final

from llvmlite import ir

I16: Final = ir.IntType(16)
I32: Final = ir.IntType(32)
I64: Final = ir.IntType(64)


def array_data(context: Any, builder: ir.IRBuilder, array_type: Any, array: Any) -> Any:
    return context.make_array(array_type)(context, builder, array).data


def splat(builder: ir.IRBuilder, scalar: Any, count: int) -> Any:
    vector = ir.VectorType(scalar.type, count)
    single = builder.insert_element(ir.Constant(vector, ir.Undefined), scalar, ir.Constant(I32, 0))
    return builder.shuffle_vector(
        single, ir.Constant(vector, ir.Undefined), ir.Constant(ir.VectorType(I32, count), [0] * count)
    )


def pointer_at(builder: ir.IRBuilder, pointer: Any, index: Any, kind: Any) -> Any:
    """Address of element `index` behind `pointer`, as a pointer to `kind`."""
    return builder.bitcast(builder.gep(pointer, [index]), kind.as_pointer())


def at_address(builder: ir.IRBuilder, address: Any, kind: Any) -> Any:
    """An int64 address as a pointer to `kind`."""
    return builder.inttoptr(address, kind.as_pointer())


class Loop:
    """A counted loop with values that live in registers: `step(index, values) -> values`."""

    def __init__(self, builder: ir.IRBuilder, begin: Any, end: Any, stride: int, values: list[Any]) -> None:
        self._builder = builder
        before = builder.block
        self._head = builder.append_basic_block("loop.head")
        self._body = builder.append_basic_block("loop.body")
        self._done = builder.append_basic_block("loop.done")
        self._stride = stride
        builder.branch(self._head)
        builder.position_at_end(self._head)
        self.index = builder.phi(I64)
        self.index.add_incoming(begin, before)
        self.values = [builder.phi(value.type) for value in values]
        for phi, value in zip(self.values, values, strict=True):
            phi.add_incoming(value, before)
        builder.cbranch(builder.icmp_signed("<", self.index, end), self._body, self._done)
        builder.position_at_end(self._body)

    def close(self, values: list[Any]) -> None:
        """End the body with the new values; `self.values` then holds the final ones."""
        builder = self._builder
        self.index.add_incoming(builder.add(self.index, ir.Constant(I64, self._stride)), builder.block)
        for phi, value in zip(self.values, values, strict=True):
            phi.add_incoming(value, builder.block)
        builder.branch(self._head)
        builder.position_at_end(self._done)
