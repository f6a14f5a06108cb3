#include "isoctl_output.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/pbjson.h"

bool output_json(const ProtobufCMessage *message)
{
	struct buf line;

	buf_init(&line, 0);
	pbjson_append(&line, message);
	buf_putc(&line, '\n');
	size_t written = fwrite(line.p, 1, line.n, stdout);
	bool whole = written == line.n;
	buf_release(&line);
	return whole;
}

bool output_finish(void)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return true;
	fprintf(stderr, "isoctl: cannot write the answer: %s\n", strerror(errno));
	return false;
}
