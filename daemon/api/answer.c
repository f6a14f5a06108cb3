/* What answers are made of. */
#include <stdlib.h>

#include "api/api_internal.h"

struct page page_of(uint32_t asked, size_t usual)
{
	size_t limit = asked ? asked : usual;

	return (struct page){.limit = limit < PAGE_ITEMS_MAX ? limit : PAGE_ITEMS_MAX};
}

bool page_has_room(struct page *p)
{
	if (p->count < p->limit && p->bytes < PAGE_BYTES)
		return true;
	p->more = true;
	return false;
}

void page_count(struct page *p, const ProtobufCMessage *item)
{
	p->bytes += protobuf_c_message_get_packed_size(item);
	p->count++;
}

void *answer_take(struct connection *c, size_t count, size_t size)
{
	void *p = arena_alloc(&c->api->arena, count * size);

	if (!p)
		abort();
	return p;
}

Isod__V1__Response answer_to(const Isod__V1__Request *q, Isod__V1__Response__AnswerCase kind)
{
	Isod__V1__Response a = ISOD__V1__RESPONSE__INIT;

	a.id = q->id;
	a.answer_case = kind;
	return a;
}
