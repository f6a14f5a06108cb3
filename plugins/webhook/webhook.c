/* webhook: one HTTP request for each alert, with a body from a template, signed, over verified TLS.
 * plugins/README.md lists the options and what a receiver should check.
 *
 * Redirects are not followed: a signed alert goes where the operator said and nowhere else. The URL is never part of
 * an error text, since for many receivers (chat, pagers) it is the password. */
#include <curl/curl.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/path.h"
#include "plugin.h"
#include "webhook/template.h"

#define TIMEOUT_NS          (10 * NS_PER_SECOND)
#define BODY_MAX            ((size_t)8 << 20)  /* an alert has at most 1 MiB as protobuf */
#define RESPONSE_MAX        ((size_t)64 << 10) /* read of an answer: its status is what counts */
#define RESPONSE_HEADER_MAX ((size_t)64 << 10)
#define RESPONSE_SHOWN      200 /* bytes of it in the detail */
#define SECRET_MAX          4096
#define HEADER_MAX          8192

struct webhook {
	CURL *curl;
	struct template *template;
	struct buf secret;
	struct curl_slist *headers; /* the same for every request */
	char error[CURL_ERROR_SIZE];
};

/* What came back. */
struct response {
	size_t header_bytes, body_bytes;
	char shown[RESPONSE_SHOWN + 1];
	size_t shown_count;
};

/* Options. */

static const char *const option_names[] = {
	"url", "method", "template", "template_file", "headers.",    "secret", "secret_file",
	"ca",  "cert",   "key",      "timeout",       "allow_plain", "proxy",
};

static int read_option_file(const char *option, const char *path, struct buf *out, char *error,
                            size_t size)
{
	int r = path_read(path, out);

	if (r < 0)
		snprintf(error, size, "option %s: cannot read %s: %s", option, path, strerror(-r));
	return r < 0 ? -1 : 0;
}

static int take_secret(struct webhook *w, const Isod__V1__PluginSetup *s, char *error, size_t size)
{
	const char *secret = plugin_option(s, "secret"), *file = plugin_option(s, "secret_file");

	buf_init(&w->secret, SECRET_MAX);
	if (!secret && !file)
		return 0;
	if (secret && file) {
		snprintf(error, size, "options secret and secret_file: only one of them");
		return -1;
	}
	if (file && read_option_file("secret_file", file, &w->secret, error, size) < 0)
		return -1;
	if (secret && buf_add(&w->secret, str_of(secret)) < 0) {
		snprintf(error, size, "option secret: longer than %d bytes", SECRET_MAX);
		return -1;
	}
	/* An editor ends a file with a line end; nobody means it. */
	while (file && w->secret.n && strchr("\r\n", w->secret.p[w->secret.n - 1]))
		w->secret.n--;
	if (!w->secret.n) {
		snprintf(error, size, "option %s: is empty", file ? "secret_file" : "secret");
		return -1;
	}
	return 0;
}

static int take_template(struct webhook *w, const Isod__V1__PluginSetup *s, char *error,
                         size_t size)
{
	const char *text = plugin_option(s, "template"), *file = plugin_option(s, "template_file");
	struct buf content;

	if (text && file) {
		snprintf(error, size, "options template and template_file: only one of them");
		return -1;
	}
	buf_init(&content, TEMPLATE_MAX);
	int r = file ? read_option_file("template_file", file, &content, error, size) : 0;
	if (r == 0)
		r = template_new(file ? buf_str(&content) : str_of(text ? text : template_default),
		                 &w->template, error, size);
	buf_release(&content);
	return r;
}

static bool is_header_name(const char *name)
{
	/* A token of RFC 9110, section 5.6.2. */
	size_t n = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	                        "!#$%&'*+-.^_`|~");
	return n && !name[n];
}

static bool is_header_value(const char *value)
{
	for (; *value; value++)
		if (((unsigned char)*value < 0x20 && *value != '\t') || *value == 0x7f)
			return false;
	return true;
}

/* `value` must be a header value. */
static void add_header(struct curl_slist **list, const char *name, const char *value)
{
	/* "Name;" is how libcurl wants a header with nothing in it. */
	char *line = value[0] ? xasprintf("%s: %s", name, value) : xasprintf("%s;", name);
	struct curl_slist *longer = curl_slist_append(*list, line);

	if (!longer)
		abort(); /* as any small allocation */
	*list = longer;
	free(line);
}

static int take_headers(struct webhook *w, const Isod__V1__PluginSetup *s, char *error, size_t size)
{
	/* Ours: what they say has to be true. */
	static const char *const own[] = {"Idempotency-Key",   "X-Isod-Signature",
	                                  "X-Isod-Timestamp",  "Content-Length",
	                                  "Transfer-Encoding", "Host"};
	bool typed = false;

	for (size_t i = 0; i < s->n_options; i++) {
		if (strncmp(s->options[i]->key, "headers.", 8) != 0)
			continue;
		const char *name = s->options[i]->key + 8, *value = s->options[i]->value;
		bool ok = is_header_name(name) && is_header_value(value) &&
		          strlen(value) <= HEADER_MAX;
		for (size_t j = 0; j < ARRAY_LEN(own); j++)
			ok &= !str_ieq(str_of(name), str_of(own[j]));
		if (!ok) {
			snprintf(error, size, "option headers.%s: not a header that can be set",
			         name);
			return -1;
		}
		typed |= str_ieq(str_of(name), STR("Content-Type"));
		add_header(&w->headers, name, value);
	}
	if (!typed)
		add_header(&w->headers, "Content-Type", "application/json");
	w->headers = curl_slist_append(w->headers, "Expect:"); /* no round trip before the body */
	return 0;
}

static int take_url(struct webhook *w, const Isod__V1__PluginSetup *s, char *error, size_t size)
{
	const char *url = plugin_option(s, "url");
	bool plain = false, allow_plain = false;
	CURLU *parsed = curl_url();
	char *scheme = NULL;
	int r = -1;

	if (plugin_option_bool(s, "allow_plain", &allow_plain, error, size) < 0) {
		curl_url_cleanup(parsed);
		return -1;
	}
	if (!url)
		snprintf(error, size, "option url: is missing");
	else if (curl_url_set(parsed, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME) != CURLUE_OK ||
	         curl_url_get(parsed, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK)
		snprintf(error, size, "option url: no URL such as https://host/path");
	else if (!(plain = strcmp(scheme, "http") == 0) && strcmp(scheme, "https") != 0)
		snprintf(error, size, "option url: %s:// is not supported, only https://", scheme);
	else if (plain && !allow_plain)
		snprintf(error, size,
		         "option url: http:// sends alerts in the clear; use "
		         "https://, or set allow_plain to true to accept that");
	else
		r = 0;
	if (r == 0) {
		curl_easy_setopt(w->curl, CURLOPT_URL, url);
		curl_easy_setopt(w->curl, CURLOPT_PROTOCOLS_STR, plain ? "http" : "https");
	}
	curl_free(scheme);
	curl_url_cleanup(parsed);
	return r;
}

static int take_method(struct webhook *w, const Isod__V1__PluginSetup *s, char *error, size_t size)
{
	static const char *const methods[] = {"POST", "PUT", "PATCH"};
	const char *method = plugin_option(s, "method");

	for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
		if (strcmp(method ? method : "POST", methods[i]) == 0) {
			curl_easy_setopt(w->curl, CURLOPT_CUSTOMREQUEST, methods[i]);
			return 0;
		}
	}
	snprintf(error, size, "option method: none of POST, PUT, PATCH");
	return -1;
}

static int take_tls(struct webhook *w, const Isod__V1__PluginSetup *s, char *error, size_t size)
{
	static const struct {
		const char *option;
		CURLoption to;
	} files[] = {{"ca", CURLOPT_CAINFO}, {"cert", CURLOPT_SSLCERT}, {"key", CURLOPT_SSLKEY}};

	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		const char *path = plugin_option(s, files[i].option);
		if (!path)
			continue;
		if (access(path, R_OK) < 0) {
			snprintf(error, size, "option %s: cannot read %s: %s", files[i].option,
			         path, strerror(errno));
			return -1;
		}
		curl_easy_setopt(w->curl, files[i].to, path);
	}
	if (plugin_option(s, "ca")) /* that one instead of the system's, not beside them */
		curl_easy_setopt(w->curl, CURLOPT_CAPATH, NULL);
	if (!plugin_option(s, "cert") != !plugin_option(s, "key")) {
		snprintf(error, size, "options cert and key: both or none");
		return -1;
	}
	curl_easy_setopt(w->curl, CURLOPT_SSL_VERIFYPEER, 1L);
	curl_easy_setopt(w->curl, CURLOPT_SSL_VERIFYHOST, 2L);
	curl_easy_setopt(w->curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	return 0;
}

/* Transfer. */

static size_t on_header(char *p, size_t one, size_t n, void *arg)
{
	struct response *r = arg;

	(void)p;
	(void)one;
	r->header_bytes += n;
	return r->header_bytes > RESPONSE_HEADER_MAX ? 0 : n;
}

static size_t on_body(char *p, size_t one, size_t n, void *arg)
{
	struct response *r = arg;

	(void)one;
	for (size_t i = 0; i < n && r->shown_count < RESPONSE_SHOWN; i++)
		r->shown[r->shown_count++] = p[i];
	r->body_bytes += n;
	return r->body_bytes > RESPONSE_MAX ? 0 : n;
}

static void reset(struct webhook *w)
{
	curl_easy_cleanup(w->curl);
	curl_slist_free_all(w->headers);
	template_free(w->template);
	buf_release(&w->secret);
	*w = (struct webhook){0};
}

static int setup(void *state, const Isod__V1__PluginSetup *s, char *error, size_t size)
{
	struct webhook *w = state;
	uint64_t timeout_ns = TIMEOUT_NS;

	if (plugin_check_options(s, option_names, ARRAY_LEN(option_names), error, size) < 0 ||
	    plugin_option_duration(s, "timeout", &timeout_ns, error, size) < 0)
		return -1;
	reset(w);
	w->curl = curl_easy_init();
	if (!w->curl) {
		snprintf(error, size, "libcurl cannot be used");
		return -1;
	}
	if (take_url(w, s, error, size) < 0 || take_method(w, s, error, size) < 0 ||
	    take_tls(w, s, error, size) < 0 || take_secret(w, s, error, size) < 0 ||
	    take_template(w, s, error, size) < 0 || take_headers(w, s, error, size) < 0)
		return -1;
	if (plugin_option(s, "proxy"))
		curl_easy_setopt(w->curl, CURLOPT_PROXY, plugin_option(s, "proxy"));
	if (timeout_ns > NS_PER_HOUR)
		timeout_ns = NS_PER_HOUR;
	curl_easy_setopt(w->curl, CURLOPT_TIMEOUT_MS, (long)(timeout_ns / NS_PER_MS) + 1);
	curl_easy_setopt(w->curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(w->curl, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(w->curl, CURLOPT_USERAGENT, "isod-webhook/1");
	curl_easy_setopt(w->curl, CURLOPT_ERRORBUFFER, w->error);
	curl_easy_setopt(w->curl, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(w->curl, CURLOPT_WRITEFUNCTION, on_body);
	return 0;
}

/* The header lines of one request: the fixed ones, the key, and with a secret the signature over
 * "TIMESTAMP.BODY". The time is part of what is signed, so that a recorded request is stale later. */
static struct curl_slist *request_headers(const struct webhook *w, const char *key, struct str body)
{
	struct curl_slist *list = NULL;

	for (const struct curl_slist *h = w->headers; h; h = h->next)
		list = curl_slist_append(list, h->data);
	if (is_header_value(key))
		add_header(&list, "Idempotency-Key", key);
	if (w->secret.n) {
		uint8_t mac[SHA256_BYTES];
		char hex[HEX_BYTES(SHA256_BYTES)], stamp[32], value[sizeof(hex) + 8];
		struct buf text;
		snprintf(stamp, sizeof(stamp), "%" PRIu64, clock_now() / NS_PER_SECOND);
		buf_init(&text, 0);
		buf_printf(&text, "%s.", stamp);
		buf_add(&text, body);
		hmac_sha256(buf_str(&w->secret), buf_str(&text), mac);
		buf_release(&text);
		snprintf(value, sizeof(value), "sha256=%s", hex_encode(mac, sizeof(mac), hex));
		add_header(&list, "X-Isod-Timestamp", stamp);
		add_header(&list, "X-Isod-Signature", value);
	}
	return list;
}

/* By the status: 2xx is delivered; too early, too much, too slow and the server's own trouble may pass; all else is
 * about this request and will stay so. */
static enum plugin_outcome outcome_of(long status)
{
	if (status >= 200 && status < 300)
		return PLUGIN_DELIVERED;
	if (status == 408 || status == 425 || status == 429 || status >= 500)
		return PLUGIN_RETRY;
	return PLUGIN_FAILED;
}

static enum plugin_outcome tell(struct webhook *w, CURLcode done, const struct response *r,
                                char *detail, size_t size)
{
	long status = 0;
	curl_off_t later = 0;
	const char *end = strpbrk(r->shown, "\r\n");
	int shown = end ? (int)(end - r->shown) : (int)r->shown_count;

	curl_easy_getinfo(w->curl, CURLINFO_RESPONSE_CODE, &status);
	/* With a final status the receiver has spoken, however the rest of its answer went. */
	if (status < 200) {
		snprintf(detail, size, "%s", w->error[0] ? w->error : curl_easy_strerror(done));
		return PLUGIN_RETRY;
	}
	curl_easy_getinfo(w->curl, CURLINFO_RETRY_AFTER, &later);
	int n = snprintf(detail, size, "HTTP %ld", status);
	if (later > 0)
		n += snprintf(detail + n, size - (size_t)n, ", retry after %lld s",
		              (long long)later);
	if (status >= 300 && status < 400)
		n += snprintf(detail + n, size - (size_t)n, ", redirects are not followed");
	if (shown && outcome_of(status) != PLUGIN_DELIVERED)
		snprintf(detail + n, size - (size_t)n, ": %.*s", shown, r->shown);
	return outcome_of(status);
}

static enum plugin_outcome alert(void *state, const Isod__V1__PluginAlert *a, char *detail,
                                 size_t size)
{
	struct webhook *w = state;
	struct response response = {0};
	struct buf body;

	buf_init(&body, BODY_MAX);
	if (template_render(w->template, a, &body) < 0) {
		buf_release(&body);
		snprintf(detail, size, "the body would be longer than %zu bytes", BODY_MAX);
		return PLUGIN_FAILED;
	}
	struct curl_slist *headers = request_headers(w, a->key, buf_str(&body));
	w->error[0] = '\0';
	curl_easy_setopt(w->curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(w->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.n);
	curl_easy_setopt(w->curl, CURLOPT_POSTFIELDS, buf_cstr(&body));
	curl_easy_setopt(w->curl, CURLOPT_HEADERDATA, &response);
	curl_easy_setopt(w->curl, CURLOPT_WRITEDATA, &response);
	CURLcode done = curl_easy_perform(w->curl);
	enum plugin_outcome outcome = tell(w, done, &response, detail, size);
	curl_easy_setopt(w->curl, CURLOPT_HTTPHEADER, NULL);
	curl_slist_free_all(headers);
	buf_release(&body);
	return outcome;
}

int main(void)
{
	struct webhook w = {0};

	curl_global_init(CURL_GLOBAL_DEFAULT);
	int r = plugin_main(&(struct plugin){.setup = setup, .alert = alert, .state = &w});
	reset(&w);
	curl_global_cleanup();
	return r;
}
