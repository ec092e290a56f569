/// Shared objects that are opened by a path to a file descriptor, and are closed again.
#include "os/os_module.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <link.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

static const char descriptors[] = "/proc/self/fd/";

void *drayi_module_open(const char *path, char *out_why, size_t why_bytes)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        const char *why = dlerror();
        snprintf(out_why, why_bytes, "%s", why ? why : "no reason given");
    }
    return library;
}

static int has_path(struct dl_phdr_info *info, size_t bytes, void *path)
{
    (void)bytes;
    return info->dlpi_name && strcmp(info->dlpi_name, path) == 0;
}

int drayi_path_is_loaded(const char *path)
{
    return dl_iterate_phdr(has_path, (void *)(uintptr_t)path);
}

int drayi_module_base(void *library, const char *path, uint64_t *out_base)
{
    struct link_map *map = NULL;
    if (dlinfo(library, RTLD_DI_LINKMAP, &map) != 0 || !map)
        return -EINVAL;
    *out_base = map->l_addr;
    return strcmp(map->l_name, path) == 0;
}

// --- which file is mapped at an address --------------------------------------------------------------

typedef struct mapped_file {
    uint64_t device_major, device_minor, inode;
} mapped_file;

/// The kernel's struct procmap_query (Linux 6.11), for headers that do not have it.
struct procmap_words {
    uint64_t size, query_flags, query_addr, vma_start, vma_end, vma_flags, vma_page_size,
        vma_offset, inode;
    uint32_t dev_major, dev_minor, vma_name_size, build_id_size;
    uint64_t vma_name_addr, build_id_addr;
};
#define PROCMAP_WORDS_QUERY _IOWR('f', 17, struct procmap_words)

static int ask_kernel(int maps, const void *at, mapped_file *out)
{
    struct procmap_words words = {.size = sizeof(words), .query_addr = (uint64_t)(uintptr_t)at};
    if (ioctl(maps, PROCMAP_WORDS_QUERY, &words) < 0)
        return -errno;
    *out = (mapped_file){words.dev_major, words.dev_minor, words.inode};
    return 0;
}

/// The same by the text of /proc/self/maps, for older kernels.
static int read_maps(const void *at, mapped_file *out)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    if (!maps)
        return -errno;
    char line[512];
    int code = -ENOENT;
    while (code == -ENOENT && fgets(line, sizeof(line), maps)) {
        uint64_t start, end;
        mapped_file file;
        if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %*s %*x %" SCNx64 ":%" SCNx64 " %" SCNu64, &start,
                   &end, &file.device_major, &file.device_minor, &file.inode) == 5 &&
            (uint64_t)(uintptr_t)at >= start && (uint64_t)(uintptr_t)at < end) {
            *out = file;
            code = 0;
        }
    }
    fclose(maps);
    return code;
}

int drayi_same_mapping(const void *one, const void *other)
{
    mapped_file first = {0}, second = {0};
    int maps = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    if (maps < 0)
        return -errno;
    int code = ask_kernel(maps, one, &first);
    bool knows = code == 0;
    if (knows)
        code = ask_kernel(maps, other, &second);
    close(maps);
    if (!knows) {
        code = read_maps(one, &first);
        if (code == 0)
            code = read_maps(other, &second);
    }
    if (code < 0)
        return code;
    return first.inode != 0 && memcmp(&first, &second, sizeof(first)) == 0;
}

// --- names that are taken ----------------------------------------------------------------------------

/// A library that somebody loaded under this name, or as this name; those from descriptors are modules.
static bool is_loaded(const char *soname, char *out_by, size_t by_bytes)
{
    void *library = dlopen(soname, RTLD_LAZY | RTLD_LOCAL | RTLD_NOLOAD);
    if (!library) {
        dlerror(); // reading it frees it
        return false;
    }
    struct link_map *map = NULL;
    bool taken = dlinfo(library, RTLD_DI_LINKMAP, &map) == 0 && map && map->l_name &&
                 strncmp(map->l_name, descriptors, sizeof(descriptors) - 1) != 0;
    if (taken)
        snprintf(out_by, by_bytes, "%s", map->l_name);
    dlclose(library);
    return taken;
}

/// The linker's own list of the system's libraries: names stand in it as terminated texts.
static bool is_in_cache(const char *soname)
{
    char wanted[256];
    int length = snprintf(wanted + 1, sizeof(wanted) - 1, "%s", soname);
    int fd = open("/etc/ld.so.cache", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    wanted[0] = '\0';
    off_t bytes = lseek(fd, 0, SEEK_END);
    void *cache = bytes > 0 && length > 0 && (size_t)length < sizeof(wanted) - 1
                      ? mmap(NULL, (size_t)bytes, PROT_READ, MAP_PRIVATE, fd, 0)
                      : MAP_FAILED;
    close(fd);
    if (cache == MAP_FAILED)
        return false;
    bool found = memmem(cache, (size_t)bytes, wanted, (size_t)length + 2) != NULL;
    munmap(cache, (size_t)bytes);
    return found;
}

int drayi_soname_taken(const char *soname, char *out_by, size_t by_bytes)
{
    static const char *const folders[] = {"/lib", "/usr/lib", "/lib64", "/usr/lib64",
                                          "/usr/local/lib"};
    char path[512];
    if (strchr(soname, '/')) { // no library's name: whatever asks for it means a file
        snprintf(out_by, by_bytes, "a path");
        return 1;
    }
    if (is_loaded(soname, out_by, by_bytes))
        return 1;
    if (is_in_cache(soname)) {
        snprintf(out_by, by_bytes, "a library of the system");
        return 1;
    }
    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", folders[i], soname);
        if (access(path, F_OK) == 0) {
            snprintf(out_by, by_bytes, "%s", path);
            return 1;
        }
    }
    return 0;
}
