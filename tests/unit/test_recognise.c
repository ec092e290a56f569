/// The recogniser: what people pass by mistake gets its rule and a sentence that helps.
#include "format/recognise.h"
#include "support/corpus.h"
#include "support/format_probe.h"
#include "support/testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct mistake {
    const char *what;
    const char *bytes;
    uint64_t length;
    const char *rule;
    const char *words; // stand in the message
} mistake;

#define TEXT(literal) (literal), sizeof(literal) - 1

static const mistake mistakes[] = {
    {"empty file", TEXT(""), "recognise.empty", "0 bytes"},
    {"LFS pointer",
     TEXT("version https://git-lfs.github.com/spec/v1\noid sha256:28cc\nsize 4661211808\n"),
     "recognise.lfs",
     "not the model itself (4661211808 bytes): run `git lfs install && git lfs pull`"},
    {"LFS pointer without a size", TEXT("version https://git-lfs.github.com/spec/v1\n"),
     "recognise.lfs", "Git LFS pointer of 43 bytes"},
    {"HTML page", TEXT("\n <!DOCTYPE html><html><head>"), "recognise.html", "/resolve/"},
    {"HTML behind a byte order mark", TEXT("\xef\xbb\xbf<HTML lang=en>"), "recognise.html",
     "HTML page"},
    {"S3 error",
     TEXT("<?xml version=\"1.0\"?>\n<Error><Code>AccessDenied</Code><Message>Access Denied</Message>"),
     "recognise.xml", "storage server, not a model: \"Access Denied\""},
    {"XML with control bytes", TEXT("<Error><Message>a\x1b[31mb</Message>"), "recognise.xml",
     "\"a?[31mb\""},
    {"XML document", TEXT("<?xml version=\"1.0\"?><net name=\"ir\">"), "recognise.xml",
     "XML document"},
    {"config.json", TEXT("{\n  \"architectures\": [\"LlamaForCausalLM\"]"), "recognise.json",
     "weights file beside it"},
    {"index.json", TEXT("{\"metadata\":{}, \"weight_map\": {"), "recognise.json",
     "index of a sharded"},
    {"server error", TEXT("{\"error\":\"Repository not found\"}"), "recognise.json",
     "error message of a server"},
    {"PyTorch zip", TEXT("PK\x03\x04\0\0\x08\x08\0\0\0\0\0\0\0\0archive/data.pkl"),
     "recognise.pytorch", "safetensors.torch.save_file"},
    {"npz", TEXT("PK\x03\x04\0\0\0\0\0\0weight.npy"), "recognise.npz", "NumPy"},
    {"keras zip", TEXT("PK\x03\x04\0\0model.weights.h5"), "recognise.keras", "Keras"},
    {"other zip", TEXT("PK\x03\x04\0\0readme.txt"), "recognise.zip", "unpack"},
    {"old torch.save", TEXT("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."),
     "recognise.pickle", "run code"},
    {"pickle protocol 4", TEXT("\x80\x04\x95\x10\0\0\0\0\0\0\0"), "recognise.pickle", "pickle"},
    {"ONNX", TEXT("\x08\x07\x12\x07pytorch\x1a\x05"), "recognise.onnx", "ONNX"},
    {"ORT", TEXT("\x14\0\0\0ORTM\x0c\0\x10\0"), "recognise.ort", "ONNX Runtime"},
    {"TFLite", TEXT("\x1c\0\0\0TFL3\x14\0"), "recognise.tflite", "TensorFlow Lite"},
    {"ggml", TEXT("lmgg\0\x7d\0\0\0\x10\0\0"), "recognise.ggml", "'ggml' file, an old ggml format"},
    {"ggmf", TEXT("fmgg\x01\0\0\0\0\x7d\0\0"), "recognise.ggml", "'ggmf'"},
    {"ggjt", TEXT("tjgg\x03\0\0\0\0\x7d\0\0"), "recognise.ggml", "'ggjt'"},
    {"ggla", TEXT("algg\x01\0\0\0\0\x10\0\0"), "recognise.ggml", "LoRA"},
    {"ggml written the other way round", TEXT("ggmlxxxxxxxx"), "recognise.ggml", "'ggml'"},
    {"llama.cpp session", TEXT("nsgg\x09\0\0\0"), "recognise.session", "session"},
    {"whisper.cpp", TEXT("lmgg\x99\xca\0\0\xdc\x05\0\0\x80\x01\0\0"), "recognise.whisper",
     "openai/whisper-*"},
    {"HDF5", TEXT("\x89HDF\r\n\x1a\n\0\0\0"), "recognise.hdf5", "Keras"},
    {"IREE archive", TEXT("IRPA\0\0\0\0X\0\0\0"), "recognise.irpa", "IREE"},
    {"npy", TEXT("\x93NUMPY\x01\0v\0{'descr'"), "recognise.npy", "safetensors.numpy.save_file"},
    {"gzip", TEXT("\x1f\x8b\x08\0\0\0\0\0\0\x03"), "recognise.gzip", "not decoded"},
    {"zstd", TEXT("\x28\xb5\x2f\xfd\x04\0\0\0\0"), "recognise.zstd", "not decoded"},
    {"lz4", TEXT("\x04\x22\x4d\x18\x64\x40\xa7\0"), "recognise.lz4", "not decoded"},
    {"xz",
     TEXT("\xfd"
          "7zXZ\0\0\x04\xe6"),
     "recognise.xz", "xz"},
    {"bzip2", TEXT("BZh91AY&SY"), "recognise.bzip2", "bzip2"},
    {"7z", TEXT("7z\xbc\xaf\x27\x1c\0\x04"), "recognise.7z", "7-Zip"},
    {"ELF",
     TEXT("\x7f"
          "ELF\x02\x01\x01\0\0"),
     "recognise.elf", "ELF"},
    {"cut GGUF magic", TEXT("GGU"), "recognise.truncated", "first word of a GGUF file (3 bytes)"},
    {"cut APR magic", TEXT("AP"), "recognise.truncated", "first word of a APR file"},
    {"seven bytes", TEXT("\x01\x02\x03\x04\x05\x06\x07"), "recognise.truncated",
     "7 bytes are too few"},
    {"zeros", TEXT("\0\0\0\0\0\0\0\0\0\0\0\0"), "recognise.zeros", "first 12 bytes are zero"},
    {"README", TEXT("# A model card\nand more text"), "recognise.text", "begins \"# A model card\""},
    {"nothing known", TEXT("\xde\xad\xbe\xef\x01\x02\x03\x04\x05"), "recognise.unknown",
     "de ad be ef 01 02 03 04"},
};

static void every_mistake_gets_its_rule_and_sentence(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(mistakes) / sizeof(mistakes[0]); i++) {
        const mistake *given = &mistakes[i];
        uint8_t *exact = malloc(given->length ? given->length : 1); // sanitizers see a read too many
        memcpy(exact, given->bytes, given->length);
        corpus_write(given->what, given->bytes, given->length);
        dray_error error = {0};
        assert_int_equal(drayi_recognise(exact, given->length, given->length, "file", &error),
                         DRAY_E_FORMAT);
        if (!error.rule || strcmp(error.rule, given->rule) != 0 ||
            !strstr(error.message, given->words))
            fail_msg("%s: %s: %s", given->what, error.rule ? error.rule : "no rule", error.message);
        assert_int_equal(error.status, DRAY_E_FORMAT);
        free(exact);
    }
}

static void a_tar_archive_is_recognised_behind_its_first_name(void **state)
{
    (void)state;
    uint8_t tar[512] = "model/weights.bin";
    memcpy(tar + 257, "ustar", 5);
    dray_error error;
    assert_int_equal(drayi_recognise(tar, sizeof(tar), 10240, "file", &error), DRAY_E_FORMAT);
    assert_string_equal(error.rule, "recognise.tar");
}

static void a_file_of_which_nothing_could_be_read_is_still_refused(void **state)
{
    (void)state;
    dray_error error;
    assert_int_equal(drayi_recognise((const uint8_t *)"", 0, 4096, "file", &error), DRAY_E_FORMAT);
    assert_string_equal(error.rule, "recognise.unknown");
    assert_int_equal(drayi_recognise(NULL, 0, 0, "file", NULL), DRAY_E_FORMAT);
}

static void real_files_that_people_passed_are_recognised(void **state)
{
    (void)state;
    static const struct {
        const char *name, *rule;
    } files[] = {
        {"lfs-pointer.gguf", "recognise.lfs"},
        {"lfs-pointer.safetensors", "recognise.lfs"},
        {"iree-mixed.irpa", "recognise.irpa"},
        {"ort-upsample.ort", "recognise.ort"},
        {"zero-byte.gguf", "recognise.empty"},
        {"whispercpp-for-tests-ggml-tiny.bin", "recognise.whisper"},
        {"index-falcon-180b-chat.json", "recognise.json"},
    };
    const char *directory = getenv("DRAY_TEST_DATA");
    if (!directory || !*directory) {
        print_message("skipped: DRAY_TEST_DATA names no folder of real files\n");
        skip();
    }
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        uint64_t count = 0;
        uint8_t *bytes = format_probe_load(directory, files[i].name, &count);
        if (!bytes)
            fail_msg("%s/%s cannot be read", directory, files[i].name);
        dray_error error;
        assert_int_equal(drayi_recognise(bytes, count, count, "file", &error), DRAY_E_FORMAT);
        assert_string_equal(error.rule, files[i].rule);
        free(bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_mistake_gets_its_rule_and_sentence),
        cmocka_unit_test(a_tar_archive_is_recognised_behind_its_first_name),
        cmocka_unit_test(a_file_of_which_nothing_could_be_read_is_still_refused),
        cmocka_unit_test(real_files_that_people_passed_are_recognised),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
