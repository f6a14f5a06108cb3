#define OPENSSL_API_COMPAT 0x10101000L

#include "base/hash.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <stdlib.h>

#include "base/mem.h"

/* The reflected Castagnoli polynomial, one nibble a step: for processors without the instruction. */
uint32_t crc32c_portable(uint32_t crc, struct str data)
{
	static const uint32_t nibble[16] = {0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1,
	                                    0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
	                                    0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
	                                    0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75};

	crc = ~crc;
	for (size_t i = 0; i < data.n; i++) {
		crc ^= (uint8_t)data.p[i];
		crc = nibble[crc & 15] ^ (crc >> 4);
		crc = nibble[crc & 15] ^ (crc >> 4);
	}
	return ~crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t crc32c_sse42(uint32_t crc, struct str data)
{
	uint64_t wide = ~crc, word;

	while (data.n >= 8) {
		memcpy(&word, data.p, 8);
		wide = __builtin_ia32_crc32di(wide, word);
		data = str_skip(data, 8);
	}
	crc = (uint32_t)wide;
	for (size_t i = 0; i < data.n; i++)
		crc = __builtin_ia32_crc32qi(crc, (uint8_t)data.p[i]);
	return ~crc;
}
#endif

uint32_t crc32c(uint32_t crc, struct str data)
{
#if defined(__x86_64__)
	if (__builtin_cpu_supports("sse4.2"))
		return crc32c_sse42(crc, data);
#endif
	return crc32c_portable(crc, data);
}

void sha256(const struct str *parts, size_t count, uint8_t out[static SHA256_BYTES])
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();

	if (!ctx || EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) != 1)
		abort(); /* no digest without memory or a default provider: nothing can be proven */
	for (size_t i = 0; i < count; i++)
		if (EVP_DigestUpdate(ctx, parts[i].p, parts[i].n) != 1)
			abort();
	if (EVP_DigestFinal_ex(ctx, out, NULL) != 1)
		abort();
	EVP_MD_CTX_free(ctx);
}

/* OpenSSL 3's EVP allocates and frees once per digest even when the context is reused, so the ledger's chain, with a
 * digest per record, uses the plain functions below it. They are marked as deprecated, not gone; hence the level of
 * API asked for at the top of this file. */
struct sha256 {
	SHA256_CTX ctx;
};

struct sha256 *sha256_new(void)
{
	return xcalloc(1, sizeof(struct sha256));
}

void sha256_free(struct sha256 *h)
{
	free(h);
}

void sha256_begin(struct sha256 *h)
{
	if (SHA256_Init(&h->ctx) != 1)
		abort();
}

void sha256_add(struct sha256 *h, struct str data)
{
	if (SHA256_Update(&h->ctx, data.p, data.n) != 1)
		abort();
}

void sha256_end(struct sha256 *h, uint8_t out[static SHA256_BYTES])
{
	if (SHA256_Final(out, &h->ctx) != 1)
		abort();
}

void hmac_sha256(struct str key, struct str data, uint8_t out[static SHA256_BYTES])
{
	unsigned int n = SHA256_BYTES;

	if (!HMAC(EVP_sha256(), key.p ? key.p : "", (int)key.n, (const unsigned char *)data.p,
	          data.n, out, &n))
		abort();
}

char *hex_encode(const uint8_t *data, size_t n, char *out)
{
	static const char hex[] = "0123456789abcdef";

	for (size_t i = 0; i < n; i++) {
		out[2 * i] = hex[data[i] >> 4];
		out[2 * i + 1] = hex[data[i] & 15];
	}
	out[2 * n] = '\0';
	return out;
}

/* 0 to 15, or 16 for what is no digit. */
static unsigned hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return (unsigned)(c - '0');
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? (unsigned)(c - 'a' + 10) : 16;
}

int hex_decode(struct str text, uint8_t *out, size_t n)
{
	if (text.n != 2 * n)
		return -EBADMSG;
	for (size_t i = 0; i < text.n; i++)
		if (hex_value(text.p[i]) > 15)
			return -EBADMSG;
	for (size_t i = 0; i < n; i++)
		out[i] = (uint8_t)(hex_value(text.p[2 * i]) << 4 | hex_value(text.p[2 * i + 1]));
	return 0;
}
