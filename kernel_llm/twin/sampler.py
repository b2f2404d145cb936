# SPDX-License-Identifier: Apache-2.0
"""Chooses a token from logits in plain Python: the twin of native/src/sampler.c, bit for bit."""

import math

from kernel_llm.twin import reference as ref

_MASK = (1 << 64) - 1


def draw(state):
    """Returns (next state, a number in [0, 1)) of SplitMix64."""
    state = (state + 0x9E3779B97F4A7C15) & _MASK
    z = ((state ^ state >> 30) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ z >> 27) * 0x94D049BB133111EB) & _MASK
    return state, ((z ^ z >> 31) >> 11) * 2.0**-53


def penalised(logits, recent, penalty):
    """Returns logits with those of recent tokens made less likely, each once."""
    logits = list(logits)
    for id in set(recent):
        x = logits[id]
        logits[id] = ref.div(x, penalty) if x > 0.0 else ref.mul(x, penalty)
    return logits


def _weights(logits, best, temperature):
    """Returns exp((logit - best logit) / temperature) of ranked candidates."""
    differences = [ref.add(logits[id], -logits[best[0]]) for id in best]
    if temperature != 1.0:
        differences = [ref.div(x, temperature) for x in differences]
    return [ref.exp(x) for x in differences]


def _keep(weights, top_p, min_p):
    """Returns how many of the ranked candidates top-p and min-p keep."""
    total = 0.0
    for weight in weights:
        total += weight
    mass = 0.0
    for i, weight in enumerate(weights):
        if i > 0 and (mass >= top_p * total or weight < min_p):
            return i
        mass += weight
    return len(weights)


def choose(logits, temperature, top_p, min_p, top_k, state):
    """
    Returns (token id, next state of the generator).

    logits: finite floats. The other arguments are the fields of struct kllm_sampler.
    """
    if temperature == 0.0:
        return ref.argmax(logits), state
    best = sorted(range(len(logits)), key=lambda id: (-logits[id], id))
    best = best[: top_k or len(best)]
    best = best[: _keep(_weights(logits, best, 1.0), top_p, min_p)]
    weights = _weights(logits, best, temperature)
    total = 0.0
    for weight in weights:
        total += weight
    state, share = draw(state)
    left = share * total
    for i in range(len(best) - 1):
        left -= weights[i]
        if left < 0.0:
            return best[i], state
    return best[-1], state


def score(logits, token):
    """Returns (-ln p(token), most likely token)."""
    best = ref.argmax(logits)
    total = 0.0  # at least 1: the best token counts exp(0)
    for x in logits:
        total += ref.exp(ref.add(x, -logits[best]))
    return ref.f32(_log(total) - ref.add(logits[token], -logits[best])), best


def _log(x):
    """Returns ln(x) for x >= 1 by the series of 2 atanh((m - 1) / (m + 1)), as the C core does."""
    m, exponent = math.frexp(x)
    s = (2.0 * m - 1.0) / (2.0 * m + 1.0)
    total = 0.0
    for i in range(27, 0, -2):
        total = total * s * s + 1.0 / i
    return 2.0 * s * total + (exponent - 1) * 0.6931471805599453
