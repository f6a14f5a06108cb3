/* Loading the rules anew while isod runs: everything that struct content holds, whole or not at all.
 *
 * The files are read and compiled in a thread of their own; then the workers are asked to stand still, and when all do
 * the new content is installed. Whoever asks while one reload runs gets another one after it: files may have changed since the
 * first began to read them. */
#ifndef ISOD_RELOAD_H
#define ISOD_RELOAD_H

#include <stdint.h>

#include "api.pb-c.h"
#include "config/config.h"

struct content;
struct event_base;
struct reload;

struct reload_options {
	const struct config *config; /* resolved */
	struct event_base *base;     /* the loop that the callbacks come from */
	/* Brings the workers to stand still; when they do, somebody calls reload_parked. */
	void (*park)(void *arg, struct content *content);
	/* Puts the content in the place of the old one and lets the workers go on. 0, or -EAGAIN: to be called again
	 * a little later. */
	int (*install)(void *arg, struct content *content);
	/* The content that reload_compile was given is compiled. */
	void (*compiled)(void *arg);
	/* What came of the reload of that number and of all before it. */
	void (*done)(void *arg, uint64_t number, const Isod__V1__RulesReloaded *outcome);
	void *arg;
};

/* Everything that the configuration names, for its workers. As content_load(). */
int reload_content(const struct config *c, struct diags *diags, struct content **ret);

struct reload *reload_new(const struct reload_options *o);
/* Before the first reload is asked for: compiles the content that runs, in a thread, while it runs. */
void reload_compile(struct reload *r, struct content *content);
/* Ends the thread, if it runs. Nothing is called back any more. NULL is allowed. */
void reload_free(struct reload *r);
/* From the loop: begins, or will begin when the one that runs is done. Returns the number of the reload. */
uint64_t reload_ask(struct reload *r);
/* From any thread. */
void reload_parked(struct reload *r);

#endif
