"""Graph -> file -> Graph: nothing lost, nothing forgotten, the same bytes."""

from __future__ import annotations

import dataclasses
import re
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, get_args

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

import netx_export
from netx_export.errors import NetxError
from netx_export.graph import (
    Conv,
    ConvTranspose,
    Delta,
    Dense,
    Graph,
    Input,
    Kernel,
    Lif,
    NeuronSpec,
    OneToOne,
    Or,
    Population,
    Projection,
    Readout,
    Rf,
    RfIz,
    Sigma,
    SigmaDelta,
    Sparse,
    SynapseSpec,
    Wire,
)
from netx_export.netx import extension, layers_out, schema
from tests.strategies import Case, cases
from tests.unit.netx.networks import assert_same, branched, chained, graded, sequential

NEURONS: list[Any] = [
    Input(message_bits=7),
    Lif(
        vth_mant=3,
        du=5,
        dv=7,
        bias_mant=[[[1, -2], [3, 4]], [[5, 6], [7, 8]]],
        bias_exp=3,
        unit=0.3,
        reset_interval=9,
        reset_offset=4,
    ),
    Or(),
    Readout(bias=[3, -4], unit=1e-300),
    Delta(vth=1, spike_exp=2, state_exp=3),
    SigmaDelta(vth=4, bias=[5, -6], spike_exp=7, state_exp=8, activation="unit"),
    Sigma(),
    Rf(sin=9, cos=-10, vth_mant=11, state_exp=12),
    RfIz(sin=-13, cos=14, vth_mant=15, state_exp=1),
]
SYNAPSES: list[Any] = [
    Conv(
        kernel=Kernel(mantissa=np.arange(-8, 8).reshape(4, 2, 1, 2), exponent=5),
        stride=(2, 3),
        padding=(4, 5),
        dilation=(6, 7),
        groups=2,
        upsample=8,
    ),
    ConvTranspose(
        kernel=Kernel(mantissa=np.arange(-8, 8).reshape(4, 2, 1, 2), exponent=5),
        stride=(2, 3),
        padding=(4, 5),
        output_padding=(1, 2),
        dilation=(6, 7),
        groups=2,
    ),
    Dense(kernel=Kernel(mantissa=[[-128, 127]], exponent=-8)),
    Sparse(kernel=Kernel(mantissa=[1, 2, 3]), rows=[0, 0, 4], columns=[1, 2, 0]),
    OneToOne(kernel=Kernel(mantissa=[1, 2, 3], exponent=7)),
    Wire(),
]


def test_the_table_has_every_kind_and_every_field() -> None:
    for table, union in ((schema.NEURONS, NeuronSpec), (schema.SYNAPSES, SynapseSpec)):
        assert {kind.build for kind in table.values()} == set(get_args(union))
        for name, kind in table.items():
            assert name == kind.build.__name__
            assert set(kind.fields) == {field.name for field in dataclasses.fields(kind.build)}
    # Read field by field in extension.py.
    assert {field.name for field in dataclasses.fields(Kernel)} == {"mantissa", "exponent"}
    assert {field.name for field in dataclasses.fields(Population)} == {"id", "name", "source", "shape", "neuron"}
    assert {field.name for field in dataclasses.fields(Projection)} == {
        "src", "dst", "synapse", "delay", "src_channels", "port", "delays",
    }  # fmt: skip
    assert {field.name for field in dataclasses.fields(Graph)} == {
        "populations", "projections", "timing", "messages", "steps", "meta",
    }  # fmt: skip


@pytest.mark.parametrize("value", [*NEURONS, *SYNAPSES], ids=lambda value: type(value).__name__)
def test_every_kind_comes_back_with_every_field(value: object) -> None:
    table = schema.NEURONS if isinstance(value, get_args(NeuronSpec)) else schema.SYNAPSES
    group, kernels = schema.Group("here"), schema.KernelTable()
    schema.encode(table, value, group, kernels)
    found = schema.decode(table, group, kernels)
    assert type(found) is type(value)
    for field in dataclasses.fields(found):
        one, other = getattr(found, field.name), getattr(value, field.name)
        assert np.array_equal(one, other) if isinstance(other, np.ndarray) else one == other or one is other
        assert type(one) is type(other)
        if isinstance(other, np.ndarray):
            assert one.dtype == other.dtype


def test_samples_leave_no_field_at_its_default() -> None:
    for value in [*NEURONS, *SYNAPSES]:
        for field in dataclasses.fields(value):
            if field.default is not dataclasses.MISSING:
                assert getattr(value, field.name) != field.default


@pytest.mark.parametrize("make", [sequential, branched, graded])
def test_files_come_back_whole(make: Any, tmp_path: Path) -> None:
    graph = make()
    netx_export.write(graph, tmp_path / "network.net")
    assert_same(netx_export.read(tmp_path / "network.net"), graph)


def test_forms() -> None:
    assert layers_out.obstacle(sequential()) is None
    assert "one chain" in str(layers_out.obstacle(branched()))


@pytest.mark.parametrize("kind", ["sigma_delta", "recurrent", "delayed", "resonant"])
def test_sequential_networks_of_other_neurons_are_plain_netx(kind: str, tmp_path: Path) -> None:
    graph = chained(kind)
    assert layers_out.obstacle(graph) is None
    netx_export.write(graph, tmp_path / "x.net")
    assert_same(netx_export.read(tmp_path / "x.net"), graph)
    # The NetX part alone says the same: neurons, weights and delays, population by population.
    with h5py.File(tmp_path / "x.net", "r+") as file:
        assert file["basalt"].attrs["form"] == "netx"
        del file["basalt"]
    alone = netx_export.read(tmp_path / "x.net")
    assert (alone.steps, alone.messages, len(alone.projections)) == (
        graph.steps,
        graph.messages,
        len(graph.projections),
    )
    for one, other in zip(alone.populations[1:], graph.populations[1:], strict=True):
        assert one.shape == other.shape
        for field in dataclasses.fields(one.neuron):
            found, wanted = getattr(one.neuron, field.name), getattr(other.neuron, field.name)
            per_channel = field.name in ("bias", "bias_mant") and len(wanted) == 1
            assert np.all(found == wanted) if per_channel else np.array_equal(found, wanted)
    for one, other in zip(alone.projections, graph.projections, strict=True):
        assert one.port == other.port
        if not isinstance(one.synapse, Wire):
            assert np.array_equal(one.synapse.kernel.mantissa, other.synapse.kernel.mantissa)
        assert np.array_equal(whole_delays(one), whole_delays(other))


def whole_delays(projection: Projection) -> Any:
    if not isinstance(projection.synapse, Dense):
        return projection.delay
    delays = 0 if projection.delays is None else projection.delays
    if np.ndim(delays) == 3:
        delays = np.reshape(delays, (1, -1))
    return np.broadcast_to(projection.delay + delays, projection.synapse.kernel.mantissa.shape)


@pytest.mark.parametrize(
    ("kind", "population", "change", "reason"),
    [
        (
            "sigma_delta",
            1,
            {"neuron": Delta(vth=5, spike_exp=5, state_exp=6)},
            "spike_exp 5 and state_exp 6, the stock",
        ),
        (
            "sigma_delta",
            3,
            {"neuron": SigmaDelta(vth=1, spike_exp=6, state_exp=6, activation="unit")},
            "'unit', the stock",
        ),
        ("recurrent", 1, {"neuron": Lif(vth_mant=9, bias_mant=[64])}, "none for the neurons of an input layer"),
        ("recurrent", 3, {"neuron": Lif(vth_mant=9, reset_interval=5)}, "resets every 5 steps, which is no field"),
        ("resonant", 1, {"neuron": Rf(sin=1, cos=89, vth_mant=9)}, r"turn the rotation \(1, 89\) of .* into \(0, 88\)"),
        (
            "resonant",
            1,
            {"neuron": Rf(sin=1200, cos=3778, vth_mant=9, state_exp=5)},
            "state_exp 5, the stock loader has 6",
        ),
    ],
)
def test_what_keeps_a_chain_from_being_plain_netx(
    kind: str, population: int, change: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    graph = chained(kind)
    changed = dataclasses.replace(graph.populations[population], **change)
    populations = (*graph.populations[:population], changed, *graph.populations[population + 1 :])
    graph = dataclasses.replace(graph, populations=populations)
    assert re.search(reason, str(layers_out.obstacle(graph)))
    netx_export.write(graph, tmp_path / "x.net")
    assert_same(netx_export.read(tmp_path / "x.net"), graph)
    with h5py.File(tmp_path / "x.net") as file:
        assert file["layer/0/type"][()] == b"concat"


@pytest.mark.parametrize(
    ("kind", "projection", "change", "reason"),
    [
        ("delayed", 3, {"delay": 63}, "a delay of 63 steps, the limit is 62"),
        ("resonant", 1, {"delay": 3}, "has a delay, which stock NetX has for plain dense layers"),
        ("recurrent", 2, {"delay": 1}, "feeds itself through something else than a plain dense layer"),
        ("recurrent", 2, {"synapse": OneToOne(kernel=Kernel(mantissa=[2] * 9))}, "feeds itself through something else"),
        ("delayed", 3, {"src_channels": (0, 8)}, "reads a channel slice"),
        ("delayed", 3, {"src": "p1"}, "is not fed by the one layer before it alone"),
    ],
)
def test_what_projections_keep_a_chain_from_being_plain_netx(
    kind: str, projection: int, change: dict[str, Any], reason: str
) -> None:
    graph = chained(kind)
    changed = dataclasses.replace(graph.projections[projection], **change)
    projections = (*graph.projections[:projection], changed, *graph.projections[projection + 1 :])
    assert reason in str(layers_out.obstacle(dataclasses.replace(graph, projections=projections)))


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(case=cases())
def test_random_networks_come_back_whole(case: Case, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("random") / "network.net"
    netx_export.write(case.graph, path)
    assert_same(netx_export.read(path), case.graph)


@pytest.mark.parametrize("make", [sequential, branched])
def test_the_same_graph_gives_the_same_bytes(make: Any, tmp_path: Path) -> None:
    netx_export.write(make(), tmp_path / "one.net")
    # HDF5 keeps times in whole seconds.
    time.sleep(1.1)
    netx_export.write(make(), tmp_path / "two.net")
    netx_export.write(netx_export.read(tmp_path / "one.net"), tmp_path / "three.net")
    assert (tmp_path / "one.net").read_bytes() == (tmp_path / "two.net").read_bytes()
    assert (tmp_path / "one.net").read_bytes() == (tmp_path / "three.net").read_bytes()


def test_meta_is_added_and_kept(tmp_path: Path) -> None:
    graph = sequential()
    netx_export.write(graph, tmp_path / "x.net", meta={"task": '{"classes": ["car"]}', "seed": "8"})
    assert netx_export.read(tmp_path / "x.net").meta == {"seed": "8", "größe": "klein", "task": '{"classes": ["car"]}'}
    assert graph.meta["seed"] == "7"


def test_a_shared_kernel_is_stored_once(tmp_path: Path) -> None:
    netx_export.write(branched(), tmp_path / "x.net")
    with h5py.File(tmp_path / "x.net") as file:
        assert len(file["basalt/kernels"]) == 5
        assert file["basalt/kernels/0/mantissa"].dtype == np.int8
    assert branched().projections[0].synapse.kernel is not None


def test_paths_of_any_kind(tmp_path: Path) -> None:
    odd = tmp_path / "a b ü" / "net work.net"
    netx_export.write(sequential(), str(odd))
    assert_same(netx_export.read(str(odd)), sequential())
    assert [path.name for path in odd.parent.iterdir()] == ["net work.net"]


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "folder.net").mkdir()
    with pytest.raises(NetxError, match=r"folder\.net: cannot be written \(.*\); check the folder"):
        netx_export.write(sequential(), tmp_path / "folder.net")
    assert [path.name for path in tmp_path.iterdir()] == ["folder.net"]
    shutil.rmtree(tmp_path / "folder.net")


def test_names_and_meta_that_no_file_can_hold(tmp_path: Path) -> None:
    graph = sequential()
    long = dataclasses.replace(graph.populations[0], source="x" * 5000)
    with pytest.raises(NetxError, match=r"the source 'x+'\.\.\. has 5000 characters; .*limit is 4096"):
        netx_export.write(dataclasses.replace(graph, populations=(long, *graph.populations[1:])), tmp_path / "x.net")
    broken = dataclasses.replace(graph.populations[0], name="a\0b")
    with pytest.raises(NetxError, match="UTF-8 without NUL"):
        netx_export.write(dataclasses.replace(graph, populations=(broken, *graph.populations[1:])), tmp_path / "x.net")
    with pytest.raises(NetxError, match="meta must map texts to texts"):
        netx_export.write(graph, tmp_path / "x.net", meta={"seed": 3})  # type: ignore[dict-item]
    with pytest.raises(
        NetxError, match=r"x\.net: a tuple cannot be written; give a Graph, as netx_export\.export returns it"
    ):
        netx_export.write((graph,), tmp_path / "x.net")  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_a_kind_without_an_entry_is_refused() -> None:
    with pytest.raises(NetxError, match=r"no entry for Kernel, it knows .*'Lif'"):
        schema.encode(schema.NEURONS, Kernel(mantissa=[1]), schema.Group("here"), schema.KernelTable())


def test_reading_needs_neither_torch_nor_lava(tmp_path: Path) -> None:
    netx_export.write(sequential(), tmp_path / "x.net")
    code = f"import netx_export, sys; netx_export.read({str(tmp_path / 'x.net')!r}); print('torch' in sys.modules, 'lava' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False False"


def test_the_guard_is_quick(tmp_path: Path) -> None:
    netx_export.write(sequential(), tmp_path / "x.net")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    for _ in range(3):
        netx_export.read(tmp_path / "x.net")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Processor time, so that a busy machine does not count: about 0.13 s each.
    assert (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / 3 < 0.5


def test_checksum_covers_names() -> None:
    graph = branched()
    renamed = dataclasses.replace(graph.populations[2], name="other")
    other = dataclasses.replace(graph, populations=(*graph.populations[:2], renamed, *graph.populations[3:]))
    sums = {extension.encode(g, "extended", "x").text("checksum") for g in (graph, other)}
    assert len(sums) == 2
