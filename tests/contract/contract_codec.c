/// What every codec must do, checked for each one of this build, on data that the real libraries
/// compressed. A codec without an encoder below fails: the suite is not to be passed by absence.
#include "base/env.h"
#include "core/components.h"
#include "support/counting_allocator.h"
#include "support/testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef DRAY_HAVE_LIBZSTD
#include <zstd.h>
#endif
#ifdef DRAY_HAVE_LIBLZ4
#include <lz4.h>
#include <lz4frame.h>
#endif
#ifdef DRAY_HAVE_ZLIB
#include <zlib.h>
#endif

// ---------------------------------------------------------------- bytes

typedef struct blob {
    uint8_t *bytes;
    size_t count;
} blob;

static blob blob_new(size_t count)
{
    blob it = {malloc(count ? count : 1), count};
    assert_non_null(it.bytes);
    return it;
}

static uint32_t random_next(uint32_t *seed)
{
    *seed = *seed * 1664525 + 1013904223;
    return *seed >> 8;
}

/// Half noise, half repetition at distances short and long, so that every kind of sequence is met.
static blob sample(size_t count, uint32_t seed)
{
    blob it = blob_new(count);
    size_t at = 0;
    while (at < count) {
        size_t run = 1 + random_next(&seed) % (random_next(&seed) % 8 == 0 ? 2000 : 40);
        if (run > count - at)
            run = count - at;
        size_t distance = 1 + random_next(&seed) % (random_next(&seed) % 4 == 0 ? 70000 : 30);
        bool match = at >= distance && random_next(&seed) % 2;
        for (size_t i = 0; i < run; i++, at++)
            it.bytes[at] = match ? it.bytes[at - distance] : (uint8_t)random_next(&seed);
    }
    return it;
}

static blob joined(blob first, blob second)
{
    blob it = blob_new(first.count + second.count);
    memcpy(it.bytes, first.bytes, first.count);
    memcpy(it.bytes + first.count, second.bytes, second.count);
    return it;
}

// ---------------------------------------------------------------- encoders

enum { variant_count = 4 };

#ifdef DRAY_HAVE_LIBZSTD
static blob zstd_encode(blob plain, int variant)
{
    static const int levels[variant_count] = {1, 19, -5, 3};
    ZSTD_CCtx *context = ZSTD_createCCtx();
    assert_non_null(context);
    ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, levels[variant]);
    ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
    ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, variant != 1);
    if (variant >= 2) // a window smaller than the data
        ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, 10);
    blob packed = blob_new(ZSTD_compressBound(plain.count));
    packed.count = ZSTD_compress2(context, packed.bytes, packed.count, plain.bytes, plain.count);
    assert_false(ZSTD_isError(packed.count));
    ZSTD_freeCCtx(context);
    return packed;
}
#endif

#ifdef DRAY_HAVE_LIBLZ4
static blob lz4_encode(blob plain, int variant)
{
    LZ4F_preferences_t preferences = LZ4F_INIT_PREFERENCES;
    preferences.frameInfo.contentChecksumFlag = LZ4F_contentChecksumEnabled;
    preferences.frameInfo.blockMode = variant % 2 ? LZ4F_blockIndependent : LZ4F_blockLinked;
    preferences.frameInfo.blockSizeID = variant < 2 ? LZ4F_max64KB : LZ4F_max1MB;
    preferences.frameInfo.blockChecksumFlag =
        variant == 2 ? LZ4F_blockChecksumEnabled : LZ4F_noBlockChecksum;
    preferences.frameInfo.contentSize = variant == 0 ? 0 : plain.count;
    preferences.compressionLevel = variant == 3 ? 9 : 0;
    blob packed = blob_new(LZ4F_compressFrameBound(plain.count, &preferences));
    packed.count =
        LZ4F_compressFrame(packed.bytes, packed.count, plain.bytes, plain.count, &preferences);
    assert_false(LZ4F_isError(packed.count));
    return packed;
}

static blob lz4_block_encode(blob plain, int variant)
{
    blob packed = blob_new(4 + (size_t)LZ4_compressBound((int)plain.count));
    for (int i = 0; i < 4; i++)
        packed.bytes[i] = (uint8_t)(plain.count >> (8 * i));
    int count = LZ4_compress_fast((const char *)plain.bytes, (char *)packed.bytes + 4,
                                  (int)plain.count, (int)packed.count - 4, 1 + variant * 8);
    assert_true(count > 0);
    packed.count = 4 + (size_t)count;
    return packed;
}
#endif

#ifdef DRAY_HAVE_ZLIB
static blob gzip_encode(blob plain, int variant)
{
    static const int levels[variant_count] = {6, 9, 0, 1};
    z_stream stream = {0};
    assert_int_equal(deflateInit2(&stream, levels[variant], Z_DEFLATED, 15 + 16, 8,
                                  variant == 3 ? Z_FIXED : Z_DEFAULT_STRATEGY),
                     Z_OK);
    blob packed = blob_new(deflateBound(&stream, plain.count) + 64);
    stream.next_in = plain.bytes;
    stream.avail_in = (unsigned)plain.count;
    stream.next_out = packed.bytes;
    stream.avail_out = (unsigned)packed.count;
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    packed.count = stream.total_out;
    deflateEnd(&stream);
    return packed;
}
#endif

typedef struct codec_encoder {
    const char *name;
    blob (*encode)(blob plain, int variant);
    bool frames;   // several may follow each other; a block is alone
    bool checksum; // every changed byte that matters is noticed
    bool probed;   // has a magic number
} codec_encoder;

static const codec_encoder encoders[] = {
#ifdef DRAY_HAVE_LIBZSTD
    {"zstd", zstd_encode, true, true, true},
#endif
#ifdef DRAY_HAVE_LIBLZ4
    {"lz4", lz4_encode, true, true, true},   {"lz4_block", lz4_block_encode, false, false, false},
#endif
#ifdef DRAY_HAVE_ZLIB
    {"gzip", gzip_encode, true, true, true},
#endif
    {NULL, NULL, false, false, false},
};

/// NULL: the library that compresses for this codec is not in this build (lz4_block alone needs none).
static const codec_encoder *encoder_of(const dray_codec_ops *codec)
{
    for (const codec_encoder *each = encoders; each->name; each++) {
        if (strcmp(each->name, codec->name) == 0)
            return each;
    }
    assert_string_equal(codec->name, "lz4_block");
    return NULL;
}

// ---------------------------------------------------------------- decoding

typedef struct decoding {
    uint32_t input_cut, output_cut; // most bytes per step; 0: all there are
    uint32_t seed;                  // not 0: the cuts are upper bounds of random ones
    bool late_end;                  // the end of the input is told in a step of its own
    dray_status status;
    dray_error error;
    bool done;
    size_t produced;
} decoding;

static uint64_t cut(decoding *it, uint32_t most, uint64_t available)
{
    uint64_t bytes = most == 0 ? available : it->seed ? random_next(&it->seed) % (most + 1) : most;
    return bytes < available ? bytes : available;
}

/// Decodes into `out`; behind its end lie eight bytes that must stay.
static void decode(const dray_codec_ops *codec, decoding *it, blob input, blob *out)
{
    static const uint8_t guard[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    out->bytes = realloc(out->bytes, out->count + sizeof(guard));
    assert_non_null(out->bytes);
    memcpy(out->bytes + out->count, guard, sizeof(guard));
    counting_allocator counter;
    counting_allocator_init(&counter, 0);
    drayi_env env = {.allocator = counting_allocator_interface(&counter)};
    dray_decoder *decoder = NULL;
    assert_int_equal(codec->open(&env, &decoder, &it->error), DRAY_OK);
    size_t used = 0;
    it->produced = 0;
    for (int idle = 0; idle < 40; idle++) { // random cuts may be empty for a while
        uint64_t given = cut(it, it->input_cut, input.count - used);
        uint64_t room = cut(it, it->output_cut, out->count - it->produced);
        bool ended = used + given == input.count && !(it->late_end && given > 0);
        dray_decode_step step = {.input = input.bytes + used,
                                 .input_bytes = given,
                                 .output = room ? out->bytes + it->produced : NULL,
                                 .output_bytes = room,
                                 .input_ended = ended};
        it->status = codec->step(decoder, &step, &it->error);
        if (it->status != DRAY_OK)
            break;
        assert_true(step.input_bytes <= given);
        assert_true(step.output_bytes <= room);
        if (step.input_bytes < given || step.output_bytes < room)
            idle = 0;
        used += given - step.input_bytes;
        it->produced += room - step.output_bytes;
        it->done = step.done;
        if (step.done && ended && step.input_bytes == 0)
            break;
    }
    codec->close(decoder);
    assert_int_equal(counting_allocator_live_bytes(&counter), 0);
    assert_memory_equal(out->bytes + out->count, guard, sizeof(guard));
    if (it->status != DRAY_OK) {
        assert_int_equal(it->error.status, it->status);
        assert_true(it->error.message[0] != '\0');
    }
}

static void expect_plain(const dray_codec_ops *codec, decoding it, blob packed, blob plain)
{
    blob out = blob_new(plain.count + 100);
    decode(codec, &it, packed, &out);
    if (it.status != DRAY_OK || !it.done || it.produced != plain.count)
        fail_msg("%s: %s, done %d, %zu of %zu bytes", codec->name,
                 it.status ? it.error.message : "ok", it.done, it.produced, plain.count);
    assert_memory_equal(out.bytes, plain.bytes, plain.count);
    free(out.bytes);
}

static dray_status expect_refusal(const dray_codec_ops *codec, blob packed, size_t room)
{
    decoding it = {0};
    blob out = blob_new(room);
    decode(codec, &it, packed, &out);
    free(out.bytes);
    if (it.status == DRAY_OK)
        fail_msg("%s: decoded %zu bytes of a broken stream of %zu, done %d", codec->name,
                 it.produced, packed.count, it.done);
    return it.status;
}

typedef void codec_check(const dray_codec_ops *codec, const codec_encoder *encoder);

static void every_codec(codec_check *check)
{
    for (const dray_codec_ops *const *codec = drayi_components.codecs; *codec; codec++) {
        const codec_encoder *encoder = encoder_of(*codec);
        if (encoder)
            check(*codec, encoder);
    }
}

// ---------------------------------------------------------------- checks

static void check_table(const dray_codec_ops *codec, const codec_encoder *encoder)
{
    blob plain = sample(1000, 7), packed = encoder->encode(plain, 0);
    assert_int_equal(codec->abi, DRAY_CODEC_ABI);
    assert_int_equal(codec->probe(packed.bytes, packed.count), encoder->probed ? 100 : 0);
    for (size_t head = 0; head < 3; head++) {
        assert_int_equal(codec->probe(packed.bytes, head), 0);
        assert_true(codec->decoded_bytes(packed.bytes, head) == DRAY_UNKNOWN);
    }
    for (int variant = 0; variant < variant_count; variant++) {
        blob again = encoder->encode(plain, variant);
        uint64_t declared = codec->decoded_bytes(again.bytes, again.count);
        assert_true(declared == plain.count || declared == DRAY_UNKNOWN);
        free(again.bytes);
    }
    free(plain.bytes);
    free(packed.bytes);
}

static void check_whole(const dray_codec_ops *codec, const codec_encoder *encoder)
{
    static const size_t sizes[] = {0, 1, 2, 15, 16, 17, 100, 4096, 65536, 65537, 1000000};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        blob plain = sample(sizes[i], (uint32_t)i + 1);
        for (int variant = 0; variant < variant_count; variant++) {
            blob packed = encoder->encode(plain, variant);
            expect_plain(codec, (decoding){0}, packed, plain);
            expect_plain(codec, (decoding){.late_end = true}, packed, plain);
            free(packed.bytes);
        }
        free(plain.bytes);
    }
}

static void check_cuts(const dray_codec_ops *codec, const codec_encoder *encoder)
{
    for (int variant = 0; variant < variant_count; variant++) {
        blob small = sample(5000, 11), packed = encoder->encode(small, variant);
        expect_plain(codec, (decoding){.input_cut = 1}, packed, small);
        expect_plain(codec, (decoding){.output_cut = 1}, packed, small);
        expect_plain(codec, (decoding){.input_cut = 1, .output_cut = 1, .late_end = true}, packed,
                     small);
        free(small.bytes);
        free(packed.bytes);
        blob large = sample(400000, 12);
        packed = encoder->encode(large, variant);
        for (uint32_t seed = 1; seed <= 8; seed++) {
            uint32_t most = 1u << (seed + 6);
            expect_plain(codec, (decoding){.input_cut = most, .output_cut = most, .seed = seed},
                         packed, large);
            expect_plain(codec, (decoding){.input_cut = most * 64, .output_cut = 300, .seed = seed},
                         packed, large);
        }
        free(large.bytes);
        free(packed.bytes);
    }
}

static void check_frames(const dray_codec_ops *codec, const codec_encoder *encoder)
{
    blob first = sample(3000, 21), second = sample(70000, 22), both = joined(first, second);
    for (int variant = 0; variant < variant_count; variant++) {
        blob packed_first = encoder->encode(first, variant);
        blob packed_second = encoder->encode(second, variant_count - 1 - variant);
        blob packed = joined(packed_first, packed_second);
        if (encoder->frames) {
            expect_plain(codec, (decoding){0}, packed, both);
            expect_plain(codec, (decoding){.input_cut = 1}, packed, both);
            expect_plain(codec, (decoding){.input_cut = 999, .output_cut = 77}, packed, both);
        } else {
            assert_int_equal(expect_refusal(codec, packed, both.count), DRAY_E_CORRUPT);
        }
        free(packed_first.bytes);
        free(packed_second.bytes);
        free(packed.bytes);
    }
    free(first.bytes);
    free(second.bytes);
    free(both.bytes);
}

static void check_truncation(const dray_codec_ops *codec, const codec_encoder *encoder)
{
    for (int variant = 0; variant < variant_count; variant++) {
        blob plain = sample(1500, 31), packed = encoder->encode(plain, variant);
        for (size_t count = 0; count < packed.count; count++) {
            blob part = blob_new(count); // of its own, so that a sanitizer sees its end
            memcpy(part.bytes, packed.bytes, count);
            assert_int_equal(expect_refusal(codec, part, plain.count + 1), DRAY_E_CORRUPT);
            // With no room to spare it is at least not called done.
            decoding it = {0};
            blob out = blob_new(plain.count);
            decode(codec, &it, part, &out);
            assert_true(it.status != DRAY_OK || !it.done);
            free(out.bytes);
            free(part.bytes);
        }
        free(plain.bytes);
        free(packed.bytes);
    }
}

static void check_trailing(const dray_codec_ops *codec, const codec_encoder *encoder)
{
    blob plain = sample(500, 41), packed = encoder->encode(plain, 0);
    static const char *const garbage[] = {"x", "xyz", "garbage behind the frame", "\x28\xB5\x2F"};
    for (size_t i = 0; i < sizeof(garbage) / sizeof(garbage[0]); i++) {
        blob rubbish = {(uint8_t *)(uintptr_t)garbage[i], strlen(garbage[i])};
        blob both = joined(packed, rubbish);
        assert_int_equal(expect_refusal(codec, both, plain.count + 100), DRAY_E_CORRUPT);
        free(both.bytes);
    }
    blob zeros = {(uint8_t[64]){0}, 64}, both = joined(packed, zeros);
    assert_int_equal(expect_refusal(codec, both, plain.count + 100), DRAY_E_CORRUPT);
    free(both.bytes);
    free(plain.bytes);
    free(packed.bytes);
}

static void check_flips(const dray_codec_ops *codec, const codec_encoder *encoder)
{
    for (int variant = 0; variant < variant_count; variant++) {
        blob plain = sample(700, 51), packed = encoder->encode(plain, variant);
        for (size_t bit = 0; bit < packed.count * 8; bit++) {
            packed.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
            decoding it = {0};
            blob out = blob_new(plain.count + 5000);
            decode(codec, &it, packed, &out);
            bool finished = it.status == DRAY_OK && it.done;
            if (finished && encoder->checksum) {
                assert_int_equal(it.produced, plain.count);
                assert_memory_equal(out.bytes, plain.bytes, plain.count);
            }
            free(out.bytes);
            packed.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        free(plain.bytes);
        free(packed.bytes);
    }
}

static void check_room(const dray_codec_ops *codec, const codec_encoder *encoder)
{
    blob plain = sample(3000, 61), packed = encoder->encode(plain, 0);
    for (size_t room = 0; room < plain.count; room += room < 20 ? 1 : 97) {
        decoding it = {0};
        blob out = blob_new(room);
        decode(codec, &it, packed, &out);
        assert_int_equal(it.status, DRAY_OK);
        assert_false(it.done);
        assert_int_equal(it.produced, room);
        assert_memory_equal(out.bytes, plain.bytes, room);
        free(out.bytes);
    }
    free(plain.bytes);
    free(packed.bytes);
}

static void check_memory(const dray_codec_ops *codec, const codec_encoder *encoder)
{
    blob plain = sample(3000, 71), packed = encoder->encode(plain, 1);
    blob out = blob_new(plain.count);
    bool failed = true;
    for (uint64_t n = 1; failed; n++) {
        counting_allocator counter;
        counting_allocator_init(&counter, n);
        drayi_env env = {.allocator = counting_allocator_interface(&counter)};
        dray_decoder *decoder = NULL;
        dray_error error = {0};
        dray_status status = codec->open(&env, &decoder, &error);
        if (status == DRAY_OK) {
            dray_decode_step step = {packed.bytes, packed.count, out.bytes, out.count, true, false};
            status = codec->step(decoder, &step, &error);
            codec->close(decoder);
        }
        failed = counting_allocator_failed(&counter);
        assert_int_equal(status, failed ? DRAY_E_NOMEM : DRAY_OK);
        assert_true(!failed || error.message[0] != '\0');
        assert_int_equal(counting_allocator_live_bytes(&counter), 0);
    }
    free(out.bytes);
    free(plain.bytes);
    free(packed.bytes);
}

#define EVERY_CODEC(name, check)   \
    static void name(void **state) \
    {                              \
        (void)state;               \
        every_codec(check);        \
    }

EVERY_CODEC(a_codec_knows_its_own_and_its_size, check_table)
EVERY_CODEC(what_went_in_comes_out, check_whole)
EVERY_CODEC(input_and_room_may_come_in_any_pieces, check_cuts)
EVERY_CODEC(frames_in_a_row_are_one_stream, check_frames)
EVERY_CODEC(a_stream_cut_at_any_byte_is_never_done, check_truncation)
EVERY_CODEC(garbage_behind_the_stream_is_refused, check_trailing)
EVERY_CODEC(a_flipped_bit_is_noticed_where_the_format_can, check_flips)
EVERY_CODEC(output_never_passes_its_room, check_room)
EVERY_CODEC(memory_may_run_out, check_memory)

// ---------------------------------------------------------------- single codecs

static const dray_codec_ops *codec_named(const char *name)
{
    for (const dray_codec_ops *const *codec = drayi_components.codecs; *codec; codec++) {
        if (strcmp((*codec)->name, name) == 0)
            return *codec;
    }
    print_message("skipped: %s is not in this build\n", name);
    skip();
    return NULL;
}

static dray_status decode_bytes(const char *name, const void *bytes, size_t count, uint8_t *out,
                                size_t room, decoding *it)
{
    blob input = blob_new(count), output = blob_new(room);
    memcpy(input.bytes, bytes, count);
    decode(codec_named(name), it, input, &output);
    memcpy(out, output.bytes, it->produced);
    free(input.bytes);
    free(output.bytes);
    return it->status;
}

static void a_zstd_window_of_2_gib_is_refused_before_it_is_allocated(void **state)
{
    (void)state;
    // magic, no size, window 2^31, one raw block that is the last, of one byte
    static const char frame[] = "\x28\xB5\x2F\xFD\x00\xA8\x09\x00\x00q";
    uint8_t out[4096];
    decoding it = {0};
    assert_int_equal(decode_bytes("zstd", frame, 10, out, sizeof(out), &it), DRAY_E_UNSUPPORTED);
    assert_non_null(strstr(it.error.message, "128 MiB"));
}

static void a_zstd_frame_from_before_2016_is_refused_in_any_pieces(void **state)
{
    (void)state;
    static const char frame[] = "\x27\xB5\x2F\xFD\x00\x00\xFF\xFF\xFF"; // version 0.7
    for (uint32_t input_cut = 0; input_cut < 5; input_cut++) {
        uint8_t out[64];
        decoding it = {.input_cut = input_cut};
        assert_int_equal(decode_bytes("zstd", frame, 9, out, sizeof(out), &it), DRAY_E_CORRUPT);
        assert_string_equal(it.error.message,
                            "zstd: this is no zstd frame, near byte 0 of the compressed data");
    }
}

static void skippable_frames_are_skipped_and_looked_behind(void **state)
{
    (void)state;
    static const char frame[] = "\x50\x2A\x4D\x18\x02\x00\x00\x00zz"
                                "\x28\xB5\x2F\xFD\x20\x01\x09\x00\x00q";
    uint8_t out[16];
    decoding it = {.input_cut = 1};
    assert_int_equal(codec_named("zstd")->probe((const uint8_t *)frame, 20), 100);
    assert_int_equal(codec_named("zstd")->probe((const uint8_t *)frame, 12), 0);
    assert_int_equal(codec_named("zstd")->decoded_bytes((const uint8_t *)frame, 20), 1);
    assert_int_equal(decode_bytes("zstd", frame, 20, out, sizeof(out), &it), DRAY_OK);
    assert_int_equal(it.produced, 1);
    assert_int_equal(out[0], 'q');
    assert_int_equal(codec_named("lz4")->probe((const uint8_t *)frame, 20), 0);
    // A skippable frame that says it is 4 GiB long.
    static const uint8_t endless[12] = {0x50, 0x2A, 0x4D, 0x18, 0xFF, 0xFF, 0xFF, 0xFF};
    assert_int_equal(codec_named("zstd")->probe(endless, sizeof(endless)), 0);
}

static void a_zstd_frame_that_lies_about_its_size_is_corrupt(void **state)
{
    (void)state;
    static const char frame[] = "\x28\xB5\x2F\xFD\x20\x02\x09\x00\x00q"; // says 2, holds 1
    uint8_t out[16];
    decoding it = {0};
    assert_int_equal(decode_bytes("zstd", frame, 10, out, sizeof(out), &it), DRAY_E_CORRUPT);
}

static void a_block_that_lies_is_corrupt(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t count;
        dray_status status;
        const char *rule;
    } cases[] = {
        {"\0\0\0\0\0", 5, DRAY_OK, NULL},
        {"\0\0\0\0", 4, DRAY_E_CORRUPT, "codec.truncated"},
        {"\x01\0\0\0\x10q", 6, DRAY_OK, NULL},
        {"\x02\0\0\0\x10q", 6, DRAY_E_CORRUPT, "codec.truncated"}, // one of two
        {"\0\0\0\0\x10q", 6, DRAY_E_CORRUPT, "codec.corrupt"},     // one of none
        {"\x01\0\0\0\x10qx", 7, DRAY_E_CORRUPT, "codec.trailing"},
        {"\x05\0\0\0\x10q\0\0\0", 9, DRAY_E_CORRUPT, "codec.corrupt"},   // distance 0
        {"\x05\0\0\0\x10q\x02\0\0", 9, DRAY_E_CORRUPT, "codec.corrupt"}, // before the first byte
        {"\x05\0\0\0\x10q\x01\0", 8, DRAY_E_CORRUPT, "codec.truncated"}, // must end in a token
        {"\x05\0\0\0\x10q\x01\0\0", 9, DRAY_OK, NULL},
        {"\x05\0\0\0\x11q\x01\0\0", 9, DRAY_E_CORRUPT, "codec.corrupt"}, // match of 5 where 4 fit
        {"\xFF\xFF\xFF\xFF\xF0\xFF\xFF\xFF\xFF\xFF", 10, DRAY_E_CORRUPT, "codec.truncated"},
        {"\x20\0\0\0\xF0\xFF\xFF", 7, DRAY_E_CORRUPT, "codec.corrupt"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint8_t out[64];
        decoding it = {0};
        dray_status status = decode_bytes("lz4_block", cases[i].bytes, cases[i].count, out, 64, &it);
        if (status != cases[i].status || (status && strcmp(it.error.rule, cases[i].rule) != 0))
            fail_msg("case %zu: %s %s", i, dray_status_name(status), status ? it.error.message : "");
        if (status == DRAY_OK)
            assert_true(it.done);
        for (size_t at = 0; status == DRAY_OK && at < it.produced; at++)
            assert_int_equal(out[at], 'q');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_codec_knows_its_own_and_its_size),
        cmocka_unit_test(what_went_in_comes_out),
        cmocka_unit_test(input_and_room_may_come_in_any_pieces),
        cmocka_unit_test(frames_in_a_row_are_one_stream),
        cmocka_unit_test(a_stream_cut_at_any_byte_is_never_done),
        cmocka_unit_test(garbage_behind_the_stream_is_refused),
        cmocka_unit_test(a_flipped_bit_is_noticed_where_the_format_can),
        cmocka_unit_test(output_never_passes_its_room),
        cmocka_unit_test(memory_may_run_out),
        cmocka_unit_test(a_zstd_window_of_2_gib_is_refused_before_it_is_allocated),
        cmocka_unit_test(a_zstd_frame_from_before_2016_is_refused_in_any_pieces),
        cmocka_unit_test(skippable_frames_are_skipped_and_looked_behind),
        cmocka_unit_test(a_zstd_frame_that_lies_about_its_size_is_corrupt),
        cmocka_unit_test(a_block_that_lies_is_corrupt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
