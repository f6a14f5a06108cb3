/* ingest/peers: places and rates of each peer. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/net.h"
#include "ingest/peers.h"

#define NOW (1000 * NS_PER_SECOND)

static const struct peers_limits limits = {
	.connections = 2,
	.connects = {.per_second = 100, .burst_ns = NS_PER_SECOND},
	.bytes = {.per_second = 1000, .burst_ns = NS_PER_SECOND},
	.events = {.per_second = 10, .burst_ns = NS_PER_SECOND},
};

static struct sockaddr_storage at(const char *text)
{
	struct sockaddr_storage a = {0};
	socklen_t length;

	cr_assert_eq(net_parse(str_of(text), &a, &length), 0);
	return a;
}

static enum peers_verdict enter(struct peers *p, const char *text, uint64_t now, struct peer **ret)
{
	struct sockaddr_storage a = at(text);

	return peers_enter(p, (struct sockaddr *)&a, now, ret);
}

Test(peers, one_peer_has_its_places_and_no_more)
{
	struct peers *p = peers_new(&limits);
	struct peer *a, *b, *c, *other;

	cr_expect_eq(enter(p, "192.0.2.1:1000", NOW, &a), PEERS_WELCOME);
	cr_expect_eq(enter(p, "192.0.2.1:1001", NOW, &b), PEERS_WELCOME);
	cr_expect_eq(a, b, "the port tells nobody apart");
	cr_expect_eq(enter(p, "192.0.2.1:1002", NOW, &c), PEERS_TOO_MANY);
	cr_expect_eq(enter(p, "[::ffff:192.0.2.1]:1", NOW, &c), PEERS_TOO_MANY);
	cr_expect_eq(enter(p, "192.0.2.2:1", NOW, &other), PEERS_WELCOME);
	peers_leave(p, a);
	cr_expect_eq(enter(p, "192.0.2.1:1003", NOW, &c), PEERS_WELCOME);
	peers_leave(p, b);
	peers_leave(p, c);
	peers_leave(p, other);
	peers_free(p);
}

Test(peers, a_network_of_ipv6_is_one_peer)
{
	struct peers *p = peers_new(&limits);
	struct peer *a, *b, *c;

	cr_expect_eq(enter(p, "[2001:db8:0:1::1]:1", NOW, &a), PEERS_WELCOME);
	cr_expect_eq(enter(p, "[2001:db8:0:1:ffff::9]:1", NOW, &b), PEERS_WELCOME);
	cr_expect_eq(a, b);
	cr_expect_eq(enter(p, "[2001:db8:0:1::3]:1", NOW, &c), PEERS_TOO_MANY);
	cr_expect_eq(enter(p, "[2001:db8:0:2::1]:1", NOW, &c), PEERS_WELCOME);
	peers_leave(p, a);
	peers_leave(p, b);
	peers_leave(p, c);
	peers_free(p);
}

Test(peers, who_comes_too_often_must_wait)
{
	struct peers *p = peers_new(&limits);
	struct peer *a;
	int welcome = 0;

	for (int i = 0; i < 1000; i++)
		if (enter(p, "192.0.2.1:1", NOW, &a) == PEERS_WELCOME) {
			welcome++;
			peers_leave(p, a);
		}
	cr_expect_eq(welcome, 101, "%d", welcome);
	cr_expect_eq(enter(p, "192.0.2.1:1", NOW, &a), PEERS_TOO_OFTEN);
	cr_expect_eq(enter(p, "192.0.2.9:1", NOW, &a), PEERS_WELCOME);
	peers_leave(p, a);
	cr_expect_eq(enter(p, "192.0.2.1:1", NOW + NS_PER_SECOND, &a), PEERS_WELCOME);
	peers_leave(p, a);
	peers_free(p);
}

Test(peers, bytes_and_events_are_waited_for)
{
	struct peers *p = peers_new(&limits);
	struct peer *a;

	cr_assert_eq(enter(p, "192.0.2.1:1", NOW, &a), PEERS_WELCOME);
	cr_expect_eq(peers_charge(p, a, 1000, 1, NOW), 0);
	cr_expect_eq(peers_charge(p, a, 500, 1, NOW), NS_PER_SECOND / 2);
	cr_expect_eq(peers_charge(p, a, 0, 18, NOW), NS_PER_SECOND, "the slower of the two");
	peers_leave(p, a);
	peers_free(p);
}

Test(peers, datagrams_past_the_rate_are_shed)
{
	struct peers *p = peers_new(&limits);
	int taken = 0;

	for (int i = 0; i < 100; i++)
		taken += peers_datagram(p, str_of("udp/192.0.2.1"), 10, NOW);
	cr_expect_eq(taken, 11, "%d", taken);
	cr_expect(peers_datagram(p, str_of("udp/192.0.2.2"), 10, NOW));
	peers_free(p);
}

Test(peers, whoever_has_gone_is_forgotten)
{
	struct peers *p = peers_new(&limits);
	struct peer *who, *stays;
	char text[64];

	cr_assert_eq(enter(p, "198.51.100.1:1", NOW, &stays), PEERS_WELCOME);
	for (unsigned i = 0; i < 300000; i++) {
		snprintf(text, sizeof(text), "10.%u.%u.%u:1", i >> 16 & 255, i >> 8 & 255, i & 255);
		/* A thousandth of a second apart: a rate is paid off in ten. */
		cr_assert_eq(enter(p, text, NOW + i * NS_PER_MS, &who), PEERS_WELCOME);
		peers_leave(p, who);
	}
	cr_expect_lt(peers_count(p), 1000, "%zu", peers_count(p));
	peers_leave(p, stays);
	peers_free(p);
}

Test(peers, a_crowd_of_one_moment_has_a_limit)
{
	struct peers *p = peers_new(&limits);
	struct peer *who;
	char text[64];
	size_t most = 0;

	for (unsigned i = 0; i < 300000; i++) {
		snprintf(text, sizeof(text), "10.%u.%u.%u:1", i >> 16 & 255, i >> 8 & 255, i & 255);
		cr_assert_eq(enter(p, text, NOW, &who), PEERS_WELCOME);
		peers_leave(p, who);
		most = peers_count(p) > most ? peers_count(p) : most;
	}
	cr_expect_leq(most, 2 * 65536, "%zu", most);
	peers_free(p);
}
