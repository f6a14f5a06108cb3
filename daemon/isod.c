/* isod: the daemon. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "daemon.h"
#include "load.h"
#include "replay.h"

static const char usage[] =
	"usage: isod [--config FILE] [--check | --options | --version | --replay DIR]\n"
	"  --config FILE  default /etc/isod/isod.yaml\n"
	"  --check        only validate the configuration and all it names\n"
	"  --options      print every option with its type and default\n"
	"  --replay DIR   rebuild the state from a copy of a state folder's ledger\n"
	"                 and print its digests; --until SEQUENCE: as it was then\n";

static const struct option options[] = {
	{"config", required_argument, NULL, 'c'}, {"check", no_argument, NULL, 'k'},
	{"options", no_argument, NULL, 'o'},      {"version", no_argument, NULL, 'v'},
	{"help", no_argument, NULL, 'h'},         {"replay", required_argument, NULL, 'r'},
	{"until", required_argument, NULL, 'u'},  {0},
};

static int print_options(void)
{
	struct buf out;

	buf_init(&out, 0);
	config_describe(&out);
	fwrite(out.p, 1, out.n, stdout);
	buf_release(&out);
	return 0;
}

int main(int argc, char **argv)
{
	const char *file = "/etc/isod/isod.yaml";
	const char *replay = NULL;
	uint64_t until = UINT64_MAX;
	bool check = false;
	struct config *config;
	struct isod *d;

	for (int c; (c = getopt_long(argc, argv, "c:h", options, NULL)) != -1;) {
		switch (c) {
		case 'c': file = optarg; break;
		case 'k': check = true; break;
		case 'r': replay = optarg; break;
		case 'u':
			if (str_to_u64(str_of(optarg), &until) < 0)
				return fputs(usage, stderr), 2;
			break;
		case 'o': return print_options();
		case 'v': return puts("isod " ISOD_VERSION) < 0;
		case 'h': return fputs(usage, stdout) < 0;
		default: return fputs(usage, stderr), 2;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "isod: '%s' is one argument too many\n%s", argv[optind], usage);
		return 2;
	}
	if (replay)
		return isod_replay(replay, until) < 0;
	if (load_config(file, &config) < 0)
		return 1;
	if (check)
		return load_check(config) < 0;
	if (isod_start(config, &d) < 0)
		return 1;
	isod_loop(d);
	isod_stop(d);
	return 0;
}
