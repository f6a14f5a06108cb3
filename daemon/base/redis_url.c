#include "base/redis_url.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

#define URL_MAX 1024  /* a host name has at most 253 bytes, a socket path 107 */
#define DB_MAX  65535 /* Redis' own limit is its configuration; this only keeps it sane */

static int refuse(char *error, size_t size, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static int refuse(char *error, size_t size, const char *format, ...)
{
	va_list ap;
	va_start(ap, format);
	vsnprintf(error, size, format, ap);
	va_end(ap);
	return -EINVAL;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* NULL when a '%' is not followed by two hex digits or a NUL would come out. */
static char *percent_decode(struct str s)
{
	char *out = xmalloc(s.n + 1);
	size_t n = 0;

	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];
		if (c == '%') {
			int high = i + 2 < s.n ? hex_digit(s.p[i + 1]) : -1;
			int low = i + 2 < s.n ? hex_digit(s.p[i + 2]) : -1;
			if (high < 0 || low < 0) {
				free(out);
				return NULL;
			}
			c = (char)(high << 4 | low);
			i += 2;
		}
		if (c == '\0') {
			free(out);
			return NULL;
		}
		out[n++] = c;
	}
	out[n] = '\0';
	return out;
}

static int parse_user(struct str part, struct redis_url *u, char *error, size_t size)
{
	struct str user = str_split(&part, ':');

	u->user = user.n ? percent_decode(user) : NULL;
	u->password = part.p ? percent_decode(part) : NULL;
	if ((user.n && !u->user) || (part.p && !u->password))
		return refuse(error, size, "broken %%XX in the user or password of the URL");
	return 0;
}

static int parse_db(struct str part, struct redis_url *u, char *error, size_t size)
{
	uint64_t db;

	if (part.n == 0)
		return 0;
	if (str_to_u64(part, &db) < 0 || db > DB_MAX)
		return refuse(error, size, "\"/%.*s\" of the URL is no database number (0, 1, 2 …)",
		              STR_FMT(part));
	u->db = (unsigned)db;
	return 0;
}

static bool host_fits(struct str host, bool bracketed)
{
	for (size_t i = 0; i < host.n; i++) {
		unsigned char c = (unsigned char)host.p[i];
		if (!isalnum(c) && !strchr(bracketed ? ":.%" : "-._", c))
			return false;
	}
	return host.n > 0;
}

static int parse_host(struct str part, struct redis_url *u, char *error, size_t size)
{
	bool bracketed = part.n && part.p[0] == '[';
	struct str host = part, port = STR_NONE;
	uint64_t number = 1;

	if (bracketed) {
		host = str_skip(part, 1);
		port = host;
		host = str_split(&port, ']');
		if (!port.p || (port.n && port.p[0] != ':'))
			return refuse(error, size, "the URL's \"[\" wants \"]\" and \":PORT\"");
		port = port.n ? str_skip(port, 1) : STR_NONE;
	} else {
		port = host;
		host = str_split(&port, ':');
	}
	if (!host_fits(host, bracketed))
		return refuse(error, size, "\"%.*s\" of the URL is no host name or address%s",
		              STR_FMT(host),
		              str_find(port, ':') >= 0 ? "; an IPv6 address goes in brackets" : "");
	/* Not quoted: with a forgotten "@HOST" this is the password. */
	if (port.p && (str_to_u64(port, &number) < 0 || number < 1 || number > 65535))
		return refuse(error, size,
		              "what follows the host's \":\" in the URL is no port (1-65535)%s",
		              str_find(port, ':') >= 0 ? "; an IPv6 address goes in brackets" : "");
	u->host = xstrndup(host.p, host.n);
	u->port = port.p ? xstrndup(port.p, port.n) : xstrdup(REDIS_PORT);
	return 0;
}

/* What stands behind redis:// and rediss://. */
static int parse_network(struct str rest, struct redis_url *u, char *error, size_t size)
{
	ptrdiff_t at = -1;
	int r = 0;

	/* The last '@' ends the user: a password may hold one. */
	for (size_t i = 0; i < rest.n; i++)
		if (rest.p[i] == '@')
			at = (ptrdiff_t)i;
	if (at >= 0)
		r = parse_user(str_head(rest, (size_t)at), u, error, size);
	if (r < 0)
		return r;
	struct str path = str_skip(rest, (size_t)(at + 1));
	struct str host = str_split(&path, '/');
	if (str_find(host, '?') >= 0 || str_find(path, '?') >= 0 || str_find(path, '#') >= 0)
		return refuse(error, size, "the URL takes no \"?…\" or \"#…\"");
	r = parse_host(host, u, error, size);
	if (r == 0)
		r = parse_db(path, u, error, size);
	if (r < 0 || !u->host)
		return r;
	bool six = strchr(u->host, ':') != NULL;
	u->text = xasprintf(six ? "%s://%s%s[%s]:%s/%u" : "%s://%s%s%s:%s/%u",
	                    u->tls ? "rediss" : "redis", u->user ? u->user : "", u->user ? "@" : "",
	                    u->host, u->port, u->db);
	return 0;
}

int redis_url_of_socket(const char *path, struct redis_url *ret, char *error, size_t error_size)
{
	if (strlen(path) > REDIS_SOCKET_PATH_MAX)
		return refuse(
			error, error_size,
			"%s: the path of a unix socket has at most %d bytes, this one has %zu",
			path, REDIS_SOCKET_PATH_MAX, strlen(path));
	*ret = (struct redis_url){.path = xstrdup(path), .text = xstrdup(path)};
	return 0;
}

int redis_url_parse(struct str text, struct redis_url *ret, char *error, size_t error_size)
{
	struct redis_url u = {0};
	int r;

	if (text.n > URL_MAX || str_find(text, '\0') >= 0)
		return refuse(error, error_size, "the URL is longer than %d bytes or holds a NUL",
		              URL_MAX);
	if (str_starts(text, STR("unix:///"))) {
		char *path = xstrndup(text.p + 7, text.n - 7);
		r = redis_url_of_socket(path, ret, error, error_size);
		free(path);
		return r;
	}
	u.tls = str_starts(text, STR("rediss://"));
	if (!u.tls && !str_starts(text, STR("redis://")))
		return refuse(error, error_size,
		              "the URL must begin with redis://, rediss:// (TLS) or unix:///");
	r = parse_network(str_skip(text, u.tls ? 9 : 8), &u, error, error_size);
	if (r < 0)
		redis_url_release(&u);
	else
		*ret = u;
	return r;
}

void redis_url_release(struct redis_url *u)
{
	free(u->host);
	free(u->port);
	free(u->path);
	free(u->user);
	if (u->password)
		explicit_bzero(u->password, strlen(u->password));
	free(u->password);
	free(u->text);
	*u = (struct redis_url){0};
}
