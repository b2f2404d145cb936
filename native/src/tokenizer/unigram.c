// SPDX-License-Identifier: Apache-2.0
// Unigram vocabularies of SentencePiece: text is normalised, then cut where the scores add up best.
#include "encode.h"

#define NO_WAY (-1e300)

// ------------------------------------------------------------------------------------------ ways

// Takes a token as the last one on the way to an end, if that is better than what is known.
KLLM_INLINE void offer(struct ways *ways, uint32_t from, uint32_t to, uint32_t id, double score) {
    double sum = ways->sums[from] + score;
    if (sum > ways->sums[to]) {
        ways->sums[to] = sum;
        ways->ids[to] = id;
        ways->from[to] = (uint16_t)from;
    }
}

// Finds the best way to every end of a character; of equals the one whose last token is longest.
static void find_ways(const struct vocab *v, struct ways *ways, const uint8_t *text, uint32_t n) {
    uint32_t longest = (uint32_t)v->head->longest;
    uint32_t unk = v->head->unk;
    for (uint32_t i = 0; i <= n; i++) {
        ways->sums[i] = NO_WAY;
    }
    ways->sums[0] = 0;
    uint32_t n_char;
    for (uint32_t i = 0; i < n; i += n_char) {
        decode_utf8(text, i, n, &n_char);
        uint32_t is_known = 0;
        uint32_t n_bytes = n_char;
        for (uint32_t end = i + n_char; end - i <= longest; end += n_bytes) {
            uint32_t found = find_word(v, text + i, end - i, BUFFER_SLACK);
            if (found != 0) {
                offer(ways, i, end, found & TOKEN_ID, v->values[found & TOKEN_ID]);
                is_known |= end == i + n_char;
            }
            if (end >= n) {
                break;
            }
            decode_utf8(text, end, n, &n_bytes);
        }
        if (!is_known) {
            offer(ways, i, i + n_char, unk, v->values[unk]);
        }
    }
}

uint64_t kllm_encode_ways(const struct vocab *v, struct window *w, const uint8_t *text,
                          uint32_t n_bytes, uint32_t last, struct sink *out) {
    struct ways *ways = &w->ways;
    find_ways(v, ways, text, n_bytes);
    uint16_t *next = w->next; // by where a token starts: where it ends
    uint32_t to = n_bytes;
    while (to > 0) {
        uint32_t from = ways->from[to];
        next[from] = (uint16_t)to;
        to = from;
    }
    uint32_t was_unknown = 0;
    uint32_t has_bytes = v->byte_token[0] != NO_TOKEN;
    uint32_t done = 0;
    while (done < n_bytes) {
        uint32_t end = next[done];
        if (!last && done > 0 && end > n_bytes - WINDOW_MARGIN) {
            return done;
        }
        uint32_t is_unknown = ways->ids[end] == v->head->unk;
        if (is_unknown && has_bytes) {
            kllm_put_bytes(v, text + done, end - done, out);
        } else if (!is_unknown || !was_unknown) { // neighbours that are unknown are one
            put_id(out, ways->ids[end]);
        }
        was_unknown = is_unknown;
        done = end;
    }
    return n_bytes;
}

// ------------------------------------------------------------------------------------- normalise

// The character map: u32 bytes of a double-array trie, its u32 units, then texts that end with 0.
// What it says is checked as it is read.
struct char_map {
    const uint8_t *units;
    uint32_t n_unit;
    const uint8_t *texts;
    uint64_t n_text;
};

static struct char_map open_map(const struct vocab *v) {
    struct char_map map = {NULL, 0, NULL, 0};
    const uint8_t *bytes = (const uint8_t *)v->head + v->head->map_off;
    uint64_t n_bytes = v->head->map_bytes;
    if (n_bytes < 4) {
        return map;
    }
    uint64_t n_trie = load_bytes(bytes, 4);
    if (n_trie <= n_bytes - 4) {
        map.units = bytes + 4;
        map.n_unit = (uint32_t)(n_trie / 4);
        map.texts = bytes + 4 + n_trie;
        map.n_text = n_bytes - 4 - n_trie;
    }
    return map;
}

static uint32_t unit_at(const struct char_map *map, uint32_t i) {
    return i < map->n_unit ? (uint32_t)load_bytes(map->units + (uint64_t)i * 4, 4) : 0;
}

KLLM_INLINE uint32_t unit_offset(uint32_t unit) {
    return unit >> 10 << ((unit & 1u << 9) >> 6);
}

// The longest start of text that the map replaces: its bytes, 0 if none; the place of its text.
static uint64_t find_mapped(const struct char_map *map, const uint8_t *text, uint64_t n_bytes,
                            uint64_t *place) {
    uint64_t found = 0;
    uint32_t node = unit_offset(unit_at(map, 0));
    for (uint64_t i = 0; i < n_bytes && text[i] != 0; i++) {
        node ^= text[i];
        uint32_t unit = unit_at(map, node);
        if ((unit & (1u << 31 | 0xff)) != text[i]) {
            break;
        }
        node ^= unit_offset(unit);
        if (unit >> 8 & 1) {
            *place = unit_at(map, node) & 0x7fffffff;
            found = *place < map->n_text ? i + 1 : found;
        }
    }
    return found;
}

// Text on its way into the window's buffer.
struct source {
    struct char_map map;
    const uint8_t *text;
    uint64_t n_bytes;
    const uint8_t *mapped; // what is left of a replacement
    uint64_t n_mapped;
    uint32_t few_spaces;
    uint32_t has_space; // a space waits for what follows it
    uint32_t is_empty;  // nothing came before
};

// Makes the next byte ready in s->mapped; 0 at the end of the text.
static uint32_t next_bytes(struct source *s) {
    uint64_t place;
    while (s->n_mapped == 0) {
        if (s->n_bytes == 0) {
            return 0;
        }
        uint32_t n_taken;
        uint64_t n = s->map.n_unit > 0 ? find_mapped(&s->map, s->text, s->n_bytes, &place) : 0;
        if (n > 0) {
            s->mapped = s->map.texts + place;
            while (place + s->n_mapped < s->map.n_text && s->mapped[s->n_mapped] != 0) {
                s->n_mapped++;
            }
        } else {
            static const uint8_t replacement[3] = {0xef, 0xbf, 0xbd};
            uint32_t is_bad = decode_utf8(s->text, 0, s->n_bytes, &n_taken) == NOT_UTF8;
            s->mapped = is_bad ? replacement : s->text;
            s->n_mapped = is_bad ? 3 : n_taken;
            n = n_taken;
        }
        s->text += n;
        s->n_bytes -= n;
    }
    return 1;
}

// Fills the buffer with normalised text; U+2581 is a space.
static void fill_normal(struct source *s, struct window *w, uint32_t *n_buffer) {
    while (*n_buffer + 1 < WINDOW_BUFFER && next_bytes(s)) {
        const uint8_t *m = s->mapped;
        uint32_t is_mark = s->n_mapped >= 3 && m[0] == 0xe2 && m[1] == 0x96 && m[2] == 0x81;
        uint32_t n = is_mark ? 3 : 1;
        s->mapped += n;
        s->n_mapped -= n;
        if (s->few_spaces && (is_mark || m[0] == ' ')) {
            s->has_space = !s->is_empty;
            continue;
        }
        if (s->has_space) {
            w->buffer[(*n_buffer)++] = ' ';
            s->has_space = 0;
        }
        w->buffer[(*n_buffer)++] = is_mark ? ' ' : m[0];
        s->is_empty = 0;
    }
}

void kllm_encode_unigram(const struct vocab *v, struct window *w, const uint8_t *text,
                         uint64_t n_bytes, uint32_t is_start, struct sink *out) {
    struct source s = {open_map(v), text, n_bytes, NULL, 0, 0, 0, is_start};
    s.few_spaces = (v->head->flags & KLLM_VOCAB_FEW_SPACES) != 0;
    uint32_t n = 0;
    uint32_t pos = 0;
    if (is_start && (v->head->flags & KLLM_VOCAB_SPACE_PREFIX)) {
        w->buffer[n++] = ' ';
    }
    uint32_t n_prefix = n;
    for (;;) {
        if (n - pos < WINDOW_BYTES && s.n_bytes + s.n_mapped > 0) {
            memmove(w->buffer, w->buffer + pos, n - pos);
            n -= pos;
            pos = 0;
            fill_normal(&s, w, &n);
        }
        if (pos == n || (s.few_spaces && s.is_empty && n == n_prefix)) {
            return; // of nothing but spaces nothing is left
        }
        uint32_t part = min_u32(n - pos, WINDOW_BYTES);
        uint32_t end = spaced_word_end(v, w->buffer + pos, part);
        uint32_t is_last = end < part || (s.n_bytes + s.n_mapped == 0 && part == n - pos);
        pos += (uint32_t)kllm_encode_ways(v, w, w->buffer + pos, end, is_last, out);
    }
}
