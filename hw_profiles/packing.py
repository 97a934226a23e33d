"""How many words of synapse memory lists of synapses take, and how populations are addressed.

weight bits     as many as the weights of a projection need, sign included: ceil(log2(largest magnitude)) + 1. A power of
                two that all weights share is a weight exponent and takes no bits, but even weights keep their lowest bit
lists           one per axon (dense, sparse) or per input channel and tap (convolutions, shared by all positions and by
                projections with one kernel): ceil((header + n * (index + weight bits)) / word) words, index bits in
                dense and sparse lists only; where lists have a largest length, longer ones are continued in others
channel blocks  a convolutional population of C channels is addressed in blocks whose sizes are powers of two:
                as many as C / 4, rounded up, has binary ones
Source: derived from the partitions that the vendor's compiler printed in published notebooks; docs/chips.md.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from hw_profiles.profile import HardwareProfile
from netx_export.graph import Kernel

_CHANNELS_PER_LANE = 4


@lru_cache(maxsize=512)
def weight_bits(kernel: Kernel) -> int:
    """Bits that a weight of `kernel` takes in a list: ceil(log2(largest magnitude)) + 1, at least 2."""
    magnitudes = np.abs(kernel.mantissa.astype(np.int64))
    together = int(np.bitwise_or.reduce(magnitudes, axis=None))
    if together == 0:
        return 2
    shared = (together & -together).bit_length() - 1
    lowest = min(max(kernel.exponent + shared, 0), 1)
    return max(((int(magnitudes.max()) >> shared) - 1).bit_length(), 1) + 1 + lowest


def list_words(profile: HardwareProfile, synapses: npt.NDArray[np.int64], kernel: Kernel, *, shared: bool) -> int:
    """Words of lists with `synapses` entries each; `shared` lists are those of convolutions. 0 where nothing is known."""
    word = profile.packed("word_bits")
    if word is None:
        return 0
    header = profile.packed("conv_header_bits" if shared else "list_header_bits") or 0
    fixed = profile.packed("conv_synapse_bits" if shared else "dense_synapse_bits")
    if fixed is None:
        fixed = weight_bits(kernel) + (0 if shared else profile.packed("index_bits") or 0)
    filled = synapses[synapses > 0]
    most = profile.packed("list_most_synapses")
    if most is None:
        return int((-(-(header + filled * fixed) // word)).sum())
    rest = filled % most
    whole = int((filled // most).sum()) * -(-(header + most * fixed) // word)
    return whole + int((-(-(header + rest[rest > 0] * fixed) // word)).sum())


def channel_blocks(channels: int) -> int:
    """Address blocks of a convolutional population with that many channels."""
    return (-(-channels // _CHANNELS_PER_LANE)).bit_count()


def packing_notes(profile: HardwareProfile) -> list[str]:
    """What a report says about how synapse memory is counted."""
    if profile.packed("word_bits") is None:
        return []
    index = profile.packed("index_bits") or 0
    notes = [
        "Synapse memory: as many bits per synapse as the layer's weights need"
        + (f", {index} more in dense and sparse lists" if index else "")
        + "; convolutions share their lists within a core, zeros are stored, lists take whole words.",
        "Buffers of delayed currents are counted (delay_slots in cores.csv); no limit for them has been published.",
    ]
    if profile.limit("axon_memory") is not None:
        notes.append("AxonMem is not modelled: how much of it a layer takes is unpublished.")
    return notes
