/// Runs a fuzz target over stored inputs, with any compiler: every file named in argv, and every
/// file in the folders named there. It fails when there was nothing to run, so that a lost corpus
/// is noticed.
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay(const char *path, unsigned *count);

static int replay_file(const char *path, uint64_t bytes, unsigned *count)
{
    FILE *file = fopen(path, "rb");
    // An exact copy on the heap: a read behind the end is a read behind an allocation.
    uint8_t *data = malloc(bytes ? bytes : 1);
    int failed = !file || !data || fread(data, 1, bytes, file) != bytes;
    if (failed) {
        fprintf(stderr, "%s: cannot be read\n", path);
    } else {
        LLVMFuzzerTestOneInput(data, bytes);
        ++*count;
    }
    free(data);
    if (file)
        fclose(file);
    return failed;
}

static int replay_folder(const char *path, unsigned *count)
{
    struct dirent **entries;
    int entry_count = scandir(path, &entries, NULL, alphasort);
    if (entry_count < 0) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return 1;
    }
    int failed = 0;
    for (int i = 0; i < entry_count; i++) {
        char child[4096];
        if (entries[i]->d_name[0] != '.') {
            int length = snprintf(child, sizeof child, "%s/%s", path, entries[i]->d_name);
            failed |= length < 0 || (size_t)length >= sizeof child || replay(child, count);
        }
        free(entries[i]);
    }
    free(entries);
    return failed;
}

static int replay(const char *path, unsigned *count)
{
    struct stat about;
    if (stat(path, &about) != 0) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return 1;
    }
    return S_ISDIR(about.st_mode) ? replay_folder(path, count)
                                  : replay_file(path, (uint64_t)about.st_size, count);
}

int main(int argc, char **argv)
{
    unsigned count = 0;
    int failed = 0;
    for (int i = 1; i < argc; i++)
        failed |= replay(argv[i], &count);
    printf("%u inputs replayed\n", count);
    return failed || count == 0;
}
