/* What kernels leave behind on the stack: each runs on one of its own, which is then searched for the secrets it was given, for key
 * schedules, and for what it computed of them. Prints a line for each find; `find` alone shows that the search finds. */
#define _GNU_SOURCE
#include <ucontext.h>

#include "driver.h"

#include "driver_ring.h"

#include "driver_hint_table.h"

enum { STACK = 1 << 20, COUNT_OF = 333, KEYS = 3, WORDS = 8, SMALL = 64 };
static uint8_t stack[STACK] __attribute__((aligned(64)));
static ucontext_t caller, callee;
static int finds;
static const uint8_t *deepest; /* what is below it was never touched */

static void on_own_stack(void (*kernel)(void))
{
    memset(stack, 0, STACK);
    getcontext(&callee);
    callee.uc_stack.ss_sp = stack;
    callee.uc_stack.ss_size = STACK;
    callee.uc_link = &caller;
    makecontext(&callee, kernel, 0);
    swapcontext(&caller, &callee);
    for (deepest = stack; deepest < stack + STACK && *deepest == 0;)
        deepest++;
}

/* Hardly anything but zeros and ones, which are everywhere. */
static int is_bare(const uint8_t *bytes, size_t nbytes)
{
    size_t others = 0;
    for (size_t i = 0; i < nbytes; i++)
        others += bytes[i] != 0 && bytes[i] != 0xff;
    return others < 4;
}

/* The longest piece of a secret that is there, of `least` bytes or more: half a word might be anything. */
static void search(const char *kernel, const char *what, const void *secret, size_t nbytes, size_t least)
{
    const uint8_t *const bytes = secret;
    size_t longest = 0;
    for (size_t at = 0; at + least <= nbytes; at += 4) {
        if (is_bare(bytes + at, least))
            continue;
        const uint8_t *from = deepest, *hit;
        while ((hit = memmem(from, (size_t)(stack + STACK - from), bytes + at, least)) != NULL) {
            size_t run = least;
            while (at + run < nbytes && hit + run < stack + STACK && hit[run] == bytes[at + run])
                run++;
            longest = run > longest ? run : longest;
            from = hit + 1;
        }
    }
    if (longest > 0) {
        printf("%s: %s left %zu bytes of %s on the stack\n", sa_selected(), kernel, longest, what);
        finds++;
    }
}

/* -- what they are given -- */
static uint8_t keys[16 * KEYS], rounding[16], scratch[1 << 20], out[1 << 16];
static const int8_t signs[KEYS] = {1, -1, 1};
static float values[COUNT_OF];
static uint64_t lanes[COUNT_OF], kept[COUNT_OF], codes[COUNT_OF], stream[2 * COUNT_OF], secrets[COUNT_OF], coeffs[2 * COUNT_OF],
    shares[4 * COUNT_OF], together[4 * COUNT_OF], weights[3], xs[4] = {1, 2, 3, 4};
static uint64_t *table, *polys, *secret_key, *residues, *c1, clipped, worst;
static uint8_t schedules[KEYS + 1][176];

/* Masks modulo two primes, for whose length the widest implementation has kernels of its own, and longer ones. */
enum { HINT_DEGREE = 1024, HINT_FIRST = 5, HINT_MOST = 5 * COUNT_OF };
static struct hint hints[] = {{.bits = 50, .width = 16, .per = 5, .lane = 0}, {.bits = 60, .width = 55, .per = 2, .lane = 2}};
static struct hint *hint;
static int64_t samples[COUNT_OF];
static uint64_t opened[HINT_MOST], noise[2 * COUNT_OF];

/* FIPS 197, section 5.2, by way of the reference's cipher: round key i is what its step makes of the one before. */
static void expand(const uint8_t key[16], uint8_t w[176])
{
    uint8_t rcon = 1;
    memcpy(w, key, 16);
    for (int i = 16; i < 176; i += 4) {
        uint8_t t[4] = {w[i - 4], w[i - 3], w[i - 2], w[i - 1]};
        if (i % 16 == 0) {
            const uint8_t first = t[0];
            t[0] = (uint8_t)(ref_sbox(t[1]) ^ rcon);
            t[1] = ref_sbox(t[2]);
            t[2] = ref_sbox(t[3]);
            t[3] = ref_sbox(first);
            rcon = ref_double(rcon);
        }
        for (int j = 0; j < 4; j++)
            w[i + j] = w[i - 16 + j] ^ t[j];
    }
}

/* -- the kernels -- */
static void find(void)
{
    uint8_t copy[16];
    memcpy(copy, keys, sizeof copy);
    __asm__ __volatile__("" : : "r"(copy) : "memory"); /* it is read, for all the compiler knows */
}

static void mask_apply(void)
{
    memcpy(lanes, kept, sizeof lanes);
    CHECK(sa_mask_apply_u64(lanes, COUNT_OF, keys, signs, KEYS, 7, 5, 64, scratch, sizeof scratch) == SA_OK, "mask_apply");
}

static void mask_pack(void)
{
    CHECK(sa_mask_pack_u64(kept, COUNT_OF, keys, signs, KEYS, 7, 5, 64, out, 8 * COUNT_OF, scratch, sizeof scratch) == SA_OK,
          "mask_pack");
}

static void keystream(void)
{
    CHECK(sa_keystream_fill(rounding, 7, 0, (uint8_t *)stream, sizeof stream) == SA_OK, "keystream");
}

static void protect(void)
{
    CHECK(sa_fixed_protect_f32(values, COUNT_OF, 4.0, 32, 1 << 20, rounding, keys, signs, KEYS, 7, 5, 64, out, 8 * COUNT_OF, scratch,
                               sizeof scratch, &clipped) == SA_OK, "protect");
}

static void encode(void)
{
    CHECK(sa_fixed_encode_f32_u64(values, COUNT_OF, 4.0, 32, lanes, rounding, 7, 5, 1 << 20, &clipped) == SA_OK, "encode");
}

static void split(void)
{
    CHECK(sa_shamir_split_u64(secrets, COUNT_OF, coeffs, 3, xs, 4, shares) == SA_OK, "split");
}

static void combine(void)
{
    CHECK(sa_shamir_combine_u64(weights, 3, shares, COUNT_OF, lanes) == SA_OK, "combine");
}

static void sample(void)
{
    CHECK(sa_ring_sample(table, SA_TERNARY, polys, 2, rounding, 0, 0, scratch, sizeof scratch) == SA_OK, "sample");
}

static void encrypt(void)
{
    CHECK(sa_rlwe_encrypt(table, residues, codes, COUNT_OF, 999, rounding, keys, 0, out,
                          (size_t)(1024 * table[2] / 8 + (COUNT_OF * table[2] + 7) / 8), scratch, sizeof scratch) == SA_OK, "encrypt");
}

static void decrypt(void)
{
    CHECK(sa_rlwe_decrypt(table, secret_key, c1, residues, COUNT_OF, 999, lanes, &worst, scratch, sizeof scratch) == SA_OK,
          "decrypt");
}

static void gaussian(void)
{
    const uint64_t *const thresholds = hint->table + 16 + hint->primes * (HINT_ROW + 2 * hint->per);
    CHECK(sa_hint_gaussian(thresholds, HINT_THRESHOLDS, samples, COUNT_OF, rounding, 0, HINT_FIRST * HINT_DEGREE, scratch,
                           sizeof scratch) == SA_OK, "gaussian");
}

static void hint_mask(void)
{
    CHECK(sa_hint_mask(hint->tables, hint->table, hint->secret, hint->values, hint->lane, hint->n, rounding, keys, HINT_FIRST, out,
                       hint->payload_bytes, scratch, sizeof scratch) == SA_OK, "hint_mask");
}

static void hint_open(void)
{
    CHECK(sa_hint_open(hint->tables, hint->table, hint->acc, hint->n, hint->secret, keys, HINT_FIRST, opened, scratch,
                       sizeof scratch) == SA_OK, "hint_open");
}

static void hint_set_up(struct hint *h)
{
    const size_t words = sa_ring_table_words(HINT_DEGREE);
    h->degree = HINT_DEGREE;
    h->primes = 2;
    h->spread = 64;
    h->n = COUNT_OF * h->per;
    h->payload_bytes = 2 * ((COUNT_OF * h->bits + 7) / 8);
    hint_primes(h->bits, 2, h->q);
    h->tables = allocate(16 * words);
    h->secret = allocate(16 * HINT_DEGREE);
    h->acc = allocate(16 * COUNT_OF);
    h->values = allocate(8 * h->n);
    for (size_t i = 0; i < 2; i++) {
        memcpy(h->tables + i * words, ring_table(HINT_DEGREE, h->q[i]), 8 * words);
        random_residues(h->secret + i * HINT_DEGREE, HINT_DEGREE, h->q[i]);
    }
    h->table = hint_table(h);
    for (size_t i = 0; i < h->n; i++) {
        const uint64_t v = next_random() >> (64 - h->width);
        memcpy((uint8_t *)h->values + (i << (h->lane + 1)), &v, (size_t)2 << h->lane);
    }
}

/* The numbers that a sum is opened by: t (e + B) + m. */
static void hint_numbers(void)
{
    for (size_t c = 0; c < COUNT_OF; c++) {
        unsigned __int128 x = (unsigned __int128)(samples[c] + (int64_t)hint->spread) << (hint->width * hint->per);
        for (size_t k = 0; k < hint->per; k++)
            x += (unsigned __int128)opened[k * COUNT_OF + c] << (k * hint->width);
        noise[2 * c] = (uint64_t)x;
        noise[2 * c + 1] = (uint64_t)(x >> 64);
    }
}

static void keys_and(const char *kernel, int mask_keys, int rounding_key)
{
    if (mask_keys)
        for (int k = 0; k < KEYS; k++)
            search(kernel, "a mask key or its schedule", schedules[k], 176, 16);
    if (rounding_key)
        search(kernel, "a key or its schedule", schedules[KEYS], 176, 16);
}

static void run_hints(void)
{
    on_own_stack(gaussian);
    keys_and("gaussian", 0, 1);
    search("gaussian", "samples", samples, sizeof samples, SMALL);
    on_own_stack(hint_mask);
    keys_and("hint_mask", 0, 1);
    search("hint_mask", "samples", samples, sizeof samples, SMALL);
    search("hint_mask", "values", hint->values, hint->n << (hint->lane + 1), WORDS);
    search("hint_mask", "the key", hint->secret, 16 * HINT_DEGREE, WORDS);
    memset(hint->acc, 0, 16 * COUNT_OF);
    CHECK(sa_hint_add(hint->tables, hint->table, hint->acc, hint->n, out, hint->payload_bytes, scratch, sizeof scratch) == SA_OK,
          "hint_add");
    on_own_stack(hint_open);
    hint_numbers();
    search("hint_open", "the key", hint->secret, 16 * HINT_DEGREE, WORDS);
    search("hint_open", "the sum", opened, 8 * hint->n, WORDS);
    search("hint_open", "the sum and its noise", noise, sizeof noise, WORDS);
}

static void run_all(void)
{
    for (size_t k = 0; k < COUNT(hints); k++) {
        hint = &hints[k];
        run_hints();
    }
    on_own_stack(mask_apply);
    keys_and("mask_apply", 1, 0);
    search("mask_apply", "values", kept, sizeof kept, WORDS);
    on_own_stack(mask_pack);
    keys_and("mask_pack", 1, 0);
    search("mask_pack", "values", kept, sizeof kept, WORDS);
    on_own_stack(keystream);
    keys_and("keystream", 0, 1);
    search("keystream", "the stream", stream, sizeof stream, WORDS);
    on_own_stack(encode);
    keys_and("encode", 0, 1);
    search("encode", "keystream", stream, sizeof stream, WORDS);
    search("encode", "values", values, sizeof values, WORDS);
    search("encode", "codes", lanes, sizeof lanes, WORDS);
    on_own_stack(protect);
    keys_and("protect", 1, 1);
    search("protect", "keystream", stream, sizeof stream, WORDS);
    search("protect", "values", values, sizeof values, WORDS);
    search("protect", "codes", lanes, sizeof lanes, WORDS);
    on_own_stack(split);
    search("split", "secrets", secrets, sizeof secrets, WORDS);
    search("split", "coefficients", coeffs, sizeof coeffs, WORDS);
    search("split", "shares", shares, sizeof shares, WORDS);
    for (size_t i = 0; i < COUNT_OF; i++)
        for (size_t k = 0; k < 4; k++)
            together[4 * i + k] = shares[k * COUNT_OF + i];
    search("split", "the shares of one secret", together, sizeof together, WORDS);
    on_own_stack(combine);
    search("combine", "shares", shares, sizeof shares, WORDS);
    search("combine", "secrets", secrets, sizeof secrets, WORDS);
    on_own_stack(sample);
    keys_and("sample", 0, 1);
    on_own_stack(encrypt);
    search("encrypt", "the pad's key or its schedule", schedules[0], 176, 16);
    keys_and("encrypt", 0, 1);
    on_own_stack(decrypt);
    search("decrypt", "the key", secret_key, 8 * 1024, WORDS);
    search("decrypt", "the sum", lanes, sizeof lanes, WORDS);
}

int main(int argc, char **argv)
{
    const char *name;
    random_bytes(keys, sizeof keys);
    random_bytes(rounding, sizeof rounding);
    for (int k = 0; k < KEYS; k++)
        expand(keys + 16 * k, schedules[k]);
    expand(rounding, schedules[KEYS]);
    for (int i = 0; i < COUNT_OF; i++) {
        values[i] = (float)((double)(int64_t)next_random() / 3e18);
        kept[i] = next_random();
        secrets[i] = next_random() % REF_P;
        codes[i] = next_random() % 1000;
    }
    for (int i = 0; i < 2 * COUNT_OF; i++)
        coeffs[i] = next_random() % REF_P;
    table = ring_table(1024, ring_moduli[COUNT(ring_moduli) - 1]);
    polys = allocate(8 * 2 * 1024);
    secret_key = allocate(8 * 1024);
    residues = allocate(8 * 2 * 1024);
    c1 = allocate(8 * 1024);
    for (int i = 0; i < 1024; i++) /* without 0 and q - 1, which are on every stack */
        secret_key[i] = 1 + next_random() % (table[0] - 2);
    random_residues(residues, 2 * 1024, table[0]);
    random_residues(c1, 1024, table[0]);
    CHECK(sa_shamir_weights_u64(xs, 3, weights, lanes) == SA_OK, "weights");
    for (size_t k = 0; k < COUNT(hints); k++)
        hint_set_up(&hints[k]);
    if (argc > 1 && strcmp(argv[1], "find") == 0) {
        on_own_stack(find);
        search("find", "a copy", keys, 16, WORDS);
        return finds == 1 ? 0 : 1;
    }
    for (size_t i = 0; (name = sa_available(i)) != NULL; i++) {
        CHECK(sa_select(name) == SA_OK, "select %s", name);
        run_all();
        printf("%s searched\n", name);
    }
    return failures != 0;
}
