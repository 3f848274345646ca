/* The mask kernel's entries: any start and length, whole chunks handed to the implementation in use. */
#include "../common/load.h"
#include "../common/zero.h"
#include "../dispatch.h"

#define SA_ALIGN 64

struct mask_job {
    const struct sa_impl *impl;
    sa_mask_fn *fn;
    const struct sa_mask_keys *keys;
    uint64_t stream_id, mask;
};

/* CT: secret=acc, job->keys; public=all else */
static void mask_chunks(const struct mask_job *job, uint8_t *acc, size_t chunks, uint64_t block)
{
    job->fn(acc, chunks, job->keys->schedules, job->keys->npos, job->keys->nneg, job->stream_id, block, job->mask);
}

/* One incomplete chunk, through a copy. CT: secret=acc; public=all else */
static void mask_part(const struct mask_job *job, uint8_t *acc, size_t offset, size_t nbytes, uint64_t block)
{
    uint8_t chunk[SA_MAX_CHUNK] __attribute__((aligned(SA_ALIGN))) = {0};
    memcpy(chunk + offset, acc, nbytes);
    mask_chunks(job, chunk, 1, block);
    memcpy(acc, chunk + offset, nbytes);
    sa_wipe(chunk, job->impl->chunk_bytes);
}

/* CT: secret=acc, keys; public=all else */
void sa_mask_run(const struct sa_impl *impl, int lane, void *acc, size_t n, const struct sa_mask_keys *keys,
                 uint64_t stream_id, uint64_t start, uint64_t mask)
{
    const struct mask_job job = {impl, impl->mask[lane], keys, stream_id, mask};
    const size_t lane_bytes = (size_t)2 << lane, per_block = 16 / lane_bytes, chunk = impl->chunk_bytes;
    const size_t offset = (size_t)(start % per_block) * lane_bytes;
    uint64_t block = start / per_block;
    uint8_t *p = acc;
    size_t nbytes = n * lane_bytes;

    if (offset != 0) {
        const size_t take = sa_min(nbytes, chunk - offset);
        mask_part(&job, p, offset, take, block);
        p += take;
        nbytes -= take;
        block += chunk / 16;
    }
    const size_t whole = nbytes / chunk;
    mask_chunks(&job, p, whole, block);
    if (nbytes % chunk != 0)
        mask_part(&job, p + whole * chunk, 0, nbytes % chunk, block + whole * (chunk / 16));
}

static size_t scratch_needed(const struct sa_impl *impl, size_t nkeys)
{
    return nkeys > (SIZE_MAX >> 12) ? SIZE_MAX : nkeys * impl->schedule_bytes + SA_ALIGN;
}

size_t sa_mask_scratch_bytes(size_t nkeys)
{
    return scratch_needed(sa_impl(), nkeys);
}

/* Schedules of the plus keys from the front, of the minus keys from the back; their order within does not matter. Each sign
 * is read once, so that a caller who changes it meanwhile cannot move a write out of bounds. CT: secret=keys, scratch; public=signs, nkeys */
int sa_mask_expand(const struct sa_impl *impl, const uint8_t *keys, const int8_t *signs, size_t nkeys, uint8_t *scratch,
                   size_t scratch_bytes, struct sa_mask_keys *expanded)
{
    if (scratch_bytes < scratch_needed(impl, nkeys))
        return SA_ERR_ARGUMENT;
    uint8_t *const schedules = scratch + (0 - (uintptr_t)scratch) % SA_ALIGN;
    size_t plus = 0, minus = 0;
    for (size_t k = 0; k < nkeys; k++) {
        const size_t place = signs[k] > 0 ? plus++ : nkeys - ++minus;
        impl->expand(schedules + place * impl->schedule_bytes, keys + 16 * k);
    }
    *expanded = (struct sa_mask_keys){schedules, plus, minus};
    return SA_OK;
}

/* CT: secret=acc, keys; public=all else */
static int mask_apply(int lane, void *acc, size_t n, const uint8_t *keys, const int8_t *signs, size_t nkeys,
                      uint64_t stream_id, uint64_t start, unsigned w, uint8_t *scratch, size_t scratch_bytes)
{
    const struct sa_impl *impl = sa_impl();
    struct sa_mask_keys expanded;
    if (w < 1 || w > 16u << lane ||
        sa_mask_expand(impl, keys, signs, nkeys, scratch, scratch_bytes, &expanded) != SA_OK)
        return SA_ERR_ARGUMENT;
    sa_mask_run(impl, lane, acc, n, &expanded, stream_id, start, sa_low_bits(w));
    sa_wipe(scratch, scratch_bytes);
    sa_wipe_stack();
    return SA_OK;
}

#define SA_MASK_ENTRY(bits, lane)                                                                                 \
    int sa_mask_apply_u##bits(uint##bits##_t *acc, size_t n, const uint8_t *keys, const int8_t *signs,            \
                              size_t nkeys, uint64_t stream_id, uint64_t start, unsigned w, uint8_t *scratch,     \
                              size_t scratch_bytes)                                                               \
    {                                                                                                             \
        return mask_apply(lane, acc, n, keys, signs, nkeys, stream_id, start, w, scratch, scratch_bytes);         \
    }
SA_MASK_ENTRY(16, 0)
SA_MASK_ENTRY(32, 1)
SA_MASK_ENTRY(64, 2)

/* Zeros, masked with one key: the lanes are little-endian, so the bytes are the keystream's.
 * CT: secret=key, out; public=all else */
int sa_keystream_fill(const uint8_t *key, uint64_t stream_id, uint64_t block, uint8_t *out, size_t nbytes)
{
    const struct sa_impl *impl = sa_impl();
    uint8_t schedule[SA_MAX_SCHEDULE] __attribute__((aligned(SA_ALIGN)));
    const struct sa_mask_keys one = {schedule, 1, 0};
    const struct mask_job job = {impl, impl->mask[2], &one, stream_id, UINT64_MAX};
    const size_t whole = nbytes / impl->chunk_bytes, rest = nbytes % impl->chunk_bytes;
    impl->expand(schedule, key);
    memset(out, 0, nbytes);
    mask_chunks(&job, out, whole, block);
    if (rest != 0)
        mask_part(&job, out + whole * impl->chunk_bytes, 0, rest, block + whole * (impl->chunk_bytes / 16));
    sa_wipe(schedule, sizeof schedule);
    sa_wipe_stack();
    return SA_OK;
}
