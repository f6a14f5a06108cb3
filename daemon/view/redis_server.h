/* The embedded Redis: a redis-server child of ours on a unix socket in our state directory, started again with back-off
 * when it dies, ended with us. It keeps nothing on disk: it is only a view, which isod rewrites whole.
 *
 *   DIR/redis.sock  mode 0600, in DIR of mode 0700      DIR/redis.log  what it says
 *   DIR/lock        flock(2)ed while an isod uses DIR */
#ifndef ISOD_VIEW_REDIS_SERVER_H
#define ISOD_VIEW_REDIS_SERVER_H

#include <stddef.h>
#include <sys/types.h>

struct event_base;
struct redis_server;

struct redis_server_options {
	struct event_base *base;
	const char *program;        /* absolute, or found through PATH */
	const char *dir;            /* made if missing */
	void (*started)(void *arg); /* again, after a death; the socket is there soon */
	void (*died)(void *arg, const char *how);
	void *arg;
};

/* Ends a redis-server that a killed isod left behind on the socket, starts ours. To be called in a thread that lives
 * as long as the server shall: the kernel kills the server when the thread that started it ends (PR_SET_PDEATHSIG).
 * 0 and *ret, or -errno with the reason in `error`: no such program, the socket's path is too long, DIR is in use. */
int redis_server_open(const struct redis_server_options *o, struct redis_server **ret, char *error,
                      size_t error_size);
/* Ends the server and waits for it (at most 2 s, then by SIGKILL). NULL is allowed. */
void redis_server_close(struct redis_server *s);

const char *redis_server_socket(const struct redis_server *s);
/* 0 while there is none. */
pid_t redis_server_pid(const struct redis_server *s);
/* SIGKILL: it does not answer any more. It is started again. */
void redis_server_kill(struct redis_server *s);

#endif
