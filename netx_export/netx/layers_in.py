"""NetX files from elsewhere: `/layer` as a Graph, or an error that says what cannot be honoured."""

from __future__ import annotations

import reprlib
from dataclasses import dataclass, field

from netx_export.errors import GraphError, NetxError
from netx_export.graph import GRADED, RESONATORS, Graph, Input, NeuronSpec, Population, Projection, Shape, Wire
from netx_export.netx import layer_fields as fields
from netx_export.netx import neuron_fields, neuron_runs, synapses_in
from netx_export.netx.findings import Finding, Findings
from netx_export.netx.signals import Part, Signal, joined
from netx_export.netx.tree import Group

INPUT_BITS = 24
"""Message width of inputs that are numbers: Lava's ports carry 24 bits."""

PARTS_LIMIT = 256
"""Layers that one concat may join, those inside of other concats counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOptions:
    """What a caller decides; names and meaning as in lava-dl's `hdf5.Network`, shapes as (C,H,W)."""

    skip_layers: int = 0
    num_layers: int | None = None
    input_message_bits: int = 0
    input_shape: Shape | None = None
    reset_interval: int | None = None
    reset_offset: int = 0
    spike_exp: int = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerReading:
    """A file from elsewhere: the network, and every place where stock Lava and the file part."""

    graph: Graph
    findings: tuple[Finding, ...]


@dataclass(slots=True)
class _Walk:
    """The network so far, layer by layer."""

    options: ReadOptions
    layers: list[Group]
    findings: Findings = field(default_factory=Findings)
    populations: list[Population] = field(default_factory=list)
    projections: list[Projection] = field(default_factory=list)
    signals: dict[int, Signal] = field(default_factory=dict)
    resets: int = 0
    flatten_next: bool = False
    meta: dict[str, str] = field(default_factory=dict)

    def settings(self) -> neuron_fields.Settings:
        """Constants for the next layer with neurons; each resets one step after the one before, the first at 1."""
        interval = self.options.reset_interval or 0
        self.resets += 1
        return neuron_fields.Settings(
            reset_interval=interval,
            reset_offset=self.options.reset_offset + self.resets if interval else 0,
            spike_exp=self.options.spike_exp,
        )

    def population(self, where: str, name: str, shape: Shape, neuron: NeuronSpec) -> None:
        try:
            self.populations.append(Population(id=name, shape=shape, neuron=neuron))
        except GraphError as error:
            raise NetxError(f"{where}: {error}") from None


def read_layers(root: Group, options: ReadOptions) -> LayerReading:
    """The graph of a plain NetX file.

    Every block costs one step, as in training, so the timing is `as_given`; biases have exponent 6, as in the stock
    loader. Raises NetxError naming file, layer, value, limit and remedy.
    """
    layers = root.group("layer").numbered()
    if not layers:
        raise NetxError(f"{root.where}: /layer is empty; the file holds no network.")
    _check_options(root, options, len(layers))
    for index, layer in enumerate(layers):
        layer.where = f"{root.where}: layer {index}"
        word = fields.layer_type(layer)
        layer.where += f" ({word})" if word.isidentifier() and len(word) <= 20 else ""
    count = len(layers) if options.num_layers is None else options.num_layers
    walk = _Walk(options=options, layers=layers[:count])
    if options.skip_layers:
        _start_behind(walk, layers[options.skip_layers - 1], options.skip_layers - 1)
    for index in range(options.skip_layers, count):
        _layer(walk, layers[index], index)
    if not any(not isinstance(population.neuron, Input) for population in walk.populations):
        raise NetxError(f"{root.where}: there is no layer with neurons; nothing would run.")
    if walk.flatten_next:
        walk.findings.add(fields.label(layers[count - 1]), "note", "a flatten layer at the end changes nothing.")
    graded = any(isinstance(p.neuron, GRADED) for p in walk.populations)
    meta = {"format": "NetX", **walk.meta}
    if walk.findings.found:
        meta["findings"] = walk.findings.as_json()
    try:
        graph = Graph(
            populations=tuple(walk.populations),
            projections=tuple(walk.projections),
            timing="as_given",
            messages="graded" if graded else "binary",
            steps=_steps(root),
            meta=meta,
        )
    except GraphError as error:
        raise NetxError(f"{root.where}: {error}") from None
    return LayerReading(graph=graph, findings=tuple(walk.findings.found))


def _check_options(root: Group, options: ReadOptions, layers: int) -> None:
    count = layers if options.num_layers is None else options.num_layers
    if not 0 <= options.skip_layers < count <= layers:
        raise NetxError(
            f"{root.where}: skip_layers={options.skip_layers} and num_layers={options.num_layers} leave nothing of the "
            f"{layers} layers; use 0 <= skip_layers < num_layers <= {layers}."
        )
    if options.reset_interval is not None and options.reset_interval < 1:
        raise NetxError(
            f"{root.where}: reset_interval={options.reset_interval}; give a number of steps >= 1, or None for no reset."
        )
    if options.reset_offset < 0:
        raise NetxError(f"{root.where}: reset_offset={options.reset_offset}; give a number of steps >= 0.")


def _steps(root: Group) -> int:
    simulation = root.groups.get("simulation")
    if simulation is None or "tSample" not in simulation.arrays:
        return 1
    steps = fields.scalar(simulation, "tSample")
    if steps < 1:
        raise NetxError(f"{simulation.where}: tSample is {steps}, a sample has at least one step.")
    return steps


# -- where the network starts -------------------------------------------------------------------------------------


def _start(walk: _Walk, where: str, shape: Shape, *, bits: int, index: int, flat: bool = False) -> None:
    walk.population(where, "input", shape, Input(message_bits=bits))
    walk.signals[index] = Signal(parts=(Part(population="input", shape=shape),), flat=flat, host=True)


def _start_behind(walk: _Walk, layer: Group, index: int) -> None:
    """The last skipped layer: its output is the input."""
    word = fields.layer_type(layer)
    if word not in ("input", *fields.WITH_NEURONS):
        raise NetxError(f"{layer.where}: cannot be the last skipped layer; skip up to an input, conv or dense layer.")
    bits = walk.options.input_message_bits
    if word != "input" or "neuron" in layer.groups:
        graded = neuron_fields.neuron_word(layer) == "SDNN"
        bits = max(bits, INPUT_BITS) if graded else 0
    _start(walk, layer.where, fields.layer_shape(layer), bits=bits, index=index, flat=word in fields.FLAT_TYPES)


def _input(walk: _Walk, layer: Group, index: int) -> None:
    shape = fields.layer_shape(layer)
    transform = fields.transform(layer)
    walk.meta.update({f"input_{name}": str(value) for name, value in transform.items()})
    if "neuron" not in layer.groups:
        if transform:
            walk.findings.add(
                fields.label(layer),
                "note",
                f"{transform} without neurons is a transform of the host, not computed here.",
            )
        _start(walk, layer.where, shape, bits=walk.options.input_message_bits, index=index)
        return
    _start(walk, layer.where, shape, bits=INPUT_BITS, index=index)
    neuron = neuron_fields.input_neurons(layer, settings=walk.settings(), findings=walk.findings)
    name = f"layer{index}_input"
    walk.population(layer.where, name, shape, neuron)
    for port in ("re", "im") if isinstance(neuron, RESONATORS) else ("",):
        walk.projections.append(Projection(src="input", dst=name, synapse=Wire(), port=port))
    walk.signals[index] = Signal(parts=(Part(population=name, shape=shape),))
    scale = f"{transform.get('weight', 64)} * x + {transform.get('bias', 0)}"
    walk.findings.add(
        fields.label(layer),
        "note",
        f"neurons of its own take the host's numbers directly, one per neuron and step; the file's transform is {scale}, "
        "which the host computes. Lava's net.inp leads nowhere for such a file: feed net.in_layer.neuron.a_in.",
    )


# -- layers ---------------------------------------------------------------------------------------------------------


def _layer(walk: _Walk, layer: Group, index: int) -> None:
    word = fields.layer_type(layer)
    if word not in fields.DATASETS:
        raise NetxError(
            f"{layer.where}: layers of type {reprlib.repr(word)} cannot be read, only {sorted(fields.DATASETS)}; lava-dl's "
            "loader would leave the layer out without saying so. Check the program that wrote the file."
        )
    groups = {"neuron"} if word not in ("concat", "average", "flatten") else set()
    layer.allow(
        attributes=set(),
        arrays=fields.DATASETS[word],
        groups=groups | ({"weight"} if word in fields.WITH_NEURONS else set()),
    )
    if word == "input":
        if walk.populations:
            raise NetxError(
                f"{layer.where}: an input layer after other layers; a sequential file has one, at its start."
            )
        _input(walk, layer, index)
        return
    if not walk.populations:
        _start_without_input(walk, layer, word, index)
    before = walk.signals[index - 1]
    match word:
        case "flatten":
            _flatten(walk, layer, index, before)
        case "concat":
            _concat(walk, layer, index, before)
        case "average":
            _average(walk, layer, index, before)
        case _:
            _with_neurons(walk, layer, index, before, word)


def _start_without_input(walk: _Walk, layer: Group, word: str, index: int) -> None:
    bits = walk.options.input_message_bits
    if walk.options.input_shape is not None:
        _start(walk, layer.where, walk.options.input_shape, bits=bits, index=index - 1)
        return
    if word not in ("dense", "dense_rec", "dense_comp"):
        raise NetxError(
            f"{layer.where}: the file has no input layer before it, so the size of the input is unknown; "
            "add a layer of type 'input' with its shape (C,H,W), or read with input_shape=(C, H, W)."
        )
    sources = synapses_in.dense_sources(layer)
    _start(walk, layer.where, (sources, 1, 1), bits=bits, index=index - 1)


def _flatten(walk: _Walk, layer: Group, index: int, before: Signal) -> None:
    if "shape" in layer.arrays and before.size != _product(fields.layer_shape(layer)):
        raise NetxError(
            f"{layer.where}: shape {fields.layer_shape(layer)} does not hold the {before.size} "
            f"neurons of the layer before it {before.shape}; export the layer again."
        )
    walk.signals[index] = Signal(parts=before.parts, flat=True, host=before.host)
    walk.flatten_next = True


def _concat(walk: _Walk, layer: Group, index: int, before: Signal) -> None:
    """The layer before, then the listed ones; the README of lava-dl's netx defines it, its loader refuses it."""
    listed = [int(number) for number in layer.whole_numbers("layers").reshape(-1)[: PARTS_LIMIT + 1]]
    signals = [before, *(_other(walk, layer, index, number) for number in listed)]
    parts = sum(len(signal.parts) for signal in signals)
    if parts > PARTS_LIMIT:
        raise NetxError(f"{layer.where}: joins {parts} layers, the limit is {PARTS_LIMIT}; check its 'layers'.")
    shape = fields.layer_shape(layer)
    walk.signals[index] = joined(signals, layer.where, shape)
    walk.findings.add(
        fields.label(layer),
        "fails",
        f"concat of layer {index - 1} and layers {listed}; read as NetX's own page defines it, along the channels, and "
        "dissolved into the projections of the layer behind it.",
    )


def _other(walk: _Walk, layer: Group, index: int, number: int) -> Signal:
    """The output of a layer by its number: an earlier one, or a later one with neurons (a recurrent connection)."""
    if number in walk.signals:
        return walk.signals[number]
    if not 0 <= number < len(walk.layers) or number < walk.options.skip_layers or number == index:
        raise NetxError(
            f"{layer.where}: refers to layer {number}; give the numbers of other layers that are read, 0.."
            f"{len(walk.layers) - 1}."
        )
    later = walk.layers[number]
    word = fields.layer_type(later)
    if word not in fields.WITH_NEURONS:
        raise NetxError(
            f"{layer.where}: refers to the later layer {number}, of type {word[:20]!r}, which has no neurons; refer to the "
            "layer whose neurons are meant."
        )
    part = Part(population=f"layer{number}_{word}", shape=fields.layer_shape(later))
    return Signal(parts=(part,), flat=word in fields.FLAT_TYPES)


def _average(walk: _Walk, layer: Group, index: int, before: Signal) -> None:
    if index != len(walk.layers) - 1:
        raise NetxError(
            f"{layer.where}: an average sends fractions, so nothing can follow it; read the layers before it with "
            f"num_layers={index}."
        )
    shape = fields.layer_shape(layer)
    name = f"layer{index}_average"
    neuron, projections = synapses_in.average(layer, before, shape, name)
    walk.population(layer.where, name, shape, neuron)
    walk.projections += projections
    walk.signals[index] = Signal(parts=(Part(population=name, shape=shape),), flat=True)
    walk.findings.add(
        fields.label(layer),
        "fails",
        f"average over {before.size // _product(shape)} neurons each; read as a readout: its integers times its unit.",
    )


def _with_neurons(walk: _Walk, layer: Group, index: int, before: Signal, word: str) -> None:
    name = f"layer{index}_{word}"
    flat = word in fields.FLAT_TYPES
    made = synapses_in.projections(layer, word, before, name, walk.findings, flattened=walk.flatten_next)
    settings, shape = walk.settings(), made.shape
    runs = neuron_runs.runs_of(layer, shape, walk.findings)
    if len(runs) == 1:
        neuron = neuron_fields.neurons(layer, shape, flat=flat, settings=settings, findings=walk.findings)
        walk.population(layer.where, name, shape, neuron)
        walk.projections += made.projections
        walk.signals[index] = Signal(parts=(Part(population=name, shape=shape),), flat=flat)
    else:
        parts = []
        for number, run in enumerate(runs):
            part = neuron_runs.layer_of_run(layer, run, shape, flat=flat)
            size = (run[1] - run[0], *shape[1:])
            # What is to be said of one run is to be said of all.
            findings = Findings() if number else walk.findings
            neuron = neuron_fields.neurons(part, size, flat=flat, settings=settings, findings=findings)
            parts.append(Part(population=neuron_runs.run_name(name, number), shape=size))
            walk.population(layer.where, parts[-1].population, size, neuron)
        walk.projections += neuron_runs.split(made.projections, name, shape, runs, layer.where)
        walk.signals[index] = Signal(parts=tuple(parts), flat=flat)
    walk.flatten_next = False


def _product(shape: Shape) -> int:
    return shape[0] * shape[1] * shape[2]
