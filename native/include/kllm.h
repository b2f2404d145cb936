// SPDX-License-Identifier: Apache-2.0
// The public interface of the kernel-llm core: the one truth for C, cffi and MicroPython's ffi.
//
// Conventions of every function here are said once, in docs/abi.md. In short: the caller owns all
// memory; pointers are not tested; results are KLLM_OK, a count, or a negative kllm_status; on
// error outputs and state are unchanged; nothing allocates; no function keeps global state.
#ifndef KLLM_H
#define KLLM_H

#include <stdint.h>

#pragma GCC visibility push(default)
#ifdef __cplusplus
extern "C" {
#endif

/* ABI BEGIN */

enum kllm_status {
    KLLM_OK = 0,
    KLLM_ERR_ABI = -1,         // header and library, or image and library, disagree
    KLLM_ERR_RANGE = -2,       // an argument is outside its documented range
    KLLM_ERR_SPACE = -3,       // the arena, context or output buffer is too small
    KLLM_ERR_FORMAT = -4,      // bytes do not follow the format
    KLLM_ERR_UNSUPPORTED = -5, // valid, but not implemented here
};

// Instruction sets a kernel variant may need; bits of a mask.
enum kllm_cpu_bit {
    KLLM_CPU_AVX2 = 1,       // AVX2, FMA, F16C
    KLLM_CPU_AVX512VNNI = 2, // AVX-512 F, BW, DQ, VL, VNNI
    KLLM_CPU_NEON = 16,      // armv8.0-a
    KLLM_CPU_DOTPROD = 32,   // armv8.2-a SDOT
    KLLM_CPU_I8MM = 64,      // armv8.6-a SMMLA
};

// Element types; the numbers are GGUF's own.
enum kllm_dtype {
    KLLM_F32 = 0,
    KLLM_F16 = 1,
    KLLM_Q4_0 = 2,
    KLLM_Q4_1 = 3,
    KLLM_Q8_0 = 8,
    KLLM_NONE = 255, // no tensor here
};

enum kllm_limits {
    KLLM_QK = 32,    // elements per quantised block
    KLLM_GROUP = 16, // rows packed together
    KLLM_ALIGN = 64, // alignment of arena regions and image sections, bytes
    KLLM_MAX_LAYER = 512,
    KLLM_MAX_EMBD = 65536,
    KLLM_MAX_FF = 262144,
    KLLM_MAX_HEAD = 1024,
    KLLM_MAX_HEAD_DIM = 512,
    KLLM_N_OUTLIER = 4, // elements of a matrix input that stay floats
    KLLM_MAX_VOCAB = 1048576,
    KLLM_MAX_CTX = 1048576,
    KLLM_MAX_BATCH = 4096, // tokens in one pass
    KLLM_MAX_SEQ = 256,    // sequences
    KLLM_MAX_THREAD = 64,
};

/// Returns the number both sides compare: a hash of this region of the header.
uint32_t kllm_abi_version(void);

/// Returns the kllm_cpu_bit mask of the running CPU; 0 if it is below the floor.
uint32_t kllm_cpu(void);

// ---------------------------------------------------------------------------------------- arena

// A bump allocator over bytes the caller owns; offsets, no pointers.
struct kllm_arena {
    uint64_t n_bytes;    // capacity
    uint64_t used_bytes; // next free offset
    uint64_t peak_bytes; // high-water mark of used_bytes
};

/// Starts an empty arena of n_bytes.
void kllm_arena_init(struct kllm_arena *arena, uint64_t n_bytes);

/// Takes bytes (0 or more) at a multiple of align (a power of two, at most 4096).
///
/// Returns the offset, or KLLM_ERR_SPACE, or KLLM_ERR_RANGE for a bad align. O(1).
int64_t kllm_arena_alloc(struct kllm_arena *arena, uint64_t n_bytes, uint64_t align);

/// Returns a mark: the state to which kllm_arena_release goes back.
uint64_t kllm_arena_mark(const struct kllm_arena *arena);

/// Gives back everything taken since mark. KLLM_ERR_RANGE if mark lies past what is used.
int32_t kllm_arena_release(struct kllm_arena *arena, uint64_t mark);

/// Gives everything back; the high-water mark stays.
void kllm_arena_reset(struct kllm_arena *arena);

/// Takes and resets loops times, for benchmarks. Returns the last offset.
int64_t kllm_arena_spin(struct kllm_arena *arena, uint64_t n_bytes, uint64_t align,
                        uint32_t loops);

// -------------------------------------------------------------------------------------- kernels

/// Returns the number of kernel variants in this build.
uint32_t kllm_kernel_count(void);

/// Copies the name of variant idx ("matmul_f32_q4_0_q8_avx2") with its final NUL to out.
///
/// Returns the kllm_cpu_bit mask the variant needs, KLLM_ERR_RANGE if idx is past the end, or
/// KLLM_ERR_SPACE if out_bytes is too small (64 is enough).
int32_t kllm_kernel_name(uint32_t idx, uint8_t *out, uint32_t out_bytes);

/// Runs kernel variant idx loops times on the caller's buffers, for tests and benchmarks.
///
/// What a, b, c, dims and scalars mean for each operation stands in docs/kernels.md. The buffers
/// must have the sizes and alignments stated there, and the running CPU what kllm_kernel_name says
/// that the variant needs; this function does not check them.
///
/// @retval KLLM_ERR_RANGE  idx past the end
int32_t kllm_kernel_run(uint32_t idx, void *out, const void *a, const void *b, const void *c,
                        const uint32_t *dims, const float *scalars, uint32_t loops);

// ----------------------------------------------------------------------------------------- vocab

enum kllm_vocab_const {
    KLLM_VOCAB_MAGIC = 1331055691, // "KLVO", little endian
    KLLM_VOCAB_LAYOUT = 2,         // raised whenever the bytes of a vocab section change meaning
    KLLM_VOCAB_HEADER_BYTES = 256, // sizeof(struct kllm_vocab)
    KLLM_NO_TOKEN = -1,            // as u32: no such special token
    KLLM_MAX_MERGE = 1048576,
    KLLM_MAX_TOKEN_BYTES = 1024,
    KLLM_N_ASCII = 128,       // characters
    KLLM_CLASS_BLOCK = 128,   // code points in a block of the class table
    KLLM_CLASS_BLOCKS = 8704, // blocks of all of Unicode
    KLLM_ENCODE_WORK_BYTES = 262144,
    KLLM_STREAM_BYTES = 65536, // of a text in pieces that wait at most
};

enum kllm_vocab_kind {
    KLLM_VOCAB_BPE = 1,     // byte-level BPE: words, then merges by rank
    KLLM_VOCAB_SPM = 2,     // SentencePiece BPE: merges by score, bytes as the last resort
    KLLM_VOCAB_UNIGRAM = 3, // SentencePiece unigram: the pieces of the best sum of scores
};

// How text is cut into words before the merges of byte-level BPE; docs/tokenizer.md has the rules.
enum kllm_pre {
    KLLM_PRE_NONE = 0, // SentencePiece
    KLLM_PRE_GPT2 = 1,
    KLLM_PRE_SMOLLM = 2,
    KLLM_PRE_LLAMA3 = 3,
    KLLM_PRE_QWEN2 = 4,
    KLLM_PRE_TEKKEN = 5,
    KLLM_PRE_GPT4O = 6,
    KLLM_PRE_FALCON = 7,
    KLLM_PRE_DEEPSEEK_LLM = 8,
    KLLM_PRE_DEEPSEEK_CODER = 9,
    KLLM_PRE_DEFAULT = 10,
    KLLM_PRE_COUNT = 11,
};

enum kllm_vocab_flag {
    KLLM_VOCAB_ADD_BOS = 1,
    KLLM_VOCAB_ADD_EOS = 2,
    KLLM_VOCAB_SPACE_PREFIX = 4, // a space is put before text at the start and after a special
    KLLM_VOCAB_SPACE_SPLITS = 8, // no token has a space after anything but spaces
    KLLM_VOCAB_WORDS_FIRST = 16, // a word that is a token is taken whole, merged or not
    KLLM_VOCAB_FEW_SPACES = 32,  // unigram: no space at either end of a text, no two together
    KLLM_VOCAB_FIRSTS = 64,      // byte-level BPE: there is a table of merges that go first
};

// Token types; the numbers are GGUF's own.
enum kllm_token_type {
    KLLM_TOKEN_UNDEFINED = 0,
    KLLM_TOKEN_NORMAL = 1,
    KLLM_TOKEN_UNKNOWN = 2,
    KLLM_TOKEN_CONTROL = 3,
    KLLM_TOKEN_USER = 4, // found in text before anything else
    KLLM_TOKEN_UNUSED = 5,
    KLLM_TOKEN_BYTE = 6,
    KLLM_TOKEN_TYPE = 7,    // the bits of a type
    KLLM_TOKEN_RSTRIP = 16, // besides: found in text, it takes the white space after it
};

// A slot of the word table, which finds a token by its text. An empty slot is all zeros.
struct kllm_word {
    uint64_t key_lo; // up to 12 bytes: bytes 0..7 of the text, little endian; longer: its hash
    uint32_t key_hi; // up to 12 bytes: bytes 8..11; longer: 0
    uint32_t token;  // id in bits 0..19, number of bytes in bits 20..23 (15: more than 12),
                     // bit 24 where the text alone encodes to this one token
};

// The first bytes of a vocab section. Offsets count from the start of the section and are multiples
// of 8; tables overlap nothing they are not meant to. docs/tokenizer.md says how tables are probed.
struct kllm_vocab {
    uint32_t magic;     // KLLM_VOCAB_MAGIC
    uint32_t layout;    // KLLM_VOCAB_LAYOUT
    uint64_t n_bytes;   // of the section
    uint32_t kind;      // kllm_vocab_kind
    uint32_t pre;       // kllm_pre
    uint32_t flags;     // kllm_vocab_flag
    uint32_t n_vocab;   // 1 .. KLLM_MAX_VOCAB
    uint32_t n_merge;   // 0 .. KLLM_MAX_MERGE - 1
    uint32_t n_special; // control, unknown and user tokens with text
    uint32_t n_user;    // user tokens with text
    uint32_t word_bits; // log2 of the slots of the word table
    uint32_t pair_bits; // log2 of the slots of the pair table
    uint32_t n_class_block;
    uint32_t unicode; // version of the class table, 0x100000 for 16.0.0
    uint32_t bos;     // special ids: below n_vocab or KLLM_NO_TOKEN
    uint32_t eos;
    uint32_t unk;
    uint32_t pad;
    uint32_t eot;
    uint64_t start_off; // u32[n_vocab + 1] where each token's bytes start in the texts
    uint64_t text_off;  // texts of all tokens end to end, as decoding writes them
    uint64_t text_bytes;
    uint64_t type_off;    // u8[n_vocab] kllm_token_type, perhaps with KLLM_TOKEN_RSTRIP
    uint64_t byte_off;    // u32[256] the token of each byte, or KLLM_NO_TOKEN
    uint64_t word_off;    // struct kllm_word[1 << word_bits]
    uint64_t pair_off;    // u64[1 << pair_bits] left << 40 | right << 20 | rank; empty all ones
    uint64_t merge_off;   // u32[n_merge] the token each rank makes
    uint64_t score_off;   // u32[n_vocab] SentencePiece: 0 is the best score, equals are equal;
                          // unigram: f64[n_vocab] scores, of unk that of any one character
    uint64_t special_off; // u32[n_special] ids sorted by their bytes, then u32[n_user] likewise
    uint64_t class_off;   // u16[KLLM_CLASS_BLOCKS] block numbers, then u8[n_class_block][128]
    uint64_t map_off;     // unigram: a precompiled character map as SentencePiece has it
    uint64_t map_bytes;   // 0: characters stay as they are
    uint64_t longest;     // bytes of the longest token that text may become
    uint64_t word_factor_off; // u8[1 << (word_bits - 2)] which places the words of each bucket
    uint64_t pair_factor_off; // u8[1 << (pair_bits - 2)] likewise
    uint64_t first_off;       // KLLM_VOCAB_FIRSTS: u64[KLLM_N_ASCII][KLLM_N_ASCII] which of two
                              // characters side by side merge before anything else
    uint64_t reserved[5];     // 0
};

/// Checks a vocab section: header, offsets, and every entry of every table.
///
/// @param vocab    n_bytes bytes, 8-byte aligned
/// @param n_bytes  bytes that may be read; any number
///
/// @retval KLLM_ERR_ABI          another layout version: pack again
/// @retval KLLM_ERR_FORMAT       anything inconsistent
/// @retval KLLM_ERR_UNSUPPORTED  a kind or pre-tokenizer this build does not know
/// bad_off receives the byte offset of the first field found wrong, untouched on KLLM_OK.
int32_t kllm_vocab_check(const void *vocab, uint64_t n_bytes, uint64_t *bad_off);

enum kllm_encode_flag {
    KLLM_ENCODE_SPECIAL = 1, // find control tokens in the text; without it they are plain text
    KLLM_ENCODE_AFFIX = 2,   // add bos and eos where the vocabulary asks for them
};

/// Encodes text into token ids. Any bytes are text: invalid UTF-8 is encoded byte by byte.
///
/// @param[in]  vocab    a section that kllm_vocab_check accepted
/// @param      work     KLLM_ENCODE_WORK_BYTES bytes (or see kllm_encode_size), 8-byte aligned;
///                      all zero before their first use, and from then on used with this
///                      vocabulary alone
/// @param[in]  text     u8[n_bytes]
/// @param      flags    kllm_encode_flag
/// @param[out] ids      u32[n_ids]
/// @param[out] n_out    the number of ids, also when they do not fit
///
/// @retval KLLM_ERR_SPACE  n_ids is less than *n_out, which is written; ids is unchanged
/// work, text, ids and n_out do not overlap. Time is linear in n_bytes; the text is encoded twice,
/// first to count, unless n_ids is n_bytes + 5 or more (SentencePiece: 6 * n_bytes + 5), which
/// always fits. Memory: nothing but work, however long a word.
int32_t kllm_encode(const void *vocab, void *work, const uint8_t *text, uint64_t n_bytes,
                    uint32_t flags, uint32_t *ids, uint64_t n_ids, uint64_t *n_out);

/// Encodes many texts that stand one after another, each as kllm_encode does.
///
/// @param[in]  text   u8[ends[n_text - 1]]
/// @param[in]  ends   u64[n_text] where each text ends, in ascending order
/// @param[out] ids    u32[n_ids]: the ids of all, one after another
/// @param[out] n_out  u64[n_text] how many they are up to the end of each text
///
/// @retval KLLM_ERR_SPACE  n_ids is too small; ids and n_out then hold some of the texts
/// vocab, work and flags as in kllm_encode; none of them overlap.
int32_t kllm_encode_batch(const void *vocab, void *work, const uint8_t *text, const uint64_t *ends,
                          uint64_t n_text, uint32_t flags, uint32_t *ids, uint64_t n_ids,
                          uint64_t *n_out);

/// States the size of a work space: what it has beyond KLLM_ENCODE_WORK_BYTES keeps more words.
///
/// @param work        work_bytes bytes, 8-byte aligned, all zero
/// @param work_bytes  some megabytes serve texts of many megabytes; without this call the size is
///                    KLLM_ENCODE_WORK_BYTES
///
/// @retval KLLM_ERR_RANGE  work_bytes is less than that; work is unchanged
int32_t kllm_encode_size(void *work, uint64_t work_bytes);

/// Starts to encode a text that comes in pieces; flags as in kllm_encode. work as there.
void kllm_encode_start(void *work, uint32_t flags);

/// Takes the next piece of a text: as much as there is room for in work, at most.
///
/// @param[in]  text     u8[n_bytes], 0 bytes or more
/// @param[out] n_taken  how much of it was taken; the rest has to be given again
/// @param[out] ids      u32[n_ids]: the ids that are certain by now, often none
/// @param[out] n_out    how many, also when they do not fit
///
/// @retval KLLM_ERR_SPACE  n_ids is less than *n_out; *n_taken is 0, work and ids are unchanged
/// All ids together are those of kllm_encode for all pieces together, but where white space with a
/// line end in it goes on for more than KLLM_STREAM_BYTES / 2, or a pre-tokenizer of several
/// stages finds no end for as long, or a unigram text has no space: there words are cut.
int32_t kllm_encode_piece(const void *vocab, void *work, const uint8_t *text, uint64_t n_bytes,
                          uint64_t *n_taken, uint32_t *ids, uint64_t n_ids, uint64_t *n_out);

/// Ends the text: gives the ids that were not certain before, and makes work ready for the next.
///
/// @retval KLLM_ERR_SPACE  n_ids is less than *n_out; work and ids are unchanged
int32_t kllm_encode_finish(const void *vocab, void *work, uint32_t *ids, uint64_t n_ids,
                           uint64_t *n_out);

enum kllm_decode_flag {
    KLLM_DECODE_SPECIAL = 1, // control and unknown tokens give their text; without it nothing
    KLLM_DECODE_START = 2,   // the ids begin a text: take off the space that encoding put before
};

/// Decodes token ids into bytes: the exact inverse of kllm_encode with the same special tokens.
///
/// @param[in]  vocab    a section that kllm_vocab_check accepted
/// @param[in]  ids      u32[n_ids]
/// @param      flags    kllm_decode_flag
/// @param[out] text     u8[n_bytes]
/// @param[out] n_out    the number of bytes, also when they do not fit
///
/// @retval KLLM_ERR_RANGE  an id is not below n_vocab; nothing is written
/// @retval KLLM_ERR_SPACE  n_bytes is less than *n_out, which is written; text is unchanged
/// The bytes may begin or end within a UTF-8 character. text does not overlap ids.
int32_t kllm_decode(const void *vocab, const uint32_t *ids, uint64_t n_ids, uint32_t flags,
                    uint8_t *text, uint64_t n_bytes, uint64_t *n_out);

// ----------------------------------------------------------------------------------------- image

enum kllm_image_const {
    KLLM_IMAGE_MAGIC = 1296845899, // "KLLM", little endian
    KLLM_IMAGE_LAYOUT = 1,         // raised whenever the bytes of an image change meaning
    KLLM_IMAGE_HEADER_BYTES = 256, // sizeof(struct kllm_image)
};

enum kllm_arch {
    KLLM_ARCH_LLAMA = 1, // rmsnorm, RoPE, SwiGLU, biases where the file has them
    KLLM_ARCH_GPT2 = 2,  // layernorm, learned positions, GELU, biases
};

enum kllm_rope {
    KLLM_ROPE_NONE = 0,
    KLLM_ROPE_ADJACENT = 1, // pairs (2i, 2i+1)
    KLLM_ROPE_HALF = 2,     // pairs (i, i + n_rot/2)
};

// Turn formats of chat models; kernel_llm/chat.py writes them.
enum kllm_chat {
    KLLM_CHAT_NONE = 0,    // not a chat model, or a template nobody here knows
    KLLM_CHAT_CHATML = 1,  // <|im_start|>role
    KLLM_CHAT_SMOLLM2 = 2, // ChatML with SmolLM2's own system text
    KLLM_CHAT_LLAMA3 = 3,  // <|start_header_id|>role
    KLLM_CHAT_LLAMA2 = 4,  // [INST] with <<SYS>>
    KLLM_CHAT_MISTRAL = 5, // [INST] without a system turn
    KLLM_CHAT_ZEPHYR = 6,  // <|user|>, also TinyLlama
};

// Tensors of the whole model, then KLLM_T_LAYER_COUNT of them for each layer.
enum kllm_tensor_slot {
    KLLM_T_TOKEN_EMBD = 0, // [n_vocab][n_embd]
    KLLM_T_POS_EMBD = 1,   // f32[n_ctx_train][n_embd], gpt2
    KLLM_T_OUT_NORM = 2,   // f32[n_embd]
    KLLM_T_OUT_NORM_BIAS = 3,
    KLLM_T_OUTPUT = 4, // [n_vocab][n_embd]; the same bytes as TOKEN_EMBD where tied
    KLLM_T_ROPE = 5,   // f32[n_ctx_train][n_rot]: cos, sin of each pair
    KLLM_T_MODEL_COUNT = 6,
};

enum kllm_layer_tensor_slot {
    KLLM_T_ATTN_NORM = 0,
    KLLM_T_ATTN_NORM_BIAS = 1,
    KLLM_T_Q = 2, // [n_head * head_dim][n_embd]
    KLLM_T_Q_BIAS = 3,
    KLLM_T_K = 4, // [n_head_kv * head_dim][n_embd]
    KLLM_T_K_BIAS = 5,
    KLLM_T_V = 6, // [n_head_kv * head_dim][n_embd]
    KLLM_T_V_BIAS = 7,
    KLLM_T_O = 8, // [n_embd][n_head * head_dim]
    KLLM_T_O_BIAS = 9,
    KLLM_T_FFN_NORM = 10,
    KLLM_T_FFN_NORM_BIAS = 11,
    KLLM_T_GATE = 12, // [n_ff][n_embd], llama
    KLLM_T_UP = 13,   // [n_ff][n_embd]
    KLLM_T_UP_BIAS = 14,
    KLLM_T_DOWN = 15, // [n_embd][n_ff]
    KLLM_T_DOWN_BIAS = 16,
    KLLM_T_LAYER_COUNT = 17,
};

// One entry of an image's tensor table. Weights lie in the layout of docs/image.md: rows of f32
// and f16 end to end; quantised rows in groups of KLLM_GROUP, interleaved in 4-byte chunks.
struct kllm_tensor {
    uint64_t off;     // from the start of the image, a multiple of KLLM_ALIGN; 0 if absent
    uint64_t n_bytes; // 0 if absent
    uint32_t dtype;   // kllm_dtype
    uint32_t rows;
    uint32_t cols;
    uint32_t reserved; // 0
};

// The first bytes of an image.
struct kllm_image {
    uint32_t magic;         // KLLM_IMAGE_MAGIC
    uint32_t layout;        // KLLM_IMAGE_LAYOUT
    uint64_t n_bytes;       // of the whole image
    uint8_t model_hash[32]; // SHA-256 of the GGUF file it was packed from
    uint32_t table_crc;     // CRC-32 of the tensor table
    uint32_t body_crc;      // CRC-32 of bytes [vocab_off, n_bytes)
    uint64_t tensors_off;   // struct kllm_tensor[n_tensors]
    uint64_t vocab_off;     // struct kllm_vocab and its tables
    uint64_t vocab_bytes;
    uint64_t weights_off; // everything from here on is weights
    uint32_t n_tensors;   // KLLM_T_MODEL_COUNT + n_layer * KLLM_T_LAYER_COUNT
    uint32_t arch;        // kllm_arch
    uint32_t n_layer;
    uint32_t n_embd; // a multiple of KLLM_QK
    uint32_t n_head;
    uint32_t n_head_kv; // divides n_head
    uint32_t head_dim;  // a multiple of KLLM_QK
    uint32_t n_rot;     // rotated elements of a head; even, at most head_dim
    uint32_t n_ff;      // a multiple of KLLM_QK
    uint32_t n_vocab;
    uint32_t n_ctx_train; // longest context: rows of the RoPE or position table
    uint32_t rope;        // kllm_rope
    float norm_eps;
    float attn_scale;     // 1 / sqrt(head_dim)
    uint32_t chat;        // kllm_chat: the turn format it was trained with
    uint8_t name[64];     // general.name, UTF-8, cut at a character, zeros behind
    uint8_t reserved[36]; // 0
    uint32_t header_crc;  // CRC-32 of all bytes of this header before this field
    uint32_t reserved2;   // 0
};

/// Checks the structure of an image: every count, offset, size and range, the checksums of header
/// and tensor table, and the vocabulary tables. Does not read the weights: microseconds.
///
/// @param image    n_bytes bytes, 64-byte aligned
/// @param n_bytes  bytes that may be read; any number
///
/// @retval KLLM_ERR_ABI          another layout version: pack again
/// @retval KLLM_ERR_FORMAT       anything inconsistent
/// @retval KLLM_ERR_UNSUPPORTED  a byte order or an architecture this build does not know
/// bad_off receives the byte offset of the first field found wrong, untouched on KLLM_OK.
int32_t kllm_image_check(const void *image, uint64_t n_bytes, uint64_t *bad_off);

/// Checks the checksum of vocabulary and weights of an image that kllm_image_check accepted.
///
/// @retval KLLM_ERR_FORMAT  the bytes are damaged
int32_t kllm_image_check_body(const void *image);

/// Returns the bytes that a tensor of this type and shape takes in an image, 0 if it cannot exist
/// (unknown type, cols not whole blocks of a quantised type, or a size that does not fit).
uint64_t kllm_tensor_bytes(uint32_t dtype, uint32_t rows, uint32_t cols);

/// Continues a CRC-32 (IEEE 802.3, as in zlib) over n_bytes; start with crc 0.
uint32_t kllm_crc32(uint32_t crc, const void *bytes, uint64_t n_bytes);

// ---------------------------------------------------------------------------------------- engine

// What a caller fixes when opening a model.
struct kllm_config {
    uint32_t n_ctx;    // positions per sequence, 1 .. n_ctx_train
    uint32_t n_batch;  // most tokens in one pass, 1 .. KLLM_MAX_BATCH
    uint32_t n_seq;    // sequences held at once, 1 .. KLLM_MAX_SEQ
    uint32_t n_logits; // rows of logits kept, n_seq or more
    uint32_t n_thread; // 1 .. KLLM_MAX_THREAD
    uint32_t kv_dtype; // KLLM_F32, KLLM_F16 or KLLM_Q8_0
    uint32_t cpu;      // kllm_cpu_bit mask to use at most; the running CPU limits it further
    uint32_t reserved; // 0
};

// Regions of the arena, in the order they lie.
enum kllm_region_idx {
    KLLM_R_CTX = 0,      // struct kllm_ctx
    KLLM_R_SEQ = 1,      // u32[n_seq] positions filled
    KLLM_R_HISTORY = 2,  // u32[n_seq][n_ctx] token ids
    KLLM_R_KV = 3,       // [n_seq][n_layer] keys, then values; layout in docs/design.md
    KLLM_R_BATCH = 4,    // u32[n_batch][4] token, seq, position, logits row of a pass
    KLLM_R_X = 5,        // f32[n_batch][n_embd] residual stream
    KLLM_R_NORM = 6,     // f32[n_batch + n_thread][n_embd]
    KLLM_R_QKV = 7,      // f32[n_batch][(n_head + 2 n_head_kv) * head_dim]
    KLLM_R_ATTN = 8,     // f32[n_batch][n_head * head_dim]
    KLLM_R_FFN = 9,      // f32[n_batch][2 * n_ff + 16]
    KLLM_R_ACT = 10,     // quantised activations, n_batch + n_thread rows of the widest input
    KLLM_R_OUTLIER = 11, // {f32, u32}[n_batch + n_thread][KLLM_N_OUTLIER] of the same rows
    KLLM_R_COPY = 12,    // f32[n_thread][widest input], a row that a thread alone may change
    KLLM_R_WORK = 13,    // per thread, work space of attention
    KLLM_R_LOGITS = 14,  // f32[n_logits][n_vocab]
    KLLM_R_SAMPLE = 15,  // {f32, u32}[n_vocab] work space of the sampler
    KLLM_R_COUNT = 16,
};

struct kllm_region {
    uint64_t off; // from the start of the arena
    uint64_t n_bytes;
};

// The memory plan: every region of the arena and its size.
struct kllm_plan {
    uint64_t n_bytes; // of the whole arena
    struct kllm_region region[KLLM_R_COUNT];
};

/// Plans the arena for an image and a configuration.
///
/// Reads only the header (struct kllm_image) of the image.
/// @retval KLLM_ERR_RANGE  a field of config is outside its range for this image
/// @retval KLLM_ERR_SPACE  the sizes do not fit 63 bits
int32_t kllm_plan(struct kllm_plan *plan, const void *image, const struct kllm_config *config);

/// Opens a model in an arena: checks the image, plans, and writes the context.
///
/// @param[out] arena   n_bytes bytes, 64-byte aligned; used by this context alone from now on
/// @param      image   image_bytes bytes, 64-byte aligned; must outlive the context, unchanged
/// @retval KLLM_ERR_SPACE  n_bytes is less than the plan asks for; the arena is untouched
/// Other errors: those of kllm_image_check and kllm_plan.
int32_t kllm_open(void *arena, uint64_t n_bytes, const void *image, uint64_t image_bytes,
                  const struct kllm_config *config);

enum kllm_logits {
    KLLM_LOGITS_NONE = 0,
    KLLM_LOGITS_LAST = 1, // after the last token of each sequence of the call, in row seq
    KLLM_LOGITS_ALL = 2,  // after every token, token i of the call in row i
};

/// Runs n_token tokens through the model and appends them to their sequences.
///
/// Token i is appended to sequence seqs[i] at that sequence's next position. Any mix is allowed:
/// a whole prompt, one token, or tokens of several sequences. Long calls are run in passes
/// of at most n_batch. The logits of a token depend on its own sequence alone, to the bit.
///
/// @param tokens  u32[n_token], each below n_vocab
/// @param seqs   u32[n_token], each below n_seq
/// @param logits  kllm_logits
/// @retval KLLM_ERR_RANGE  a token or sequence out of range, n_token 0, or ALL with more tokens than
///                         logits rows
/// @retval KLLM_ERR_SPACE  a sequence would grow past n_ctx
/// Allocates nothing. On error nothing has changed.
int32_t kllm_eval(void *arena, const void *image, const uint32_t *tokens, const uint32_t *seqs,
                  uint32_t n_token, uint32_t logits);

/// Cuts sequence seq back to its first n_token tokens (0 empties it).
///
/// @retval KLLM_ERR_RANGE  no such sequence, or it holds fewer tokens
int32_t kllm_seq_cut(void *arena, uint32_t seq, uint32_t n_token);

/// Returns the number of tokens sequence seq holds, or KLLM_ERR_RANGE.
int32_t kllm_seq_length(const void *arena, uint32_t seq);

/// Returns the offset of a region in the arena, -1 if idx is out of range.
int64_t kllm_region_off(const void *arena, uint32_t idx);

// How the next token is chosen; the state of the generator is part of it.
struct kllm_sampler {
    float temperature;      // 0 chooses the most likely token
    float top_p;            // 1 keeps all
    float min_p;            // 0 keeps all
    float repeat_penalty;   // 1 leaves logits alone
    uint32_t top_k;         // 0 keeps all
    uint32_t repeat_last_n; // tokens of the sequence that are penalised
    uint64_t rng_state;     // SplitMix64; set it to the seed
};

/// Chooses a token from a row of logits; docs/design.md states the exact steps.
///
/// @param row   of the logits region
/// @param seq  the sequence whose recent tokens are penalised
/// Returns the token id, KLLM_ERR_RANGE for a parameter outside its range, or KLLM_ERR_FORMAT if
/// a logit is not finite. Advances rng_state by one draw where temperature is above 0.
int32_t kllm_sample(void *arena, const void *image, uint32_t row, uint32_t seq,
                    struct kllm_sampler *sampler);

/// Writes -ln p(token) under row of the logits as one float to nll, and the most likely token to
/// top1.
///
/// @retval KLLM_ERR_RANGE   row or token out of range
/// @retval KLLM_ERR_FORMAT  a logit is not finite
int32_t kllm_score(const void *arena, const void *image, uint32_t row, uint32_t token, float *nll,
                   uint32_t *top1);

/// Starts n_thread - 1 helper threads for an open context; they sleep until a call of kllm_eval.
///
/// @retval KLLM_ERR_UNSUPPORTED  this build has no threads (only where n_thread > 1)
/// @retval KLLM_ERR_SPACE        the system refuses another thread
int32_t kllm_team_start(void *arena);

/// Ends the helper threads. Safe to call when none run.
void kllm_team_stop(void *arena);

/* ABI END */

#ifdef __cplusplus
}
#endif
#pragma GCC visibility pop

#endif
