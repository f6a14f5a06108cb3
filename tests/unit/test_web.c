/* The web thread on its own: what it answers while isod starts, when it is told, when nobody tells it anything, and to who
 * asks for something else. */
#include <criterion/criterion.h>
#include <errno.h>
#include <event2/thread.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/web.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/net.h"

#define PATIENCE_MS 60000

static struct web *web;
static atomic_uint asked;

static void on_ask(void *arg)
{
	(void)arg;
	atomic_fetch_add(&asked, 1);
}

static void on_render(struct buf *out, const Isod__V1__Status *status)
{
	buf_printf(out, "isod_info{node=\"%s\"} 1\n", status->node);
}

static void open_web(const char *phase)
{
	const struct web_options o = {.address = "127.0.0.1:0", .ask = on_ask, .render = on_render};
	char error[256] = "";

	evthread_use_pthreads();
	cr_assert_eq(web_open(&o, phase, &web, error, sizeof(error)), 0, "%s", error);
}

static void end(void)
{
	web_close(web);
	web = NULL;
}

TestSuite(web, .fini = end);

static int send_request(const char *text)
{
	struct sockaddr_storage sa;
	socklen_t length;

	cr_assert_eq(net_parse(str_of(web_address(web)), &sa, &length), 0);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	cr_assert_eq(connect(fd, (struct sockaddr *)&sa, length), 0);
	cr_assert_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
	return fd;
}

/* All that comes until the peer closes; the text lives until the next call. */
static const char *receive(int fd)
{
	static char text[4096];
	struct pollfd p = {.fd = fd, .events = POLLIN};
	size_t n = 0;
	ssize_t r = 1;

	while (r > 0 && n < sizeof(text) - 1 && poll(&p, 1, PATIENCE_MS) > 0)
		if ((r = recv(fd, text + n, sizeof(text) - 1 - n, 0)) > 0)
			n += (size_t)r;
	text[n] = '\0';
	close(fd);
	return text;
}

static int ask_for(const char *path)
{
	char text[256];

	snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
	         path);
	return send_request(text);
}

static void expect(const char *got, const char *status, const char *body)
{
	char line[64];
	const char *at = strstr(got, "\r\n\r\n");

	snprintf(line, sizeof(line), "HTTP/1.1 %s ", status);
	cr_expect(strncmp(got, line, strlen(line)) == 0, "%s instead of %s", got, status);
	cr_expect(at && strcmp(at + 4, body) == 0, "%s instead of %s", got, body);
}

static void wait_asked(unsigned count)
{
	uint64_t until = clock_mono() + PATIENCE_MS * NS_PER_MS;

	while (atomic_load(&asked) < count) {
		cr_assert_lt(clock_mono(), until);
		usleep(1000);
	}
}

static void tell(const char *unhealthy, const char *not_ready)
{
	struct web_facts facts = {.status = xmalloc(sizeof(Isod__V1__Status)),
	                          .unhealthy = unhealthy ? xstrdup(unhealthy) : NULL,
	                          .not_ready = not_ready ? xstrdup(not_ready) : NULL};

	isod__v1__status__init(facts.status);
	facts.status->node = xstrdup("n1");
	web_tell(web, &facts);
}

Test(web, before_it_can_ask_it_tells_what_is_going_on)
{
	open_web("starting: the ledger is read");
	expect(receive(ask_for("/readyz")), "503", "starting: the ledger is read\n");
	expect(receive(ask_for("/healthz")), "200", "starting: the ledger is read\n");
	web_phase(web, "starting: more");
	expect(receive(ask_for("/metrics")), "503", "starting: more\n");
	cr_expect_eq(atomic_load(&asked), 0);
}

Test(web, what_it_is_told_it_tells)
{
	open_web(NULL);
	int fd = ask_for("/metrics");
	wait_asked(1);
	tell(NULL, NULL);
	expect(receive(fd), "200", "isod_info{node=\"n1\"} 1\n");
	fd = ask_for("/healthz");
	wait_asked(2);
	tell(NULL, "not ready");
	expect(receive(fd), "200", "ok\n");
	fd = ask_for("/readyz");
	wait_asked(3);
	tell(NULL, NULL);
	expect(receive(fd), "200", "ready\n");
}

Test(web, many_askers_are_answered_together)
{
	int fds[20];

	open_web(NULL);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		fds[i] = ask_for("/healthz");
	for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
		struct pollfd p = {.fd = fds[i], .events = POLLIN};
		while (poll(&p, 1, 10) <= 0)
			tell(NULL, NULL);
		expect(receive(fds[i]), "200", "ok\n");
	}
}

Test(web, reasons_come_with_503)
{
	open_web(NULL);
	int fd = ask_for("/readyz");
	wait_asked(1);
	tell(NULL, "the rules are being compiled");
	expect(receive(fd), "503", "the rules are being compiled\n");
	fd = ask_for("/healthz");
	wait_asked(2);
	tell("worker 1 hangs", NULL);
	expect(receive(fd), "503", "worker 1 hangs\n");
	fd = ask_for("/readyz");
	wait_asked(3);
	tell("worker 1 hangs", "x");
	expect(receive(fd), "503", "worker 1 hangs\n");
}

Test(web, who_does_not_answer_is_waited_for_once)
{
	open_web(NULL);
	cr_expect(strstr(receive(ask_for("/healthz")), "the officer has not answered for"));
	cr_expect(strstr(receive(ask_for("/metrics")), "HTTP/1.1 503"));
	cr_expect_eq(atomic_load(&asked), 1);
	tell(NULL, NULL);
	/* From then on it is asked again. */
	int fd = ask_for("/healthz");
	uint64_t until = clock_mono() + PATIENCE_MS * NS_PER_MS;
	while (atomic_load(&asked) < 2 && clock_mono() < until) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		if (poll(&p, 1, 1) <= 0)
			continue;
		receive(fd);
		fd = ask_for("/healthz");
	}
	tell(NULL, NULL);
	expect(receive(fd), "200", "ok\n");
}

Test(web, other_requests)
{
	open_web("starting");
	expect(receive(ask_for("/")), "404", "there are /metrics, /healthz and /readyz\n");
	expect(receive(send_request(
		       "POST /metrics HTTP/1.1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")),
	       "405", "only GET and HEAD\n");
	cr_expect(strstr(receive(send_request("nonsense\r\n\r\n")), "400"));
	cr_expect(strstr(receive(send_request("POST /metrics HTTP/1.1\r\nContent-Length: "
	                                      "1\r\nConnection: close\r\n\r\nx")),
	                 "413"));
}

Test(web, an_address_that_is_taken)
{
	struct web_options o = {.ask = on_ask, .render = on_render};
	struct web *second;
	char error[256] = "";

	open_web(NULL);
	o.address = web_address(web);
	cr_expect_eq(web_open(&o, NULL, &second, error, sizeof(error)), -EADDRINUSE);
	cr_expect(strstr(error, "Address already in use") && strstr(error, web_address(web)), "%s",
	          error);
}
