/* Arbitrary bytes as a file of anchors, of isod's own and as a syslog: reading must end, and agree with what it says. An
 * anchor that was not signed with the key must never be taken for one. In front of the input stands, if its first byte says
 * so, one that was, changed at a byte that the input chooses. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log/anchor.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct rig {
	char file[96];
	struct sign_key *key;
	char line[ANCHOR_LINE_MAX];
	size_t n;
};

static struct rig *open_rig(void)
{
	static struct rig rig;
	static const uint8_t head[SHA256_BYTES] = {1, 2, 3};
	char private[96], public[96];
	const char *base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";

	if (rig.n)
		return &rig;
	snprintf(rig.file, sizeof(rig.file), "%s/isod-fuzz-anchor-%d", base, (int)getpid());
	snprintf(private, sizeof(private), "%s.key", rig.file);
	snprintf(public, sizeof(public), "%s.pub", rig.file);
	if (sign_key_open(private, public, &rig.key) < 0)
		abort();
	unlink(private);
	unlink(public);
	int n = anchor_line(rig.key, "fuzz", 7, 1, head, rig.line);
	if (n < 0)
		abort();
	rig.n = (size_t)n;
	return &rig;
}

static void put(const struct rig *rig, const uint8_t *p, size_t n, bool with, bool changed,
                uint16_t at)
{
	FILE *f = fopen(rig->file, "w");
	char line[ANCHOR_LINE_MAX];

	memcpy(line, rig->line, rig->n);
	if (changed)
		line[at % rig->n] ^= 1;
	if (!f || (with && fwrite(line, 1, rig->n, f) != rig->n) || fwrite(p, 1, n, f) != n ||
	    fclose(f) != 0)
		abort();
}

static void check(const struct rig *rig, bool own, bool signed_one)
{
	struct anchors a = {0};
	char error[512] = "";

	int r = anchors_load(rig->file, rig->key, own, &a, error, sizeof(error));
	if ((r < 0) != (error[0] != '\0') || (r < 0 && !strstr(error, rig->file)))
		abort();
	for (size_t i = 0; r == 0 && i < a.count; i++)
		if (!signed_one || a.items[i].sequence != 7 || a.items[i].head[1] != 2)
			abort();
	if (r == 0)
		anchors_free(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rig *rig = open_rig();

	if (size < 3)
		return 0;
	bool with = data[0] & 1, changed = data[0] & 2;
	put(rig, data + 3, size - 3, with, changed, (uint16_t)(data[1] << 8 | data[2]));
	check(rig, true, with);
	check(rig, false, with);
	if (anchor_append(rig->file, str_make(rig->line, rig->n)) < 0)
		abort();
	unlink(rig->file);
	return 0;
}
