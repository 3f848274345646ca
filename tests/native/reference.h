/* Slow and obvious versions of everything the kernels do, sharing no code with them. */
#ifndef SA_TEST_REFERENCE_H
#define SA_TEST_REFERENCE_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static uint8_t ref_double(uint8_t a)
{
    return (uint8_t)((a << 1) ^ ((a >> 7) * 0x1b));
}

static uint8_t ref_multiply(uint8_t a, uint8_t b)
{
    uint8_t product = 0;
    for (; b; b >>= 1, a = ref_double(a))
        product ^= (b & 1) ? a : 0;
    return product;
}

/* FIPS 197, section 5.1.1: the inverse a^254, then the affine map. */
static uint8_t ref_sbox(uint8_t a)
{
    static uint8_t table[256];
    static int ready;
    for (int v = 0; !ready && v < 256; v++) {
        uint8_t inverse = 1;
        for (int i = 0; i < 254; i++)
            inverse = ref_multiply(inverse, (uint8_t)v);
        uint8_t out = 0x63;
        for (int shift = 0; shift < 5; shift++)
            out ^= (uint8_t)(inverse << shift | inverse >> (8 - shift));
        table[v] = out;
    }
    ready = 1;
    return table[a];
}

static void ref_aes128(const uint8_t key[16], const uint8_t in[16], uint8_t out[16])
{
    uint8_t k[16], s[16], rcon = 1;
    memcpy(k, key, 16);
    for (int i = 0; i < 16; i++)
        s[i] = in[i] ^ k[i];
    for (int round = 1; round <= 10; round++) {
        uint8_t t[16];
        for (int c = 0; c < 4; c++)
            for (int r = 0; r < 4; r++)
                t[4 * c + r] = ref_sbox(s[4 * ((c + r) % 4) + r]);
        for (int c = 0; c < 4; c++)
            for (int r = 0; r < 4; r++) {
                const uint8_t *a = t + 4 * c;
                s[4 * c + r] = round == 10 ? a[r]
                                           : (uint8_t)(ref_double(a[r]) ^ ref_double(a[(r + 1) % 4]) ^ a[(r + 1) % 4] ^
                                                       a[(r + 2) % 4] ^ a[(r + 3) % 4]);
            }
        const uint8_t last[4] = {k[12], k[13], k[14], k[15]};
        for (int i = 0; i < 4; i++)
            k[i] ^= ref_sbox(last[(i + 1) % 4]);
        k[0] ^= rcon;
        rcon = ref_double(rcon);
        for (int i = 4; i < 16; i++)
            k[i] ^= k[i - 4];
        for (int i = 0; i < 16; i++)
            s[i] ^= k[i];
    }
    memcpy(out, s, 16);
}

static void ref_keystream(const uint8_t key[16], uint64_t stream_id, uint64_t block, uint8_t *out, size_t nbytes)
{
    for (size_t done = 0; done < nbytes; done += 16, block++) {
        uint8_t counter[16], stream[16];
        for (int i = 0; i < 8; i++) {
            counter[i] = (uint8_t)(stream_id >> (56 - 8 * i));
            counter[8 + i] = (uint8_t)(block >> (56 - 8 * i));
        }
        ref_aes128(key, counter, stream);
        memcpy(out + done, stream, nbytes - done < 16 ? nbytes - done : 16);
    }
}

/* Keystream word number index, lane_bytes wide. */
static uint64_t ref_word(const uint8_t key[16], uint64_t stream_id, uint64_t index, size_t lane_bytes)
{
    const uint64_t per_block = 16 / lane_bytes;
    uint8_t block[16];
    uint64_t word = 0;
    ref_keystream(key, stream_id, index / per_block, block, 16);
    for (size_t i = lane_bytes; i-- > 0;)
        word = word << 8 | block[(index % per_block) * lane_bytes + i];
    return word;
}

static uint64_t ref_encode(double x, double clip, unsigned bits, const uint32_t *word)
{
    const double levels = ldexp(1.0, (int)bits) - 1.0, scale = levels / (2.0 * clip);
    const double v = fmin(fmax(x, -clip), clip);
    const double s = fmin(fmax((v + clip) * scale, 0.0), levels);
    if (word == NULL)
        return (uint64_t)fmin(floor(s + 0.5), levels);
    const double f = floor(s);
    return (uint64_t)f + (*word < (uint64_t)((s - f) * 4294967296.0));
}

static int ref_bit(const uint8_t *buf, size_t bit)
{
    return buf[bit / 8] >> (bit % 8) & 1;
}

#define REF_P ((((uint64_t)1) << 61) - 1)

static uint64_t ref_mul(uint64_t a, uint64_t b)
{
    return (uint64_t)((unsigned __int128)a * b % REF_P);
}

static uint64_t ref_power(uint64_t base, uint64_t exponent)
{
    uint64_t result = 1;
    for (; exponent; exponent >>= 1, base = ref_mul(base, base))
        if (exponent & 1)
            result = ref_mul(result, base);
    return result;
}

#endif
