#include "sigma/rule_groups.h"

#include "base/mem.h"

size_t rule_groups_make(const struct ruleset *set, uint32_t *of, const struct rule ***ret_first)
{
	const struct rule **first = NULL;
	size_t count = 0, cap = 0;
	struct map seen;

	map_init(&seen);
	for (size_t i = 0; i < set->count; i++) {
		const struct rule *r = &set->rules[i];
		struct str key = r->unmapped ? STR("unmapped")
		                             : str_make((const char *)r->sources.bits,
		                                        sizeof(r->sources.bits));
		uintptr_t group = (uintptr_t)map_get(&seen, key);
		if (!group) {
			xgrow(&first, &cap, count + 1, sizeof(*first));
			first[count++] = r;
			group = count;
			map_put(&seen, key, (void *)group);
		}
		of[i] = (uint32_t)group - 1;
	}
	map_release(&seen, NULL);
	*ret_first = first;
	return count;
}
