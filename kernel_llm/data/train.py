# SPDX-License-Identifier: Apache-2.0
"""
Trains the model in the box and writes it as GGUF. CPython with the extra `train` only.

    pip install '.[train]'
    python -m kernel_llm.data.train --out build/train

takes under two hours on two cores. An interrupted run goes on from its last checkpoint; a
smaller --steps ends it earlier. Everything is seeded: the same PyTorch on the same kind of
processor gives the same files. --install puts them into the package.
"""

import argparse
import hashlib
import json
import math
import os
import shutil
import sys
import time

try:
    import torch
    from torch import nn
    from torch.nn import functional

    from kernel_llm.data import corpus, export, measure
    from kernel_llm.data.network import Matrix, Model
except ModuleNotFoundError as error:
    print(f"kernel_llm.data.train: {error}; pip install '.[train]'", file=sys.stderr)
    sys.exit(2)

from kernel_llm.terminal import run_command

SHAPE = {
    "n_vocab": 1024,
    "n_ctx": 512,
    "n_embd": 192,
    "n_head": 6,
    "n_head_kv": 2,
    "head_dim": 32,
    "n_ff": 512,
    "n_layer": 5,
    "norm_eps": 1e-5,
    "rope_base": 10000.0,
}
SEED = 1623
N_STEP = 2800
EXCERPT = [3, 7, 34]  # held-out documents the tests carry: two scenes and a sonnet
PROMPT = "SCENE II. A street in Verona.\n\n[Enter ROMEO and JULIET.]\n\nROMEO.\n"
N_BATCH = 8  # sequences of n_ctx tokens in one step
N_WARMUP = 100  # steps
RATE = 6e-3  # peak learning rate
DECAY = 0.1  # weight decay of the layers' matrices
QUANT_FROM = 0.8  # share of the run after which q4_0 rounding noise is added to the weights
QUANT_SHARE = 0.5  # of the blocks of 32 weights, drawn anew in each step


def rate_at(step, n_step):
    """Returns the learning rate: linear warm-up, then a cosine to a fiftieth of the peak."""
    if step < N_WARMUP:
        return RATE * (step + 1) / N_WARMUP
    done = (step - N_WARMUP) / max(1, n_step - N_WARMUP)
    return RATE * (0.02 + 0.98 * (1 + math.cos(math.pi * done)) / 2)


def batches(ids, n_ctx, seed):
    """Yields batches [N_BATCH][n_ctx + 1] without end: each epoch all windows, newly laid out."""
    draw = torch.Generator().manual_seed(seed)
    while True:
        start = int(torch.randint(n_ctx, (1,), generator=draw))
        n_window = (len(ids) - start - 1) // n_ctx
        order = torch.randperm(n_window, generator=draw)
        for i in range(0, n_window - N_BATCH + 1, N_BATCH):
            rows = [start + int(w) * n_ctx for w in order[i : i + N_BATCH]]
            yield torch.stack([ids[r : r + n_ctx + 1] for r in rows])


def make_optimizers(model):
    """
    Returns Muon for the matrices of the layers and AdamW for the embedding and the norms.

    After 220 steps this is at 2.36 held-out bits per byte where AdamW alone is at 2.67.
    """
    layers = [p for p in model.blk.parameters() if p.ndim == 2]
    rest = [p for p in model.parameters() if all(p is not q for q in layers)]
    muon = torch.optim.Muon(
        layers, lr=RATE, weight_decay=DECAY, momentum=0.95, adjust_lr_fn="match_rms_adamw"
    )
    return [muon, torch.optim.AdamW(rest, lr=RATE, betas=(0.9, 0.95), weight_decay=0.0)]


def train_model(train_ids, check, out, n_step, bf16):
    """
    Trains to step n_step, going on from the checkpoint in the folder out if there is one.

    train_ids: int64[...], the training stream. check: called with the model, returns the held-out
    bits per byte. Returns (model, curve), curve a list of [step, training loss in nats, bits].
    """
    torch.manual_seed(SEED)
    model, path = Model(SHAPE), os.path.join(out, "checkpoint.pt")
    optimizers = make_optimizers(model)
    first, curve, losses, began_s = 0, [], [], time.monotonic()
    if os.path.exists(path):
        saved = torch.load(path)
        model.load_state_dict(saved["model"])
        for optimizer, state in zip(optimizers, saved["optimizers"], strict=True):
            optimizer.load_state_dict(state)
        first, curve = saved["step"], saved["curve"]
    source = batches(train_ids, SHAPE["n_ctx"], SEED)
    for step in range(n_step):
        ids = next(source)
        if step < first:
            continue
        torch.manual_seed(SEED + step)  # dropout and quantisation noise do not depend on a restart
        for module in model.modules():
            if isinstance(module, Matrix):
                module.quant_share = QUANT_SHARE if step >= QUANT_FROM * n_step else 0.0
        for group in (g for optimizer in optimizers for g in optimizer.param_groups):
            group["lr"] = rate_at(step, n_step)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            logits = model(ids[:, :-1]).flatten(0, 1)
        loss = functional.cross_entropy(logits.float(), ids[:, 1:].flatten())
        model.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
        losses.append(loss.item())
        if (step + 1) % 200 == 0 or step + 1 == n_step:
            curve.append([step + 1, round(sum(losses) / len(losses), 4), round(check(model), 4)])
            losses = []
            saved = {"model": model.state_dict(), "step": step + 1, "curve": curve}
            saved["optimizers"] = [optimizer.state_dict() for optimizer in optimizers]
            torch.save(saved, path + ".part")
            os.replace(path + ".part", path)
            print(
                f"step {step + 1}/{n_step}  loss {curve[-1][1]:.4f}  held-out bits/byte "
                f"{curve[-1][2]:.4f}  {time.monotonic() - began_s:.0f} s",
                flush=True,
            )
    return model, curve


def finish(model, tokenizer, texts, streams, curve, out):
    """
    Writes the GGUF files and training.json to the folder out.

    texts, streams: (training, held-out) documents, as text and as token ids.
    """
    sizes = [
        {
            "documents": len(docs),
            "bytes": sum(map(len, docs)),
            "tokens": sum(map(len, ids)),
        }
        for docs, ids in zip(texts, streams, strict=True)
    ]
    record = {
        "shape": model.shape,
        "n_parameter": sum(p.numel() for p in model.parameters()),
        "seed": SEED,
        "steps": curve[-1][0],
        "tokens_per_step": N_BATCH * model.shape["n_ctx"],
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "train": sizes[0],
        "held_out": sizes[1],
        "bits_per_byte": baselines(texts, streams, model.shape["n_vocab"]),
        "excerpt": {"documents": EXCERPT, "bits_per_byte": {}},
        "files": {},
        "curve": curve,
    }
    f32 = os.path.join(out, f"{export.NAME}.f32.gguf")
    for kind in ("f32", "q8_0", "q4_0"):
        path = os.path.join(out, f"{export.NAME}.{kind}.gguf")
        export.write(model, tokenizer, kind, path)
        export.load_weights(model, path)
        add_figures(record, kind, model, texts[1], streams[1])
        with open(path, "rb") as f:
            data = f.read()
        digest = hashlib.sha256(data).hexdigest()
        record["files"][os.path.basename(path)] = {"bytes": len(data), "sha256": digest}
        export.load_weights(model, f32)  # q4_0 is made from the trained weights, not from q8_0
    record["sample"] = measure.sample(model, tokenizer, PROMPT, 400, SEED)
    with open(os.path.join(out, "training.json"), "w") as f:
        json.dump(record, f, indent=1)
        f.write("\n")
    with open(os.path.join(out, "held_out_excerpt.txt"), "w") as f:
        f.write("\f".join(texts[1][i] for i in EXCERPT))
    print(record["sample"], json.dumps(record["bits_per_byte"], indent=1), sep="\n")


def baselines(texts, streams, n_vocab):
    """Returns the held-out bits per byte of bigram models over bytes and over tokens."""
    n_byte = sum(map(len, texts[1]))
    as_bytes = [[list(doc.encode()) for doc in docs] for docs in texts]
    as_tokens = [[[corpus.END, *ids] for ids in docs] for docs in streams]
    return {
        "byte_bigram": round(measure.bigram_bits(*as_bytes, 256, n_byte)[0], 4),
        "token_bigram": round(measure.bigram_bits(*as_tokens, n_vocab, n_byte)[0], 4),
    }


def add_figures(record, kind, model, docs, ids):
    """Adds the bits per byte of the model as it is, on all held-out text and on the excerpt."""
    for figures, chosen in (
        (record["bits_per_byte"], range(len(docs))),
        (record["excerpt"]["bits_per_byte"], EXCERPT),
    ):
        n_byte = sum(len(docs[i]) for i in chosen)
        figures[kind] = round(measure.bits_per_byte(model, [ids[i] for i in chosen], n_byte), 4)


def main():
    parser = argparse.ArgumentParser(description="Trains the model in the box.")
    parser.add_argument("--out", default="build/train", help="folder for everything written")
    parser.add_argument("--steps", type=int, default=N_STEP, help=f"default {N_STEP}")
    parser.add_argument("--install", action="store_true", help="copy the result to the package")
    parser.add_argument("--threads", type=int, default=2, help="default 2; shared cores: 1")
    parser.add_argument("--bf16", action="store_true", help="multiply in bfloat16 while training")
    args = parser.parse_args()
    os.makedirs(args.out, exist_ok=True)
    torch.set_num_threads(args.threads)

    texts = corpus.split(corpus.read_works(corpus.fetch(args.out)))
    tokenizer = corpus.train_tokenizer(texts[0], SHAPE["n_vocab"])
    streams = [[tokenizer.encode(doc).ids for doc in docs] for docs in texts]
    train_ids = torch.tensor([i for ids in streams[0] for i in [corpus.END, *ids]])
    print(f"{len(train_ids)} training tokens", flush=True)

    some = slice(0, None, 4)  # every fourth held-out document is enough for the curve

    def check(model):
        return measure.bits_per_byte(model, streams[1][some], sum(map(len, texts[1][some])))

    model, curve = train_model(train_ids, check, args.out, args.steps, args.bf16)
    finish(model, tokenizer, texts, streams, curve, args.out)
    if args.install:
        for name in (f"{export.NAME}.q8_0.gguf", f"{export.NAME}.q4_0.gguf", "training.json"):
            shutil.copy(os.path.join(args.out, name), os.path.dirname(os.path.abspath(__file__)))


if __name__ == "__main__":
    sys.exit(run_command("kernel_llm.data.train", main))
