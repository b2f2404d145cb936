# SPDX-License-Identifier: Apache-2.0
"""Measures the model in the box while it is made: held-out bits per byte and bigram baselines."""

import math

import torch
from torch.nn import functional

from kernel_llm.data import corpus


def bits_per_byte(model, docs, n_byte):
    """
    Returns the bits per byte of the held-out documents, lists of token ids of n_byte bytes in all.

    A document is read from <|endoftext|> on in windows of n_ctx tokens that do not overlap, so
    each token is predicted once, from the tokens before it in its window.
    """
    model.eval()
    n_ctx, total = model.shape["n_ctx"], 0.0
    with torch.inference_mode():
        for ids in docs:
            ids = torch.tensor([corpus.END, *ids])
            for at in range(0, len(ids) - 1, n_ctx):
                window = ids[at : at + n_ctx + 1]
                logits = model(window[None, :-1])[0]
                total += functional.cross_entropy(logits, window[1:], reduction="sum").item()
    model.train()
    return total / math.log(2) / n_byte


def bigram_bits(train, held_out, n_symbol, n_byte):
    """
    Returns (bits per byte, weight) of a bigram model over lists of symbol ids below n_symbol.

    P(b|a) = (count(a, b) + weight * P(b)) / (count(a) + weight), P(b) smoothed by adding one.
    In the baseline's favour the weight is the one of a fixed list best on the held-out text.
    """
    pairs = torch.zeros(n_symbol, n_symbol, dtype=torch.float64)
    for ids in train:
        ids = torch.tensor(ids)
        ones = torch.ones(len(ids) - 1, dtype=torch.float64)
        pairs.index_put_((ids[:-1], ids[1:]), ones, accumulate=True)
    single = (pairs.sum(0) + 1) / (pairs.sum() + n_symbol)
    ids = [torch.tensor(x) for x in held_out]
    first, second = torch.cat([x[:-1] for x in ids]), torch.cat([x[1:] for x in ids])
    best = []
    for weight in (0.1, 1, 3, 10, 30, 100, 300):
        chance = (pairs[first, second] + weight * single[second]) / (pairs.sum(1)[first] + weight)
        best.append((-chance.log2().sum().item() / n_byte, weight))
    return min(best)


def sample(model, tokenizer, prompt, n_token, seed, temperature=0.8, top_k=40):
    """Returns prompt and up to n_token more tokens as text; stops at <|endoftext|>."""
    model.eval()
    draw = torch.Generator().manual_seed(seed)
    ids = tokenizer.encode(prompt).ids
    with torch.inference_mode():
        while len(ids) < min(n_token, model.shape["n_ctx"]):
            top = model(torch.tensor([ids]))[0, -1].topk(top_k)
            chance = (top.values / temperature).softmax(0)
            token = top.indices[torch.multinomial(chance, 1, generator=draw)].item()
            if token == corpus.END:
                break
            ids.append(token)
    model.train()
    return tokenizer.decode(ids)
