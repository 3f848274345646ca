/* Public C interface of the secagg kernels.
 *
 * Every implementation gives the same bytes. Nothing here allocates, keeps state between calls (but for the choice made
 * by sa_select) or knows of Python. Secret data decides no branch, index or division; each definition says which of its
 * arguments are secret in a `CT:` line. What this code stores of a secret it wipes, and with it what compilers have spilled
 * below the frames of these functions. */
#ifndef SECAGG_NATIVE_H
#define SECAGG_NATIVE_H

#include <stddef.h>
#include <stdint.h>

#if !defined(__GNUC__) && !defined(__clang__)
#error "secagg native code needs GCC or clang (clang-cl on Windows)"
#endif
#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__ || !defined(__SIZEOF_INT128__)
#error "secagg native code supports 64-bit little-endian machines; others use the fallback"
#endif

#ifdef __cplusplus
extern "C" {
#endif
#include "../ffi.cdef.h"
#ifdef __cplusplus
}
#endif

#endif
