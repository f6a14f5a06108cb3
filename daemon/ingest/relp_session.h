/* The server's side of a RELP connection: the commands of the peer and our answers, in the order of the commands.
 *
 *   open     200 OK and our offers
 *   syslog   a frame: goes the way of every frame, and is answered 200 OK when its evidence has been fdatasync'ed
 *   close    an answer, then the end
 *   others   500
 *
 * An answer has the TXNR of its command, whatever that is: the count is the peer's own and not gone over. 0 wants none.
 * What the peer offers is not looked at: syslog is all that we have, and what a later version adds is not in our way.
 *
 * What the peer has not been answered it sends again, on a connection that has nothing to do with this one: such a
 * frame is taken twice. How many there can be at a time is for the peer's window to say. */
#ifndef ISOD_INGEST_RELP_SESSION_H
#define ISOD_INGEST_RELP_SESSION_H

#include "ingest/connection.h"

struct relp_session;

struct relp_session *relp_session_new(struct connection *c);
/* NULL is allowed. */
void relp_session_free(struct relp_session *s);

enum relp_state {
	RELP_OPEN,
	RELP_CLOSED, /* the peer has said close: no more is to be read */
	RELP_BROKEN, /* what arrived is no RELP: relp_session_why() */
};
/* Takes the frames out of *in, which is advanced to what is left. */
enum relp_state relp_session_feed(struct relp_session *s, struct str *in, uint64_t now_ns);
const char *relp_session_why(const struct relp_session *s);

/* So many answers wait for the peer, or for the disk, that no more commands should be read. */
bool relp_session_is_full(const struct relp_session *s);
/* Answers are on their way to the peer … */
bool relp_session_has_output(const struct relp_session *s);
/* … or wait for the disk. */
bool relp_session_has_answers(const struct relp_session *s);
/* Writes what the peer takes. 0, or -errno: the connection is of no use any more. */
int relp_session_write(struct relp_session *s);
/* Tells the peer that we are about to close: after the answers. */
void relp_session_say_goodbye(struct relp_session *s);

#endif
