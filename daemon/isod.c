/* isod: the daemon. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "daemon.h"

static const char usage[] = "usage: isod [--check] [--options] [--version] [--config FILE]\n"
			    "  --config FILE  default /etc/isod/isod.yaml\n"
			    "  --check        only validate the configuration and all it names\n"
			    "  --options      print every option with its type and default\n";

static const struct option options[] = {
	{"config", required_argument, NULL, 'c'}, {"check", no_argument, NULL, 'k'},
	{"options", no_argument, NULL, 'o'},      {"version", no_argument, NULL, 'v'},
	{"help", no_argument, NULL, 'h'},         {0},
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
	bool check = false;
	struct config *config;
	struct isod *d;

	for (int c; (c = getopt_long(argc, argv, "c:h", options, NULL)) != -1;) {
		switch (c) {
		case 'c': file = optarg; break;
		case 'k': check = true; break;
		case 'o': return print_options();
		case 'v': return puts("isod " ISOD_VERSION) < 0;
		case 'h': return fputs(usage, stdout) < 0;
		default: return fputs(usage, stderr), 2;
		}
	}
	if (isod_load_config(file, &config) < 0)
		return 1;
	if (check)
		return isod_check(config) < 0;
	if (isod_start(config, &d) < 0)
		return 1;
	isod_loop(d);
	isod_stop(d);
	return 0;
}
