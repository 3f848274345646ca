/* AES-128 on bit planes: eight blocks at once, no tables, so no secret-dependent address.
 *
 * A plane holds one bit of every state byte, for four blocks in each 64-bit half: bit 8 * p + k of plane b is bit b of
 * state byte p + 8 * (k / 4) of block k % 4. So the low nibble of byte p is state byte p and the high nibble state byte
 * p + 8: columns 0 and 1 are the low nibbles of the two 32-bit halves, columns 2 and 3 the high ones.
 *
 * The S-box is the circuit of Boyar and Peralta, "A new combinational logic minimization technique with applications to
 * cryptology" (SEA 2010), without its four final inversions: they are a constant 0x63 in every byte, which ShiftRows and
 * MixColumns leave alone, so the round keys carry it. */
#ifndef SA_AES_BITSLICE_H
#define SA_AES_BITSLICE_H

#include "../common/load.h"

typedef uint64_t sa_plane __attribute__((vector_size(16)));

#define SA_SWAP_MOVE(a, b, low, shift)                                    \
    {                                                                     \
        const sa_plane swap_ = (((a) >> (shift)) ^ (b)) & (uint64_t)(low); \
        (b) ^= swap_;                                                     \
        (a) ^= swap_ << (shift);                                          \
    }

/* Transposes the 8 x 8 bit matrix (word index, bit within byte) at every byte position; its own inverse.
 * CT: secret=q; public=none */
SA_INLINE void sa_bits_transpose(sa_plane q[8])
{
    for (int i = 0; i < 8; i += 2)
        SA_SWAP_MOVE(q[i], q[i + 1], 0x5555555555555555, 1)
    for (int i = 0; i < 8; i++)
        if ((i & 2) == 0)
            SA_SWAP_MOVE(q[i], q[i + 2], 0x3333333333333333, 2)
    for (int i = 0; i < 4; i++)
        SA_SWAP_MOVE(q[i], q[i + 4], 0x0f0f0f0f0f0f0f0f, 4)
}

/* SubBytes, but for the constant 0x63. CT: secret=q; public=none */
SA_INLINE void sa_sub_bytes(sa_plane q[8])
{
    const sa_plane x0 = q[7], x1 = q[6], x2 = q[5], x3 = q[4], x4 = q[3], x5 = q[2], x6 = q[1], x7 = q[0];

    /* Into the tower field. */
    const sa_plane y14 = x3 ^ x5, y13 = x0 ^ x6, y9 = x0 ^ x3, y8 = x0 ^ x5, t0 = x1 ^ x2;
    const sa_plane y1 = t0 ^ x7, y4 = y1 ^ x3, y12 = y13 ^ y14, y2 = y1 ^ x0, y5 = y1 ^ x6, y3 = y5 ^ y8;
    const sa_plane t1 = x4 ^ y12, y15 = t1 ^ x5, y20 = t1 ^ x1, y6 = y15 ^ x7, y10 = y15 ^ t0, y11 = y20 ^ y9;
    const sa_plane y7 = x7 ^ y11, y17 = y10 ^ y11, y19 = y10 ^ y8, y16 = t0 ^ y11, y21 = y13 ^ y16, y18 = x0 ^ y16;

    /* Inversion in GF(2^4)^2. */
    const sa_plane t2 = y12 & y15, t4 = (y3 & y6) ^ t2, t6 = (y4 & x7) ^ t2;
    const sa_plane t7 = y13 & y16, t9 = (y5 & y1) ^ t7, t11 = (y2 & y7) ^ t7;
    const sa_plane t12 = y9 & y11, t14 = (y14 & y17) ^ t12, t16 = (y8 & y10) ^ t12;
    const sa_plane t21 = t4 ^ t14 ^ y20, t22 = t6 ^ t16 ^ y19, t23 = t9 ^ t14 ^ y21, t24 = t11 ^ t16 ^ y18;
    const sa_plane t25 = t21 ^ t22, t26 = t21 & t23, t27 = t24 ^ t26, t29 = (t25 & t27) ^ t22;
    const sa_plane t33 = ((t22 ^ t26) & (t23 ^ t24)) ^ t24, t36 = t24 & (t27 ^ t33), t37 = t36 ^ t23 ^ t33;
    const sa_plane t40 = t25 ^ (t29 & (t27 ^ t36)), t41 = t40 ^ t37, t42 = t29 ^ t33, t43 = t29 ^ t40;
    const sa_plane t44 = t33 ^ t37, t45 = t42 ^ t41;
    const sa_plane z0 = t44 & y15, z1 = t37 & y6, z2 = t33 & x7, z3 = t43 & y16, z4 = t40 & y1, z5 = t29 & y7;
    const sa_plane z6 = t42 & y11, z7 = t45 & y17, z8 = t41 & y10, z9 = t44 & y12, z10 = t37 & y3, z11 = t33 & y4;
    const sa_plane z12 = t43 & y13, z13 = t40 & y5, z14 = t29 & y2, z15 = t42 & y9, z16 = t45 & y14, z17 = t41 & y8;

    /* Out of the tower field and the affine map. */
    const sa_plane t46 = z15 ^ z16, t48 = z5 ^ z13, t53 = z0 ^ z3, t57 = z2 ^ z12 ^ t53, t58 = z4 ^ t46;
    const sa_plane t59 = z3 ^ z6 ^ z7, t62 = z7 ^ z8 ^ t58, t63 = z9 ^ z10 ^ t58, t64 = z4 ^ t59;
    const sa_plane t65 = z14 ^ t57 ^ t62, t66 = z1 ^ t63, s3 = t53 ^ t66;
    q[7] = t59 ^ t63;
    q[6] = t64 ^ s3;
    q[5] = z16 ^ z17 ^ t64 ^ t65;
    q[4] = s3;
    q[3] = z2 ^ z5 ^ t66;
    q[2] = z10 ^ z11 ^ t65;
    q[1] = z12 ^ t48 ^ t62;
    q[0] = t48 ^ t46 ^ t57;
}

/* CT: secret=q; public=none */
SA_INLINE void sa_shift_rows(sa_plane q[8])
{
    for (int i = 0; i < 8; i++) {
        const sa_plane x = q[i], halves = (x << 32) | (x >> 32);
        /* Bytes that also change nibble: row 2, and the half of rows 1 and 3 that wraps around. */
        const sa_plane y = (x & (uint64_t)0x00ff000000ff0000) | (halves & (uint64_t)0x0000ff00ff000000);
        q[i] = (x & (uint64_t)0x000000ff000000ff) | (halves & (uint64_t)0xff0000000000ff00) |
               ((y & (uint64_t)0x0f0f0f0f0f0f0f0f) << 4) | ((y >> 4) & (uint64_t)0x0f0f0f0f0f0f0f0f);
    }
}

/* Row r takes the value of row r + 1, within each column. */
SA_INLINE sa_plane sa_rows_up(sa_plane x)
{
    return ((x >> 8) & (uint64_t)0x00ffffff00ffffff) | ((x << 24) & (uint64_t)0xff000000ff000000);
}

SA_INLINE sa_plane sa_rows_up2(sa_plane x)
{
    return ((x >> 16) & (uint64_t)0x0000ffff0000ffff) | ((x << 16) & (uint64_t)0xffff0000ffff0000);
}

/* a'[r] = 2 (a[r] + a[r+1]) + a[r+1] + (a[r+2] + a[r+3]). CT: secret=q; public=none */
SA_INLINE void sa_mix_columns(sa_plane q[8])
{
    sa_plane up[8], pair[8];
    for (int i = 0; i < 8; i++) {
        up[i] = sa_rows_up(q[i]);
        pair[i] = q[i] ^ up[i];
    }
    for (int i = 0; i < 8; i++) {
        sa_plane doubled = pair[(i + 7) & 7];
        if (i == 1 || i == 3 || i == 4)
            doubled ^= pair[7];
        q[i] = doubled ^ up[i] ^ sa_rows_up2(pair[i]);
    }
}

/* Round keys as planes: the same in both halves, so one 64-bit word each. */
SA_INLINE void sa_add_round_key(sa_plane q[8], const uint8_t *round_key)
{
    for (int i = 0; i < 8; i++)
        q[i] ^= sa_load64(round_key + 8 * i);
}

/* CT: secret=q, schedule; public=none */
SA_INLINE void sa_bitslice_encrypt(sa_plane q[8], const uint8_t *schedule)
{
    sa_add_round_key(q, schedule);
    for (int round = 1; round < 10; round++) {
        sa_sub_bytes(q);
        sa_shift_rows(q);
        sa_mix_columns(q);
        sa_add_round_key(q, schedule + 64 * round);
    }
    sa_sub_bytes(q);
    sa_shift_rows(q);
    sa_add_round_key(q, schedule + 640);
}

#endif
