"""
The forward pass in float64 NumPy, straight from a GGUF file: the expectation for whole models.

Written from the papers and the GGUF conventions, not from the C core: weights are dequantised by
the `gguf` package, every sum is a float64 matrix product. Nothing is quantised on the way, unless
q8_inputs asks for inputs of quantised matrices rounded to 8 bits as the engine does it by design.
"""

import numpy as np
from gguf import GGMLQuantizationType, GGUFReader
from gguf.quants import dequantize


class NumpyModel:
    """A llama or gpt2 model in float64; `forward(ids)` gives the logits after every token."""

    def __init__(self, path, q8_inputs=False):
        reader = GGUFReader(str(path))
        self.fields = {name: field.contents() for name, field in reader.fields.items()
                       if not name.startswith("tokenizer.ggml.")}  # fmt: skip
        self.weights = {
            t.name: dequantize(t.data, t.tensor_type).astype(np.float64) for t in reader.tensors
        }
        exact = (GGMLQuantizationType.F32, GGMLQuantizationType.F16)
        self.rounded = {t.name for t in reader.tensors if q8_inputs and t.tensor_type not in exact}
        self.arch = self.fields["general.architecture"]
        get = lambda key, default=None: self.fields.get(f"{self.arch}.{key}", default)  # noqa: E731
        self.n_layer = get("block_count")
        self.n_head = get("attention.head_count")
        self.n_head_kv = get("attention.head_count_kv", self.n_head)
        self.head_dim = get("attention.key_length", get("embedding_length") // self.n_head)
        self.n_rot = get("rope.dimension_count", self.head_dim)
        self.rope_base = get("rope.freq_base", 10000.0)
        self.eps = get("attention.layer_norm_rms_epsilon", get("attention.layer_norm_epsilon"))

    def linear(self, x, name):
        bias = self.weights.get(name + ".bias", 0.0)
        if name + ".weight" in self.rounded:
            x = rounded_to_q8(x)
        return x @ self.weights[name + ".weight"].T + bias

    def norm(self, x, name):
        if self.arch == "gpt2":
            x = x - x.mean(-1, keepdims=True)
        y = x / np.sqrt((x * x).mean(-1, keepdims=True) + self.eps)
        return y * self.weights[name + ".weight"] + self.weights.get(name + ".bias", 0.0)

    def rope(self, x):
        """Rotates adjacent pairs of x [n][heads][head_dim] by position times frequency."""
        n, half = x.shape[0], self.n_rot // 2
        frequency = self.rope_base ** (-np.arange(half) * 2.0 / self.n_rot)
        frequency = frequency / self.weights.get("rope_freqs.weight", 1.0)
        angle = np.arange(n)[:, None, None] * frequency
        pair = x[..., : self.n_rot].reshape(*x.shape[:2], half, 2)
        turned = (pair[..., 0] + 1j * pair[..., 1]) * np.exp(1j * angle)
        y = x.copy()
        y[..., : self.n_rot] = np.stack([turned.real, turned.imag], -1).reshape(
            *x.shape[:2], self.n_rot
        )
        return y

    def attention(self, x, blk):
        n = len(x)
        if self.arch == "gpt2":
            q, k, v = np.split(self.linear(x, blk + "attn_qkv"), 3, axis=-1)
        else:
            q, k, v = (self.linear(x, blk + "attn_" + c) for c in "qkv")
        q = q.reshape(n, self.n_head, self.head_dim)
        k, v = (m.reshape(n, self.n_head_kv, self.head_dim) for m in (k, v))
        if self.arch == "llama":
            q, k = self.rope(q), self.rope(k)
        k, v = (np.repeat(m, self.n_head // self.n_head_kv, axis=1) for m in (k, v))
        score = np.einsum("ihd,jhd->hij", q, k) / np.sqrt(self.head_dim)
        score[:, np.triu(np.ones((n, n), bool), 1)] = -np.inf
        p = np.exp(score - score.max(-1, keepdims=True))
        p /= p.sum(-1, keepdims=True)
        return self.linear(np.einsum("hij,jhd->ihd", p, v).reshape(n, -1), blk + "attn_output")

    def feed_forward(self, x, blk):
        up = self.linear(x, blk + "ffn_up")
        if self.arch == "gpt2":
            up = 0.5 * up * (1 + np.tanh(np.sqrt(2 / np.pi) * (up + 0.044715 * up**3)))
        else:
            gate = self.linear(x, blk + "ffn_gate")
            up = gate / (1 + np.exp(-gate)) * up
        return self.linear(up, blk + "ffn_down")

    def forward(self, ids):
        """Returns float64 logits [n][n_vocab] after each of the n ids of one sequence."""
        x = self.weights["token_embd.weight"][np.asarray(ids)]
        if self.arch == "gpt2":
            x = x + self.weights["position_embd.weight"][: len(ids)]
        for layer in range(self.n_layer):
            blk = f"blk.{layer}."
            x = x + self.attention(self.norm(x, blk + "attn_norm"), blk)
            x = x + self.feed_forward(self.norm(x, blk + "ffn_norm"), blk)
        x = self.norm(x, "output_norm")
        output = "output" if "output.weight" in self.weights else "token_embd"
        return self.linear(x, output)


def rounded_to_q8(x):
    """
    Returns x [n][cols] with every block of 32 rounded to multiples of its largest magnitude / 127,
    after the four largest magnitudes of each row were set aside; those stay as they are.
    """
    outliers = np.argsort(-np.abs(x), axis=-1, kind="stable")[:, :4]
    rest = x.copy()
    np.put_along_axis(rest, outliers, 0, axis=-1)
    blocks = rest.reshape(*x.shape[:-1], -1, 32)
    step = np.abs(blocks).max(-1, keepdims=True) / 127
    step[step == 0] = 1
    y = (np.rint(blocks / step) * step).reshape(x.shape)
    np.put_along_axis(y, outliers, np.take_along_axis(x, outliers, axis=-1), axis=-1)
    return y


def nll_of(logits, ids):
    """Returns -ln p(ids[i + 1]) under logits[i], for every i but the last."""
    logits = logits[: len(ids) - 1]
    shifted = logits - logits.max(-1, keepdims=True)
    total = np.log(np.exp(shifted).sum(-1))
    return total - shifted[np.arange(len(shifted)), np.asarray(ids[1:])]
