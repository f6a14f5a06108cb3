#include "log/producer.h"

#define PREFIX PRODUCER_LISTENER "/"

static bool is_id_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '.' || c == '_' || c == '-';
}

bool producer_id_is_valid(struct str id)
{
	for (size_t i = 0; i < id.n; i++)
		if (!is_id_char(id.p[i]))
			return false;
	return id.n > 0 && id.n <= PRODUCER_ID_MAX;
}

struct str producer_of_source(struct str source)
{
	if (!str_starts(source, STR(PREFIX)))
		return STR_NONE;
	struct str rest = str_skip(source, sizeof(PREFIX) - 1);
	ptrdiff_t slash = str_find(rest, '/');
	struct str id = slash < 0 ? rest : str_head(rest, (size_t)slash);

	return producer_id_is_valid(id) ? id : STR_NONE;
}
