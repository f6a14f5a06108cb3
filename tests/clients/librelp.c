/* A RELP client that is librelp itself, as others than rsyslog use it: numbered lines, one frame each, sent again by
 * librelp when a connection broke off before their answer.
 *
 *   librelp HOST PORT TEXT COUNT WINDOW [CA CERTIFICATE KEY PEER]
 *
 * Sends "TEXT 0" … "TEXT COUNT-1", then closes the session in order, which waits for the last answers. With five more
 * words over TLS. Prints how often it had to connect again; what librelp complains of goes to stderr. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <librelp.h> /* wants those above */

#define PATIENCE_S   180 /* that the receiver is away at one time */
#define PAUSE_MS     50
#define TIMEOUT_S    20 /* that it is silent */
#define IPV4         2  /* protocol family of socket(2) */
#define COMPLAINTS   20 /* told: a receiver that is away gives thousands */
#define MESSAGE_SIZE 256

static unsigned complaints;

static void complain(void *user, char *object, char *message, relpRetVal code)
{
	(void)user;
	if (complaints++ < COMPLAINTS)
		fprintf(stderr, "librelp: %s: %s (%d)\n", object, message, code);
}

/* librelp calls it at places where it does not look whether there is one. */
static void say_nothing(char *format, ...)
{
	(void)format;
}

static void need(relpRetVal r, const char *what)
{
	if (r == RELP_RET_OK)
		return;
	fprintf(stderr, "%s: librelp tells %d\n", what, r);
	exit(1);
}

static unsigned char *bytes(char *text)
{
	return (unsigned char *)text;
}

static relpEngine_t *make_engine(int with_tls)
{
	static char syslog[] = "syslog";
	relpEngine_t *engine;

	need(relpEngineConstruct(&engine), "engine");
	need(relpEngineSetDbgprint(engine, say_nothing), "debugging");
	need(relpEngineSetOnErr(engine, complain), "errors");
	need(relpEngineSetOnAuthErr(engine, complain), "errors of authentication");
	need(relpEngineSetEnableCmd(engine, bytes(syslog), eRelpCmdState_Required), "syslog");
	if (with_tls)
		need(relpEngineSetTLSLibByName(engine, "openssl"), "its TLS library");
	return engine;
}

static void use_tls(relpClt_t *c, char **words)
{
	static char by_name[] = "name";

	need(relpCltEnableTLS(c), "TLS");
	need(relpCltSetCACert(c, words[0]), words[0]);
	need(relpCltSetOwnCert(c, words[1]), words[1]);
	need(relpCltSetPrivKey(c, words[2]), words[2]);
	need(relpCltSetAuthMode(c, by_name), by_name);
	need(relpCltAddPermittedPeer(c, words[3]), words[3]);
}

/* A new session, in which librelp sends again what was not answered. */
static void connect_again(relpClt_t *c)
{
	const struct timespec pause = {.tv_nsec = PAUSE_MS * 1000000L};
	time_t until = time(NULL) + PATIENCE_S;
	relpRetVal r;

	while ((r = relpCltReconnect(c)) != RELP_RET_OK) {
		if (time(NULL) > until)
			need(r, "the receiver is away for too long");
		nanosleep(&pause, NULL);
	}
}

int main(int argc, char **argv)
{
	char message[MESSAGE_SIZE];
	unsigned long again = 0;
	relpClt_t *client;

	if (argc != 6 && argc != 10)
		return 2;
	relpEngine_t *engine = make_engine(argc == 10);
	need(relpEngineCltConstruct(engine, &client), "client");
	need(relpCltSetTimeout(client, TIMEOUT_S), "time-out");
	need(relpCltSetWindowSize(client, atoi(argv[5])), "window");
	if (argc == 10)
		use_tls(client, argv + 6);
	need(relpCltConnect(client, IPV4, bytes(argv[2]), bytes(argv[1])), "connecting");
	for (unsigned long n = 0, count = strtoul(argv[4], NULL, 10); n < count; n++) {
		snprintf(message, sizeof(message), "%s %lu", argv[3], n);
		while (relpCltSendSyslog(client, bytes(message), strlen(message)) != RELP_RET_OK) {
			again++;
			connect_again(client);
		}
	}
	need(relpEngineCltDestruct(engine, &client), "closing");
	need(relpEngineDestruct(&engine), "the end");
	printf("%lu\n", again);
	return 0;
}
