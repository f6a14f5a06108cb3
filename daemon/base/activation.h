/* Sockets that were bound before isod was started: systemd passes those of isod.socket (sd_listen_fds(3)). A door asks
 * for one that fits it before it binds one of its own; what nobody has asked for is told at the end. */
#ifndef ISOD_BASE_ACTIVATION_H
#define ISOD_BASE_ACTIVATION_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

struct activation;

/* What a door needs. */
struct activation_want {
	const char *name; /* FileDescriptorName= that means this door */
	const char *what; /* for messages: "listener tls" */
	bool stream;      /* a listening stream socket; else one for datagrams */
	bool dual;        /* IPv6's wildcard must take IPv4 too */
	struct sockaddr_storage address;
	socklen_t length;
};

/* Takes over what the environment names, for this process alone: its variables are gone then, and children inherit no
 * socket. Before any thread runs. 0 and *ret (NULL: nothing was passed), or -errno with `error`. */
int activation_open(struct activation **ret, char *error, size_t error_size);
/* The same for sockets that are at hand; takes them over. `names` may be NULL. */
struct activation *activation_new(const int *fds, const char *const *names, size_t count);

/* A socket that fits: first by name, whatever its address is, then by address and type. Returns it, non-blocking and the
 * caller's to close; -ENOENT: there is none (or `a` is NULL); another -errno with `error`: one is meant for this door and
 * cannot be used. Each is given once. */
int activation_take(struct activation *a, const struct activation_want *want, char *error,
                    size_t error_size);

/* When every door has asked; frees `a` (NULL is allowed) and closes what is left over. That is logged as a warning, except
 * for a socket of the wrong type at the address of a door that found none: -EPROTOTYPE with `error`. */
int activation_finish(struct activation *a, char *error, size_t error_size);
/* As above, without a word: the start has failed for another reason. */
void activation_free(struct activation *a);

#endif
