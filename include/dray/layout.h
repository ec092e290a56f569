/// dray/layout.h: KV blocks in memory: where (block, layer, outer, token, head) stands, on every storage kind.
///
///     dray_layout_config config = {
///         .struct_bytes = sizeof(config), .kind = DRAY_LAYOUT_CONTIGUOUS, .num_blocks = 256,
///         .num_layers = 80, .outer_dim = 2, .page_size = 16, .inner_dim = 1024, .num_heads = 8,
///         .dtype_width_bytes = 2};
///     dray_layout_measure(&config, DRAY_STORAGE_PINNED, &geometry, &error);       pure: sizes and strides
///     dray_layout_allocation pinned = {.struct_bytes = sizeof(pinned), .storage = DRAY_STORAGE_PINNED};
///     dray_layout_options options = {
///         .struct_bytes = sizeof(options), .config = &config, .allocate = &pinned};
///     dray_layout_build(agent, &options, &layout, &error);                        memory, registered
///     dray_layout_plan_move(agent, &move, NULL, &plan, &error);                   -> dray_transfer_create()
///
/// A layout is geometry plus regions. Nothing is allocated or opened before every rule of the configuration
/// has been checked, and a build that fails leaves no memory, registration, file or descriptor behind.
/// Which layout is good for what, and how the numbers come about: docs/design/layouts.md.
#ifndef DRAY_LAYOUT_H
#define DRAY_LAYOUT_H

#include "dray/agent.h"

#ifdef __cplusplus
extern "C" {
#endif

// --- configuration -------------------------------------------------------------------------------

/// How blocks lie in regions. 0 is none of them: a kind is always said.
typedef enum dray_layout_kind {
    DRAY_LAYOUT_CONTIGUOUS = 1,            ///< one region [block, layer, outer, page, inner]
    DRAY_LAYOUT_LAYER_SEPARATE_FIRST = 2,  ///< a region per layer [block, outer, page, inner]
    DRAY_LAYOUT_LAYER_SEPARATE_SECOND = 3, ///< a region per layer [outer, block, page, inner]
} dray_layout_kind;

/// The order of the dimensions inside a block, slowest first; head_dim is the fastest in all of them.
/// A layer-separate layout has NHD or HND: its layers stand apart. All but NHD need num_heads.
typedef enum dray_block_format {
    DRAY_BLOCK_NHD = 0,          ///< [layer, outer, token, head]; without num_heads: [.., inner]
    DRAY_BLOCK_HND = 1,          ///< [layer, outer, head, token]
    DRAY_BLOCK_UNIVERSAL_TP = 2, ///< [head, layer, outer, token]: a shard's heads are one run
    DRAY_BLOCK_UNIVERSAL_PP = 3, ///< [layer, head, outer, token]
    DRAY_BLOCK_CUSTOM = 4,       ///< as dray_layout_config.order says
} dray_block_format;

typedef enum dray_block_dim {
    DRAY_DIM_LAYER = 1,
    DRAY_DIM_OUTER = 2,
    DRAY_DIM_TOKEN = 3,
    DRAY_DIM_HEAD = 4,
} dray_block_dim;

/// error.rule of a refused configuration names the field: "layout.page_size", ...
typedef struct dray_layout_config {
    size_t struct_bytes;
    dray_layout_kind kind;
    dray_block_format format;
    uint64_t num_blocks;        ///< >= 1
    uint64_t page_size;         ///< tokens per block, a power of two
    uint64_t inner_dim;         ///< elements per token, layer and outer (heads x head_dim), >= 1
    uint64_t alignment;         ///< of every region and every block, a power of two; 0: 1, packed
    uint32_t num_layers;        ///< >= 1
    uint32_t outer_dim;         ///< 2: K and V. 1: one of both (MLA)
    uint32_t num_heads;         ///< divides inner_dim; 0: not known, which NHD alone can do without
    uint32_t dtype_width_bytes; ///< 1, 2, 4 or 8; 0: 2
    dray_block_dim order[4]; ///< CUSTOM: each of the four dimensions once, slowest first; else zeros
} dray_layout_config;

/// All numbers of a layout, in bytes where nothing else is said. The byte of (block, layer, outer, token,
/// head, element) is, in region `layer` of a layer-separate layout and in region 0 of a contiguous one, at
///
///     block * block_stride + layer * layer_stride + outer * outer_stride + token * token_stride
///     + head * head_stride + element * dtype_width_bytes
///
/// The same address stands at region_offset(i) = i * region_pitch in one base allocation or file.
typedef struct dray_layout_geometry {
    dray_layout_config config; ///< with defaults filled in
    uint64_t region_count;     ///< 1, or num_layers
    uint64_t region_bytes;     ///< of each region, padding of its blocks included
    uint64_t region_alignment; ///< config.alignment; DISK: 4096 at least, so that direct I/O works
    uint64_t region_pitch;     ///< from a region to the next one in the base allocation
    uint64_t base_bytes;       ///< of one allocation or file that holds all regions
    uint64_t bytes_per_block;  ///< contents, all layers, without padding
    uint64_t bytes_per_slice; ///< page_size * inner_dim * dtype_width_bytes: one (block, layer, outer)
    uint64_t padding_bytes; ///< base_bytes - num_blocks * bytes_per_block
    uint64_t block_stride;
    uint64_t layer_stride; ///< 0: every layer has its own region
    uint64_t outer_stride;
    uint64_t token_stride;
    uint64_t head_stride;  ///< without num_heads: bytes_per_slice / page_size, the only head
    uint64_t head_count;   ///< num_heads, or 1
    uint64_t head_dim;     ///< inner_dim / head_count
    uint32_t slices_whole; ///< 1: the bytes of a (block, layer, outer) stand together (NHD, HND)
    uint32_t blocks_whole; ///< 1: the bytes of a block stand together (CONTIGUOUS)
} dray_layout_geometry;

/// Checks every rule and works out every number; all products are checked. Pure. `storage` is where the
/// layout shall be: it decides on region_alignment; 0 counts as SYSTEM.
/// DRAY_E_INVALID with error.rule: the first rule that is broken, with what was wanted and what was found.
DRAY_API dray_status dray_layout_measure(const dray_layout_config *config, dray_storage storage,
                                         dray_layout_geometry *out_geometry, dray_error *error);
/// In the base allocation. `region` < region_count.
DRAY_API uint64_t dray_layout_region_offset(const dray_layout_geometry *geometry, uint64_t region);

/// A run of bytes of a layout, before there is memory.
typedef struct dray_layout_place {
    uint64_t region, offset, bytes; ///< index of the region; offset inside it
} dray_layout_place;

/// Where (block, layer, outer) stands. DRAY_E_INVALID: an id out of range, named. DRAY_E_UNSUPPORTED: the
/// format scatters it (slices_whole is 0).
DRAY_API dray_status dray_layout_locate(const dray_layout_geometry *geometry, uint64_t block,
                                        uint64_t layer, uint64_t outer,
                                        dray_layout_place *out_place, dray_error *error);
/// Where all of a block stands. DRAY_E_UNSUPPORTED: a region per layer.
DRAY_API dray_status dray_layout_locate_block(const dray_layout_geometry *geometry, uint64_t block,
                                              dray_layout_place *out_place, dray_error *error);

/// Have two formats another order of bytes? 0: a slice of one is a slice of the other, byte for byte.
/// Both geometries must have the same dimensions but for their kinds, blocks and alignment; 1 otherwise.
DRAY_API uint32_t dray_layout_needs_transform(const dray_layout_geometry *a,
                                              const dray_layout_geometry *b);

/// "contiguous", "layer-separate:block-first", "layer-separate:block-second".
DRAY_API const char *dray_layout_kind_name(dray_layout_kind kind);
/// "NHD", "HND", "universal-tp", "universal-pp", "custom".
DRAY_API const char *dray_block_format_name(dray_block_format format);

/// Reads one line like
///
///     contiguous,blocks=256,layers=80,outer=2,page=16,inner=1024,dtype=2,heads=8,format=NHD,align=4096
///
/// The kind comes first; then each of the keys at most once, in any order. blocks, layers, outer, page and
/// inner must be there. format is NHD, HND, universal-tp, universal-pp or
/// custom:head/layer/outer/token. Ends at the first '@' or at the end of the text; *out_rest (may be NULL)
/// points behind the '@', or is NULL when there is none. DRAY_E_INVALID: what is wrong and where. The rules of
/// dray_layout_measure() hold for what was read, too.
DRAY_API dray_status dray_layout_parse(const char *text, dray_layout_config *out_config,
                                       const char **out_rest, dray_error *error);
#define DRAY_LAYOUT_TEXT_BYTES 320
/// The same line back. The configuration must be a valid one.
DRAY_API void dray_layout_print(const dray_layout_config *config, char out[DRAY_LAYOUT_TEXT_BYTES]);

// --- building ------------------------------------------------------------------------------------

/// Geometry with regions. Owns: a reference to each region, and what the builder registered. Threads: as
/// its agent, which must outlive it, one at a time; accessors of a layout that nobody changes: any.
typedef struct dray_layout dray_layout;

struct dray_device; // dray/device.h

/// Memory that the builder makes: one region, cut into the layout's regions.
typedef struct dray_layout_allocation {
    size_t struct_bytes;
    dray_storage storage; ///< SYSTEM, PINNED, DEVICE, MANAGED or DISK; always said
    /// SYSTEM, PINNED: 1: on the NUMA node of `device`, or without a device of the calling thread.
    /// DRAY_E_UNSUPPORTED when the node is not known or memory cannot be bound to it.
    uint32_t numa_aware;
    /// Needed for DEVICE and MANAGED; PINNED: whose driver locks it, may be NULL.
    struct dray_device *device;
    /// DISK: exactly one of both. `path`: a new file, which stays when the layout goes; an existing one is
    /// an error. `folder`: a file without a name there, which goes with the layout.
    const char *path;
    const char *folder;
    /// DISK: 1: every block must be reachable past the page cache without staging. DRAY_E_INVALID: the alignment
    /// of the configuration is less than the file's, which is named. DRAY_E_UNSUPPORTED: the file system refuses.
    uint32_t direct;
    uint32_t reserved;
} dray_layout_allocation;

/// Regions of the caller, which the builder registers and keeps references to.
typedef struct dray_layout_provided {
    size_t struct_bytes;
    dray_region *const *regions; ///< as many as geometry.region_count, in order of the layers
    uint64_t region_count;
    /// 1: `regions` is one base region, cut at dray_layout_region_offset(): a file, for instance.
    uint32_t is_base;
    uint32_t reserved;
} dray_layout_provided;

/// Regions that are registered already. Their registrations stay the caller's.
typedef struct dray_layout_registered {
    size_t struct_bytes;
    dray_region *const *regions;
    const uint64_t *handles; ///< from dray_agent_register() of this agent; with `peer`: the peer's
    uint64_t region_count;
    /// Regions of another agent are accepted only as REMOTE regions, opened through this peer. NULL: none.
    dray_peer *peer;
} dray_layout_registered;

/// Exactly one of `allocate`, `provided` and `registered` is given; what is missing or too much is named.
typedef struct dray_layout_options {
    size_t struct_bytes;
    const dray_layout_config *config;
    const dray_layout_allocation *allocate;
    const dray_layout_provided *provided;
    const dray_layout_registered *registered;
    uint32_t peers_may_write; ///< 1: what the builder registers is writable to peers. 0: readable
    uint32_t unregistered;    ///< 1: nothing is registered; the layout cannot be exported
} dray_layout_options;

/// DRAY_E_INVALID: a rule of the configuration (error.rule), or what is missing, contradictory, too small,
/// misaligned or of the wrong kind. DRAY_E_NOMEM, DRAY_E_NOSPACE, DRAY_E_IO, DRAY_E_DEVICE: the memory could not be
/// had. DRAY_E_UNSUPPORTED: no backend of the agent serves the kind.
DRAY_API dray_status dray_layout_build(dray_agent *agent, const dray_layout_options *options,
                                       dray_layout **out_layout, dray_error *error);
/// Deregisters what the builder registered and gives its regions back. Plans and transfers over the layout
/// must be gone. NULL and half-built layouts are accepted.
DRAY_API void dray_layout_destroy(dray_layout *layout);

DRAY_API const dray_layout_geometry *dray_layout_get_geometry(const dray_layout *layout);
/// Borrowed. `index` < region_count.
DRAY_API dray_region *dray_layout_region(const dray_layout *layout, uint64_t index);

/// Host kinds may be mixed, and files may be several: then `storage` is the weaker promise (SYSTEM), and
/// each region tells its own.
typedef struct dray_layout_location {
    dray_storage storage;
    uint32_t reserved;
    const char *device; ///< "cuda:0", valid as long as the layout; NULL: none
} dray_layout_location;
DRAY_API void dray_layout_get_location(const dray_layout *layout,
                                       dray_layout_location *out_location);

/// What peers hear. Without a descriptor: SYSTEM and PINNED are DRAM 0, device N is VRAM N, DISK is FILE.
typedef struct dray_layout_metadata {
    const char *agent; ///< whose regions they are: the peer's name for a REMOTE layout
    dray_memory_type memory;
    uint32_t registered; ///< 1: every region has a descriptor
    uint64_t device_id;
} dray_layout_metadata;
DRAY_API void dray_layout_get_metadata(const dray_layout *layout,
                                       dray_layout_metadata *out_metadata);

/// Of region `index`: its own address (files: its offset in the file) and bytes; the handle is that of the
/// registration it lies in. DRAY_E_NOTFOUND: the layout is not registered, or has fewer regions.
DRAY_API dray_status dray_layout_descriptor(const dray_layout *layout, uint64_t index,
                                            dray_descriptor *out_descriptor, dray_error *error);

/// The bytes of (block, layer, outer), of a whole block: as dray_layout_locate(), with the region.
DRAY_API dray_status dray_layout_span(const dray_layout *layout, uint64_t block, uint64_t layer,
                                      uint64_t outer, dray_span *out_span, dray_error *error);
DRAY_API dray_status dray_layout_block(const dray_layout *layout, uint64_t block,
                                       dray_span *out_span, dray_error *error);

// --- moving --------------------------------------------------------------------------------------

/// Blocks of some layouts to blocks of others, reshaped on the way where they differ.
///
/// Several layouts on a side are tensor-parallel shards of one model in the order of their ranks: their heads
/// follow each other, all else is equal among them; block ids mean the same in each. A single layout is the
/// usual case. Both sides must agree in outer_dim, dtype width, the sum of the heads and head_dim (or in
/// the sum of inner_dim, where no format needs heads), and in the layers that move.
/// Page sizes may differ: tokens are taken and laid down in the order of the lists.
typedef struct dray_layout_move {
    size_t struct_bytes;
    dray_layout *const *sources;
    dray_layout *const *targets;
    uint32_t source_count, target_count;
    const uint64_t *source_blocks;
    const uint64_t *target_blocks;                   ///< no id twice
    uint64_t source_block_count, target_block_count; ///< the same number of tokens on both sides
    uint32_t source_layer, target_layer;             ///< the first that moves, and where it goes
    uint32_t layer_count;                            ///< 0: all from source_layer on
    uint32_t reserved;
} dray_layout_move;

/// The copies of a move, for those who plan themselves: as few as loops allow. Pure. *out_copies is from the
/// agent's allocator; give it back with dray_layout_copies_free().
/// DRAY_E_INVALID: lengths, ranges, duplicate targets, a target that overlaps a source (error.index: the
/// position in its list), or sides that do not fit. Checked in every build. DRAY_E_UNSUPPORTED: layouts share memory,
/// and there are too many runs to prove that they do not overlap; or no backend of the agent moves such bytes.
DRAY_API dray_status dray_layout_move_copies(dray_agent *agent, const dray_layout_move *move,
                                             dray_copy **out_copies, uint64_t *out_count,
                                             dray_error *error);
DRAY_API void dray_layout_copies_free(dray_agent *agent, dray_copy *copies, uint64_t count);

/// The same as a plan, for dray_transfer_create(): prepared once, posted as often as wanted. `options` may be
/// NULL; its targets_disjoint is ours: distinct ids prove it. The layouts must outlive the plan.
DRAY_API dray_status dray_layout_plan_move(dray_agent *agent, const dray_layout_move *move,
                                           const dray_plan_options *options, dray_plan **out_plan,
                                           dray_error *error);

// --- sharing -------------------------------------------------------------------------------------

typedef enum dray_layout_form {
    DRAY_LAYOUT_BINARY = 1,
    DRAY_LAYOUT_JSON = 2,
} dray_layout_form;

/// Writes configuration, agent and descriptors, with version and checksum (docs/layout-exchange.md). The
/// peer also needs dray_agent_export(). *out_bytes is the size in any case; DRAY_E_NOSPACE: more than
/// `capacity`. DRAY_E_UNSUPPORTED: not registered, REMOTE, or on DISK (files stay at home).
DRAY_API dray_status dray_layout_export(const dray_layout *layout, dray_layout_form form, void *out,
                                        uint64_t capacity, uint64_t *out_bytes, dray_error *error);
/// A layout over the regions of `peer`, of kind REMOTE; either form is recognised. Every bound is checked
/// against what the peer has registered: no address outside of it can be reached through the result.
/// DRAY_E_FORMAT (error.rule), DRAY_E_CORRUPT: the checksum. DRAY_E_UNSUPPORTED: a later version, which is named.
/// DRAY_E_INVALID: another agent's, or of another life of it. DRAY_E_NOTFOUND: a handle the peer does not have.
DRAY_API dray_status dray_layout_import(dray_agent *agent, dray_peer *peer, const void *bytes,
                                        uint64_t count, dray_layout **out_layout, dray_error *error);

// --- proof ---------------------------------------------------------------------------------------
//
// Contents here are logical: the numbers do not depend on kind, format, alignment or storage, so that a
// block has the same digest before and after a reshape. Bytes on devices, in files and of peers pass
// through the agent. Padding is neither written nor read.

typedef struct dray_layout_pattern {
    size_t struct_bytes;
    uint64_t seed;
    const uint64_t *blocks; ///< NULL: all
    uint64_t block_count;
    uint32_t constant; ///< 1: every byte is `value` instead
    uint32_t value;
} dray_layout_pattern;

/// Writes numbers in which every (block, layer, outer, token) is distinct, as far as a token's bytes can
/// hold distinct values (8 bytes do). `pattern` may be NULL. With n = ((block * num_layers + layer) *
/// outer_dim + outer) * page_size + token, byte i of a token's [head, element] is byte i % 8, least significant
/// first, of mix(mix(seed + g) + n + i / 8 * g), where g = 0x9e3779b97f4a7c15 and mix is the last step of
/// splitmix64: x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9; x = (x ^ x >> 27) * 0x94d049bb133111eb; x ^ x >> 31.
DRAY_API dray_status dray_layout_fill(dray_agent *agent, dray_layout *layout,
                                      const dray_layout_pattern *pattern, dray_error *error);

/// XXH3-128, in its canonical form.
typedef struct dray_layout_digest {
    uint8_t bytes[16];
} dray_layout_digest;

/// Of each of `count` blocks, over [layer, outer, token, head, element]. `blocks` NULL: 0 to count - 1.
DRAY_API dray_status dray_layout_digest_blocks(dray_agent *agent, dray_layout *layout,
                                               const uint64_t *blocks, uint64_t count,
                                               dray_layout_digest *out_digests, dray_error *error);
/// Of each layer (num_layers digests), over [block, outer, token, head, element] of the blocks listed.
DRAY_API dray_status dray_layout_digest_layers(dray_agent *agent, dray_layout *layout,
                                               const uint64_t *blocks, uint64_t count,
                                               dray_layout_digest *out_digests, dray_error *error);

#ifdef __cplusplus
}
#endif
#endif
