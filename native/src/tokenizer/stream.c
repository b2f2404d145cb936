// SPDX-License-Identifier: Apache-2.0
// Encodes a text that comes in pieces: what the next piece cannot change, and no more.
#include "encode.h"

// What one run over the waiting text finds; it takes effect when the ids fit.
struct run {
    const struct vocab *v;
    struct work *w;
    struct sink *out;
    uint32_t is_last;
    uint32_t is_started;
    uint32_t n_within;
    uint32_t is_start;
    uint32_t after;
};

// Encodes windows of a word that has no end yet, from pos + n_done; returns where the character
// starts that is the first not encoded as a whole.
static uint64_t encode_within(struct run *r, uint64_t pos, uint64_t n_done, uint64_t end) {
    const uint8_t *text = r->w->stream.text;
    uint64_t p = pos + n_done;
    while (p < end && end - p >= WINDOW_BYTES) {
        p += kllm_encode_window(r->v, &r->w->window, text + p, WINDOW_BYTES, 0, r->out);
    }
    n_done = 0;
    for (uint64_t back = 1; back <= 3 && back <= p - pos; back++) {
        uint32_t n_bytes;
        decode_utf8(text, p - back, end, &n_bytes);
        n_done = n_bytes > back ? back : n_done;
    }
    r->n_within = 1 + (uint32_t)n_done;
    return p - n_done;
}

// Encodes text[pos, end) as words; returns the end of what is certain.
static uint64_t encode_words(struct run *r, uint64_t pos, uint64_t end, uint32_t is_open) {
    struct stream *s = &r->w->stream;
    uint64_t readable = s->n_bytes + BUFFER_SLACK;
    if (r->n_within > 0 && pos < end) {
        struct splitter split;
        uint32_t saw_end = 0;
        kllm_split_start(&split, r->v, s->text, pos, end, &saw_end);
        uint64_t next = kllm_split_next(&split);
        uint64_t from = pos + r->n_within - 1;
        if (saw_end && is_open) {
            return encode_within(r, pos, from - pos, end);
        }
        if (next > from) {
            kllm_merge_word(r->v, &r->w->window, s->text + from, next - from, r->out);
        }
        r->n_within = 0;
        pos = next;
    }
    struct stretch part = {pos, end, readable, is_open, 0};
    pos = kllm_encode_words(r->v, r->w, s->text, part, r->out);
    if (end - pos > KLLM_STREAM_BYTES / 2) {
        part.pos = pos;
        part.certain = end - WINDOW_BYTES; // far enough from what is not known
        pos = kllm_encode_words(r->v, r->w, s->text, part, r->out);
        if (end - pos > KLLM_STREAM_BYTES / 2) {
            pos = encode_within(r, pos, 0, end);
        }
    }
    return pos;
}

// Where text[pos, end) may be cut: before its last space after something else. Where there is none
// for long, after a character.
static uint64_t last_space(const uint8_t *text, uint64_t pos, uint64_t end) {
    for (uint64_t p = end; p-- > pos + 1;) {
        if (text[p] == ' ' && text[p - 1] != ' ' && text[p - 1] < 0x80) {
            return p;
        }
    }
    if (end - pos <= KLLM_STREAM_BYTES / 2) {
        return pos;
    }
    uint64_t p = end - WINDOW_MARGIN;
    while (p > pos + 1 && (text[p] & 0xc0) == 0x80) {
        p--;
    }
    return p;
}

static uint64_t encode_plain(struct run *r, uint64_t pos, uint64_t end, uint32_t is_open) {
    if (r->v->head->kind == KLLM_VOCAB_BPE) {
        return encode_words(r, pos, end, is_open);
    }
    if (r->v->head->kind == KLLM_VOCAB_UNIGRAM) {
        uint64_t cut = is_open ? last_space(r->w->stream.text, pos, end) : end;
        if (cut > pos) {
            kllm_encode_unigram(r->v, &r->w->window, r->w->stream.text + pos, cut - pos,
                                r->is_start, r->out);
            r->is_start = 0;
        }
        return cut;
    }
    uint32_t prefix = r->is_start && (r->v->head->flags & KLLM_VOCAB_SPACE_PREFIX);
    uint64_t n = kllm_encode_spm(r->v, &r->w->window, r->w->stream.text + pos, end - pos, prefix,
                                 !is_open, r->out);
    r->is_start = r->is_start && n == 0;
    return pos + n;
}

// Encodes what waits; returns how many bytes of it are done.
static uint64_t encode_waiting(struct run *r) {
    struct stream *s = &r->w->stream;
    const struct kllm_vocab *head = r->v->head;
    struct specials sp;
    kllm_open_specials(&sp, r->v, s->flags);
    sp.end = r->is_last ? UINT64_MAX : s->n_bytes;
    if (!r->is_started && (s->flags & KLLM_ENCODE_AFFIX) && (head->flags & KLLM_VOCAB_ADD_BOS)) {
        put_id(r->out, head->bos);
    }
    r->is_started = 1;
    uint64_t pos = 0;
    if (r->after != 0) {
        pos = kllm_after_special(r->v, r->after - 1, s->text, 0, s->n_bytes);
    }
    while (pos < s->n_bytes) {
        r->after = 0;
        struct match m = {s->n_bytes, 0, 0};
        if (sp.n > 0) {
            m = kllm_next_special(r->v, &sp, s->text, pos, s->n_bytes);
        }
        uint32_t is_open = !r->is_last && (m.n_bytes == 0 || sp.cut_at != UINT64_MAX);
        uint64_t end = is_open && sp.cut_at < m.pos ? sp.cut_at : m.pos;
        if (end > pos) {
            pos = encode_plain(r, pos, end, is_open);
        }
        if (is_open) {
            return pos;
        }
        if (m.n_bytes > 0) {
            put_id(r->out, m.id);
            r->is_start = 1;
            r->n_within = 0;
            r->after = m.id + 1;
            pos = kllm_after_special(r->v, m.id, s->text, m.pos + m.n_bytes, s->n_bytes);
        } else {
            pos = m.pos;
        }
    }
    return pos;
}

static int32_t run(const void *vocab, struct work *w, uint32_t is_last, uint32_t *ids,
                   uint64_t n_ids, uint64_t *n_out) {
    struct vocab v = vocab_open(vocab);
    struct stream *s = &w->stream;
    uint32_t eos =
        is_last && (s->flags & KLLM_ENCODE_AFFIX) && (v.head->flags & KLLM_VOCAB_ADD_EOS);
    uint64_t most = v.head->kind == KLLM_VOCAB_BPE   ? s->n_bytes + 5
                    : v.head->kind == KLLM_VOCAB_SPM ? s->n_bytes * 6 + 5
                                                     : UINT64_MAX;
    for (uint32_t writes = n_ids >= most; writes < 2; writes++) {
        struct sink out = {ids, writes ? n_ids : 0, 0};
        struct run r = {&v, w, &out, is_last, s->is_started, s->n_within, s->is_start, s->after};
        uint64_t done = encode_waiting(&r);
        if (eos) {
            put_id(&out, v.head->eos);
        }
        *n_out = out.n;
        if (out.n > n_ids) {
            return KLLM_ERR_SPACE;
        }
        if (writes) {
            s->is_started = r.is_started;
            s->n_within = r.n_within;
            s->is_start = r.is_start;
            s->after = r.after;
            s->n_bytes -= done;
            memmove(s->text, s->text + done, s->n_bytes);
        }
    }
    return KLLM_OK;
}

void kllm_encode_start(void *work, uint32_t flags) {
    struct stream *s = &((struct work *)work)->stream;
    s->flags = flags;
    s->is_started = 0;
    s->n_within = 0;
    s->is_start = 1;
    s->after = 0;
    s->n_bytes = 0;
}

int32_t kllm_encode_piece(const void *vocab, void *work, const uint8_t *text, uint64_t n_bytes,
                          uint64_t *n_taken, uint32_t *ids, uint64_t n_ids, uint64_t *n_out) {
    struct stream *s = &((struct work *)work)->stream;
    uint64_t n_waiting = s->n_bytes;
    uint64_t room = KLLM_STREAM_BYTES - n_waiting;
    uint64_t n = n_bytes < room ? n_bytes : room;
    memcpy(s->text + n_waiting, text, n);
    s->n_bytes += n;
    *n_taken = n;
    *n_out = 0;
    if (s->n_bytes < KLLM_STREAM_BYTES) {
        return KLLM_OK;
    }
    int32_t status = run(vocab, work, 0, ids, n_ids, n_out);
    if (status != KLLM_OK) {
        s->n_bytes = n_waiting;
        *n_taken = 0;
    }
    return status;
}

int32_t kllm_encode_finish(const void *vocab, void *work, uint32_t *ids, uint64_t n_ids,
                           uint64_t *n_out) {
    struct stream *s = &((struct work *)work)->stream;
    int32_t status = run(vocab, work, 1, ids, n_ids, n_out);
    if (status == KLLM_OK) {
        kllm_encode_start(work, s->flags);
    }
    return status;
}
