#include "base/sign.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/path.h"

#define KEY_BYTES_MAX 4096 /* a PEM file of a 32-byte key has 120 */

struct sign_key {
	EVP_PKEY *key;
};

/* Takes the key over. */
static int adopt(EVP_PKEY *key, struct sign_key **ret)
{
	if (!key || EVP_PKEY_get_base_id(key) != EVP_PKEY_ED25519) {
		EVP_PKEY_free(key);
		return -EBADMSG;
	}
	*ret = xcalloc(1, sizeof(**ret));
	(*ret)->key = key;
	return 0;
}

static int load(const char *path, bool private, struct sign_key **ret)
{
	struct buf text;

	buf_init(&text, KEY_BYTES_MAX);
	int r = path_read(path, &text);
	if (r == 0 && text.n == 0)
		r = -EBADMSG;
	if (r == 0) {
		BIO *bio = BIO_new_mem_buf(text.p, (int)text.n);
		if (!bio)
			abort();
		r = adopt(private ? PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL)
		                  : PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL),
		          ret);
		BIO_free(bio);
		if (text.n)
			OPENSSL_cleanse(text.p, text.n);
	}
	buf_release(&text);
	return r == -EFBIG ? -EBADMSG : r;
}

static int write_pem(const char *path, EVP_PKEY *key, bool private)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *text = NULL;

	if (!bio || (private ? PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL)
	                     : PEM_write_bio_PUBKEY(bio, key)) != 1)
		abort(); /* no memory */
	long n = BIO_get_mem_data(bio, &text);
	int r = path_write_atomic(path, str_make(text, (size_t)n), private ? 0600 : 0644);
	if (private)
		OPENSSL_cleanse(text, (size_t)n);
	BIO_free(bio);
	return r;
}

int sign_key_open(const char *path, const char *public_path, struct sign_key **ret)
{
	struct sign_key *k = NULL;
	int r = load(path, true, &k);

	if (r == -ENOENT) {
		r = adopt(EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"), &k);
		if (r == 0)
			r = write_pem(path, k->key, true);
	}
	/* The public one is what is handed out: it is written anew when it is missing. */
	if (r == 0 && access(public_path, F_OK) < 0)
		r = write_pem(public_path, k->key, false);
	if (r < 0) {
		sign_key_free(k);
		return r;
	}
	*ret = k;
	return 0;
}

int sign_key_public(const char *path, struct sign_key **ret)
{
	return load(path, false, ret);
}

void sign_key_free(struct sign_key *k)
{
	if (!k)
		return;
	EVP_PKEY_free(k->key);
	free(k);
}

int sign(const struct sign_key *k, struct str data, uint8_t ret[static SIGNATURE_BYTES])
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	size_t n = SIGNATURE_BYTES;
	int good = ctx && EVP_DigestSignInit(ctx, NULL, NULL, NULL, k->key) == 1 &&
	           EVP_DigestSign(ctx, ret, &n, (const uint8_t *)data.p, data.n) == 1;

	EVP_MD_CTX_free(ctx);
	return good && n == SIGNATURE_BYTES ? 0 : -EIO;
}

int sign_verify(const struct sign_key *k, struct str data,
                const uint8_t signature[static SIGNATURE_BYTES])
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	int good = ctx && EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, k->key) == 1 &&
	           EVP_DigestVerify(ctx, signature, SIGNATURE_BYTES, (const uint8_t *)data.p,
	                            data.n) == 1;

	EVP_MD_CTX_free(ctx);
	return good ? 0 : -EBADMSG;
}
