/* The access desk: roles and least privilege of isod itself. What each role may ask of the API, and who was
 * refused what. */
#ifndef ISOD_OFFICER_ACCESS_H
#define ISOD_OFFICER_ACCESS_H

#include <stdbool.h>

#include "api.pb-c.h"
#include "officer/desk.h"

struct access_desk {
	uint64_t refusals;
	uint64_t commands;
};

void access_init(struct access_desk *d);
void access_on_record(struct access_desk *d, const struct step *s);

/* The least role that may ask this (from a table by request); ROLE_NONE when the request is of no known kind. */
Isod__V1__Role access_needed(Isod__V1__Request__AskCase ask);
/* Whether `role` may do what needs `needed`. Roles are steps, but for the producer's: it may hand in events, which else
 * only an admin may, and nothing else. */
bool access_allows(Isod__V1__Role role, Isod__V1__Role needed);
/* "viewer" …, in words. */
const char *access_role_name(Isod__V1__Role role);
/* "acknowledge", "list_incidents" …: the request's name in the schema. */
const char *access_request_name(Isod__V1__Request__AskCase ask);

#endif
