/* Which of the sockets that were passed goes to whom. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/activation.h"
#include "base/mem.h"
#include "base/net.h"

struct bound {
	int fd;
	char text[NET_TEXT_MAX];
};

/* A socket on a port that the kernel chooses; `listening` needs `type` SOCK_STREAM. */
static struct bound bind_new(const char *host, int type, bool listening, bool six_only)
{
	struct bound b;
	struct sockaddr_storage sa;
	socklen_t length;
	int only = six_only;
	char address[NET_TEXT_MAX];

	snprintf(address, sizeof(address), "%s:0", host);
	cr_assert_eq(net_parse(str_of(address), &sa, &length), 0);
	b.fd = socket(sa.ss_family, type, 0);
	cr_assert_geq(b.fd, 0);
	if (sa.ss_family == AF_INET6)
		cr_assert_eq(setsockopt(b.fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof(only)), 0);
	cr_assert_eq(bind(b.fd, (struct sockaddr *)&sa, length), 0);
	if (listening)
		cr_assert_eq(listen(b.fd, 8), 0);
	length = sizeof(sa);
	cr_assert_eq(getsockname(b.fd, (struct sockaddr *)&sa, &length), 0);
	net_text((struct sockaddr *)&sa, b.text);
	return b;
}

static struct activation_want want(const char *name, bool stream, const char *address)
{
	struct activation_want w = {.name = name, .what = name, .stream = stream, .dual = true};

	cr_assert_eq(net_parse(str_of(address), &w.address, &w.length), 0);
	return w;
}

static int take(struct activation *a, struct activation_want w, char error[static 512])
{
	error[0] = '\0';
	return activation_take(a, &w, error, 512);
}

Test(activation, nothing_was_passed)
{
	char error[512];
	struct activation *a;

	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	cr_assert_eq(activation_open(&a, error, sizeof(error)), 0);
	cr_assert_null(a);
	cr_assert_eq(take(a, want("tls", true, "127.0.0.1:1"), error), -ENOENT);
	cr_assert_eq(activation_finish(a, error, sizeof(error)), 0);
	activation_free(a);
}

Test(activation, environment_that_lies)
{
	char error[512] = "", pid[24];
	struct activation *a;

	/* Whoever runs the test may have left descriptors open: far above what there can be. */
	snprintf(pid, sizeof(pid), "%d", getpid());
	setenv("LISTEN_PID", pid, 1);
	setenv("LISTEN_FDS", "100000", 1);
	cr_assert_lt(activation_open(&a, error, sizeof(error)), 0);
	cr_assert(strstr(error, "LISTEN_FDS"), "%s", error);
	cr_assert_null(getenv("LISTEN_FDS"));
	cr_assert_null(getenv("LISTEN_PID"));

	/* Meant for another process. */
	setenv("LISTEN_PID", "1", 1);
	setenv("LISTEN_FDS", "1", 1);
	cr_assert_eq(activation_open(&a, error, sizeof(error)), 0);
	cr_assert_null(a);
	cr_assert_null(getenv("LISTEN_FDS"));
}

Test(activation, by_address_and_type)
{
	char error[512];
	struct bound tcp = bind_new("127.0.0.1", SOCK_STREAM, true, false);
	struct bound udp = bind_new("127.0.0.1", SOCK_DGRAM, false, false);
	struct bound six = bind_new("[::1]", SOCK_STREAM, true, true);
	const int fds[] = {tcp.fd, udp.fd, six.fd};
	const char *const names[] = {"isod.socket", "isod.socket", "unknown"};
	struct activation *a = activation_new(fds, names, ARRAY_LEN(fds));

	/* The other type at the same port is another door. */
	cr_assert_eq(take(a, want("x", true, udp.text), error), -ENOENT);
	cr_assert_eq(take(a, want("isod", true, "127.0.0.1:9"), error), -ENOENT);
	cr_assert_eq(take(a, want("udp", false, udp.text), error), udp.fd);
	cr_assert(fcntl(udp.fd, F_GETFL) & O_NONBLOCK);
	cr_assert(fcntl(udp.fd, F_GETFD) & FD_CLOEXEC);
	cr_assert_eq(take(a, want("six", true, six.text), error), six.fd, "%s", error);
	cr_assert_eq(take(a, want("tcp", true, tcp.text), error), tcp.fd);
	cr_assert_eq(take(a, want("tcp", true, tcp.text), error), -ENOENT, "each is given once");
	cr_assert_eq(activation_finish(a, error, sizeof(error)), 0);
	cr_assert_eq(fcntl(tcp.fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC, "it is its taker's");
}

Test(activation, name_before_address)
{
	char error[512];
	struct bound one = bind_new("127.0.0.1", SOCK_STREAM, true, false);
	struct bound two = bind_new("127.0.0.1", SOCK_STREAM, true, false);
	const int fds[] = {one.fd, two.fd};
	const char *const names[] = {"other", "tls"};
	struct activation *a = activation_new(fds, names, 2);

	cr_assert_eq(take(a, want("tls", true, one.text), error), two.fd);
	cr_assert_eq(take(a, want("tls", true, one.text), error), one.fd);
	activation_free(a);
}

Test(activation, names_that_cannot_be)
{
	char error[512];
	struct bound udp = bind_new("127.0.0.1", SOCK_DGRAM, false, false);
	struct bound deaf = bind_new("127.0.0.1", SOCK_STREAM, false, false);
	struct bound six = bind_new("*", SOCK_STREAM, true, true);
	const int fds[] = {udp.fd, deaf.fd, six.fd};
	const char *const names[] = {"tls", "tcp", "any"};
	struct activation *a = activation_new(fds, names, 3);
	struct activation_want w = want("tls", false, udp.text);

	cr_assert_eq(take(a, want("tls", true, "127.0.0.1:1"), error), -EPROTOTYPE);
	cr_assert(strstr(error, "datagram") && strstr(error, udp.text) && strstr(error, "tls"),
	          "%s", error);
	cr_assert_eq(take(a, want("tcp", true, deaf.text), error), -EPROTOTYPE);
	cr_assert(strstr(error, "does not listen"), "%s", error);
	cr_assert_eq(take(a, want("any", true, six.text), error), -EPROTOTYPE);
	cr_assert(strstr(error, "BindIPv6Only"), "%s", error);
	w.address.ss_family = AF_UNIX;
	cr_assert_eq(take(a, w, error), -EPROTOTYPE);
	cr_assert(strstr(error, "family"), "%s", error);
	activation_free(a);
}

Test(activation, unix_by_path)
{
	char error[512], dir[] = "/tmp/isod-test-XXXXXX";
	struct activation_want w = {.name = "local", .what = "listener local"};
	struct sockaddr_un *sa = (struct sockaddr_un *)&w.address;
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

	cr_assert(mkdtemp(dir));
	sa->sun_family = AF_UNIX;
	snprintf(sa->sun_path, sizeof(sa->sun_path), "%s/log", dir);
	w.length = sizeof(*sa);
	cr_assert_eq(bind(fd, (struct sockaddr *)sa, sizeof(*sa)), 0);
	struct activation *a = activation_new(&fd, NULL, 1);
	unlink(sa->sun_path);
	rmdir(dir);
	sa->sun_path[1]++;
	cr_assert_eq(take(a, w, error), -ENOENT);
	sa->sun_path[1]--;
	cr_assert_eq(take(a, w, error), fd);
	activation_free(a);
}

Test(activation, what_is_left_over)
{
	char error[512] = "";
	struct bound udp = bind_new("127.0.0.1", SOCK_DGRAM, false, false);
	int ends[2];

	/* Nothing is at odds with it: a warning, no error. */
	cr_assert_eq(pipe(ends), 0);
	const int fds[] = {udp.fd, ends[0]};
	struct activation *a = activation_new(fds, NULL, 2);
	cr_assert_eq(take(a, want("tls", true, "127.0.0.1:1"), error), -ENOENT);
	cr_assert_eq(activation_finish(a, error, sizeof(error)), 0);
	cr_assert_eq(fcntl(udp.fd, F_GETFD), -1);

	/* A door at its address was not served. */
	udp = bind_new("127.0.0.1", SOCK_DGRAM, false, false);
	a = activation_new(&udp.fd, NULL, 1);
	cr_assert_eq(take(a, want("listener tls", true, udp.text), error), -ENOENT);
	cr_assert_eq(activation_finish(a, error, sizeof(error)), -EPROTOTYPE);
	cr_assert(strstr(error, "datagram") && strstr(error, udp.text) &&
	                  strstr(error, "listener tls, which takes connections"),
	          "%s", error);
	close(ends[1]);
}
