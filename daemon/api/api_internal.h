/* What the files of api/ share: the listeners own the connections (api.c), a connection reads requests and writes
 * answers (connection.c), requests.c knows what each request means, peer.c who asks. */
#ifndef ISOD_API_API_INTERNAL_H
#define ISOD_API_API_INTERNAL_H

#include <stdbool.h>
#include <sys/time.h>
#include <sys/types.h>

#include "api/api.h"
#include "base/arena.h"
#include "base/map.h"

#define PEER_NAME_MAX 256

struct bufferevent;
struct event;
struct evconnlistener;

/* Whom the daemon takes an asker for. */
struct peer {
	char name[PEER_NAME_MAX]; /* the account's name, or "cert:COMMON NAME" */
	char owner
		[PEER_NAME_MAX]; /* "uid:N", or "cert:COMMON NAME": whose producers' ids it uses */
	Isod__V1__Role role;
	bool trusted; /* root or the daemon's own account, on the unix socket */
};

/* A line of the configuration's table of roles, its names looked up. */
struct role_rule {
	enum { ROLE_BY_UID, ROLE_BY_GID, ROLE_BY_CERTIFICATE } by;
	uid_t uid;
	gid_t gid;
	const char *certificate; /* in the configuration */
	Isod__V1__Role role;
};

/* What a connection's timer waits for; a client that does not do it in time is closed. */
enum deadline {
	DEADLINE_NONE,
	DEADLINE_HANDSHAKE,
	DEADLINE_REQUEST, /* the rest of a request that has begun */
	DEADLINE_IDLE,    /* the next request of a client that does not watch */
	DEADLINE_LINGER,  /* that the client reads our last words and closes */
	DEADLINES
};

struct api_counts {
	uint64_t accepted, requests, refusals, refusals_unrecorded;
	uint64_t bad_requests, too_large, timeouts, slow, turned_away, tls_failures;
	uint64_t producers_bound, producer_takeovers, producer_conflicts;
};

struct ingest_ask;

struct api {
	struct api_options options;
	struct evconnlistener *local, *remote;
	struct event *resume; /* listening again after descriptors ran out */
	char *socket_path;
	dev_t socket_dev;
	ino_t socket_ino;
	struct tls_context *tls;
	char address[64];
	struct role_rule *roles;
	size_t role_count;
	struct connection *connections;
	size_t connection_count, watchers;
	struct map changed;           /* ids of incidents to be told to watchers (in binary) */
	struct event *telling;        /* … when this fires */
	struct buf scratch;           /* one packed answer */
	struct arena arena;           /* what one answer is made of */
	uint64_t refusal_window_mono; /* of the limit on recorded refusals */
	unsigned refusals_in_window;
	struct timeval patience[DEADLINES];
	struct api_counts counts;
	struct map claims;   /* struct claim by producer (producers.c) */
	size_t ingest_bytes; /* of all batches under way */
	bool request_kept;   /* the request that was answered last lives on with its batch */
};

/* ---- connection.c ---- */

struct watch {
	bool on;
	uint64_t id; /* of the request */
	Isod__V1__Level min_severity;
	uint64_t next, last; /* ids of the snapshot still to be sent; next > last: done */
};

/* Batches of a connection that are under way. */
struct ingest_asks {
	struct ingest_ask *first;
	size_t count, bytes;
};

struct backup; /* backup.c */

struct connection {
	struct api *api;
	struct connection *next, **link;
	struct bufferevent *bev;
	struct event *timer;
	enum deadline deadline; /* what `timer` waits for */
	struct peer peer;
	bool known; /* `peer` is: TLS has shaken hands */
	bool tls;
	bool eof;  /* the peer sends nothing more */
	bool last; /* we read no more; what is in the output is the last */
	bool shut; /* … and it has been sent */
	unsigned refusals;
	struct watch watch;
	uint64_t reload;         /* the reload it waits for (0: none) … */
	uint64_t reload_request; /* … and the id of the request; meanwhile no other is taken up */
	struct ingest_asks ingest;
	struct map claims;     /* producers that it has spoken for, the connection itself by id */
	bool later;            /* a request waits until no batch is under way */
	struct backup *backup; /* that it is being sent, or NULL; nor is one then */
};

/* Takes over `fd`. `tls`: after a handshake; else `peer` tells who it is. */
void connection_new(struct api *a, int fd, bool tls, const struct peer *peer);
void connection_free(struct connection *c);
/* Queues an answer. */
void connection_send(struct connection *c, const Isod__V1__Response *answer);
void connection_error(struct connection *c, uint64_t id, Isod__V1__ErrorCode code,
                      const char *format, ...) __attribute__((format(printf, 4, 5)));
/* No more requests are read; what is queued is sent, then the connection ends. */
void connection_finish(struct connection *c);
/* Begins, or begins anew, to watch. */
void connection_watch(struct connection *c, uint64_t id, const Isod__V1__WatchRequest *q);
/* Answers who waits for the reload of that number or one before it. May free the connection. */
void connection_reloaded(struct connection *c, uint64_t number,
                         const Isod__V1__RulesReloaded *outcome);
/* One of its batches has been answered: goes on. May free it. */
void connection_ingest_answered(struct connection *c);
/* Tells the connection of the incidents in api->changed. May free it. */
void connection_tell(struct connection *c);

/* ---- requests.c ---- */

enum request_result {
	REQUEST_DONE,
	REQUEST_LATER, /* it must wait for the batches under way: ask again */
	REQUEST_BAD,   /* it is none: the connection is of no use any more */
};
/* Answers one request. */
enum request_result request_answer(struct connection *c, struct str body);
/* The answer to what the asker may not: counted, in the ledger and told as an event of isod's own. */
void request_refuse(struct connection *c, const Isod__V1__Request *q, Isod__V1__ErrorCode code,
                    const char *reason);

/* ---- answer.c ---- */

#define PAGE_ITEMS_MAX ((size_t)1000)    /* of one answer's list, whatever was asked for */
#define PAGE_BYTES     ((size_t)1 << 20) /* a list ends when it has grown past this */

/* A page of a list as it fills. */
struct page {
	size_t limit, bytes, count;
	bool more; /* something was left out */
};

/* `asked` items, or if that is 0 `usual`. */
struct page page_of(uint32_t asked, size_t usual);
/* True if there is room for another item; else the page is cut here. */
bool page_has_room(struct page *p);
void page_count(struct page *p, const ProtobufCMessage *item);
/* Memory for one answer. The arena has no limit; pages have. */
void *answer_take(struct connection *c, size_t count, size_t size);
Isod__V1__Response answer_to(const Isod__V1__Request *q, Isod__V1__Response__AnswerCase kind);

/* ---- rules.c ---- */

void ask_reload_rules(struct connection *c, const Isod__V1__Request *q);
void ask_rules_stats(struct connection *c, const Isod__V1__Request *q);

/* ---- backup.c ---- */

void ask_ledger_digest(struct connection *c, const Isod__V1__Request *q);
void ask_backup(struct connection *c, const Isod__V1__Request *q);
/* The next part of the backup that the connection gets. False when it gets none: then it may ask for other things. */
bool backup_send(struct connection *c);
/* NULL is allowed. */
void backup_free(struct backup *b);

/* ---- ingest.c ---- */

void ask_ingest_hello(struct connection *c, const Isod__V1__Request *q);
void ask_ingest_batch(struct connection *c, const Isod__V1__Request *q);
/* So many batches are under way that no more should be read. */
bool ingest_is_full(const struct connection *c);
/* The connection goes: nobody wants the answers. */
void ingest_forget(struct connection *c);

/* ---- producers.c ---- */

/* Whether the connection may speak for that producer (valid): it is nobody else's, and no newer connection has it. Binds it
 * to the peer with its first batch. False: the answer has been given. `first`: of the batch; 0: a hello. */
bool producer_claim(struct connection *c, const Isod__V1__Request *q, const char *producer,
                    uint64_t first);
/* The connection goes: gives back what it has. */
void producer_release(struct connection *c);

/* ---- peer.c ---- */

/* Looks up the names in the configuration's roles; warns of those that there are not. */
void roles_load(struct api *a);
/* The process at the other end of a unix socket. 0 or -errno. */
int peer_of_socket(const struct api *a, int fd, struct peer *ret);
/* The holder of a verified certificate with that common name. */
void peer_of_certificate(const struct api *a, const char *name, struct peer *ret);

#endif
