/* isod's own log: to syslog(3) or to stderr, one line a call, with control characters and invalid UTF-8
 * of whatever is inserted escaped, and a limit per call site so that no peer can flood it.
 * Convention: a function either logs an error or returns it, never both; logged once at the boundary.
 * Never pass a secret. */
#ifndef ISOD_BASE_LOG_H
#define ISOD_BASE_LOG_H

#include <syslog.h>

#include "base/str.h"

enum log_target { LOG_TO_STDERR, LOG_TO_SYSLOG };

/* Process-wide, like syslog(3) itself: the only setting of its kind. Call before threads start.
 * `max_level`: LOG_ERR … LOG_DEBUG. `name` must live as long as the process. */
void log_setup(enum log_target target, int max_level, const char *name);

/* State of one call site: at most LOG_BURST lines a LOG_INTERVAL, then one line that counts the rest. */
#define LOG_BURST       20
#define LOG_INTERVAL_NS UINT64_C(5000000000)
struct log_site {
	_Atomic uint64_t window_start;
	_Atomic uint32_t in_window;
	_Atomic uint32_t held_back;
};

void log_at(struct log_site *site, int level, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#define LOG_SITE(level, ...)                                                                       \
	do {                                                                                       \
		static struct log_site log_site_;                                                  \
		log_at(&log_site_, level, __VA_ARGS__);                                            \
	} while (0)

#define log_error(...)   LOG_SITE(LOG_ERR, __VA_ARGS__)
#define log_warning(...) LOG_SITE(LOG_WARNING, __VA_ARGS__)
#define log_notice(...)  LOG_SITE(LOG_NOTICE, __VA_ARGS__)
#define log_info(...)    LOG_SITE(LOG_INFO, __VA_ARGS__)
#define log_debug(...)   LOG_SITE(LOG_DEBUG, __VA_ARGS__)

/* Escapes control characters and invalid UTF-8 of `in` as \xNN into `out` (terminated, cut with "…" when
 * it does not fit). Returns `out`. */
char *log_escape(struct str in, char *out, size_t size);

#endif
