"""Our partition against the ones that the vendor's compiler printed in published notebooks (lava-dl, 2022 to 2024).

Each row: cores, tile (w,h,c) where one was printed, and per core axon_in, neurons, synapse words, axon map entries.
Rows of convolutions were printed for a full tile (neurons) or as the mean over cores (axon map); rows of dense layers
as the mean over cores, rounded down.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import hw_profiles
import netx_export
from hw_profiles.mapping import Mapping
from hw_profiles.placement import place
from netx_export.graph import Graph
from tests.papers.published_networks import dense_network, pilotnet_lif, yolo_kp

lava_dl = pytest.importorskip("lava.lib.dl.netx", reason="PilotNet comes with the lava-dl wheel")


def pilotnet_file() -> Path:
    site = Path(lava_dl.__file__).parents[4]
    path = site / "tests/lava/lib/dl/netx/gts/pilotnet_lif/network.net"
    if not path.is_file():
        pytest.skip("this lava-dl comes without its ground truths")
    return path


PILOTNET = {
    "dense10": (1, None, 10, 1, 10, 1),
    "dense9": (1, None, 50, 10, 150, 10),
    "dense8": (1, None, 100, 50, 1300, 50),
    "dense7": (12, None, 2560, 8, 7253, 8),
    "conv5": (2, (16, 2, 64), 1, 2048, 2880, 1280),
    "conv4": (3, (8, 4, 64), 1, 2048, 2160, 29),
    "conv3": (3, (8, 7, 48), 2, 2688, 1620, 112),
    "conv2": (13, (4, 15, 36), 2, 2160, 864, 113),
    "conv1": (25, (4, 32, 24), 2, 3072, 81, 253),
    "input": (13, (16, 66, 3), 1, 3168, 0, 1015),
}


@pytest.fixture(scope="module")
def pilotnet() -> Mapping:
    return hw_profiles.map(pilotnet_lif(pilotnet_file()), hw_profiles.load("loihi2"))


def mean(mapping: Mapping, layer: str, register: str) -> int:
    own = [mapping.registers[entry.core][register] for entry in mapping.by_population[layer]]
    return sum(own) // len(own)


def test_pilotnet_lif_takes_74_cores(pilotnet: Mapping) -> None:
    assert pilotnet.cores == 74
    assert pilotnet.chips == 1


@pytest.mark.parametrize("layer", PILOTNET)
def test_pilotnet_lif_layer_by_layer(pilotnet: Mapping, layer: str) -> None:
    cores, tile, axon_in, neurons, words, axon_map = PILOTNET[layer]
    own = pilotnet.by_population[layer]
    assert len(own) == cores
    if tile is None:
        assert mean(pilotnet, layer, "neurons") == neurons
    else:
        assert own[0].tile == tile
        assert own[0].size == neurons
    assert mean(pilotnet, layer, "axon_in") == axon_in
    assert mean(pilotnet, layer, "synapse_memory") == words
    assert mean(pilotnet, layer, "axon_map") == axon_map


def test_pilotnet_lif_as_the_reader_reads_it() -> None:
    """The whole file, its input layer included, through netx_export."""
    graph = netx_export.read(pilotnet_file())
    assert cores_by_layer(graph, "loihi2") == [PILOTNET[layer][0] for layer in reversed(PILOTNET)]


def test_pilotnet_messages_travel_a_fifth_of_the_way(pilotnet: Mapping) -> None:
    assert pilotnet.placement is not None
    assert pilotnet.profile.topology is not None
    row_major = place(pilotnet.cores, pilotnet.profile.topology).weighted_hops(pilotnet.traffic)
    assert 4 * pilotnet.placement.weighted_hops(pilotnet.traffic) < row_major


def cores_by_layer(graph: Graph, profile: str) -> list[int]:
    mapping = hw_profiles.map(graph, hw_profiles.load(profile))
    return [len(found) for found in mapping.by_population.values() if found]


def test_pilotnet_sdnn_takes_61_cores() -> None:
    """The sigma-delta PilotNet has the same layers without the input layer; its 61 cores are published."""
    graph = pilotnet_lif(pilotnet_file(), input_layer=False)
    assert cores_by_layer(graph, "loihi2") == [25, 13, 3, 3, 2, 12, 1, 1, 1]


def test_mnist_takes_5_cores() -> None:
    """784-128-64-10. Published: 3 + 1 + 1 cores; largest layer 4.9 % of axon_in, 1.22 % of neurons, 78.4 % of synapses."""
    graph = dense_network(784, 128, 64, 10, bits=4)
    assert cores_by_layer(graph, "loihi2") == [3, 1, 1]
    used = hw_profiles.map(graph, hw_profiles.load("loihi2")).utilization("dense1")
    shares = {name: 100 * used[name][0] / (used[name][1] or 1) for name in ("axon_in", "neurons", "synapse_memory")}
    assert shares["axon_in"] == pytest.approx(4.9)
    assert shares["neurons"] == pytest.approx(1.22, abs=0.005)
    assert shares["synapse_memory"] == pytest.approx(78.4)


@pytest.mark.parametrize("bits", range(4, 9))
def test_mnist_takes_5_cores_with_wider_weights(bits: int) -> None:
    assert cores_by_layer(dense_network(784, 128, 64, 10, bits=bits), "loihi2") == [3, 1, 1]


def test_mnist_with_full_weights_on_the_later_limits() -> None:
    """With 9-bit weights the published 78.4 % are 16 words per axon of the 16000 words that later notebooks allow."""
    graph = dense_network(784, 128, 64, 10, bits=9)
    assert cores_by_layer(graph, "loihi2-2024") == [3, 1, 1]
    used, limit = hw_profiles.map(graph, hw_profiles.load("loihi2-2024")).utilization("dense1")["synapse_memory"]
    assert (used, limit) == (12544, 16000)


def test_oxford_takes_5_cores() -> None:
    """200-256-200, 8-bit weights of SLAYER: published 3 + 2 cores with 5400 and 8064 words in the mean."""
    graph = dense_network(200, 256, 200, bits=9)
    mapping = hw_profiles.map(graph, hw_profiles.load("loihi2"))
    assert cores_by_layer(graph, "loihi2") == [3, 2]
    assert [mean(mapping, layer, "synapse_memory") for layer in ("dense1", "dense2")] == [5400, 8064]
    assert [mean(mapping, layer, "neurons") for layer in ("dense1", "dense2")] == [85, 100]


def test_yolo_kp_takes_574_cores() -> None:
    """Published cores by layer, input side first; both generations of limits give them."""
    published = [224, 112, 56, 28, 56, 16, 32, 14, 32, 4]
    assert cores_by_layer(yolo_kp(), "loihi2") == published
    assert cores_by_layer(yolo_kp(), "loihi2-2024") == published


def test_yolo_kp_words_and_memory_on_the_later_limits() -> None:
    """Synapse words and the sum of all memories, published as shares of 16000 and 20000 words."""
    mapping = hw_profiles.map(yolo_kp(), hw_profiles.load("loihi2-2024"))
    words = [mapping.registers[mapping.by_population[f"conv{n}"][0].core]["synapse_memory"] for n in range(10)]
    shares = [0.34, 3.6, 10.8, 39.6, 79.2, 72.0, 86.4, 67.2, 86.4, 19.2]
    assert [round(100 * count / 16000, 2) for count in words] == pytest.approx(shares)
    total = mapping.registers[mapping.by_population["conv7"][0].core]["core_memory"]
    # 72.04 % were published; the difference are AxonMem entries, whose rule is unpublished.
    assert 100 * total / 20000 == pytest.approx(72.04, abs=0.4)
