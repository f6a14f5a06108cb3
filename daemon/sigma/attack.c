/* Tactics change about once in two years: version 19 (2026) split Defense Evasion into Stealth and Defense Impairment.
 * Rules with the older names are as good, so both are here. Techniques are too many and too short-lived for a table:
 * only their form is known. */
#include "sigma/attack.h"

#include "base/mem.h"

const struct attack_tactic attack_tactics[] = {
	{"reconnaissance", "Reconnaissance"},
	{"resource-development", "Resource Development"},
	{"initial-access", "Initial Access"},
	{"execution", "Execution"},
	{"persistence", "Persistence"},
	{"privilege-escalation", "Privilege Escalation"},
	{"stealth", "Stealth"},
	{"defense-evasion", "Defense Evasion"},
	{"defense-impairment", "Defense Impairment"},
	{"credential-access", "Credential Access"},
	{"discovery", "Discovery"},
	{"lateral-movement", "Lateral Movement"},
	{"collection", "Collection"},
	{"command-and-control", "Command and Control"},
	{"exfiltration", "Exfiltration"},
	{"impact", "Impact"},
	{"evasion", "Evasion"},
	{"inhibit-response-function", "Inhibit Response Function"},
	{"impair-process-control", "Impair Process Control"},
};
const size_t attack_tactic_count = ARRAY_LEN(attack_tactics);

static bool is_digits(struct str s, size_t count)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] < '0' || s.p[i] > '9')
			return false;
	return s.n == count;
}

static bool is_technique(struct str s)
{
	if (s.n != 5 && s.n != 9)
		return false;
	return s.p[0] == 't' && is_digits(str_head(str_skip(s, 1), 4), 4) &&
	       (s.n == 5 || (s.p[5] == '.' && is_digits(str_skip(s, 6), 3)));
}

static bool is_tactic(struct str s, struct str tag)
{
	if (s.n != tag.n)
		return false;
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] != tag.p[i] && !(s.p[i] == '_' && tag.p[i] == '-'))
			return false;
	return true;
}

enum attack_kind attack_tag(struct str tag, size_t *ret_tactic)
{
	if (!str_starts(tag, STR("attack.")))
		return ATTACK_NONE;
	tag = str_skip(tag, sizeof("attack.") - 1);
	if (is_technique(tag))
		return ATTACK_TECHNIQUE;
	for (size_t i = 0; i < attack_tactic_count; i++) {
		if (!is_tactic(tag, str_of(attack_tactics[i].tag)))
			continue;
		*ret_tactic = i;
		return ATTACK_TACTIC;
	}
	if (tag.n && (tag.p[0] == 'g' || tag.p[0] == 's') && is_digits(str_skip(tag, 1), 4))
		return ATTACK_OTHER;
	if (str_starts(tag, STR("ds")) && is_digits(str_skip(tag, 2), 4))
		return ATTACK_OTHER;
	return ATTACK_UNKNOWN;
}
