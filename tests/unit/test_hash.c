/* Known answers (RFC 3720 B.4, FIPS 180-4, RFC 4231) and CRC32C against the definition of its polynomial, at every length
 * and alignment. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/mem.h"

/* Bit by bit, as RFC 3720 defines it (reflected). */
static uint32_t naive_crc32c(uint32_t crc, struct str data)
{
	crc = ~crc;
	for (size_t i = 0; i < data.n; i++) {
		crc ^= (unsigned char)data.p[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc & 1 ? (crc >> 1) ^ 0x82f63b78 : crc >> 1;
	}
	return ~crc;
}

Test(hash, crc32c_known_answers)
{
	char zeros[32] = {0}, ones[32], up[32], down[32];

	memset(ones, 0xff, sizeof(ones));
	for (int i = 0; i < 32; i++) {
		up[i] = (char)i;
		down[i] = (char)(31 - i);
	}
	cr_assert_eq(crc32c(0, str_make(zeros, 32)), 0x8a9136aa);
	cr_assert_eq(crc32c(0, str_make(ones, 32)), 0x62a8ab43);
	cr_assert_eq(crc32c(0, str_make(up, 32)), 0x46dd794e);
	cr_assert_eq(crc32c(0, str_make(down, 32)), 0x113fdb5c);
	cr_assert_eq(crc32c(0, STR("123456789")), 0xe3069283);
	cr_assert_eq(crc32c(0, STR("")), 0);
	cr_assert_eq(crc32c(0, STR_NONE), 0);
}

Test(hash, both_ways_of_crc32c_agree_with_the_definition)
{
	char data[300];
	unsigned random = 7;

	for (size_t i = 0; i < sizeof(data); i++) {
		random = random * 1103515245u + 12345u;
		data[i] = (char)(random >> 16);
	}
	for (size_t start = 0; start < 16; start++)
		for (size_t n = 0; n + start <= 150; n++) {
			struct str s = str_make(data + start, n);
			uint32_t want = naive_crc32c(0, s);
			cr_assert_eq(crc32c(0, s), want);
			cr_assert_eq(crc32c_portable(0, s), want);
			cr_assert_eq(crc32c(crc32c(0, str_head(s, n / 3)), str_skip(s, n / 3)),
			             want, "continued");
			cr_assert_eq(
				crc32c_portable(crc32c(0, str_head(s, n / 3)), str_skip(s, n / 3)),
				want, "one goes on where the other stopped");
		}
}

static void expect_hex(const uint8_t *digest, const char *want)
{
	char hex[HEX_BYTES(SHA256_BYTES)];

	cr_assert_str_eq(hex_encode(digest, SHA256_BYTES, hex), want);
}

Test(hash, sha256_known_answers)
{
	uint8_t out[SHA256_BYTES];
	char *million = xmalloc(1000000);

	sha256(NULL, 0, out);
	expect_hex(out, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	sha256(&STR("abc"), 1, out);
	expect_hex(out, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	struct str parts[] = {STR("abcdbcdecdefdefgefghfghig"), STR_NONE, STR(""),
	                      STR("hijhijkijkljklmklmnlmnomnopnopq")};
	sha256(parts, ARRAY_LEN(parts), out);
	expect_hex(out, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
	memset(million, 'a', 1000000);
	struct str whole = str_make(million, 1000000);
	sha256(&whole, 1, out);
	expect_hex(out, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
	free(million);
}

Test(hash, hmac_sha256_known_answers)
{
	uint8_t out[SHA256_BYTES];
	char key[131], data[50];

	memset(key, 0x0b, 20);
	hmac_sha256(str_make(key, 20), STR("Hi There"), out);
	expect_hex(out, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
	hmac_sha256(STR("Jefe"), STR("what do ya want for nothing?"), out);
	expect_hex(out, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
	memset(key, 0xaa, sizeof(key));
	memset(data, 0xdd, sizeof(data));
	hmac_sha256(str_make(key, 20), str_make(data, 50), out);
	expect_hex(out, "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe");
	hmac_sha256(str_make(key, 131),
	            STR("Test Using Larger Than Block-Size Key - Hash Key First"), out);
	expect_hex(out, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
	hmac_sha256(STR_NONE, STR_NONE, out);
	expect_hex(out, "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

Test(hash, hex_of_nothing_and_of_every_byte)
{
	char out[HEX_BYTES(4)];

	cr_assert_str_eq(hex_encode(NULL, 0, out), "");
	cr_assert_str_eq(hex_encode((const uint8_t[]){0x00, 0x0f, 0xa0, 0xff}, 4, out), "000fa0ff");
}

Test(hash, hexadecimal_both_ways)
{
	uint8_t bytes[256], back[256];
	char text[HEX_BYTES(256)];

	for (unsigned i = 0; i < 256; i++)
		bytes[i] = (uint8_t)i;
	hex_encode(bytes, sizeof(bytes), text);
	cr_assert_eq(hex_decode(str_of(text), back, sizeof(back)), 0);
	cr_assert_arr_eq(back, bytes, sizeof(bytes));
	cr_assert_eq(hex_decode(STR("aAfF09"), back, 3), 0);
	cr_assert(back[0] == 0xaa && back[1] == 0xff && back[2] == 0x09);
	cr_assert_lt(hex_decode(STR("aaf"), back, 1), 0);
	cr_assert_lt(hex_decode(STR("a"), back, 1), 0);
	cr_assert_lt(hex_decode(STR("ag"), back, 1), 0);
	cr_assert_lt(hex_decode(STR("a@"), back, 1), 0);
	cr_assert_eq(hex_decode(STR(""), back, 0), 0);
}
