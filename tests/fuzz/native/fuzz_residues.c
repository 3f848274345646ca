/* The sums of SEAL's residues: buffers of strangers at odd addresses, moduli small and large. */
#include "fuzz.h"

static void run(struct recipe r, int first)
{
    static const uint64_t some[] = {2, 3, 257, 1032193u, 4294475777u, 1099510054913u, 1152921504606830593u, (uint64_t)1 << 61, 0, 1,
                                    ((uint64_t)1 << 61) + 1, UINT64_MAX};
    const size_t rows = 1 + below(&r, 3), depth = 1 + below(&r, 3), n = below(&r, 70), nmoduli = 1 + below(&r, 3);
    const size_t npolys = 1 + below(&r, 2), parts = npolys * nmoduli, tidy = below(&r, 4), shift = below(&r, 16);
    uint64_t moduli[3];
    for (size_t k = 0; k < nmoduli; k++)
        moduli[k] = some[below(&r, tidy > 0 ? 8 : 12)];
    struct exact sum = exact(8 * rows * parts * n, 0), before, buffers[9];
    const uint8_t *bufs[9];
    uint64_t *const acc = (uint64_t *)(void *)sum.at;
    for (size_t i = 0; i < rows * parts * n; i++)
        acc[i] = (i * 0x9e3779b97f4a7c15u >> 3) % (moduli[i / (n > 0 ? n : 1) % nmoduli] | (moduli[i / n % nmoduli] == 0));
    before = copy_of(sum, 0);
    for (size_t b = 0; b < rows * depth; b++) {
        buffers[b] = exact(8 * parts * n, (shift + b) % 16);
        fill(&r, buffers[b].at, buffers[b].nbytes);
        for (size_t i = 0; tidy > 1 && i < parts * n; i++) {
            uint64_t value;
            memcpy(&value, buffers[b].at + 8 * i, 8);
            value %= moduli[i / n % nmoduli];
            memcpy(buffers[b].at + 8 * i, &value, 8);
        }
        if (tidy == 2 && b + 1 == rows * depth && parts * n > 0) { /* the last residue of all is one too many */
            const uint64_t q = moduli[nmoduli - 1];
            memcpy(buffers[b].at + 8 * (parts * n - 1), &q, 8);
        }
        bufs[b] = buffers[b].at;
    }
    const int code = sa_residues_add_u64(acc, rows, bufs, depth, n, moduli, nmoduli, npolys);
    agree(first, code, sum.at, sum.nbytes);
    MUST(code == SA_OK || memcmp(sum.at, before.at, sum.nbytes) == 0);
    for (size_t i = 0; code == SA_OK && i < rows * parts * n; i++)
        MUST(acc[i] < moduli[i / n % nmoduli]);
    for (size_t b = 0; b < rows * depth; b++)
        drop(buffers[b]);
    drop(sum);
    drop(before);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct recipe r = {data, size};
    on_each(run, r);
    return 0;
}
