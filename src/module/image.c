/// Three places where bytes can be: memory of the caller, a file, a sealed memfd of ours. An image
/// begins in one of the first two, and seal() moves it to the third: from then on nobody can change it,
/// and reading, hashing, checking and loading all see the same bytes.
#include "module/image.h"

#include "base/checked.h"
#include "dray/spi/region.h"
#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8U // since kernel 6.3; such a memfd can be opened as a library all the same
#endif

enum {
    full_seals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE,
    chunk_bytes = 1 << 20
};

typedef struct drayi_image {
    dray_image base; // first: loaders hold a pointer to it
    drayi_env *env;
    _Atomic uint32_t references;
    bool owns_fd;
    dray_region *region;     // kept while its memory is used
    const uint8_t *borrowed; // the caller's memory, or the region's
    void *mapped;            // of our memfd, or a copy of a file's bytes
    char name[64];
} drayi_image;

static drayi_image *image_of(dray_image *image)
{
    return (drayi_image *)image;
}

static dray_status image_read(dray_image *base, uint64_t offset, void *out, uint64_t count,
                              dray_error *error)
{
    drayi_image *image = image_of(base);
    if (!drayi_inside(offset, count, base->byte_count))
        return dray_fail(error, DRAY_E_FORMAT,
                         "%s: %" PRIu64 " bytes wanted at %" PRIu64 ", the image has %" PRIu64,
                         base->name, count, offset, base->byte_count);
    const uint8_t *memory = base->bytes ? base->bytes : image->borrowed;
    if (memory || count == 0) {
        if (count > 0)
            memcpy(out, memory + offset, count);
        return DRAY_OK;
    }
    return drayi_pread_all(image->env->os, base->fd, base->name, out, count,
                           base->fd_offset + offset, NULL, error);
}

static dray_status image_map(dray_image *base, dray_error *error)
{
    drayi_image *image = image_of(base);
    if (base->bytes)
        return DRAY_OK;
    if (image->borrowed || base->byte_count == 0) {
        static const uint8_t nothing[1];
        base->bytes = image->borrowed ? image->borrowed : nothing;
        return DRAY_OK;
    }
    const drayi_os *os = image->env->os;
    bool sealed = (base->flags & DRAY_IMAGE_SEALED) && base->fd_offset == 0;
    int code = 0;
    void *memory = os->map(NULL, base->byte_count, sealed ? PROT_READ : PROT_READ | PROT_WRITE,
                           sealed ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS,
                           sealed ? base->fd : -1, 0, &code);
    if (!memory)
        return dray_fail_os(error, -code, "mmap", "%s: map %" PRIu64 " bytes", base->name,
                            base->byte_count);
    if (!sealed) { // a file that is changed or cut later must not reach us
        dray_status status = drayi_pread_all(os, base->fd, base->name, memory, base->byte_count,
                                             base->fd_offset, NULL, error);
        if (status != DRAY_OK) {
            os->unmap(memory, base->byte_count);
            return status;
        }
    }
    image->mapped = memory;
    base->bytes = memory;
    base->flags |= DRAY_IMAGE_PRIVATE;
    return DRAY_OK;
}

// --- sealing ------------------------------------------------------------------------------------------

static int memfd_create_for(const drayi_os *os, const char *name)
{
    int fd = os->memfd(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
    return fd == -EINVAL ? os->memfd(name, MFD_CLOEXEC | MFD_ALLOW_SEALING) : fd;
}

/// What the image holds now, into `fd`.
static dray_status copy_to(drayi_image *image, int fd, dray_error *error)
{
    const dray_image *base = &image->base;
    const drayi_os *os = image->env->os;
    const uint8_t *memory = base->bytes ? base->bytes : image->borrowed;
    if (memory)
        return drayi_pwrite_all(os, fd, base->name, memory, base->byte_count, 0, error);
    void *buffer = drayi_alloc(image->env, chunk_bytes, error);
    if (!buffer)
        return DRAY_E_NOMEM;
    dray_status status = DRAY_OK;
    for (uint64_t at = 0, part; status == DRAY_OK && at < base->byte_count; at += part) {
        part = drayi_min(chunk_bytes, base->byte_count - at);
        status = drayi_pread_all(os, base->fd, base->name, buffer, part, base->fd_offset + at, NULL,
                                 error);
        if (status == DRAY_OK)
            status = drayi_pwrite_all(os, fd, base->name, buffer, part, at, error);
    }
    drayi_free(image->env, buffer, chunk_bytes);
    return status;
}

static dray_status seal_copy(drayi_image *image, int fd, dray_error *error)
{
    DRAY_TRY(copy_to(image, fd, error));
    int code = image->env->os->seal(fd, full_seals);
    if (code < 0)
        return dray_fail_os(error, -code, "fcntl(F_ADD_SEALS)", "%s: seal", image->base.name);
    return DRAY_OK;
}

/// The image is now what stands in `fd`, and nothing else of it is used any more.
static void move_to(drayi_image *image, int fd)
{
    dray_image *base = &image->base;
    if (image->mapped)
        image->env->os->unmap(image->mapped, base->byte_count);
    if (image->owns_fd)
        image->env->os->close(base->fd);
    dray_region_release(image->region);
    image->region = NULL;
    image->borrowed = NULL;
    image->mapped = NULL;
    image->owns_fd = true;
    base->bytes = NULL;
    base->fd = fd;
    base->fd_offset = 0;
    base->flags = DRAY_IMAGE_SEALED; // what was hashed before was hashed before
}

static dray_status image_seal(dray_image *base, dray_error *error)
{
    drayi_image *image = image_of(base);
    if ((base->flags & DRAY_IMAGE_SEALED) && base->fd_offset == 0)
        return DRAY_OK;
    const drayi_os *os = image->env->os;
    char name[48]; // what maps and backtraces show
    snprintf(name, sizeof(name), "dray:%.40s", base->name);
    int fd = memfd_create_for(os, name);
    if (fd < 0)
        return dray_fail_os(error, -fd, "memfd_create", "%s: copy to memory", base->name);
    dray_status status = seal_copy(image, fd, error);
    if (status != DRAY_OK)
        os->close(fd);
    else
        move_to(image, fd);
    return status;
}

dray_status drayi_image_own(dray_image *base, dray_error *error)
{
    return image_of(base)->borrowed && !image_of(base)->region ? image_seal(base, error) : DRAY_OK;
}

// --- life ---------------------------------------------------------------------------------------------

static void image_retain(dray_image *base)
{
    atomic_fetch_add(&image_of(base)->references, 1);
}

static void image_release(dray_image *base)
{
    drayi_image *image = image_of(base);
    if (atomic_fetch_sub(&image->references, 1) > 1)
        return;
    if (image->mapped)
        image->env->os->unmap(image->mapped, base->byte_count);
    if (image->owns_fd)
        image->env->os->close(base->fd);
    dray_region_release(image->region);
    drayi_free(image->env, image, sizeof(*image));
}

/// [offset, offset + count) of a file; count 0: up to its end. Sealed or not is found here.
static dray_status take_fd(drayi_image *image, int fd, uint64_t offset, uint64_t count,
                           dray_error *error)
{
    dray_image *base = &image->base;
    const drayi_os *os = image->env->os;
    drayi_file_facts facts;
    int code = os->facts(fd, &facts);
    if (code < 0)
        return dray_fail_os(error, -code, "statx", "%s", base->name);
    if (!S_ISREG(facts.mode))
        return dray_fail(error, DRAY_E_INVALID, "%s is not a regular file", base->name);
    if (count == 0 && offset <= facts.bytes)
        count = facts.bytes - offset;
    if (!drayi_inside(offset, count, facts.bytes))
        return dray_fail(error, DRAY_E_INVALID,
                         "%s: %" PRIu64 " bytes wanted at %" PRIu64 ", the file has %" PRIu64,
                         base->name, count, offset, facts.bytes);
    int seals = os->seals(fd);
    if (seals >= 0 && (seals & full_seals) == full_seals)
        base->flags |= DRAY_IMAGE_SEALED;
    base->fd_offset = offset;
    base->byte_count = count;
    return DRAY_OK;
}

static dray_status take_duplicate(drayi_image *image, int fd, uint64_t offset, uint64_t count,
                                  dray_error *error)
{
    image->base.fd = image->env->os->dup(fd);
    if (image->base.fd < 0) {
        int code = -image->base.fd;
        image->base.fd = -1;
        return dray_fail_os(error, code, "dup", "%s: descriptor %d", image->base.name, fd);
    }
    image->owns_fd = true;
    return take_fd(image, image->base.fd, offset, count, error);
}

static dray_status take_path(drayi_image *image, const dray_module_source *source, dray_error *error)
{
    DRAY_TRY(drayi_open_file(image->env->os, source->path, O_RDONLY | O_NONBLOCK, 0,
                             &image->base.fd, error));
    image->owns_fd = true;
    return take_fd(image, image->base.fd, source->offset, source->byte_count, error);
}

static dray_status take_region(drayi_image *image, const dray_module_source *source,
                               dray_error *error)
{
    dray_region_native native;
    dray_region_get_native(source->region, &native);
    uint64_t count = source->byte_count;
    if (count == 0 && source->offset <= native.bytes)
        count = native.bytes - source->offset;
    if (!drayi_inside(source->offset, count, native.bytes))
        return dray_fail(error, DRAY_E_INVALID,
                         "%s: %" PRIu64 " bytes wanted at %" PRIu64 ", the region has %" PRIu64,
                         image->base.name, count, source->offset, native.bytes);
    if (native.fd >= 0)
        return take_duplicate(image, native.fd, native.file_offset + source->offset, count, error);
    if (!native.pointer)
        return dray_fail(error, DRAY_E_UNSUPPORTED,
                         "%s: a region of kind %s has no bytes that the host can read",
                         image->base.name, dray_storage_name(native.storage));
    image->region = dray_region_retain(source->region);
    image->borrowed = (const uint8_t *)native.pointer + source->offset;
    image->base.byte_count = count;
    return DRAY_OK;
}

static dray_status image_take(drayi_image *image, const dray_module_source *source,
                              dray_error *error)
{
    int given = (source->bytes != NULL) + (source->path != NULL) + (source->use_fd != 0) +
                (source->region != NULL);
    if (given > 1 || (given == 0 && source->byte_count > 0))
        return dray_fail(error, DRAY_E_INVALID,
                         "module source: one of bytes, path, fd and region is wanted, %d are given",
                         given);
    if (source->path)
        return take_path(image, source, error);
    if (source->use_fd)
        return take_duplicate(image, source->fd, source->offset, source->byte_count, error);
    if (source->region)
        return take_region(image, source, error);
    image->borrowed = source->bytes;
    image->base.byte_count = source->byte_count;
    return DRAY_OK;
}

/// Where `source` gives no name: the end of the path, which is the part that tells files apart.
static void image_name(drayi_image *image, const dray_module_source *source)
{
    const char *name = source->name ? source->name : source->path;
    if (!name)
        name = source->region && dray_region_name(source->region) ? dray_region_name(source->region)
                                                                  : "<bytes>";
    size_t length = strlen(name), room = sizeof(image->name) - 1;
    snprintf(image->name, sizeof(image->name), "%s%s", length > room ? "..." : "",
             length > room ? name + length - (room - 3) : name);
    image->base.name = image->name;
}

dray_status drayi_image_open(drayi_env *env, const dray_module_source *given, dray_image **out,
                             dray_error *error)
{
    dray_module_source source;
    DRAY_TRY(drayi_options(&source, sizeof(source), given, "dray_module_source", error));
    drayi_image *image = drayi_new(env, drayi_image, error);
    if (!image)
        return DRAY_E_NOMEM;
    image->env = env;
    image->references = 1;
    image->base = (dray_image){.fd = -1,
                               .read = image_read,
                               .map = image_map,
                               .seal = image_seal,
                               .retain = image_retain,
                               .release = image_release};
    image_name(image, &source);
    dray_status status = image_take(image, &source, error);
    if (status != DRAY_OK)
        image_release(&image->base);
    else
        *out = &image->base;
    return status;
}
