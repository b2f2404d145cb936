# SPDX-License-Identifier: Apache-2.0
"""The network of the model in the box in PyTorch: the llama architecture, for training only."""

import math

import torch
from torch import nn
from torch.nn import functional

DROPOUT = 0.05  # after attention and feed-forward, and on the embedding


class Round4(torch.autograd.Function):
    """Rounds a share of the blocks of 32 weights to q4_0; the gradient passes unchanged."""

    @staticmethod
    def forward(ctx, weight, share):
        block = weight.reshape(-1, 32)
        peak = block.gather(1, block.abs().argmax(1, keepdim=True))
        scale = peak / -8
        inverse = torch.where(scale == 0, 0.0, 1 / scale)
        rounded = ((block * inverse + 8.5).trunc().clamp(0, 15) - 8) * scale.half().float()
        chosen = torch.rand(len(block), 1) < share
        return torch.where(chosen, rounded, block).reshape(weight.shape)

    @staticmethod
    def backward(ctx, grad):
        return grad, None


class Matrix(nn.Module):
    """A weight matrix [rows][cols] without bias."""

    def __init__(self, rows, cols, deviation):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(rows, cols) * deviation)
        self.quant_share = 0.0

    def value(self):
        if self.training and self.quant_share:
            return Round4.apply(self.weight, self.quant_share)
        return self.weight

    def forward(self, x):
        return functional.linear(x, self.value())


class Layer(nn.Module):
    """One decoder layer of the llama architecture."""

    def __init__(self, shape):
        super().__init__()
        n_embd, n_ff, self.head_dim = shape["n_embd"], shape["n_ff"], shape["head_dim"]
        self.n_head, self.n_head_kv = shape["n_head"], shape["n_head_kv"]
        self.eps = shape["norm_eps"]
        small = 0.02 / math.sqrt(2 * shape["n_layer"])
        self.attn_norm = nn.Parameter(torch.ones(n_embd))
        self.attn_q = Matrix(self.n_head * self.head_dim, n_embd, 0.02)
        self.attn_k = Matrix(self.n_head_kv * self.head_dim, n_embd, 0.02)
        self.attn_v = Matrix(self.n_head_kv * self.head_dim, n_embd, 0.02)
        self.attn_output = Matrix(n_embd, self.n_head * self.head_dim, small)
        self.ffn_norm = nn.Parameter(torch.ones(n_embd))
        self.ffn_gate = Matrix(n_ff, n_embd, 0.02)
        self.ffn_up = Matrix(n_ff, n_embd, 0.02)
        self.ffn_down = Matrix(n_embd, n_ff, small)

    def forward(self, x, cos, sin, dropout):
        n_batch, n_token, n_embd = x.shape
        h = functional.rms_norm(x, (n_embd,), self.attn_norm, self.eps)
        q = rotate(self.attn_q(h).view(n_batch, n_token, self.n_head, self.head_dim), cos, sin)
        k = rotate(self.attn_k(h).view(n_batch, n_token, self.n_head_kv, self.head_dim), cos, sin)
        v = self.attn_v(h).view(n_batch, n_token, self.n_head_kv, self.head_dim)
        # Query head i reads key and value head i // (n_head / n_head_kv).
        n_share = self.n_head // self.n_head_kv
        k, v = k.repeat_interleave(n_share, 2), v.repeat_interleave(n_share, 2)
        h = attend(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
        h = self.attn_output(h.transpose(1, 2).reshape(n_batch, n_token, -1))
        x = x + functional.dropout(h, dropout, self.training)
        h = functional.rms_norm(x, (n_embd,), self.ffn_norm, self.eps)
        h = self.ffn_down(functional.silu(self.ffn_gate(h)) * self.ffn_up(h))
        return x + functional.dropout(h, dropout, self.training)


class Model(nn.Module):
    """Token ids [batch][token] to logits [batch][token][n_vocab]; input and output are tied."""

    def __init__(self, shape):
        super().__init__()
        self.shape = shape
        self.token_embd = Matrix(shape["n_vocab"], shape["n_embd"], 0.02)
        self.blk = nn.ModuleList(Layer(shape) for _ in range(shape["n_layer"]))
        self.output_norm = nn.Parameter(torch.ones(shape["n_embd"]))
        pair = torch.arange(0, shape["head_dim"], 2, dtype=torch.float64) / shape["head_dim"]
        angle = torch.arange(shape["n_ctx"])[:, None] * shape["rope_base"] ** -pair
        self.register_buffer("cos", angle.cos().float()[:, None], persistent=False)
        self.register_buffer("sin", angle.sin().float()[:, None], persistent=False)

    def forward(self, ids):
        n_token = ids.shape[1]
        table = self.token_embd.value()
        x = functional.dropout(functional.embedding(ids, table), DROPOUT, self.training)
        for layer in self.blk:
            x = layer(x, self.cos[:n_token], self.sin[:n_token], DROPOUT)
        x = functional.rms_norm(x, x.shape[-1:], self.output_norm, self.shape["norm_eps"])
        return functional.linear(x, table)


def rotate(x, cos, sin):
    """Applies RoPE to the adjacent pairs (2i, 2i+1) of x [batch][token][head][head_dim]."""
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1).flatten(-2)


def attend(q, k, v):
    """
    Returns causal attention over [batch][head][token][head_dim].

    In bfloat16 this takes half the processor time of PyTorch's own on short sequences: queries
    go in blocks, so that most of what the mask hides is never computed.
    """
    n_token, head_dim = q.shape[-2:]
    out, hidden = [], torch.full((n_token, n_token), -math.inf).triu(1)
    for first in range(0, n_token, 128):
        last = min(first + 128, n_token)
        score = (q[:, :, first:last] / math.sqrt(head_dim)) @ k[:, :, :last].transpose(-1, -2)
        score = score + hidden[first:last, :last].to(score.dtype)
        out.append(score.softmax(-1) @ v[:, :, :last])
    return torch.cat(out, 2)
