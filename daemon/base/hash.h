/* Checksums and digests: CRC32C (RFC 3720 appendix B.4) against torn and rotten records, SHA-256
 * (FIPS 180-4) for the chain, HMAC-SHA256 (RFC 2104) for signatures. OpenSSL's where it has them. */
#ifndef ISOD_BASE_HASH_H
#define ISOD_BASE_HASH_H

#include <stdint.h>

#include "base/str.h"

#define SHA256_BYTES 32
#define HEX_BYTES(n) (2 * (n) + 1)

/* Continues `crc` (0 to begin) over `data`; uses the processor's instruction where there is one. */
uint32_t crc32c(uint32_t crc, struct str data);
/* The same without that instruction: what crc32c() does on other processors. */
uint32_t crc32c_portable(uint32_t crc, struct str data);

/* The digest of the parts one after the other. */
void sha256(const struct str *parts, size_t count, uint8_t out[static SHA256_BYTES]);

/* The same piece by piece, for what is hashed often: one allocation at sha256_new, none after. Each use is
 * sha256_begin, any number of sha256_add, sha256_end. sha256_free: NULL is allowed. */
struct sha256;
struct sha256 *sha256_new(void);
void sha256_free(struct sha256 *h);
void sha256_begin(struct sha256 *h);
void sha256_add(struct sha256 *h, struct str data);
void sha256_end(struct sha256 *h, uint8_t out[static SHA256_BYTES]);

void hmac_sha256(struct str key, struct str data, uint8_t out[static SHA256_BYTES]);

/* Lower-case, terminated; `out` holds HEX_BYTES(n). Returns `out`. */
char *hex_encode(const uint8_t *data, size_t n, char *out);
/* Exactly 2 * n digits of either case. 0 or -EBADMSG. */
int hex_decode(struct str text, uint8_t *out, size_t n);

#endif
