"""Opens the packed model given on the command line, with each kv given, and prints its text."""

import sys

import kernel_llm
from kernel_llm.errors import KllmError
from kernel_llm.sampler import Sampler

SAMPLERS = (
    {},
    {"temperature": 50.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0, "seed": 0xFEDCBA9876543210},
    {"temperature": 0.9, "top_k": 7, "top_p": 0.8, "repeat_penalty": 1.3, "seed": 3},
)


def bits(buffer):
    return "".join(["%02x" % byte for byte in bytes(buffer)[:24]])


for kv in sys.argv[2:] or ("f16", "q8_0", "f32"):
    with kernel_llm.open(sys.argv[1], n_ctx=48, kv=kv, n_batch=4) as model:
        ids = model.encode("the world, hello ")
        print(kv, ids, model.decode(ids))
        for sampling in SAMPLERS:
            model.reset(keep=max(0, model.length() and len(ids) - 1))
            model.prefill(ids[model.length() :])
            nll, top1 = model.score(ids[0])
            print(int(nll * 1e6), top1)
            print(list(model.generate_ids(4, Sampler(**sampling))), model.stop_reason)
            print(bits(model.logits()), model.length())
        if kv == "f16":
            text = "".join(list(model.generate(ids[:2], 4, **SAMPLERS[1])))
            print([ord(char) for char in text])
            model.reset()
            text = "".join(list(model.generate(ids, 8, stop=["lo", "d"])))
            print([ord(char) for char in text], model.stop_reason)
            print([row[0] for row in model.plan.rows() if row[0] != "work"])
            for call in (
                lambda: model.prefill([0] * 49),
                lambda: model.eval([model.n_vocab], [0]),
                lambda: model.eval([1], [1]),
                lambda: model.reset(0, 49),
                lambda: Sampler(top_p=2),
            ):
                try:
                    call()
                except KllmError as error:
                    print(error)
    for call in (
        lambda: model.step(1),
        lambda: model.encode("a"),
        lambda: model.logits(),
        lambda: model.image.n_vocab,
    ):
        try:
            call()
        except ValueError as error:
            print(error)
    model.close()
with open(sys.argv[1], "rb") as file:
    start = file.read(4096)
cut = sys.argv[1] + ".cut"
for n_bytes in (-1, 0, 3, 4, 255, 256, 4096):
    if n_bytes >= 0:
        with open(cut, "wb") as file:
            file.write(start[:n_bytes])
    try:
        kernel_llm.open(cut if n_bytes >= 0 else sys.argv[1] + ".missing")
    except KllmError as error:
        print(error.code)
    except OSError as error:
        print(error.args[0])
