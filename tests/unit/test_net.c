/* Addresses as text and back. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/un.h>

#include "base/mem.h"
#include "base/net.h"

Test(net, parse_and_write_again)
{
	static const struct {
		const char *in, *text, *host;
		int family;
	} cases[] = {
		{"192.0.2.1:514", "192.0.2.1:514", "192.0.2.1", AF_INET},
		{"0.0.0.0:0", "0.0.0.0:0", "0.0.0.0", AF_INET},
		{"[::1]:6514", "[::1]:6514", "::1", AF_INET6},
		{"[2001:DB8:0:0::1]:65535", "[2001:db8::1]:65535", "2001:db8::1", AF_INET6},
		{"*:514", "[::]:514", "::", AF_INET6},
		{":514", "[::]:514", "::", AF_INET6},
		{"[::ffff:192.0.2.1]:1", "192.0.2.1:1", "192.0.2.1", AF_INET6},
		{"[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255]:65535",
	         "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
	         "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", AF_INET6},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct sockaddr_storage sa;
		socklen_t length;
		char out[NET_TEXT_MAX];
		cr_assert_eq(net_parse(str_of(cases[i].in), &sa, &length), 0, "%s", cases[i].in);
		cr_assert_eq(sa.ss_family, cases[i].family);
		cr_assert_eq(length, cases[i].family == AF_INET ? sizeof(struct sockaddr_in)
		                                                : sizeof(struct sockaddr_in6));
		cr_assert_str_eq(net_text((struct sockaddr *)&sa, out), cases[i].text);
		cr_assert_str_eq(net_host((struct sockaddr *)&sa, out), cases[i].host);
	}
}

Test(net, what_is_no_address)
{
	static const struct str bad[] = {
		{"", 0},
		{"514", 3},
		{"192.0.2.1", 9},
		{"192.0.2.1:", 10},
		{"192.0.2.1:65536", 15},
		{"192.0.2.1:-1", 12},
		{"192.0.2.1:x", 11},
		{"::1:514", 7},
		{"[::1]514", 8},
		{"[::1", 4},
		{"[]:514x", 7},
		{"localhost:514", 13},
		{"192.0.2:514", 11},
		{"192.0.2.256:514", 15},
		{"[fe80::1%eth0]:514", 18},
		{"192.0.2.1\0:514", 14},
		{"192.0.2.1:514\0", 14},
		{"[0000000000000000000000000000000000000000000000000000000000000000000]:1", 71},
	};
	struct sockaddr_storage sa = {.ss_family = 99};
	socklen_t length = 77;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		cr_assert_eq(net_parse(bad[i], &sa, &length), -EINVAL, "'%s'", bad[i].p);
	cr_assert_eq(sa.ss_family, 99, "untouched on failure");
	cr_assert_eq(length, 77);
}

Test(net, a_unix_peer)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	char out[NET_TEXT_MAX];

	cr_assert_str_eq(net_text((struct sockaddr *)&un, out), "unix");
	cr_assert_str_eq(net_host((struct sockaddr *)&un, out), "unix");
}

Test(net, addresses_in_events)
{
	char out[NET_TEXT_MAX] = "untouched";

	cr_assert(net_is_address(STR("192.0.2.1"), out));
	cr_assert_str_eq(out, "192.0.2.1");
	cr_assert(net_is_address(STR("2001:DB8::0:1"), out));
	cr_assert_str_eq(out, "2001:db8::1");
	cr_assert(net_is_address(STR("::ffff:10.0.0.1"), out));
	cr_assert_str_eq(out, "10.0.0.1");
	cr_assert(net_is_address(STR("::"), NULL));
	strcpy(out, "untouched");
	static const struct str bad[] = {
		{"", 0},         {"192.0.2.1:5", 11},   {"[::1]", 5}, {"host", 4},
		{"1.2.3", 5},    {"1.2.3.4\0evil", 12}, {"::1\0", 4}, {"1.2.3.4 ", 8},
		{"01.2.3.4", 8}, {"::1%lo", 6},
	};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		cr_assert_not(net_is_address(bad[i], out), "'%s'", bad[i].p);
	cr_assert_str_eq(out, "untouched");
}

Test(net, local_addresses_name_no_remote_party)
{
	static const char *const local[] = {"127.0.0.1", "127.9.9.9",        "0.0.0.0",       "::1",
	                                    "::",        "::ffff:127.0.0.1", "::ffff:0.0.0.0"};
	static const char *const remote[] = {"10.0.0.1",        "128.0.0.1", "::2",      "fe80::1",
	                                     "::ffff:10.0.0.1", "",          "localhost"};

	for (size_t i = 0; i < ARRAY_LEN(local); i++)
		cr_assert(net_is_local(str_of(local[i])), "%s", local[i]);
	for (size_t i = 0; i < ARRAY_LEN(remote); i++)
		cr_assert_not(net_is_local(str_of(remote[i])), "%s", remote[i]);
}

/* Short texts of what addresses are made of, over and over: the same answer as inet_pton(3), and its text. */
Test(net, tells_an_address_as_the_system_does)
{
	static const char bytes[] = "0012599...:::afg";
	uint32_t random = 12345;
	size_t addresses = 0;

	for (int round = 0; round < 2000000; round++) {
		char text[24], canonical[NET_TEXT_MAX], got[NET_TEXT_MAX];
		struct in6_addr a;
		size_t n = 0;
		while (n < 7 + random % 11) {
			random = random * 1664525 + 1013904223;
			text[n++] = bytes[random >> 28];
			if (round % 2 && n % 2 == 0)
				text[n++] = '.';
		}
		text[n - (round % 2)] = '\0';
		int family = inet_pton(AF_INET, text, &a) == 1    ? AF_INET
		             : inet_pton(AF_INET6, text, &a) == 1 ? AF_INET6
		                                                  : AF_UNSPEC;
		cr_assert_eq(net_is_address(str_of(text), got), family != AF_UNSPEC, "%s", text);
		if (family == AF_UNSPEC)
			continue;
		addresses++;
		if (family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&a))
			inet_ntop(AF_INET, &a.s6_addr[12], canonical, sizeof(canonical));
		else
			inet_ntop(family, &a, canonical, sizeof(canonical));
		cr_assert_str_eq(got, canonical, "%s", text);
	}
	cr_assert_gt(addresses, 1000);
}
