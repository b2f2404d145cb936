# SPDX-License-Identifier: Apache-2.0
"""
llama.cpp and ik_llama.cpp through the C interface of their Python packages.

Their own classes do more for each token than computing it, which would count against them.
"""

import ctypes
import importlib
import itertools
import time

N_TRIED = 3  # timed runs of each setting


class Library:
    """A build of llama.cpp: the ctypes bindings of `module`, and how the two forks differ."""

    def __init__(self, module):
        self.is_ik = module == "ik_llama_cpp"
        package = importlib.import_module(module)
        part = "_ctypes_api" if self.is_ik else "llama_cpp"
        self.c = importlib.import_module(f"{module}.{part}")
        self.version = package.__version__
        lib = self.c._lib
        no_log = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
        self._log = no_log(lambda level, text, data: None)  # the library keeps the pointer
        lib.llama_log_set.argtypes = [no_log, ctypes.c_void_p]
        lib.llama_log_set(self._log, None)
        lib.llama_print_system_info.restype = ctypes.c_char_p
        self.info = lib.llama_print_system_info().decode()
        if self.is_ik:
            self._seq_rm = lib.llama_kv_cache_seq_rm
            self._seq_rm.argtypes = [ctypes.c_void_p] + [ctypes.c_int32] * 3
        self.c.llama_backend_init()

    def cut(self, context, n_keep):
        """Drops all but the first n_keep tokens of the sequence."""
        if self.is_ik:
            self._seq_rm(context, 0, n_keep, -1)
        else:
            self.c.llama_memory_seq_rm(self.c.llama_get_memory(context), 0, n_keep, -1)

    def settings(self):
        """Returns what may be chosen, as dicts: the best is found by trying."""
        names = ("flash_attn", "repack") if self.is_ik else ("flash_attn",)
        choices = itertools.product((False, True), repeat=len(names))
        return [dict(zip(names, values, strict=True)) for values in choices]

    def model(self, path, repack=False, vocab_only=False):
        """Returns a loaded model; llama.cpp repacks by itself, ik_llama.cpp where it is asked."""
        params = self.c.llama_model_default_params()
        params.vocab_only = vocab_only
        if self.is_ik:
            params.repack_tensors = repack
            params.use_mmap = not repack
        model = self.c.llama_model_load_from_file(str(path).encode(), params)
        if not model:
            raise ValueError(f"it cannot load {path}")
        return model

    def free_model(self, model):
        (self.c.llama_free_model if self.is_ik else self.c.llama_model_free)(model)

    def context(self, model, n_ctx, n_batch, threads, flash_attn):
        params = self.c.llama_context_default_params()
        params.n_ctx = n_ctx
        params.n_batch = params.n_ubatch = n_batch
        params.n_threads = params.n_threads_batch = threads
        if self.is_ik:
            params.flash_attn = flash_attn
        else:
            params.flash_attn_type = int(flash_attn)
        context = self.c.llama_init_from_model(model, params)
        if not context:
            raise ValueError("it cannot make a context")
        return context


class Session:
    """One sequence of a model: what is timed calls cut, prefill and step."""

    def __init__(self, library, path, n_ctx, n_batch, threads, flash_attn=False, repack=False):
        self._library, self._c = library, library.c
        self._model = library.model(path, repack)
        self._context = library.context(self._model, n_ctx, n_batch, threads, flash_attn)
        vocab = self._c.llama_model_get_vocab(self._model)
        self.n_vocab = self._c.llama_vocab_n_tokens(vocab)
        self._batch = self._c.llama_batch_init(n_batch, 0, 1)
        self._n = 0

    def cut(self, n_keep):
        self._library.cut(self._context, n_keep)
        self._n = n_keep

    def prefill(self, tokens):
        """Appends tokens, at most n_batch; the logits of the last are computed."""
        batch = self._batch
        batch.n_tokens = len(tokens)
        for i, token in enumerate(tokens):
            batch.token[i] = token
            batch.pos[i] = self._n + i
            batch.n_seq_id[i] = 1
            batch.seq_id[i][0] = 0
            batch.logits[i] = i == len(tokens) - 1
        status = self._c.llama_decode(self._context, batch)
        if status != 0:
            raise ValueError(f"llama_decode returned {status}")
        self._c.llama_get_logits_ith(self._context, len(tokens) - 1)  # waits for them
        self._n += len(tokens)

    def step(self, token):
        self.prefill((token,))

    def close(self):
        self._c.llama_batch_free(self._batch)
        self._c.llama_free(self._context)
        self._library.free_model(self._model)


def best_setting(library, open_session, prepare):
    """
    Returns the setting with which the work is fastest.

    open_session(setting): returns a Session. prepare(session): returns run(loops).
    """
    best = None
    for setting in library.settings():
        session = open_session(setting)
        run = prepare(session)
        run(1)
        taken = min(_time(run) for _ in range(N_TRIED))
        session.close()
        if best is None or taken < best[0]:
            best = taken, setting
    return best[1]


def _time(run):
    start = time.perf_counter()
    run(1)
    return time.perf_counter() - start


def tokenizer(library, path):
    """Returns encode(bytes) with the vocabulary of a GGUF file; it gives the number of tokens."""
    c = library.c
    model = library.model(path, vocab_only=True)
    place = model if library.is_ik else c.llama_model_get_vocab(model)

    def encode(text):
        ids = (c.llama_token * len(text))()
        return c.llama_tokenize(place, text, len(text), ids, len(text), False, False)

    return encode
