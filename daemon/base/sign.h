/* Signatures with Ed25519 (RFC 8032), OpenSSL's. Keys are PEM files, so that `openssl pkeyutl -verify -rawin` proves
 * what was signed without any program of ours. */
#ifndef ISOD_BASE_SIGN_H
#define ISOD_BASE_SIGN_H

#include <stdint.h>

#include "base/str.h"

#define SIGNATURE_BYTES 64

struct sign_key;

/* The private key in `path`; when there is no such file it is made, readable by its owner only, and the public one is
 * written to `public_path`. 0 and *ret; -EBADMSG when it is no Ed25519 key, -errno. */
int sign_key_open(const char *path, const char *public_path, struct sign_key **ret);
/* The public key in `path`, which can only verify. The same answers; -ENOENT when there is none. */
int sign_key_public(const char *path, struct sign_key **ret);
/* NULL is allowed. */
void sign_key_free(struct sign_key *k);

/* 0 or -EIO. */
int sign(const struct sign_key *k, struct str data, uint8_t ret[static SIGNATURE_BYTES]);
/* 0, or -EBADMSG when the signature is not that of the data with this key. */
int sign_verify(const struct sign_key *k, struct str data,
                const uint8_t signature[static SIGNATURE_BYTES]);

#endif
