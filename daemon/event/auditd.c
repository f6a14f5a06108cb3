/* Records of the Linux audit system as auditd, its dispatcher, journald or the kernel itself write them:
 *   type=SYSCALL msg=audit(1700000000.123:456): arch=c000003e syscall=59 success=yes … key="root-cmd"
 *   node=web1 type=USER_AUTH msg=audit(…): pid=1 uid=0 msg='op=PAM:authentication acct="root" … res=failed'
 *   audit: type=1400 audit(…): apparmor="DENIED" …        (kernel)
 *   USER_LOGIN pid=1 uid=0 auid=0 …                       (journald, program "audit")
 * Names stay as auditd writes them, because Sigma's rules use them. What a user may choose freely (paths, command
 * lines) is written in hex when it holds a blank, a quote or anything outside ASCII; it is decoded here.
 * Source of the format: the kernel's audit_log_untrustedstring() and the audit userspace's "Audit event
 * fields" and "Audit record fields" documents. */
#include <ctype.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/net.h"
#include "base/utf8.h"
#include "event/decoders.h"
#include "event/stamp.h"

#define NESTED_MAX      2 /* msg='…' inside a record; real ones have one level */
#define ARGUMENT_DIGITS 6 /* a0 … a999999 */

struct record {
	struct str node, type, stamp; /* stamp: what stands in audit(…) */
	struct str fields;
};

struct record_type {
	unsigned number;
	const char *name;
};

/* linux/audit.h and libaudit's msg_typetab.h: what a kernel without auditd sends as a number. */
static const struct record_type record_types[] = {
	{1100, "USER_AUTH"},
	{1101, "USER_ACCT"},
	{1102, "USER_MGMT"},
	{1103, "CRED_ACQ"},
	{1104, "CRED_DISP"},
	{1105, "USER_START"},
	{1106, "USER_END"},
	{1107, "USER_AVC"},
	{1108, "USER_CHAUTHTOK"},
	{1109, "USER_ERR"},
	{1110, "CRED_REFR"},
	{1111, "USYS_CONFIG"},
	{1112, "USER_LOGIN"},
	{1113, "USER_LOGOUT"},
	{1114, "ADD_USER"},
	{1115, "DEL_USER"},
	{1116, "ADD_GROUP"},
	{1117, "DEL_GROUP"},
	{1123, "USER_CMD"},
	{1124, "USER_TTY"},
	{1127, "SYSTEM_BOOT"},
	{1128, "SYSTEM_SHUTDOWN"},
	{1129, "SYSTEM_RUNLEVEL"},
	{1130, "SERVICE_START"},
	{1131, "SERVICE_STOP"},
	{1134, "GRP_MGMT"},
	{1200, "DAEMON_START"},
	{1201, "DAEMON_END"},
	{1202, "DAEMON_ABORT"},
	{1203, "DAEMON_CONFIG"},
	{1205, "DAEMON_ROTATE"},
	{1300, "SYSCALL"},
	{1302, "PATH"},
	{1303, "IPC"},
	{1304, "SOCKETCALL"},
	{1305, "CONFIG_CHANGE"},
	{1306, "SOCKADDR"},
	{1307, "CWD"},
	{1309, "EXECVE"},
	{1318, "OBJ_PID"},
	{1319, "TTY"},
	{1320, "EOE"},
	{1321, "BPRM_FCAPS"},
	{1322, "CAPSET"},
	{1323, "MMAP"},
	{1324, "NETFILTER_PKT"},
	{1325, "NETFILTER_CFG"},
	{1326, "SECCOMP"},
	{1327, "PROCTITLE"},
	{1328, "FEATURE_CHANGE"},
	{1330, "KERN_MODULE"},
	{1331, "FANOTIFY"},
	{1333, "TIME_INJOFFSET"},
	{1334, "BPF"},
	{1336, "URINGOP"},
	{1338, "OPENAT2"},
	{1400, "AVC"},
	{1401, "SELINUX_ERR"},
	{1403, "MAC_POLICY_LOAD"},
	{1404, "MAC_STATUS"},
	{1405, "MAC_CONFIG_CHANGE"},
	{1700, "ANOM_PROMISCUOUS"},
	{1701, "ANOM_ABEND"},
	{1702, "ANOM_LINK"},
	{1800, "INTEGRITY_DATA"},
	{1801, "INTEGRITY_METADATA"},
	{1805, "INTEGRITY_RULE"},
	{2000, "KERNEL"},
	{2100, "ANOM_LOGIN_FAILURES"},
};

/* Fields that audit_log_untrustedstring() writes. */
static const struct str untrusted[] = {
	STR_INIT("acct"),     STR_INIT("cmd"),       STR_INIT("comm"),   STR_INIT("cwd"),
	STR_INIT("data"),     STR_INIT("dir"),       STR_INIT("device"), STR_INIT("exe"),
	STR_INIT("file"),     STR_INIT("key"),       STR_INIT("name"),   STR_INIT("new-group"),
	STR_INIT("path"),     STR_INIT("proctitle"), STR_INIT("vm"),     STR_INIT("watch"),
	STR_INIT("root_dir"), STR_INIT("profile"),   STR_INIT("target"), STR_INIT("sw"),
	STR_INIT("unit"),     STR_INIT("grp"),       STR_INIT("op")};

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\x1d';
}

static struct str skip_blanks(struct str s)
{
	while (s.n && is_blank(s.p[0]))
		s = str_skip(s, 1);
	return s;
}

static size_t word_length(struct str s)
{
	size_t n = 0;

	while (n < s.n && !is_blank(s.p[n]))
		n++;
	return n;
}

/* audit(STAMP) at the start of *s. */
static bool take_stamp(struct str *s, struct str *ret_stamp)
{
	ptrdiff_t close;

	if (!str_starts(*s, STR("audit(")) || (close = str_find(*s, ')')) < 7)
		return false;
	*ret_stamp = str_make(s->p + 6, (size_t)close - 6);
	if (!isdigit((unsigned char)ret_stamp->p[0]))
		return false;
	*s = skip_blanks(str_skip(*s, (size_t)close + 1));
	if (s->n && s->p[0] == ':')
		*s = str_skip(*s, 1);
	return true;
}

static bool is_type_word(struct str w)
{
	bool letter = false;

	for (size_t i = 0; i < w.n; i++) {
		unsigned char c = (unsigned char)w.p[i];
		if (!isupper(c) && !isdigit(c) && c != '_' && c != '[' && c != ']')
			return false;
		letter = letter || isupper(c);
	}
	return letter && w.n >= 3;
}

static bool read_record(struct str program, struct str body, struct record *ret)
{
	struct record r = {0};
	struct str s = common_skip_uptime(body);

	if (str_starts(s, STR("audit: ")))
		s = skip_blanks(str_skip(s, 7));
	if (str_starts(s, STR("node="))) {
		s = str_skip(s, 5);
		r.node = str_head(s, word_length(s));
		s = skip_blanks(str_skip(s, r.node.n));
	}
	if (str_starts(s, STR("type="))) {
		s = str_skip(s, 5);
		r.type = str_head(s, word_length(s));
		s = skip_blanks(str_skip(s, r.type.n));
		if (str_starts(s, STR("msg=")))
			s = str_skip(s, 4);
		if (r.type.n == 0 || !take_stamp(&s, &r.stamp))
			return false;
	} else if (!take_stamp(&s, &r.stamp)) {
		if (!str_eq(program, STR("audit")))
			return false;
		struct str w = str_head(s, word_length(s));
		if (!is_type_word(w) || str_find(s, '=') < 0)
			return false;
		r.type = w;
		s = str_skip(s, w.n);
	}
	r.fields = s;
	*ret = r;
	return true;
}

bool auditd_recognise(struct str program, struct str body)
{
	struct record r;
	return read_record(program, body, &r);
}

struct str auditd_node(struct str body)
{
	struct record r;
	return read_record(STR_NONE, body, &r) ? r.node : STR_NONE;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Bytes of an upper-case hex string, in the arena. `sure`: decode whatever comes out; else only when it holds a
 * byte for which the kernel takes to hex, so that a file called CAFE stays one. */
static bool unhex(struct event *e, struct str s, bool sure, struct str *ret)
{
	bool needed = sure;

	if (s.n < 2 || s.n % 2)
		return false;
	for (size_t i = 0; i < s.n; i += 2) {
		int high = hex_digit(s.p[i]), low = hex_digit(s.p[i + 1]);
		if (high < 0 || low < 0)
			return false;
		int c = high * 16 + low;
		needed = needed || c < 0x21 || c > 0x7e || c == '"';
	}
	char *out = needed ? arena_alloc(&e->arena, s.n / 2) : NULL;
	if (!out)
		return false;
	for (size_t i = 0; i < s.n / 2; i++)
		out[i] = (char)(hex_digit(s.p[2 * i]) * 16 + hex_digit(s.p[2 * i + 1]));
	*ret = str_make(out, s.n / 2);
	if (!utf8_valid(*ret))
		e->flags |= EVENT_BAD_UTF8;
	return true;
}

/* Digits behind the "a" of a0, a12, a1[3]: how many of the name's bytes they and the letter take; 0 for another
 * name. */
static size_t argument_name(struct str name, bool *ret_piece)
{
	size_t n = 1;

	if (name.n < 2 || name.p[0] != 'a')
		return 0;
	while (n < name.n && n <= ARGUMENT_DIGITS && isdigit((unsigned char)name.p[n]))
		n++;
	*ret_piece = n < name.n && name.p[n] == '[' && name.p[name.n - 1] == ']';
	return n > 1 && (n == name.n || *ret_piece) ? n : 0;
}

static bool is_untrusted(struct str name)
{
	for (size_t i = 0; i < ARRAY_LEN(untrusted); i++)
		if (str_eq(name, untrusted[i]))
			return true;
	return false;
}

/* The arguments of a command line are parted by NULs. */
static struct str blanks_for_nuls(struct str s)
{
	while (s.n && s.p[s.n - 1] == '\0')
		s.n--;
	for (char *p = (char *)s.p; p < s.p + s.n; p++)
		if (*p == '\0')
			*p = ' ';
	return s;
}

/* Several keys of one rule stand in one value, parted by \001. */
static void put_keys(struct event *e, struct str name, struct str decoded)
{
	while (decoded.p)
		event_put(e, name, str_split(&decoded, '\x01'), VALUE_STRING);
}

static void put_value(struct event *e, struct str type, struct str name, struct str value,
                      bool quoted)
{
	struct str decoded;
	bool piece = false;
	bool argument = str_eq(type, STR("EXECVE")) && argument_name(name, &piece);

	if (quoted || !(argument || is_untrusted(name)) || !unhex(e, value, piece, &decoded)) {
		bool number = !quoted && !argument && common_type(value) == VALUE_NUMBER;
		event_put_derived(e, name, value, number ? VALUE_NUMBER : VALUE_STRING);
		return;
	}
	if (str_eq(name, STR("key")))
		put_keys(e, name, decoded);
	else if (str_eq(name, STR("proctitle")) || str_eq(name, STR("cmd")))
		event_put(e, name, blanks_for_nuls(decoded), VALUE_STRING);
	else
		event_put(e, name, decoded, VALUE_STRING);
}

static bool ends_value(struct str s, size_t at)
{
	return at >= s.n || is_blank(s.p[at]) || s.p[at] == ',' || s.p[at] == '\'' ||
	       str_starts(str_skip(s, at), STR("#035"));
}

/* Cuts one value off *s, which stands behind the "=". *unclosed: no more single quotes end anywhere in *s (found
 * out once, so that a record full of opening quotes is not searched to its end for each). */
static struct str take_value(struct str *s, char *ret_quote, bool *unclosed)
{
	char quote = s->n && (s->p[0] == '"' || (s->p[0] == '\'' && !*unclosed)) ? s->p[0] : 0;
	struct str value;
	size_t n = 1;

	if (quote) {
		/* What has a double quote in it is written in hex, so the first one ends the value. */
		while (n < s->n && !(s->p[n] == quote && (quote == '"' || ends_value(*s, n + 1))))
			n++;
		if (n < s->n) {
			value = str_make(s->p + 1, n - 1);
			*s = str_skip(*s, n + 1);
			*ret_quote = quote;
			return value;
		}
		*unclosed = *unclosed || quote == '\'';
	}
	*ret_quote = 0;
	n = word_length(*s);
	value = str_head(*s, n);
	ptrdiff_t escaped_separator = str_search(value, STR("#035"));
	if (escaped_separator >= 0)
		value = str_head(value, (size_t)escaped_separator);
	*s = str_skip(*s, value.n);
	while (value.n && (value.p[value.n - 1] == ',' || value.p[value.n - 1] == '\''))
		value.n--;
	return value;
}

/* SELinux: avc:  denied  { read write } for  pid=… */
static struct str take_access(struct event *e, struct str s)
{
	s = skip_blanks(s);
	struct str verdict = str_head(s, word_length(s));
	event_put_derived(e, STR("avc"), verdict, VALUE_STRING);
	if (str_eq(verdict, STR("denied")))
		common_put(e, STR("outcome"), STR("failure"), VALUE_STRING);
	else if (str_eq(verdict, STR("granted")))
		common_put(e, STR("outcome"), STR("success"), VALUE_STRING);
	s = skip_blanks(str_skip(s, verdict.n));
	if (s.n == 0 || s.p[0] != '{')
		return s;
	s = str_skip(s, 1);
	for (;;) {
		s = skip_blanks(s);
		struct str w = str_head(s, word_length(s));
		s = str_skip(s, w.n);
		if (w.n == 0 || str_eq(w, STR("}")))
			return s;
		event_put_derived(e, STR("permission"), w, VALUE_STRING);
	}
}

static void put_fields(struct event *e, struct str type, struct str s, unsigned depth)
{
	bool unclosed = false;

	for (;;) {
		s = skip_blanks(s);
		if (str_starts(s, STR("#035")))
			s = str_skip(s, 4);
		if (s.n == 0)
			return;
		struct str w = str_head(s, word_length(s));
		ptrdiff_t equals = str_find(w, '=');
		char quote;
		if (equals <= 0) {
			s = str_skip(s, w.n);
			if (str_eq(w, STR("avc:")))
				s = take_access(e, s);
			continue;
		}
		struct str name = str_head(w, (size_t)equals);
		s = str_skip(s, (size_t)equals + 1);
		struct str value = take_value(&s, &quote, &unclosed);
		/* SADDR={ saddr_fam=inet … } */
		if (str_eq(value, STR("{")))
			continue;
		if (quote == '\'' && depth < NESTED_MAX)
			put_fields(e, type, value, depth + 1);
		else
			put_value(e, type, name, value, quote != 0);
	}
}

static struct str type_name(struct str type)
{
	ptrdiff_t open = str_find(type, '[');
	struct str number = type;
	uint64_t n;

	if (open >= 0 && str_ends(type, STR("]")))
		number = str_make(type.p + open + 1, type.n - (size_t)open - 2);
	if (str_to_u64(number, &n) < 0)
		return type;
	for (size_t i = 0; i < ARRAY_LEN(record_types); i++)
		if (record_types[i].number == n)
			return str_of(record_types[i].name);
	return type;
}

static void put_stamp(struct event *e, struct str stamp)
{
	struct str serial = stamp;
	struct str time = str_split(&serial, ':');
	uint64_t ns;

	event_put_derived(e, STR("audit_id"), stamp, VALUE_STRING);
	if (serial.n)
		event_put_derived(e, STR("serial"), serial, common_type(serial));
	if (stamp_epoch(time, &ns))
		e->time_ns = ns;
}

/* a0 … an as one command line, and arguments that the kernel had to split put together again. */
static void put_command_line(struct event *e, size_t first)
{
	size_t last = e->count, total = 0, n = 0;
	struct str before = STR_NONE;
	bool piece;

	for (size_t i = first; i < last; i++)
		if (argument_name(e->fields[i].name, &piece))
			total += e->fields[i].value.n + 1;
	char *out = total ? arena_alloc(&e->arena, total) : NULL;
	if (!out)
		return;
	size_t start = 0;
	for (size_t i = first; i < last; i++) {
		struct field f = e->fields[i];
		size_t stem = argument_name(f.name, &piece);
		if (!stem)
			continue;
		bool goes_on = piece && str_eq(before, str_head(f.name, stem));
		if (!goes_on && n)
			out[n++] = ' ';
		if (!goes_on)
			start = n;
		if (f.value.n)
			memcpy(out + n, f.value.p, f.value.n);
		n += f.value.n;
		before = str_head(f.name, stem);
		bool more = false, next_piece;
		if (piece && i + 1 < last) {
			size_t next = argument_name(e->fields[i + 1].name, &next_piece);
			more = next && next_piece &&
			       str_eq(before, str_head(e->fields[i + 1].name, next));
		}
		if (piece && !more)
			event_put_derived(e, before, str_make(out + start, n - start),
			                  VALUE_STRING);
	}
	event_put_derived(e, STR("CommandLine"), str_make(out, n), VALUE_STRING);
}

/* saddr=0200 PPPP AAAAAAAA (IPv4) or 0A00 PPPP FFFFFFFF A*16 (IPv6), in the names of enriched records. */
static void put_socket_address(struct event *e)
{
	struct str hex = event_value(e, STR("saddr")), raw;
	char text[NET_TEXT_MAX];
	struct sockaddr_storage sa = {0};

	if (event_find(e, STR("laddr")) || hex.n > 2 * sizeof(sa) || !unhex(e, hex, true, &raw) ||
	    raw.n < 8)
		return;
	memcpy(&sa, raw.p, raw.n);
	/* The first two bytes are the family in the order of the machine that wrote it: x86 and arm. */
	int family = (unsigned char)raw.p[0] | (unsigned char)raw.p[1] << 8;
	sa.ss_family = (sa_family_t)family;
	if (family != AF_INET && (family != AF_INET6 || raw.n < 24))
		return;
	struct str address = arena_str(&e->arena, str_of(net_host((struct sockaddr *)&sa, text)));
	char port[8];
	snprintf(port, sizeof(port), "%u",
	         (unsigned)(unsigned char)raw.p[2] << 8 | (unsigned char)raw.p[3]);
	struct str port_text = arena_str(&e->arena, str_of(port));
	if (address.p && port_text.p) {
		event_put_derived(e, STR("laddr"), address, VALUE_STRING);
		event_put_derived(e, STR("lport"), port_text, VALUE_NUMBER);
	}
}

static bool names_somebody(struct str user)
{
	return user.n && user.p[0] != '(' && !str_eq(user, STR("?")) && !str_eq(user, STR("unset"));
}

static void put_outcome(struct event *e)
{
	static const char *const good[] = {"success", "yes", "1", "granted"};
	static const char *const bad[] = {"failed", "no", "0", "fail", "failure"};
	struct str v = event_value(e, STR("res"));

	if (!v.p)
		v = event_value(e, STR("success"));
	if (!v.p)
		v = event_value(e, STR("result"));
	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		if (str_ieq(v, str_of(good[i])))
			common_put(e, STR("outcome"), STR("success"), VALUE_STRING);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (str_ieq(v, str_of(bad[i])))
			common_put(e, STR("outcome"), STR("failure"), VALUE_STRING);
	v = event_value(e, STR("apparmor"));
	if (str_eq(v, STR("DENIED")))
		common_put(e, STR("outcome"), STR("failure"), VALUE_STRING);
	else if (str_eq(v, STR("ALLOWED")))
		common_put(e, STR("outcome"), STR("success"), VALUE_STRING);
}

static void put_common(struct event *e, size_t first)
{
	static const char *const users[] = {"acct", "AUID", "UID"};
	static const struct alias aliases[] = {
		{STR_INIT("addr"), STR_INIT("src_ip")},
		{STR_INIT("hostname"), STR_INIT("src_ip")},
		{STR_INIT("cmd"), STR_INIT("command")},
		{STR_INIT("CommandLine"), STR_INIT("command")},
		{STR_INIT("proctitle"), STR_INIT("command")},
		{STR_INIT("terminal"), STR_INIT("tty")},
	};

	for (size_t i = 0; i < ARRAY_LEN(users); i++) {
		struct str user = event_value(e, str_of(users[i]));
		if (names_somebody(user))
			common_put(e, STR("user"), user, VALUE_STRING);
	}
	struct str hostname = event_value(e, STR("hostname"));
	if (hostname.n && !net_is_address(hostname, NULL))
		common_put(e, STR("src_host"), hostname, VALUE_STRING);
	struct str session = event_value(e, STR("ses"));
	if (!str_eq(session, STR("4294967295")) && !str_eq(session, STR("unset")))
		common_put(e, STR("session"), session, common_type(session));
	common_from_table(e, first, aliases, ARRAY_LEN(aliases));
	put_outcome(e);
}

bool auditd_decode(struct event *e, struct str program, struct str body)
{
	size_t first = e->count;
	struct record r;

	if (!read_record(program, body, &r))
		return false;
	if (r.node.p)
		event_put_derived(e, STR("node"), r.node, VALUE_STRING);
	struct str type = type_name(r.type);
	if (type.p)
		event_put_derived(e, STR("type"), type, VALUE_STRING);
	if (type.p != r.type.p)
		event_put_derived(e, STR("type"), r.type, common_type(r.type));
	if (r.stamp.p)
		put_stamp(e, r.stamp);
	put_fields(e, type, r.fields, 0);
	if (str_eq(type, STR("EXECVE")))
		put_command_line(e, first);
	if (str_eq(type, STR("SOCKADDR")))
		put_socket_address(e);
	put_common(e, first);
	return true;
}
