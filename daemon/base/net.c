#include "base/net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>

#include "base/chars.h"

static int net_put_port(struct sockaddr_storage *sa, uint64_t port)
{
	if (port > 65535)
		return -EINVAL;
	if (sa->ss_family == AF_INET)
		((struct sockaddr_in *)sa)->sin_port = htons((uint16_t)port);
	else
		((struct sockaddr_in6 *)sa)->sin6_port = htons((uint16_t)port);
	return 0;
}

int net_parse(struct str text, struct sockaddr_storage *ret, socklen_t *ret_length)
{
	struct sockaddr_storage sa = {0};
	char host[NET_TEXT_MAX];
	size_t colon = text.n;
	uint64_t port;

	while (colon > 0 && text.p[colon - 1] != ':')
		colon--;
	if (colon == 0 || str_to_u64(str_skip(text, colon), &port) < 0)
		return -EINVAL;
	struct str name = str_head(text, colon - 1);
	if (name.n >= 2 && name.p[0] == '[' && name.p[name.n - 1] == ']')
		name = str_make(name.p + 1, name.n - 2);
	else if (str_find(name, ':') >= 0)
		return -EINVAL;
	if (name.n == 0 || str_eq(name, STR("*")))
		name = STR("::");
	if (name.n >= sizeof(host) || str_find(name, '\0') >= 0)
		return -EINVAL;
	memcpy(host, name.p, name.n);
	host[name.n] = '\0';
	if (inet_pton(AF_INET, host, &((struct sockaddr_in *)&sa)->sin_addr) == 1)
		sa.ss_family = AF_INET;
	else if (inet_pton(AF_INET6, host, &((struct sockaddr_in6 *)&sa)->sin6_addr) == 1)
		sa.ss_family = AF_INET6;
	else
		return -EINVAL;
	if (net_put_port(&sa, port) < 0)
		return -EINVAL;
	*ret_length =
		sa.ss_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
	*ret = sa;
	return 0;
}

/* The port in host order, or -1 for a family without one. */
static int split(const struct sockaddr *sa, char out[static NET_TEXT_MAX], bool *ret_six)
{
	*ret_six = false;
	if (sa->sa_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)sa;
		inet_ntop(AF_INET, &in->sin_addr, out, NET_TEXT_MAX);
		return ntohs(in->sin_port);
	}
	if (sa->sa_family != AF_INET6) {
		snprintf(out, NET_TEXT_MAX, "unix");
		return -1;
	}
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)sa;
	if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
		inet_ntop(AF_INET, &in6->sin6_addr.s6_addr[12], out, NET_TEXT_MAX);
	} else {
		inet_ntop(AF_INET6, &in6->sin6_addr, out, NET_TEXT_MAX);
		*ret_six = true;
	}
	return ntohs(in6->sin6_port);
}

char *net_host(const struct sockaddr *sa, char out[static NET_TEXT_MAX])
{
	bool six;
	split(sa, out, &six);
	return out;
}

char *net_text(const struct sockaddr *sa, char out[static NET_TEXT_MAX])
{
	char host[NET_TEXT_MAX];
	bool six;
	int port = split(sa, host, &six);

	if (port < 0)
		snprintf(out, NET_TEXT_MAX, "unix");
	else
		snprintf(out, NET_TEXT_MAX, six ? "[%.50s]:%d" : "%.50s:%d", host, port);
	return out;
}

static int to_binary(struct str s, struct in6_addr *ret)
{
	char text[NET_TEXT_MAX];

	if (s.n == 0 || s.n >= sizeof(text) || str_find(s, '\0') >= 0)
		return AF_UNSPEC;
	memcpy(text, s.p, s.n);
	text[s.n] = '\0';
	if (inet_pton(AF_INET, text, ret) == 1)
		return AF_INET;
	return inet_pton(AF_INET6, text, ret) == 1 ? AF_INET6 : AF_UNSPEC;
}

/* What inet_pton(3) takes for IPv4: four numbers up to 255, without zeros before them. That is their canonical text. */
static bool is_ipv4(struct str s)
{
	unsigned value = 0, digits = 0, dots = 0;

	if (s.n < 7 || s.n > 15)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '.') {
			if (digits == 0)
				return false;
			dots++;
			digits = value = 0;
			continue;
		}
		if (!char_is(s.p[i], CHAR_DIGIT) || (digits && value == 0))
			return false;
		value = value * 10 + (unsigned)(s.p[i] - '0');
		digits++;
		if (value > 255)
			return false;
	}
	return dots == 3 && digits;
}

bool net_is_address(struct str s, char *out)
{
	struct in6_addr a = {0};

	/* Decoders ask this of every word that may be one: most are told by a look at their bytes. */
	if (is_ipv4(s)) {
		if (out) {
			memcpy(out, s.p, s.n);
			out[s.n] = '\0';
		}
		return true;
	}
	if (s.n >= NET_TEXT_MAX || char_run(s, CHAR_ADDRESS) < s.n || str_find(s, ':') < 0)
		return false;
	if (to_binary(s, &a) != AF_INET6)
		return false;
	if (out && IN6_IS_ADDR_V4MAPPED(&a))
		inet_ntop(AF_INET, &a.s6_addr[12], out, NET_TEXT_MAX);
	else if (out)
		inet_ntop(AF_INET6, &a, out, NET_TEXT_MAX);
	return true;
}

bool net_is_local(struct str s)
{
	struct in6_addr a = {0};
	int family = to_binary(s, &a);

	if (family == AF_INET)
		return a.s6_addr[0] == 127 || ((const struct in_addr *)&a)->s_addr == INADDR_ANY;
	if (family != AF_INET6)
		return false;
	if (IN6_IS_ADDR_V4MAPPED(&a))
		return a.s6_addr[12] == 127 || a.s6_addr32[3] == INADDR_ANY;
	return IN6_IS_ADDR_LOOPBACK(&a) || IN6_IS_ADDR_UNSPECIFIED(&a);
}
