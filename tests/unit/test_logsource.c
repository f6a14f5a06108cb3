/* The log-source table: that the shipped file gives events of each shape Sigma's names and the right entries, and
 * that no rule of the corpus asks for a source the table does not know. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/path.h"
#include "base/yaml.h"
#include "logsource_rig.h"

/* The repo's top, where tests are run from. */
static void load_shipped(void)
{
	struct diags d;

	diags_init(&d);
	int r = logsources_load("conf/logsources.yaml", &d, &table);
	for (size_t i = 0; i < d.count; i++) {
		char line[512];
		cr_log_error("%s", diag_format(&d.items[i], line, sizeof(line)));
	}
	cr_assert_eq(r, 0);
	diags_release(&d);
	event_setup(&event);
}

TestSuite(logsource, .init = load_shipped, .fini = release);

Test(logsource, evtx_json_gets_sigma_names)
{
	struct logsource_set set = CLASSIFY(
		"Event.#attributes.xmlns", "http://schemas.example/event",
		"Event.System.Provider.#attributes.Name", "Microsoft-Windows-Sysmon",
		"Event.System.EventID", "1", "Event.System.Channel",
		"Microsoft-Windows-Sysmon/Operational", "Event.System.Computer", "WS5",
		"Event.EventData.Image", "C:\\Windows\\System32\\cmd.exe",
		"Event.EventData.CommandLine", "cmd /c whoami", "Event.EventData.User", "CORP\\jo");

	cr_expect(is(&set, "windows", "process_creation", NULL));
	cr_expect(is(&set, "windows", NULL, "sysmon"));
	cr_expect(is(&set, "windows", NULL, NULL));
	cr_expect_not(is(&set, "windows", "network_connection", NULL));
	cr_expect_not(is(&set, "windows", NULL, "security"));
	cr_expect_not(is(&set, "linux", "process_creation", NULL));
	expect_value("Image", "C:\\Windows\\System32\\cmd.exe");
	expect_value("Event.EventData.Image", NULL);
	expect_value("Provider_Name", "Microsoft-Windows-Sysmon");
	expect_value("Computer", "WS5");
	expect_value("host", "WS5");
	expect_value("user", "CORP\\jo");
	expect_value("Event.#attributes.xmlns", "http://schemas.example/event");
}

Test(logsource, evtx_event_id_with_qualifiers)
{
	struct logsource_set set = CLASSIFY(
		"Event.System.Provider.@Name", "Service Control Manager",
		"Event.System.EventID.#text", "7045", "Event.System.EventID.#attributes.Qualifiers",
		"16384", "Event.System.Channel", "System", "Event.EventData.ServiceName", "x");

	cr_expect(is(&set, "windows", NULL, "system"));
	expect_value("EventID", "7045");
	expect_value("Provider_Name", "Service Control Manager");
}

Test(logsource, user_data_is_found_below_its_element_and_repeats)
{
	struct logsource_set set =
		CLASSIFY("Event.System.Channel", "System", "Event.System.EventID", "104",
	                 "Event.UserData.LogFileCleared.SubjectUserName", "jo",
	                 "Event.UserData.LogFileCleared.Channel", "Windows PowerShell");
	const struct field *f = event_find(&event, STR("Channel"));

	cr_expect(is(&set, "windows", NULL, "system"));
	expect_value("user", "jo");
	cr_assert_not_null(f);
	cr_expect(str_eq(f->value, STR("System")));
	f = event_next(&event, f);
	cr_assert_not_null(f);
	cr_expect(str_eq(f->value, STR("Windows PowerShell")));
}

Test(logsource, names_that_rules_write_without_spaces)
{
	struct logsource_set set =
		CLASSIFY("Event.System.Channel", "Microsoft-Windows-Windows Defender/Operational",
	                 "Event.System.EventID", "1119", "Event.System.Provider.#attributes.Name",
	                 "Microsoft-Windows-Windows Defender", "Event.EventData.Source Name",
	                 "Real-Time Protection", "Event.EventData.Process Name", "C:\\a.exe",
	                 "Event.EventData.Threat_Name", "EICAR", "Event.EventData.New Value", "x");

	cr_expect(is(&set, "windows", NULL, "windefend"));
	expect_value("SourceName", "Real-Time Protection");
	expect_value("Provider_Name", "Microsoft-Windows-Windows Defender");
	expect_value("ProcessName", "C:\\a.exe");
	expect_value("ThreatName", "EICAR");
	expect_value("NewValue", "x");
	expect_value("New Value", "x");
}

Test(logsource, windows_events_and_firewalls_in_structured_data)
{
	struct logsource_set set = CLASSIFY(
		"host", "ws1", "NXLOG@14506.EventID", "4625", "NXLOG@14506.Channel", "Security",
		"NXLOG@14506.TargetUserName", "jo", "NXLOG@14506.IpAddress", "192.0.2.7");

	cr_expect(is(&set, "windows", NULL, "security"));
	expect_value("EventID", "4625");
	expect_value("user", "jo");
	expect_value("src_ip", "192.0.2.7");
	CLASSIFY("program", "RT_FLOW", "junos@2636.1.1.1.2.129.source-address", "192.0.2.7",
	         "junos@2636.1.1.1.2.129.destination-port", "22");
	expect_value("source-address", "192.0.2.7");
	expect_value("src_ip", "192.0.2.7");
	expect_value("dst_port", "22");
	CLASSIFY("devname", "fw1", "srcip", "192.0.2.7");
	expect_value("host", "fw1");
}

Test(logsource, sysmon_for_linux)
{
	struct logsource_set set =
		CLASSIFY("program", "sysmon", "Provider_Name", "Linux-Sysmon", "EventID", "1",
	                 "Channel", "Linux-Sysmon/Operational", "Image", "/usr/bin/id");

	cr_expect(is(&set, "linux", "process_creation", NULL));
	cr_expect(is(&set, "linux", NULL, NULL));
	cr_expect_not(is(&set, "windows", "process_creation", NULL));
	cr_expect_not(is(&set, "windows", NULL, NULL));
}

Test(logsource, the_path_of_a_request)
{
	CLASSIFY("program", "nginx", "request_uri", "/a/b.jsp?c=d?e");
	expect_value("cs-uri-stem", "/a/b.jsp");
	expect_value("cs-uri-query", "/a/b.jsp?c=d?e");
	CLASSIFY("program", "nginx", "request_uri", "/a");
	expect_value("cs-uri-stem", "/a");
	CLASSIFY("program", "nginx", "request_uri", "/a?b", "cs-uri-stem", "/c");
	expect_value("cs-uri-stem", "/c");
}

Test(logsource, winlogbeat)
{
	struct logsource_set set = CLASSIFY(
		"@timestamp", "2024-05-01T00:00:00Z", "event.code", "3", "event.provider",
		"Microsoft-Windows-Sysmon", "host.name", "ws7", "winlog.channel",
		"Microsoft-Windows-Sysmon/Operational", "winlog.event_id", "3",
		"winlog.provider_name", "Microsoft-Windows-Sysmon", "winlog.event_data.Initiated",
		"true", "winlog.computer_name", "ws7.corp.example", "process.executable",
		"C:\\a.exe", "winlog.event_data.Image", "C:\\a.exe", "source.ip", "10.0.0.7",
		"destination.ip", "203.0.113.9", "destination.port", "443");

	cr_expect(is(&set, "windows", "network_connection", NULL));
	expect_value("EventID", "3");
	expect_value("Image", "C:\\a.exe");
	expect_value("DestinationIp", "203.0.113.9");
	expect_value("DestinationPort", "443");
	expect_value("src_ip", "10.0.0.7");
	expect_value("dst_port", "443");
	expect_value("host", "ws7.corp.example");
	const struct field *f = event_find(&event, STR("Image"));
	cr_expect_null(event_next(&event, f), "a second name must not double what is there");
}

Test(logsource, flat_nxlog_security_4688_is_process_creation)
{
	struct logsource_set set = CLASSIFY(
		"Message", "A new process has been created.", "EventID", "4688", "SourceName",
		"Microsoft-Windows-Security-Auditing", "Hostname", "WS5.corp.example", "Channel",
		"security", "SubjectUserName", "jo", "SubjectDomainName", "CORP", "SubjectLogonId",
		"0xc61d9", "NewProcessName", "C:\\Windows\\System32\\whoami.exe", "CommandLine",
		"whoami /all", "ParentProcessName", "C:\\Windows\\explorer.exe");

	cr_expect(is(&set, "windows", "process_creation", NULL));
	cr_expect(is(&set, "windows", NULL, "security"));
	cr_expect_not(is(&set, "windows", NULL, "sysmon"));
	expect_value("Image", "C:\\Windows\\System32\\whoami.exe");
	expect_value("ParentImage", "C:\\Windows\\explorer.exe");
	expect_value("CommandLine", "whoami /all");
	expect_value("User", "CORP\\jo");
	expect_value("LogonId", "0xc61d9");
	expect_value("user", "CORP\\jo");
	expect_value("host", "WS5.corp.example");
	expect_value("Provider_Name", "Microsoft-Windows-Security-Auditing");
}

Test(logsource, the_acting_user_is_no_machine_or_system_account)
{
	CLASSIFY("Channel", "Security", "EventID", "4624", "SubjectUserName", "WS5$",
	         "SubjectDomainName", "CORP", "TargetUserName", "jo", "TargetDomainName", "CORP",
	         "IpAddress", "::ffff:192.0.2.7");
	expect_value("user", "CORP\\jo");
	expect_value("src_ip", "192.0.2.7");
	CLASSIFY("Channel", "Security", "EventID", "4625", "SubjectUserName", "-",
	         "SubjectDomainName", "-", "TargetUserName", "admin", "TargetDomainName", "-",
	         "IpAddress", "-");
	expect_value("user", "admin");
	expect_value("src_ip", NULL);
	CLASSIFY("Channel", "Security", "EventID", "4672", "SubjectUserName", "SYSTEM",
	         "SubjectDomainName", "NT AUTHORITY", "IpAddress", "127.0.0.1");
	expect_value("user", NULL);
	expect_value("src_ip", NULL);
	CLASSIFY("user", "kept", "Channel", "Security", "SubjectUserName", "jo");
	expect_value("user", "kept");
}

Test(logsource, a_windows_event_tells_its_host_itself)
{
	CLASSIFY("host", "relay.example", "Channel", "Security", "EventID", "4688", "Hostname",
	         "WS5.corp.example");
	expect_value("host", "WS5.corp.example");
	expect_value("collector", "relay.example");
	CLASSIFY("host", "ws5.CORP.example", "Channel", "Security", "Computer", "WS5.corp.example");
	expect_value("host", "ws5.CORP.example");
	expect_value("collector", NULL);
	CLASSIFY("host", "web1", "program", "sshd", "Computer", "other");
	expect_value("host", "web1");
}

Test(logsource, registry_categories_of_sysmon)
{
	static const struct {
		const char *id, *type;
		bool add, delete, set, rename;
	} cases[] = {
		{"12", "CreateKey", true, false, false, false},
		{"12", "DeleteKey", false, true, false, false},
		{"12", "DeleteValue", false, true, false, false},
		{"12", "INFO", true, true, false, false}, /* NXLog's own EventType */
		{"13", "SetValue", false, false, true, false},
		{"14", "RenameKey", false, false, false, true},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct logsource_set set =
			CLASSIFY("Provider_Name", "Microsoft-Windows-Sysmon", "EventID",
		                 cases[i].id, "Channel", "Microsoft-Windows-Sysmon/Operational",
		                 "EventType", cases[i].type);
		cr_expect_eq(is(&set, "windows", "registry_add", NULL), cases[i].add);
		cr_expect_eq(is(&set, "windows", "registry_delete", NULL), cases[i].delete);
		cr_expect_eq(is(&set, "windows", "registry_set", NULL), cases[i].set);
		cr_expect_eq(is(&set, "windows", "registry_rename", NULL), cases[i].rename);
		cr_expect(is(&set, "windows", "registry_event", NULL));
	}
}

Test(logsource, linux_programs)
{
	static const struct {
		const char *program, *service;
	} cases[] = {
		{"sshd", "sshd"},       {"sshd-session", "sshd"}, {"sshd(pam_unix)", "sshd"},
		{"sudo", "sudo"},       {"CRON", "cron"},         {"crond", "cron"},
		{"clamd", "clamav"},    {"vsftpd", "vsftpd"},     {"guacd", "guacamole"},
		{"auditd", "auditd"},   {"polkitd", "auth"},      {"sshd", "auth"},
		{"anything", "syslog"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct logsource_set set = CLASSIFY("program", cases[i].program, "host", "web1");
		cr_expect(is(&set, "linux", NULL, cases[i].service), "%s", cases[i].program);
		cr_expect(is(&set, "linux", NULL, NULL));
		cr_expect_not(is(&set, "windows", NULL, NULL));
		cr_expect_not(is(&set, "cisco", NULL, NULL));
	}
}

Test(logsource, sudo_and_auditd_commands_are_linux_processes)
{
	struct logsource_set set = CLASSIFY("program", "sudo", "user", "jo", "target_user", "root",
	                                    "command", "/usr/bin/tail -f /var/log/syslog");

	cr_expect(is(&set, "linux", "process_creation", NULL));
	expect_value("Image", "/usr/bin/tail");
	expect_value("CommandLine", "/usr/bin/tail -f /var/log/syslog");
	expect_value("USER", "root");

	set = CLASSIFY("program", "sudo", "user", "jo", "target_user", "root", "outcome", "failure",
	               "command", "/usr/bin/tail -f /var/log/syslog");
	cr_expect_not(is(&set, "linux", "process_creation", NULL), "what was refused did not run");
	expect_value("CommandLine", NULL);

	set = CLASSIFY("type", "SYSCALL", "arch", "c000003e", "syscall", "59", "exe", "/bin/ls",
	               "audit_id", "1.2:3");
	cr_expect(is(&set, "linux", "process_creation", NULL));
	expect_value("SYSCALL", "execve");
	expect_value("Image", "/bin/ls");
	set = CLASSIFY("type", "SYSCALL", "arch", "c000003e", "syscall", "2", "exe", "/bin/ls",
	               "audit_id", "1.2:3");
	cr_expect_not(is(&set, "linux", "process_creation", NULL));

	set = CLASSIFY("type", "EXECVE", "argc", "3", "a0", "/bin/ls", "a1", "-l", "a2", "/etc");
	cr_expect(is(&set, "linux", "process_creation", NULL));
	cr_expect(is(&set, "linux", NULL, "auditd"));
	expect_value("CommandLine", "/bin/ls -l /etc");
	expect_value("Image", "/bin/ls");
}

Test(logsource, network_and_web_categories)
{
	struct logsource_set set =
		CLASSIFY("program", "kernel", "src_ip", "198.51.100.4", "dst_ip", "192.0.2.1");

	cr_expect(is(&set, NULL, "firewall", NULL));
	set = CLASSIFY("program", "nginx", "message", "GET /");
	cr_expect(is(&set, NULL, "webserver", NULL));
	cr_expect(is(&set, NULL, NULL, "nginx"));
	set = CLASSIFY("event.module", "apache", "url.path", "/x.php", "url.query", "a=1",
	               "http.request.method", "GET", "http.response.status_code", "200");
	cr_expect(is(&set, NULL, "webserver", NULL));
	expect_value("cs-uri-query", "/x.php?a=1");
	expect_value("cs-method", "GET");
	expect_value("sc-status", "200");
	set = CLASSIFY("_path", "dns", "uid", "C1", "id.orig_h", "10.1.1.1", "query", "a.example");
	cr_expect(is(&set, "zeek", NULL, "dns"));
	cr_expect(is(&set, NULL, "dns", NULL));
	cr_expect_not(is(&set, "zeek", NULL, "http"));
	expect_value("src_ip", "10.1.1.1");
	set = CLASSIFY("program", "%SYS-5-CONFIG_I", "message", "Configured from console");
	cr_expect(is(&set, "cisco", NULL, "syslog"));
	cr_expect_not(is(&set, "linux", NULL, NULL));
}

Test(logsource, clouds)
{
	struct logsource_set set =
		CLASSIFY("eventSource", "iam.amazonaws.com", "eventName", "CreateUser",
	                 "sourceIPAddress", "203.0.113.5", "userIdentity.userName", "pedro");

	cr_expect(is(&set, "aws", NULL, "cloudtrail"));
	expect_value("user", "pedro");
	expect_value("src_ip", "203.0.113.5");
	set = CLASSIFY("protoPayload.methodName", "v1.compute.images.insert", "logName",
	               "projects/p/logs/cloudaudit.googleapis.com%2Factivity");
	cr_expect(is(&set, "gcp", NULL, "gcp.audit"));
	expect_value("gcp.audit.method_name", "v1.compute.images.insert");
	set = CLASSIFY("kind", "Event", "apiVersion", "audit.k8s.io/v1", "verb", "create",
	               "objectRef.resource", "pods", "user.username", "jo");
	cr_expect(is(&set, "kubernetes", NULL, "audit"));
	cr_expect(is(&set, "kubernetes", "application", "audit"));
	expect_value("user", "jo");
	set = CLASSIFY("azure.signinlogs.properties.message", "x", "event.dataset",
	               "azure.signinlogs");
	cr_expect(is(&set, "azure", NULL, "signinlogs"));
	expect_value("properties.message", "x");
}

Test(logsource, unknown_events_belong_nowhere)
{
	struct logsource_set set = CLASSIFY("colour", "blue", "shape", "round");

	cr_expect_not(set.any);
}

Test(logsource, own_events_are_known_by_their_source_not_by_what_they_say)
{
	from = "isod/sec1";
	struct logsource_set set = CLASSIFY("product", "isod", "event", "access_refused");
	cr_expect(set.any);
	cr_expect(is(&set, "isod", NULL, NULL));
	cr_expect_not(is(&set, "linux", NULL, NULL));
	set = CLASSIFY("event", "access_refused");
	cr_expect_not(set.any);
	from = "tls/isod/sec1";
	set = CLASSIFY("product", "isod", "isod.source", "isod/sec1", "source", "isod/sec1");
	cr_expect_not(set.any);
	from = "isodtls/192.0.2.1";
	set = CLASSIFY("product", "isod", "isod.source", "isod/sec1");
	cr_expect_not(set.any);
}

Test(logsource, unknown_log_sources_resolve_to_nothing)
{
	struct logsource_set set;

	cr_expect_eq(logsources_resolve(table, STR("toaster"), STR_NONE, STR_NONE, &set), 0);
	cr_expect_not(set.any);
	cr_expect_eq(logsources_resolve(table, STR("linux"), STR("image_load"), STR_NONE, &set), 0);
	cr_expect_gt(
		logsources_resolve(table, STR("Windows"), STR("Process_Creation"), STR_NONE, &set),
		1);
}

/* An event that is all of one repeated name, and one at the limit of fields. */
Test(logsource, hostile_events_stay_within_limits)
{
	struct logsource_set set;

	event_reset(&event);
	for (size_t i = 0; i < EVENT_FIELDS_MAX; i++)
		event_put(&event, STR("process.executable"), STR("/bin/x"), VALUE_STRING);
	logsources_classify(table, &event, &set);
	cr_expect_eq(event.count, EVENT_FIELDS_MAX);
	cr_expect(event.flags & EVENT_INCOMPLETE);

	event_reset(&event);
	for (size_t i = 0; i + 8 < EVENT_FIELDS_MAX; i++)
		event_put(&event, STR("Event.EventData.CommandLine"), STR("x"), VALUE_STRING);
	event_put(&event, STR("Event.EventData."), STR("empty"), VALUE_STRING);
	event_put(&event, STR("Event.UserData.."), STR("empty"), VALUE_STRING);
	event_put(&event, STR(""), STR("nameless"), VALUE_NULL);
	event_put(&event, STR("Channel"), STR(""), VALUE_NULL);
	logsources_classify(table, &event, &set);
	expect_value("CommandLine", "x");
	expect_value("Event.EventData.", "empty");
	cr_expect_not(is(&set, "windows", NULL, NULL), "a null Channel is no Channel");
	event_reset(&event);
	event_put(&event, STR("Channel"), STR("Security"), VALUE_STRING);
	event_put(&event, STR("Computer"), STR("ws5"), VALUE_STRING);
	for (size_t i = 0; i + 3 < EVENT_FIELDS_MAX; i++)
		event_put(&event, STR("host"), STR("relay"), VALUE_STRING);
	logsources_classify(table, &event, &set);
	expect_value("host", "ws5");
	expect_value("collector", "relay");
}

Test(logsource, long_argument_lists_are_cut_not_lost)
{
	char names[3000][8];
	struct logsource_set set;

	event_reset(&event);
	event_put(&event, STR("type"), STR("EXECVE"), VALUE_STRING);
	for (size_t i = 0; i < 3000; i++) {
		snprintf(names[i], sizeof(names[i]), "a%u", (unsigned)i);
		event_put(&event, str_of(names[i]), STR("x"), VALUE_STRING);
	}
	logsources_classify(table, &event, &set);
	struct str line = event_value(&event, STR("CommandLine"));
	cr_expect_gt(line.n, 1000);
	cr_expect(str_starts(line, STR("x x x")));
}

/* ---- what is worth a look ---- */

/* Any text of any condition of the file. */
static struct str some_text(const struct when *w)
{
	while (w->count)
		w = w->parts[(size_t)rand() % w->count];
	return w->value_count ? w->values[(size_t)rand() % w->value_count] : STR("x");
}

static struct str some_value(struct arena *a)
{
	const struct source *s = &table->sources[(size_t)rand() % table->source_count];
	struct str text = some_text(s->when);
	const char *before = rand() % 3 ? "" : "y ", *after = rand() % 3 ? "" : " z";

	char *whole = xasprintf("%s%.*s%s", before, STR_FMT(text), after);
	struct str kept = arena_str(a, str_of(whole));
	free(whole);
	return kept;
}

/* Names and values that conditions ask for, put together at random. */
static void make_event(struct event *e, struct arena *a)
{
	static const char *const common[] = {"message", "program", "EventID", "Channel"};

	event_reset(e);
	e->source = STR("tls/192.0.2.1");
	for (int i = rand() % 8; i >= 0; i--) {
		struct str name = rand() % 3 ? table->names[(size_t)rand() % table->name_count].text
		                             : str_of(common[rand() % 4]);
		event_put(e, name, some_value(a), rand() % 20 ? VALUE_STRING : VALUE_NULL);
	}
}

Test(logsource, only_what_is_worth_a_look_gives_the_same_as_all)
{
	struct logsource_set few, all;
	uint64_t always[LOGSOURCE_JOBS / 64];
	struct event other;
	struct arena a;
	size_t any = 0;

	arena_init(&a, 0);
	event_setup(&other);
	memcpy(always, table->always, sizeof(always));
	for (unsigned seed = 1; seed <= 20000; seed++) {
		srand(seed);
		make_event(&event, &a);
		logsources_classify(table, &event, &few);
		srand(seed);
		make_event(&other, &a);
		for (size_t i = 0; i < table->derive_count; i++)
			table->always[i / 64] |= (uint64_t)1 << i % 64;
		for (size_t i = LOGSOURCE_DERIVES_MAX;
		     i < LOGSOURCE_DERIVES_MAX + table->source_count; i++)
			table->always[i / 64] |= (uint64_t)1 << i % 64;
		logsources_classify(table, &other, &all);
		memcpy(table->always, always, sizeof(always));
		cr_assert_arr_eq(few.bits, all.bits, sizeof(few.bits), "seed %u", seed);
		cr_assert_eq(few.any, all.any);
		cr_assert_eq(event.count, other.count, "seed %u", seed);
		any += few.any;
		arena_reset(&a);
	}
	cr_assert_gt(any, 5000);
	event_release(&other);
	arena_release(&a);
}

/* A memory of what came before changes nothing: neither log sources nor fields nor their order. */
Test(logsource, what_is_remembered_is_the_same_as_found_out_anew)
{
	struct logsource_memo *memo = logsource_memo_new(table);
	struct logsource_set remembered, anew;
	struct event other;
	struct arena a;
	size_t any = 0;

	arena_init(&a, 0);
	event_setup(&other);
	for (unsigned i = 1; i <= 60000; i++) {
		/* Some thousand events, each time and again. */
		unsigned seed = i % 2 ? i % 61 : i % 7 ? i % 1499 : i;
		srand(seed);
		make_event(&event, &a);
		event.source = i % 3 ? STR("tls/192.0.2.1") : STR("isod/test");
		logsources_classify_with(table, memo, &event, &remembered);
		srand(seed);
		make_event(&other, &a);
		other.source = event.source;
		logsources_classify(table, &other, &anew);
		cr_assert_arr_eq(remembered.bits, anew.bits, sizeof(anew.bits), "seed %u", seed);
		cr_assert_eq(remembered.any, anew.any);
		cr_assert_eq(event.count, other.count, "seed %u", seed);
		for (size_t j = 0; j < other.count; j++) {
			const struct field *f = &event.fields[j], *g = &other.fields[j];
			cr_assert(str_eq(f->name, g->name) && str_eq(f->value, g->value) &&
			          f->derived == g->derived && f->type == g->type);
			cr_assert_not_null(event_find(&event, f->name));
		}
		any += remembered.any;
		arena_reset(&a);
	}
	cr_assert_gt(any, 15000);
	logsource_memo_free(memo);
	event_release(&other);
	arena_release(&a);
}

Test(logsource, the_source_of_an_event_is_no_matter_of_memory)
{
	static const char *const own[] = {"product", "isod", "event", "started", NULL};
	struct logsource_memo *memo = logsource_memo_new(table);
	struct logsource_set set;

	for (int round = 0; round < 3; round++)
		for (int mine = 0; mine < 2; mine++) {
			event_reset(&event);
			event.source = mine ? STR("isod/node") : STR("tcp/192.0.2.1");
			for (size_t i = 0; own[i]; i += 2)
				event_put(&event, str_of(own[i]), str_of(own[i + 1]), VALUE_STRING);
			logsources_classify_with(table, memo, &event, &set);
			cr_assert_eq(is(&set, "isod", NULL, NULL), mine);
		}
	logsource_memo_free(memo);
}

/* --- the corpus --- */

struct tally {
	struct buf unknown;
	size_t rules;
};

static void tally_rule(struct tally *t, const struct yaml_node *rule)
{
	const struct yaml_node *source = yaml_get(rule, "logsource");
	const char *product = yaml_text(source, "product"),
		   *category = yaml_text(source, "category"),
		   *service = yaml_text(source, "service");
	struct logsource_set set;

	if (!source)
		return;
	t->rules++;
	if (logsources_resolve(table, str_of(product), str_of(category), str_of(service), &set))
		return;
	buf_printf(&t->unknown, "%s/%s/%s\n", product ? product : "-", category ? category : "-",
	           service ? service : "-");
}

Test(logsource, every_rule_of_the_corpus_has_a_source)
{
	static const char *const suffixes[] = {".yml", NULL};
	const char *shared = getenv("ISOD_SHARED");
	char *corpus = xasprintf("%s/corpus/sigma", shared ? shared : "../shared");
	struct tally t = {.rules = 0};
	char **paths = NULL;
	size_t count = 0;

	if (path_list(corpus, suffixes, &paths, &count) < 0)
		cr_skip("no corpus at %s", corpus);
	buf_init(&t.unknown, 0);
	for (size_t i = 0; i < count; i++) {
		struct yaml_node **docs;
		struct arena arena;
		struct diags d;
		size_t n = 0;

		arena_init(&arena, 0);
		diags_init(&d);
		cr_assert_eq(yaml_load(&arena, paths[i], &d, &docs, &n), 0, "%s", paths[i]);
		for (size_t j = 0; j < n; j++)
			tally_rule(&t, docs[j]);
		arena_release(&arena);
		diags_release(&d);
	}
	cr_expect_gt(t.rules, 3000);
	cr_expect_eq(t.unknown.n, 0, "log sources that the table does not know:\n%s",
	             buf_cstr(&t.unknown));
	buf_release(&t.unknown);
	path_free_list(paths, count);
	free(corpus);
}

/* Else a sender with a certificate would keep rules off its events that are for log sources the table does not know. */
Test(logsource, what_is_known_of_the_sender_says_nothing_of_what_the_event_is)
{
	struct logsource_memo *memo = logsource_memo_new(table);
	struct logsource_set set = CLASSIFY("host", "web1", "isod.certificate", "web1");

	cr_expect(is(&set, NULL, "origin", NULL));
	cr_expect_not(set.any);
	for (int i = 0; i < 3; i++) {
		event_reset(&event);
		event_put(&event, STR("host"), STR("web1"), VALUE_STRING);
		event_put_derived(&event, STR("isod.certificate"), STR("web1"), VALUE_STRING);
		logsources_classify_with(table, memo, &event, &set);
		cr_expect(is(&set, NULL, "origin", NULL));
		cr_expect_not(set.any, "the memo says so too, time %d", i);
	}
	logsource_memo_free(memo);
	set = CLASSIFY("program", "sshd", "isod.certificate", "web1");
	cr_expect(is(&set, NULL, "origin", NULL));
	cr_expect(set.any);
	set = CLASSIFY("program", "sshd");
	cr_expect_not(is(&set, NULL, "origin", NULL));
}
