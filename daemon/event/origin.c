/* The hot path goes through here with each event, so the usual one costs a look at the first bytes of its names and two
 * fields that point into the source; names are compared only for peers that showed a certificate. All fields are
 * derived: a search for keywords in what the sender wrote must not find what isod wrote. */
#include "event/origin.h"

#include <string.h>

#include "base/net.h"
#include "event/event.h"

#define LISTENER    "isod.listener"
#define PEER        "isod.peer"
#define CERTIFICATE "isod.certificate"
#define FINGERPRINT "isod.fingerprint"
#define HOST        "isod.host"
#define CLAIMED     "claimed."

#define NAME(text)                                                                                 \
	{                                                                                          \
		{                                                                                  \
			CLAIMED text, sizeof(CLAIMED text) - 1                                     \
		}                                                                                  \
	}
static const struct {
	struct str claimed;
} names[] = {NAME(LISTENER), NAME(PEER), NAME(CERTIFICATE), NAME(FINGERPRINT), NAME(HOST)};
#undef NAME

/* Which fields may name the host, the first that is there counts: syslog's and those of common shippers. */
static const char *const host_fields[] = {"host", "host.name", "hostname", "Computer"};

/* ---- names that were taken ---- */

static bool may_be_own(struct str name)
{
	return name.n > 5 && memcmp(name.p, "isod.", 5) == 0;
}

static bool take_name(struct event *e, size_t at)
{
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (str_eq(e->fields[at].name, str_skip(names[i].claimed, sizeof(CLAIMED) - 1))) {
			event_rename(e, at, names[i].claimed);
			return true;
		}
	return false;
}

static void take_names(struct event *e)
{
	bool taken = false;

	for (size_t at = 0; at < e->count; at++)
		if (may_be_own(e->fields[at].name))
			taken |= take_name(e, at);
	if (taken)
		event_reindex(e);
}

/* ---- does the host agree? ---- */

static struct str first_label(struct str s)
{
	ptrdiff_t dot = str_find(s, '.');

	return dot < 0 ? s : str_head(s, (size_t)dot);
}

static bool is_single(struct str s)
{
	return str_find(s, '.') < 0;
}

static bool host_is(struct str host, struct str name)
{
	if (str_ieq(host, name))
		return true;
	if (str_starts(name, STR("*.")))
		return is_single(host) ||
		       str_ieq(str_skip(host, first_label(host).n), str_skip(name, 1));
	if (!is_single(host) && !is_single(name))
		return false;
	return str_ieq(first_label(host), first_label(name)) && !net_is_address(host, NULL) &&
	       !net_is_address(name, NULL);
}

static struct str host_of(const struct event *e)
{
	for (size_t i = 0; i < sizeof(host_fields) / sizeof(host_fields[0]); i++) {
		struct str host = str_trim(event_value(e, str_of(host_fields[i])));
		if (host.n > 1 && host.p[host.n - 1] == '.')
			host.n--;
		if (host.n && !str_eq(host, STR("-")))
			return host;
	}
	return STR_NONE;
}

/* ---- the fields ---- */

static struct str take_text(struct str *rest)
{
	ptrdiff_t end = str_find(*rest, '\0');
	struct str text = end < 0 ? *rest : str_head(*rest, (size_t)end);

	*rest = str_skip(*rest, text.n + 1);
	return text;
}

static void put(struct event *e, struct str name, struct str value)
{
	event_put_derived(e, name, value, VALUE_STRING);
}

static void put_identity(struct event *e, struct str identity, struct str peer)
{
	struct str host = host_of(e), rest = str_skip(identity, 1);
	bool agrees = str_eq(host, peer), any = false;

	put(e, STR(FINGERPRINT), take_text(&rest));
	while (rest.n) {
		struct str name = take_text(&rest);
		put(e, STR(CERTIFICATE), name);
		agrees = agrees || host_is(host, name);
		any = true;
	}
	if (!host.n || !any || (!agrees && identity.p[0] & ORIGIN_MORE))
		return;
	put(e, STR(HOST), agrees ? STR("agrees") : STR("differs"));
}

void origin_put(struct event *e, struct str identity)
{
	ptrdiff_t slash = str_find(e->source, '/');
	struct str listener = slash < 0 ? e->source : str_head(e->source, (size_t)slash);
	struct str peer = str_skip(e->source, listener.n + 1);

	take_names(e);
	put(e, STR(LISTENER), listener);
	if (peer.n)
		put(e, STR(PEER), peer);
	if (identity.n)
		put_identity(e, identity, peer);
}

/* ---- the identity ---- */

size_t origin_identity(const struct tls_certificate *c, char out[static ORIGIN_IDENTITY_MAX])
{
	out[0] = c->more ? ORIGIN_MORE : 0;
	tls_fingerprint(c->fingerprint, out + 1);
	size_t n = 1 + strlen(out + 1) + 1;
	memcpy(out + n, c->names, c->names_bytes);
	return n + c->names_bytes;
}
