"""A whole network in one Lava process, and the stepper inside it: hardware time, one step after the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lava_runtime import Probes, run
from lava_runtime.simulation import NetworkStepper
from lava_runtime.simulation.lava_import import import_lava
from netx_export.errors import BackendUnavailableError, RunError
from netx_export.graph import Conv, Dense, Graph, Input, Kernel, Lif, Population, Projection, schedule
from tests.unit.lava_runtime.foreign_networks import FOREIGN, foreign_inputs
from tests.unit.lava_runtime.lava_networks import graded, kernel, many_features, spikes

EVERYTHING = Probes(rasters="all", states="all")


def frames_of(graph: Graph, inputs: np.ndarray) -> list[np.ndarray]:
    """The frames (W,H,C) of a whole run, silence while the pipeline empties."""
    steps, samples = inputs.shape[:2]
    played = inputs.swapaxes(0, 1).reshape(-1, *inputs.shape[2:])
    silence = np.zeros((schedule(graph, steps=steps, samples=samples).latency, *inputs.shape[2:]), np.int32)
    return [frame.transpose(2, 1, 0) for frame in np.concatenate([played, silence])]


def step_all(stepper: NetworkStepper, frames: list[np.ndarray]) -> dict[str, np.ndarray]:
    """What every population sent in each step, (N,C,H,W)."""
    sent: dict[str, list[np.ndarray]] = {p.id: [] for p in stepper.graph.populations if not isinstance(p.neuron, Input)}
    for frame in frames:
        stepper.step({stepper.graph.inputs[0].id: frame})
        for name, record in sent.items():
            record.append(stepper.sent(name).transpose(2, 1, 0).copy())
    return {name: np.array(record) for name, record in sent.items()}


@pytest.mark.parametrize("seed", range(2))
def test_a_pipeline_stepped_is_the_pipeline_of_fast(seed: int) -> None:
    graph = many_features(seed)
    inputs = spikes(graph, seed=seed)
    trace = run(graph, inputs, probes=EVERYTHING)
    sent = step_all(NetworkStepper(graph), frames_of(graph, inputs))
    for name, record in sent.items():
        window = trace.schedule.window(name)
        expected = trace.outputs[name] if name in trace.outputs else trace.rasters[name]
        np.testing.assert_array_equal(record[window], expected[window], err_msg=name)
    assert sum(record.sum() for name, record in sent.items() if name != "r") > 300


@pytest.mark.parametrize("kind", FOREIGN)
def test_foreign_networks_step_by_step(kind: str) -> None:
    graph = FOREIGN[kind]()
    inputs = foreign_inputs(graph)
    trace = run(graph, inputs, probes=EVERYTHING)
    stepper = NetworkStepper(graph)
    frames = frames_of(graph, inputs)
    for name, record in step_all(stepper, frames).items():
        np.testing.assert_array_equal(record, trace.rasters[name], err_msg=name)
        u, v = (state.transpose(2, 1, 0) for state in stepper.states(name))
        np.testing.assert_array_equal(u, trace.u[name][-1], err_msg=name)
        np.testing.assert_array_equal(v, trace.v[name][-1], err_msg=name)
    stepper.reset()
    for name, record in step_all(stepper, frames).items():
        np.testing.assert_array_equal(record, trace.rasters[name], err_msg=f"{name} after reset")


def test_graded_input_step_by_step() -> None:
    graph, inputs = graded()
    trace = run(graph, inputs)
    sent = step_all(NetworkStepper(graph), frames_of(graph, inputs))
    window = trace.schedule.window("r")
    np.testing.assert_array_equal(sent["r"][window], trace.outputs["r"][window])


def test_samples_of_another_length() -> None:
    graph = many_features()
    inputs = spikes(graph, steps=6)
    trace = run(graph, inputs)
    sent = step_all(NetworkStepper(graph, steps=6), frames_of(graph, inputs))
    window = trace.schedule.window("r")
    np.testing.assert_array_equal(sent["r"][window], trace.outputs["r"][window])


def test_what_the_stepper_refuses() -> None:
    graph = many_features()
    stepper = NetworkStepper(graph)
    shape = graph.inputs[0].shape[::-1]
    with pytest.raises(RunError, match=r"Input 'in' was given nothing; the network reads \(W,H,C\) = \(10, 12, 2\)"):
        stepper.step({})
    with pytest.raises(RunError, match=r"Input 'in' was given shape \(2, 12, 10\); the network reads"):
        stepper.step({"in": np.zeros(shape[::-1], np.int32)})
    with pytest.raises(RunError, match=r"Input 'in' reaches from 0 to 2 in hardware step 0, the limit is 0\.\.1"):
        stepper.step({"in": np.arange(3, dtype=np.int32).repeat(80).reshape(shape)})
    with pytest.raises(RunError, match=r"Population 'o' has no states u and v"):
        stepper.states("o")
    with pytest.raises(RunError, match=r"steps is 0; a sample has at least one time step"):
        NetworkStepper(graph, steps=0)


# -- in Lava ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def lava() -> None:
    """Lava, imported as the product imports it."""
    try:
        import_lava("sim")
    except BackendUnavailableError as error:
        pytest.skip(str(error))


def record_process(process: Any, graph: Graph, inputs: np.ndarray, config: Any) -> dict[str, np.ndarray]:
    """Outputs (N,C,H,W) of `process`, fed by a source of Lava's."""
    from lava.magma.core.run_conditions import RunSteps
    from lava.proc.io.sink import RingBuffer as Sink
    from lava.proc.io.source import RingBuffer as Source

    frames = frames_of(graph, inputs)
    source = Source(data=np.stack(frames, axis=-1))
    source.s_out.connect(process.inp)
    sinks = {}
    for name, port in process.outputs.items():
        sinks[name] = Sink(shape=port.shape, buffer=len(frames))
        port.connect(sinks[name].a_in)
    try:
        source.run(condition=RunSteps(num_steps=len(frames)), run_cfg=config)
        return {name: sink.data.get().transpose(3, 2, 1, 0) for name, sink in sinks.items()}
    finally:
        source.stop()


@pytest.mark.lava
@pytest.mark.parametrize("stock", [False, True])
def test_a_network_as_one_lava_process(stock: bool, lava: None) -> None:
    from lava.magma.core.run_configs import Loihi2SimCfg

    from lava_runtime.simulation import CompiledSimCfg, NetworkProcess

    graph = many_features()
    inputs = spikes(graph)
    trace = run(graph, inputs)
    config = Loihi2SimCfg(select_tag="fixed_pt") if stock else CompiledSimCfg()
    found = record_process(NetworkProcess(graph, name="network"), graph, inputs, config)
    assert list(found) == ["d", "r"]
    for name, record in found.items():
        window = trace.schedule.window(name)
        np.testing.assert_array_equal(record[window], trace.outputs[name][window])


@pytest.mark.lava
def test_graded_messages_leave_the_process(lava: None) -> None:
    from lava_runtime.simulation import CompiledSimCfg, NetworkProcess

    graph = FOREIGN["sigma-delta"]()
    inputs = foreign_inputs(graph)
    found = record_process(NetworkProcess(graph), graph, inputs, CompiledSimCfg())
    np.testing.assert_array_equal(found["out"], run(graph, inputs).output)
    assert found["out"].min() < 0


@pytest.mark.lava
def test_two_networks_and_neurons_of_lava_between_them(lava: None) -> None:
    from lava.magma.core.run_conditions import RunSteps
    from lava.proc.dense.process import Dense as LavaDense
    from lava.proc.io.sink import RingBuffer as Sink
    from lava.proc.io.source import RingBuffer as Source
    from lava.proc.lif.process import LIF

    from lava_runtime.simulation import CompiledSimCfg, NetworkProcess

    rng = np.random.default_rng(6)
    weights = rng.integers(-60, 80, (5, 32)) * 2
    neurons = {"vth_mant": 90, "dv": 400}

    def network(shape: tuple[int, int, int], target: tuple[int, int, int], synapse: Any) -> Graph:
        return Graph(
            populations=(
                Population(id="in", shape=shape, neuron=Input()),
                Population(id="out", shape=target, neuron=Lif(**neurons)),
            ),
            projections=(Projection(src="in", dst="out", synapse=synapse),),
            timing="as_given",
        )

    conv = Conv(kernel=kernel(rng, 2, 1, 3, 3), padding=(1, 1))
    first = network((1, 4, 4), (2, 4, 4), conv)
    last = network((5, 1, 1), (3, 1, 1), Dense(kernel=kernel(rng, 3, 5)))
    steps = 30
    inputs = (rng.random((steps, 1, 1, 4, 4)) < 0.5).astype(np.int32)

    source = Source(data=np.stack([frame[0].transpose(2, 1, 0) for frame in inputs], axis=-1))
    front, back = NetworkProcess(first), NetworkProcess(last)
    middle = LavaDense(weights=weights)
    sink = Sink(shape=(1, 1, 3), buffer=steps)
    source.s_out.connect(front.inp)
    front.out.reshape((32,)).connect(middle.s_in)
    between = LIF(shape=(5,), vth=90, du=4095, dv=400)
    middle.a_out.connect(between.a_in)
    between.s_out.reshape((1, 1, 5)).connect(back.inp)
    back.out.connect(sink.a_in)
    try:
        source.run(condition=RunSteps(num_steps=steps), run_cfg=CompiledSimCfg())
        found = sink.data.get().transpose(3, 2, 1, 0)
    finally:
        source.stop()

    # The same as one graph.
    order = np.arange(32).reshape(2, 4, 4).transpose(2, 1, 0).reshape(-1)
    matrix = np.zeros((5, 32), np.int16)
    matrix[:, order] = weights // 2
    whole = Graph(
        populations=(
            *first.populations,
            Population(id="between", shape=(5, 1, 1), neuron=Lif(**neurons)),
            Population(id="last", shape=(3, 1, 1), neuron=Lif(**neurons)),
        ),
        projections=(
            *first.projections,
            Projection(src="out", dst="between", synapse=Dense(kernel=Kernel(mantissa=matrix, exponent=1))),
            Projection(src="between", dst="last", synapse=last.projections[0].synapse),
        ),
        timing="as_given",
    )
    np.testing.assert_array_equal(found, run(whole, inputs).output)
    assert found.any()


@pytest.mark.lava
def test_what_a_network_process_refuses(lava: None) -> None:
    from lava_runtime.simulation import NetworkProcess

    with pytest.raises(
        RunError, match=r"A str was given to NetworkProcess; give a Graph, as netx_export.read returns it"
    ):
        NetworkProcess("network.net")  # type: ignore[arg-type]
