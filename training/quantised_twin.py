"""The quantised twin: the integer network of a Graph in torch, at training's timing, to the bit.

All layers work in the same step, as they were trained; that pipelined hardware gives the same spikes is what the
equality tests prove. Convolutions run in floating point, but only where their integers are provably exact.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from netx_export.errors import RunError
from netx_export.graph import (
    Conv,
    Dense,
    Graph,
    Input,
    Kernel,
    Lif,
    OneToOne,
    Or,
    Population,
    Projection,
    Readout,
    accumulator_bound,
)
from netx_export.graph import fixedpoint as fx

FLOAT32_EXACT = 1 << 24
FLOAT64_EXACT = 1 << 53


def shift_toward_zero(x: Tensor, bits: int) -> Tensor:
    """tz(x, n) = sign(x) * (|x| >> n) for int64 `x`: an arithmetic shift, after 2**n - 1 is added where x < 0."""
    return ((x >> 63).bitwise_and_((1 << bits) - 1)).add_(x).bitwise_right_shift_(bits)


def wrap(x: Tensor, bits: int) -> Tensor:
    """int64 `x` modulo 2**bits into [-2**(bits-1), 2**(bits-1))."""
    half = 1 << (bits - 1)
    return ((x + half) & ((1 << bits) - 1)) - half


class QuantisedTwin(nn.Module):
    """The integers of `graph` in torch: forward (T,B,C,H,W) -> population id -> (T,B,C,H,W).

    Spikes come as uint8, readouts as int32. At `aligned` timing delays only balance the pipeline and do not appear
    here; at `as_given` timing they are part of the network: row t of a population is hardware step t of its sample.
    Arithmetic is Lava's (netx_export.graph.fixedpoint), 24-bit wraps, saturation and strict threshold included.
    Networks of Lif, Or and Readout over Conv, Dense and OneToOne: what this project's own modules become. Others, which
    only files bring, run on the `fast` backend. Raises RunError for such a network and for inputs that do not fit.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        _check_supported(graph)
        self.graph = graph
        # A kernel that several projections share is one buffer, as it is one array in the graph.
        names: dict[int, str] = {}
        self._weight_names: list[str] = []
        for projection in graph.projections:
            kernel = _weighted(projection).kernel
            if id(kernel) not in names:
                names[id(kernel)] = f"kernel{len(names)}"
                self.register_buffer(names[id(kernel)], _exact_weights(graph, kernel), persistent=False)
            self._weight_names.append(names[id(kernel)])
        self._bias_names: dict[str, str] = {}
        for index, population in enumerate(graph.populations):
            bias = _bias(population)
            if bias is not None:
                self._bias_names[population.id] = f"bias{index}"
                self.register_buffer(f"bias{index}", bias, persistent=False)

    def forward(self, inputs: Tensor | Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Input (T,B,C,H,W), or one by id, -> spikes (uint8) and readouts (int32) by population id, (T,B,C,H,W)."""
        with torch.no_grad():
            sent = self._checked(inputs)
            for population in self.graph.populations:
                if isinstance(population.neuron, Input):
                    continue
                a_in = self._current(population, sent)
                sent[population.id] = self._respond(population, a_in)
            return {p.id: sent[p.id] for p in self.graph.populations if not isinstance(p.neuron, Input)}

    def states(self, inputs: Tensor, population: str) -> tuple[Tensor, Tensor]:
        """u and v (T,B,C,H,W) int32 of one Lif population after each step; v is 0 where it spiked."""
        neuron = self.graph.by_id[population].neuron
        if not isinstance(neuron, Lif):
            raise RunError(f"Population {population!r} is a {type(neuron).__name__}; only Lif has states u and v.")
        with torch.no_grad():
            sent = {**self._checked(inputs), **self.forward(inputs)}
            a_in = self._current(self.graph.by_id[population], sent)
            steps = list(lif_steps(neuron, self.get_buffer(self._bias_names[population]), a_in))
        return torch.stack([u for u, _, _ in steps]), torch.stack([v for _, v, _ in steps])

    def spikes(self, outputs: Mapping[str, Tensor]) -> dict[str, int]:
        """Spikes per Lif and Or population in what `forward` returned."""
        return {
            p.id: int(outputs[p.id].sum(dtype=torch.int64))
            for p in self.graph.populations
            if isinstance(p.neuron, Lif | Or)
        }

    def _checked(self, inputs: Tensor | Mapping[str, Tensor]) -> dict[str, Tensor]:
        expected = {p.id: p for p in self.graph.inputs}
        if isinstance(inputs, Tensor):
            if len(expected) != 1:
                raise RunError(
                    f"The network has {len(expected)} inputs ({', '.join(expected)}); give a dictionary with one tensor for each."
                )
            inputs = {next(iter(expected)): inputs}
        if set(inputs) != set(expected):
            raise RunError(
                f"Inputs {sorted(inputs)} were given, the network reads {sorted(expected)}; give exactly those."
            )
        checked: dict[str, Tensor] = {}
        for name, population in expected.items():
            array = inputs[name]
            if array.ndim != 5 or tuple(array.shape[2:]) != population.shape or 0 in array.shape[:2]:
                raise RunError(
                    f"Input {name!r} has shape {tuple(array.shape)}; the network reads (T,B,C,H,W) with "
                    f"(C,H,W) = {population.shape} and T, B >= 1."
                )
            bits = population.neuron.message_bits if isinstance(population.neuron, Input) else 0
            low, high = (0, 1) if bits == 0 else (-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
            if array.is_floating_point() and not bool(torch.equal(array, array.round())):
                raise RunError(f"Input {name!r} holds fractions; the network reads integers in {low}..{high}.")
            if int(array.min()) < low or int(array.max()) > high:
                raise RunError(
                    f"Input {name!r} reaches from {int(array.min())} to {int(array.max())}, the limit is {low}..{high}; "
                    "binarise or scale the input first."
                )
            checked[name] = array.to(torch.int32)
        lengths = {tuple(array.shape[:2]) for array in checked.values()}
        if len(lengths) > 1:
            raise RunError(f"The inputs disagree on (T,B): {sorted(lengths)}; all inputs run for the same steps.")
        return checked

    def _current(self, population: Population, sent: Mapping[str, Tensor]) -> Tensor:
        """a_in (T,B,C,H,W) int32: the projections' currents, each wrapped as its process does, added modulo 2**32."""
        total: Tensor | None = None
        for name, projection in zip(self._weight_names, self.graph.projections, strict=True):
            if projection.dst != population.id:
                continue
            source = self.graph.by_id[projection.src]
            weight = self.get_buffer(name)
            current = _project(projection, source, population, weight, sent[projection.src])
            if self.graph.timing == "as_given":
                current = _later(current, 1 + projection.delay)
            # int32 tensors add modulo 2**32, as messages between Lava's processes do.
            total = current if total is None else total.add_(current)
        if total is None:
            raise RunError(f"Population {population.id!r} has no incoming projection; nothing drives it.")
        return total

    def _respond(self, population: Population, a_in: Tensor) -> Tensor:
        match population.neuron:
            case Lif() as neuron:
                return lif(neuron, self.get_buffer(self._bias_names[population.id]), a_in)
            case Or():
                return (a_in > 0).to(torch.uint8)
            case Readout():
                return a_in.add_(self.get_buffer(self._bias_names[population.id]))
            case other:
                raise RunError(f"Population {population.id!r} is a {type(other).__name__}; the twin cannot compute it.")


def _check_supported(graph: Graph) -> None:
    for population in graph.populations:
        neuron = population.neuron
        if not isinstance(neuron, Input | Lif | Or | Readout) or (isinstance(neuron, Lif) and neuron.reset_interval):
            kind = "Lif with reset_interval" if isinstance(neuron, Lif) else type(neuron).__name__
            raise RunError(
                f"Population {population.id!r} is a {kind}, which the torch twin does not compute; run the network on "
                "backend 'fast'."
            )
    for projection in graph.projections:
        _weighted(projection)
        if projection.delays is not None or graph.is_recurrent(projection):
            what = "is recurrent" if graph.is_recurrent(projection) else "has delays per axon or synapse"
            raise RunError(
                f"Projection {projection.label} {what}, which the torch twin does not compute; run the network on "
                "backend 'fast'."
            )


def _weighted(projection: Projection) -> Conv | Dense | OneToOne:
    """The synapse of a projection that the twin computes."""
    synapse = projection.synapse
    if isinstance(synapse, Conv | Dense | OneToOne) and synapse.kernel.exponent >= 0:
        return synapse
    kind = type(synapse).__name__ + (" with a negative exponent" if isinstance(synapse, Dense) else "")
    raise RunError(
        f"Projection {projection.label} is a {kind}, which the torch twin does not compute; run the network on "
        "backend 'fast'."
    )


def lif_steps(neuron: Lif, bias: Tensor, a_in: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """u, v and spikes (B,C,H,W) of a Lif population step by step, from u = v = 0; `bias` is already shifted, int32.

    u[t] = wrap(tz(u[t-1]*(4096-(du+1)), 12) + (a_in[t] << 6));  v[t] = clip24(tz(v[t-1]*(4096-dv), 12) + u[t] + bias)
    s[t] = v[t] > (vth_mant << 6);  v[t] = 0 where s[t].
    """
    keep_u, keep_v = fx.current_multiplier(neuron.du), fx.voltage_multiplier(neuron.dv)
    vth = neuron.vth_mant << fx.ACTIVATION_SHIFT
    u: Tensor | None = None
    v: Tensor | None = None
    for arriving in a_in:
        total = arriving << fx.ACTIVATION_SHIFT  # int32: bits beyond the 32nd are lost here, as in Lava
        if u is not None and keep_u:
            total += _leak(u, keep_u)
        # One correction by 2**24, and not a modulo: Lava leaves a larger excess as it is.
        high, low = total > fx.STATE_LIMIT, total <= -fx.STATE_LIMIT
        u = total.sub_(high.to(torch.int32), alpha=fx.CONV_WRAP).add_(low.to(torch.int32), alpha=fx.CONV_WRAP)
        # |tz(v)| < 2**23, |u| <= 2**31 - 2**24 and |bias| <= 2**19: this sum stays within 32 bits.
        v_new = u + bias
        if v is not None:
            v_new += _leak(v, keep_v)
        v_new.clamp_(-(fx.STATE_LIMIT - 1), fx.STATE_LIMIT - 1)
        fired = v_new > vth
        v = v_new.masked_fill_(fired, 0)
        yield u, v, fired


def lif(neuron: Lif, bias: Tensor, a_in: Tensor) -> Tensor:
    """Spikes uint8 (T,B,C,H,W) of a Lif population; see `lif_steps`."""
    spikes = torch.empty(a_in.shape, dtype=torch.uint8, device=a_in.device)
    for t, (_, _, fired) in enumerate(lif_steps(neuron, bias, a_in)):
        spikes[t] = fired
    return spikes


def _leak(state: Tensor, multiplier: int) -> Tensor:
    """tz(state * multiplier, 12) int32, the product with 64 bits."""
    if multiplier == fx.DECAY_ONE:
        return state
    return shift_toward_zero(state.to(torch.int64) * multiplier, fx.DECAY_BITS).to(torch.int32)


def _bias(population: Population) -> Tensor | None:
    """The bias of a population, shifted, int32, broadcastable to (B,C,H,W)."""
    match population.neuron:
        case Lif() as neuron:
            bias = fx.scale_bias(neuron.bias_mant, neuron.bias_exp)
        case Readout() as neuron:
            bias = neuron.bias
        case _:
            return None
    found = torch.tensor(bias, dtype=torch.int32)
    return found.reshape(-1, 1, 1) if found.ndim == 1 else found


def _message_max(source: Population) -> int:
    bits = source.neuron.message_bits if isinstance(source.neuron, Input) else 0
    return 1 << max(bits - 1, 0)


def _exact_weights(graph: Graph, kernel: Kernel) -> Tensor:
    """Mantissas in the narrowest float type that computes every projection of this kernel exactly.

    Mantissas are multiplied without their exponent, so that sum|w| * message stays below 2**24 (float32) or 2**53
    (float64): then every partial sum, in any order, is an integer that the type holds.
    """
    worst = max(
        accumulator_bound(p.synapse, _message_max(graph.by_id[p.src])) >> kernel.exponent
        for p in graph.projections
        if _weighted(p).kernel is kernel
    )
    if worst >= FLOAT64_EXACT:
        raise RunError(f"A kernel can reach {worst}, the limit is 2**53; use narrower messages.")
    dtype = torch.float32 if worst < FLOAT32_EXACT else torch.float64
    return torch.tensor(kernel.mantissa, dtype=dtype)


def _project(
    projection: Projection, source: Population, target: Population, weight: Tensor, messages: Tensor
) -> Tensor:
    """Current int32 (T,B,C,H,W) of one projection in the step in which its messages are sent."""
    synapse = _weighted(projection)
    if projection.src_channels is not None:
        messages = messages[:, :, slice(*projection.src_channels)]
    steps, samples = messages.shape[:2]
    if weight.dtype is torch.float32 and messages.device.type != "cpu":
        # Other devices may pick Winograd or TF32 for float32, which are not exact on integers.
        weight = weight.to(torch.float64)
    signals = messages.to(weight.dtype)
    match synapse:
        case Conv():
            frames = signals.flatten(0, 1)
            if synapse.upsample > 1:
                frames = F.interpolate(frames, scale_factor=float(synapse.upsample), mode="nearest")
            # NNPACK transforms its operands (Winograd, FFT) and is not exact on integers; oneDNN's direct kernels are.
            with torch.backends.nnpack.flags(enabled=False):
                sums = F.conv2d(
                    frames,
                    weight,
                    stride=synapse.stride,
                    padding=synapse.padding,
                    dilation=synapse.dilation,
                    groups=synapse.groups,
                )
        case Dense():
            sums = signals.flatten(2).flatten(0, 1) @ weight.T
        case OneToOne():
            sums = signals * weight.reshape(-1, 1, 1)
    exponent = synapse.kernel.exponent
    bound = accumulator_bound(synapse, _message_max(source))
    if bound < fx.STATE_LIMIT:
        current = sums.to(torch.int32) << exponent
    else:
        # Lava's Conv wraps modulo 2**24 (a one-to-one projection is a grouped 1x1 Conv there), its Dense at 32 bits.
        bits = 32 if isinstance(synapse, Dense) else 24
        current = wrap(sums.to(torch.int64) << exponent, bits).to(torch.int32)
    return current.reshape(steps, samples, *target.shape)


def _later(current: Tensor, lag: int) -> Tensor:
    """`current` shifted by `lag` steps, zeros first."""
    late = torch.zeros_like(current)
    if lag < current.shape[0]:
        late[lag:] = current[:-lag]
    return late
