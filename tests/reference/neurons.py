"""One neuron, one step, for every kind: what `lava/proc/{lif,sdn,rf,rf_iz}/models.py` of Lava 0.10.0 compute.

`events` counts how often an edge of the arithmetic was met.
"""

from __future__ import annotations

from collections import Counter

from netx_export.graph import Delta, Lif, Rf, RfIz, SigmaDelta
from tests.reference.arithmetic import saturated, toward_zero, wrap32

Events = Counter[str]


def lif_step(u: int, v: int, a_in: int, neuron: Lif, bias_mant: int, events: Events) -> tuple[int, int, int]:
    """(u, v, spike) after the step."""
    current = toward_zero(u * (4096 - (neuron.du + 1)), 12)
    shifted = wrap32(a_in * 64)
    total = wrap32(current + shifted)
    if shifted != a_in * 64 or total != current + shifted:
        events["int32 overflows"] += 1
    u_new = total
    if total > 8388608:
        u_new = total - 16777216
    elif total <= -8388608:
        u_new = total + 16777216
    if u_new != total:
        events["u wraps"] += 1
        if not -8388608 < u_new <= 8388608:
            events["u beyond 24 bits"] += 1  # one correction does not always suffice, and Lava makes only one
    v_free = toward_zero(v * (4096 - neuron.dv), 12) + u_new + bias_mant * 2**neuron.bias_exp
    v_new = saturated(v_free)
    if v_new != v_free:
        events["v saturates high" if v_new > 0 else "v saturates low"] += 1
    if v_new > neuron.vth_mant * 64:
        return u_new, 0, 1
    return u_new, v_new, 0


def encode(
    act: int, before: int, residue: int, neuron: Delta | SigmaDelta, threshold: int, events: Events
) -> tuple[int, int]:
    """The delta encoder that Delta and SigmaDelta share: (residue, message) after the step."""
    free = act - before + residue
    change = wrap32(free)
    if change != free:
        events["changes overflow 32 bits"] += 1
    # |-2**31| does not exist in 32 bits, where it stays negative: no such change is ever sent.
    sent = change if wrap32(abs(change)) >= threshold else 0
    if sent and neuron.state_exp and sent % 2**neuron.state_exp:
        events["messages lose bits"] += 1
    if change and not sent:
        events["changes held back"] += 1
    return change - sent, sent >> neuron.state_exp


def delta_step(act: int, residue: int, a_in: int, neuron: Delta, events: Events) -> tuple[int, int, int]:
    """(act, residue, message) after the step."""
    scale = 2 ** (neuron.spike_exp + neuron.state_exp)
    act_new = wrap32(a_in * scale)
    if act_new != a_in * scale:
        events["changes overflow 32 bits"] += 1
    residue_new, message = encode(act_new, act, residue, neuron, neuron.vth * scale, events)
    return act_new, residue_new, message


def sigma_delta_step(
    sigma: int, act: int, residue: int, a_in: int, neuron: SigmaDelta, bias: int, events: Events
) -> tuple[int, int, int, int]:
    """(sigma, act, residue, message) after the step."""
    scale = 2 ** (neuron.spike_exp + neuron.state_exp)
    sigma_new = sigma_step(sigma, a_in, events)
    biased = wrap32(sigma_new + bias * scale)
    act_new = biased
    if neuron.activation == "relu" and biased < 0:
        act_new = 0
        events["relu clips"] += 1
    residue_new, message = encode(act_new, act, residue, neuron, neuron.vth * scale, events)
    return sigma_new, act_new, residue_new, message


def sigma_step(sigma: int, a_in: int, events: Events) -> int:
    """sigma after the step."""
    total = wrap32(sigma + a_in)
    if total != sigma + a_in:
        events["sigma overflows 32 bits"] += 1
    return total


def rotate(re: int, im: int, a_re: int, a_im: int, neuron: Rf | RfIz, events: Events) -> tuple[int, int]:
    """The damped rotation that both resonators share."""
    scale = 2**neuron.state_exp
    if wrap32(a_re * scale) != a_re * scale or wrap32(a_im * scale) != a_im * scale:
        events["resonator input overflows"] += 1
    re_free = toward_zero(neuron.cos * re, 12) - toward_zero(neuron.sin * im, 12) + wrap32(a_re * scale)
    im_free = toward_zero(neuron.sin * re, 12) + toward_zero(neuron.cos * im, 12) + wrap32(a_im * scale)
    re_new, im_new = saturated(re_free), saturated(im_free)
    if re_new != re_free or im_new != im_free:
        events["resonator saturates"] += 1
    return re_new, im_new


def rf_step(re: int, im: int, a_re: int, a_im: int, neuron: Rf, events: Events) -> tuple[int, int, int]:
    """(re, im, spike) after the step."""
    re_new, im_new = rotate(re, im, a_re, a_im, neuron, events)
    crossing = im < 0 <= im_new
    strong = re_new >= neuron.vth_mant * 2**neuron.state_exp
    if crossing and not strong:
        events["crossings below threshold"] += 1
    return re_new, im_new, 1 if crossing and strong else 0


def rf_iz_step(re: int, im: int, a_re: int, a_im: int, neuron: RfIz, events: Events) -> tuple[int, int, int]:
    """(re, im, spike) after the step."""
    re_new, im_new = rotate(re, im, a_re, a_im, neuron, events)
    threshold = neuron.vth_mant * 2**neuron.state_exp
    if im_new >= threshold:
        return 0, threshold - 1, 1
    return re_new, im_new, 0
