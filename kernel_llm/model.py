"""An open model: tokens in, logits and text out."""

from array import array

from arena.plan import Plan, config_bytes
from kernel_llm import TYPE_CHECKING, _abi
from kernel_llm import _native as native
from kernel_llm._port import cpu_count
from kernel_llm.encoder import Encoder, id_array
from kernel_llm.errors import KllmError
from kernel_llm.sampler import Sampler
from kernel_llm.stop_text import StopText
from tokenizer import StreamDecoder

N_CTX_DEFAULT = 2048
ANY_CPU = 0xFFFFFFFF
NOT_FINITE = "the model's logits are not finite"
LOGITS = {
    "none": _abi.KLLM_LOGITS_NONE,
    "last": _abi.KLLM_LOGITS_LAST,
    "all": _abi.KLLM_LOGITS_ALL,
}


def default_threads() -> int:
    """Returns how many threads compute where nobody says: one for each core."""
    return min(cpu_count(), _abi.KLLM_MAX_THREAD)


class Model:
    """
    A model in its arena. Allocates nothing of its own from the first token on.

    image: an Image; it is closed with the model.
    n_ctx: positions of each sequence; the model's own context, at most 2048, by default.
    threads: how many compute; all cores by default.
    kv: how keys and values are kept: "f32", "f16" or "q8_0".
    n_batch: most tokens in one pass; longer prompts run in several. n_seq: sequences held at once.
    n_logits: rows of logits kept, for `eval` of several tokens with all their logits.
    cpu: mask of the instruction sets that may be used (KLLM_CPU_*).

    `plan` is the memory plan, `encoder` the tokenizer, `n_vocab`, `n_ctx`, `n_seq` the sizes.
    `engine` is "native" where the C core computes, "python" where its slow twin does.
    Raises KllmError if the numbers do not fit the model.
    """

    _memory = None

    def __init__(
        self,
        image,
        n_ctx: int | None = None,
        threads: int | None = None,
        kv: str = "f16",
        n_batch: int = 64,
        n_seq: int = 1,
        n_logits: int = 0,
        cpu: int = ANY_CPU,
    ):
        self.engine = native.ENGINE
        self.image = image
        self.n_vocab = image.n_vocab
        self.n_ctx = min(image.n_ctx_train, N_CTX_DEFAULT) if n_ctx is None else n_ctx
        self.n_seq = n_seq
        self.n_batch = n_batch
        self.threads = default_threads() if threads is None else threads
        config = config_bytes(self.n_ctx, n_batch, n_seq, n_logits, self.threads, kv, cpu)
        self.plan = Plan(image.address, config)
        memory = native.Memory(self.plan.n_bytes)
        self._arena = memory.address
        self._image = image.address
        self._check(native.kllm_open(self._arena, self.plan.n_bytes, self._image, image.n_bytes,
                                     native.pointer(config)))  # fmt: skip
        self.encoder = Encoder(image.address + image.vocab_off)
        self._check(native.kllm_team_start(self._arena))
        self._memory = memory  # from here on there are threads to end
        self._token = array("I", [0])
        self._seq = array("I", [0])
        self._token_address = native.pointer(self._token)
        self._seq_address = native.pointer(self._seq)
        logits = native.kllm_region_off(self._arena, _abi.KLLM_R_LOGITS)
        self._logits = [
            self._memory.view(logits + 4 * self.n_vocab * row, 4 * self.n_vocab)
            for row in range(max(n_seq, n_logits))
        ]
        self.stop_reason = None
        self._stops = [i for i in map(self.encoder.special, ("eos", "eot")) if i >= 0]

    if not TYPE_CHECKING:  # a checker would take any name for a member

        def __getattr__(self, name):
            """Says why what `close` took away is not there."""
            if name in ("_arena", "_image", "_logits"):
                raise ValueError("the model is closed")
            raise AttributeError("'Model' object has no attribute '%s'" % name)

    def __enter__(self) -> "Model":
        return self

    def __exit__(self, *_):
        self.close()

    def __del__(self):
        """Ends the threads before the arena goes, where nobody has closed the model."""
        if self._memory is not None:
            native.kllm_team_stop(self._arena)

    def close(self) -> None:
        """
        Ends the threads and unmaps arena and image. May be called again.

        Whatever reads them raises ValueError afterwards.
        """
        if self._memory is not None:
            native.kllm_team_stop(self._arena)
            del self._arena, self._image, self._logits
            self._memory.close()
            self._memory = None
            self.encoder.close()
            self.image.close()

    def _check(self, status, where=""):
        if status < 0:
            raise KllmError(status, where or "the core refused the call")

    def encode(self, text: str | bytes, special: bool = False, affix: bool = True) -> list[int]:
        """Returns the token ids of a text; see Encoder.encode."""
        return self.encoder.encode(text, special, affix)

    def decode(self, ids, special: bool = False) -> str:
        """Returns the text of token ids; see Encoder.decode."""
        return self.encoder.decode(ids, special)

    def length(self, seq: int = 0) -> int:
        """Returns how many tokens a sequence holds. Raises KllmError RANGE if there is none."""
        n_token = native.kllm_seq_length(self._arena, seq) if seq >= 0 else _abi.KLLM_ERR_RANGE
        if n_token < 0:
            self._check(n_token, "no sequence %d" % seq)
        return n_token

    def reset(self, seq: int = 0, keep: int = 0) -> None:
        """Cuts a sequence back to its first `keep` tokens. Raises KllmError if it has fewer."""
        status = _abi.KLLM_ERR_RANGE
        if seq >= 0 and keep >= 0:
            status = native.kllm_seq_cut(self._arena, seq, keep)
        self._check(status, "no sequence %d of %d tokens" % (seq, keep))

    def eval(self, tokens, seqs, logits: str = "last") -> None:
        """
        Appends tokens to sequences: token i to sequence seqs[i].

        logits: "none", "last" (after the last token of each sequence, row = sequence) or "all"
        (after every token, row = its index here).
        Raises KllmError: RANGE for an id or sequence that does not exist, SPACE for a full
        context; ValueError if there are not as many seqs as tokens. Nothing has changed then.
        """
        if logits not in LOGITS:
            raise KllmError(_abi.KLLM_ERR_RANGE, "logits is '%s', not none, last or all" % logits)
        tokens, seqs = id_array(tokens), id_array(seqs)
        if len(tokens) != len(seqs):
            raise ValueError("%d tokens for %d sequences" % (len(tokens), len(seqs)))
        status = native.kllm_eval(self._arena, self._image, native.pointer(tokens),
                                  native.pointer(seqs), len(tokens), LOGITS[logits])  # fmt: skip
        if status == _abi.KLLM_ERR_SPACE:
            raise KllmError(status, "%d tokens more do not fit a context of %d"
                            % (len(tokens), self.n_ctx))  # fmt: skip
        if status < 0:
            raise KllmError(status, self._why_out_of_range(tokens, seqs))

    def _why_out_of_range(self, tokens, seqs):
        if not tokens:
            return "there are no tokens to append"
        if max(tokens) >= self.n_vocab:
            return "token id %d is not in a vocabulary of %d" % (max(tokens), self.n_vocab)
        if max(seqs) >= self.n_seq:
            return "no sequence %d among %d" % (max(seqs), self.n_seq)
        return "logits of %d tokens do not fit %d rows" % (len(tokens), len(self._logits))

    def prefill(self, tokens, seq: int = 0, progress=None) -> None:
        """
        Appends tokens to one sequence; its logits are then those after the last.

        progress: called with (tokens done, tokens in all) after each pass of n_batch.
        Raises KllmError(SPACE) if they do not fit the context; nothing has changed then. An
        interrupt between two passes leaves the sequence at the last pass.
        """
        n_held = self.length(seq)
        if len(tokens) > self.n_ctx - n_held:
            after = " after the %d that are there" % n_held if n_held else ""
            text = "%d tokens%s do not fit a context of %d" % (len(tokens), after, self.n_ctx)
            raise KllmError(_abi.KLLM_ERR_SPACE, text)
        for first in range(0, len(tokens), self.n_batch):
            part = tokens[first : first + self.n_batch]
            last = first + len(part) == len(tokens)
            self.eval(part, [seq] * len(part), "last" if last else "none")
            if progress:
                progress(first + len(part), len(tokens))

    def step(self, token: int, seq: int = 0) -> int:
        """
        Appends one token to a sequence and computes its logits.

        token: its id; a negative one, such as `sample` returns for an error, is out of range.
        Returns 0, or a negative KLLM_ERR code. Allocates nothing.
        """
        if token < 0:
            return _abi.KLLM_ERR_RANGE
        self._token[0] = token
        self._seq[0] = seq
        return native.kllm_eval(self._arena, self._image, self._token_address,
                                self._seq_address, 1, _abi.KLLM_LOGITS_LAST)  # fmt: skip

    def logits(self, row: int = 0) -> memoryview:
        """
        Returns the logits of a row as a buffer of n_vocab floats, valid until `close`.

        Raises IndexError if there is no such row.
        """
        if row < 0:
            raise IndexError("no row %d of logits" % row)
        return self._logits[row]

    def score(self, token: int, row: int = 0) -> tuple[float, int]:
        """
        Returns (-ln p(token), most likely token) under a row of logits.

        Raises KllmError: RANGE for a row or token that does not exist, FORMAT if the logits are
        not finite.
        """
        out = array("f", [0.0])
        top1 = array("I", [0])
        status = _abi.KLLM_ERR_RANGE
        if row >= 0 and token >= 0:
            status = native.kllm_score(self._arena, self._image, row, token, native.pointer(out),
                                       native.pointer(top1))  # fmt: skip
        not_finite = status == _abi.KLLM_ERR_FORMAT
        self._check(status, NOT_FINITE if not_finite else "no such row or token")
        return out[0], top1[0]

    def sample(self, sampler: Sampler, seq: int = 0) -> int:
        """Returns the next token of a sequence, chosen by a Sampler, or a negative code."""
        return native.kllm_sample(self._arena, self._image, seq, seq, sampler.address)

    def is_stop(self, token: int) -> bool:
        """Says whether a token ends a text or a turn."""
        return token in self._stops

    def generate_ids(self, n_token: int, sampler: Sampler, seq: int = 0):
        """
        Yields up to n_token ids that continue a sequence whose logits are in place.

        Ends before a stop token, and when the context is full; `stop_reason` then says "stop",
        "context" or "length". Raises KllmError(FORMAT) if the logits are not finite.
        """
        self.stop_reason = "length"
        for _ in range(n_token):
            token = self.sample(sampler, seq)
            self._check(token, NOT_FINITE)
            if self.is_stop(token):
                self.stop_reason = "stop"
                return
            yield token
            status = self.step(token, seq)
            if status == _abi.KLLM_ERR_SPACE:
                self.stop_reason = "context"
                return
            self._check(status)

    def stream(self, n_token: int, sampler: Sampler, seq: int = 0, ids=None, stop=()):
        """
        Yields the text that continues a sequence, piece by piece, never half a character.

        ids: a list that receives the token ids, if given. stop: a text or several; the text ends
        before the first that comes, `stop_reason` is then "stop", and ids has its tokens, too.
        Otherwise as `generate_ids`.
        """
        decoder, stops = StreamDecoder(), StopText(stop)
        for token in self.generate_ids(n_token, sampler, seq):
            if ids is not None:
                ids.append(token)
            piece = stops.push(decoder.push(self.encoder.decode_bytes([token])))
            if piece:
                yield piece
            if stops.found:
                self.stop_reason = "stop"
                return
        piece = stops.push(decoder.finish()) + stops.finish()
        if piece:
            yield piece

    def generate(self, prompt, n_token: int = 256, seq: int = 0, special: bool = False, stop=(),
                 **sampling):  # fmt: skip
        """
        Appends a prompt to a sequence and yields the text that continues it, as `stream` does.

        What the sequence holds stays: call `reset` before a prompt that is to stand alone.
        prompt: str, bytes or a list of token ids. special: parse control tokens in it. stop: as in
        `stream`. sampling: arguments of Sampler; greedy by default.
        Raises KllmError(SPACE) if the prompt does not fit the context.
        """
        tokens = self.encode(prompt, special) if isinstance(prompt, (str, bytes)) else prompt
        if len(tokens) == 0:
            raise KllmError(_abi.KLLM_ERR_RANGE, "the prompt is empty")
        self.prefill(tokens, seq)
        yield from self.stream(n_token, Sampler(**sampling), seq, stop=stop)

    def score_ids(self, ids, seq: int = 0, progress=None) -> tuple[list[float], list[int]]:
        """
        Returns ([-ln p(ids[i + 1] | ids[0 .. i])], [most likely token after ids[0 .. i]]).

        The sequence must be empty and n_logits n_batch or more. progress: as in `prefill`.
        """
        nll, top1 = [], []
        for first in range(0, len(ids) - 1, self.n_batch):
            part = ids[first : min(first + self.n_batch, len(ids) - 1)]
            self.eval(part, [seq] * len(part), "all")
            for row in range(len(part)):
                loss, best = self.score(ids[first + row + 1], row)
                nll.append(loss)
                top1.append(best)
            if progress:
                progress(len(nll), len(ids) - 1)
        return nll, top1
