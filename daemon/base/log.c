#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/utf8.h"

#define LINE_MAX_BYTES 2048 /* longer lines are cut: nothing isod says needs more */

static struct {
	enum log_target target;
	int max_level;
	const char *name;
} setup = {LOG_TO_STDERR, LOG_INFO, "isod"};

void log_setup(enum log_target target, int max_level, const char *name)
{
	setup.target = target;
	setup.max_level = max_level;
	setup.name = name;
	if (target == LOG_TO_SYSLOG)
		openlog(name, LOG_PID | LOG_NDELAY, LOG_DAEMON);
}

char *log_escape(struct str in, char *out, size_t size)
{
	static const char cut[] = "…";
	size_t o = 0;

	for (size_t i = 0; i < in.n;) {
		size_t len = utf8_sequence(str_skip(in, i));
		unsigned char c = (unsigned char)in.p[i];
		/* Terminals obey C1 (U+0080 to U+009F) like C0. */
		bool c1 = len == 2 && c == 0xc2 && (unsigned char)in.p[i + 1] < 0xa0;
		bool plain = (len > 1 && !c1) || (len == 1 && c >= 0x20 && c != 0x7f);
		if (o + 4 + sizeof(cut) > size) {
			if (o + sizeof(cut) <= size)
				o += (size_t)snprintf(out + o, size - o, "%s", cut);
			break;
		}
		if (plain) {
			memcpy(out + o, in.p + i, len);
			o += len;
			i += len;
		} else {
			o += (size_t)snprintf(out + o, size - o, "\\x%02x", (unsigned char)in.p[i]);
			i++;
		}
	}
	if (size)
		out[o] = '\0';
	return out;
}

static void emit(int level, const char *line)
{
	static const char *const names[] = {"emerg",   "alert",  "crit", "error",
	                                    "warning", "notice", "info", "debug"};

	if (setup.target == LOG_TO_SYSLOG) {
		syslog(level, "%s", line);
		return;
	}
	char when[CLOCK_TEXT_MAX];
	fprintf(stderr, "%s %s %s: %s\n", clock_format(clock_now(), when), setup.name,
	        names[level & 7], line);
}

/* True if the site may speak now; *ret_held is how many lines it kept back in the window that ended. */
static bool site_admits(struct log_site *site, uint32_t *ret_held)
{
	uint64_t now = clock_mono(), start = atomic_load(&site->window_start);

	*ret_held = 0;
	if (start == 0 || now - start > LOG_INTERVAL_NS) {
		if (atomic_compare_exchange_strong(&site->window_start, &start, now)) {
			atomic_store(&site->in_window, 0);
			*ret_held = atomic_exchange(&site->held_back, 0);
		}
	}
	if (atomic_fetch_add(&site->in_window, 1) < LOG_BURST)
		return true;
	atomic_fetch_add(&site->held_back, 1);
	return false;
}

void log_at(struct log_site *site, int level, const char *format, ...)
{
	char line[LINE_MAX_BYTES], safe[LINE_MAX_BYTES];
	uint32_t held;
	va_list ap;

	if (level > setup.max_level || !site_admits(site, &held))
		return;
	if (held) {
		snprintf(line, sizeof(line), "(%u more lines like the next were held back)", held);
		emit(level, line);
	}
	va_start(ap, format);
	int n = vsnprintf(line, sizeof(line), format, ap);
	va_end(ap);
	if (n < 0)
		return;
	size_t length = (size_t)n < sizeof(line) ? (size_t)n : sizeof(line) - 1;
	emit(level, log_escape(str_make(line, length), safe, sizeof(safe)));
}
