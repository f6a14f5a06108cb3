/* Who asks. The kernel tells of a unix socket's peer what nobody can forge: uid, gid and groups at the time of
 * connect(2). Of a TLS peer the certificate tells, which the configured CA has signed. */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/api_internal.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/utf8.h"

#define LOOKUP_BYTES                                                                               \
	16384 /* of one account's or group's entry; groups with thousands of members are longer, … */
#define LOOKUP_MAX ((size_t)4 << 20) /* … but not without end */
#define GROUPS_MAX 65536             /* the kernel's own limit */

/* One entry of the user or group database into growing scratch memory, which the caller frees. */
static int lookup_user(const char *name, struct passwd *entry, char **scratch)
{
	struct passwd *found = NULL;
	int e = ERANGE;

	for (size_t n = LOOKUP_BYTES; e == ERANGE && n <= LOOKUP_MAX; n *= 4) {
		*scratch = xrealloc(*scratch, n);
		e = getpwnam_r(name, entry, *scratch, n, &found);
	}
	return found ? 0 : e ? -e : -ENOENT;
}

static int lookup_group(const char *name, struct group *entry, char **scratch)
{
	struct group *found = NULL;
	int e = ERANGE;

	for (size_t n = LOOKUP_BYTES; e == ERANGE && n <= LOOKUP_MAX; n *= 4) {
		*scratch = xrealloc(*scratch, n);
		e = getgrnam_r(name, entry, *scratch, n, &found);
	}
	return found ? 0 : e ? -e : -ENOENT;
}

/* Names first: an account may be called 1000. */
static int user_id(const char *text, uid_t *ret)
{
	char *scratch = NULL;
	struct passwd user;
	uint64_t number;
	int r = lookup_user(text, &user, &scratch);

	if (r == 0)
		*ret = user.pw_uid;
	else if (r == -ENOENT && str_to_u64(str_of(text), &number) == 0 && number < UINT32_MAX) {
		*ret = (uid_t)number;
		r = 0;
	}
	free(scratch);
	return r;
}

static int group_id(const char *text, gid_t *ret)
{
	char *scratch = NULL;
	struct group group;
	uint64_t number;
	int r = lookup_group(text, &group, &scratch);

	if (r == 0)
		*ret = group.gr_gid;
	else if (r == -ENOENT && str_to_u64(str_of(text), &number) == 0 && number < UINT32_MAX) {
		*ret = (gid_t)number;
		r = 0;
	}
	free(scratch);
	return r;
}

static int load_rule(const struct role_config *c, struct role_rule *ret)
{
	*ret = (struct role_rule){.role = c->role};
	if (c->user) {
		ret->by = ROLE_BY_UID;
		return user_id(c->user, &ret->uid);
	}
	if (c->group) {
		ret->by = ROLE_BY_GID;
		return group_id(c->group, &ret->gid);
	}
	ret->by = ROLE_BY_CERTIFICATE;
	ret->certificate = c->certificate;
	return 0;
}

void roles_load(struct api *a)
{
	const struct api_config *c = &a->options.config->api;

	a->roles = xcalloc(c->role_count, sizeof(*a->roles));
	for (size_t i = 0; i < c->role_count; i++) {
		const struct role_config *role = &c->roles[i];
		int r = load_rule(role, &a->roles[a->role_count]);
		if (r == 0)
			a->role_count++;
		else
			log_warning("api: role for %s %s: %s; nobody has it",
			            role->user ? "user" : "group",
			            role->user ? role->user : role->group,
			            r == -ENOENT ? "no such name" : strerror(-r));
	}
}

static void name_peer(struct peer *p, const char *prefix, struct str name)
{
	struct buf clean;

	buf_init(&clean, 4 * PEER_NAME_MAX);
	utf8_repair(&clean, name);
	struct str fits = utf8_cut(buf_str(&clean), PEER_NAME_MAX - 1 - strlen(prefix));
	snprintf(p->name, sizeof(p->name), "%s%.*s", prefix, STR_FMT(fits));
	buf_release(&clean);
}

static void name_user(struct peer *p, uid_t uid)
{
	char scratch[LOOKUP_BYTES], number[32];
	struct passwd user, *found = NULL;

	if (getpwuid_r(uid, &user, scratch, sizeof(scratch), &found) == 0 && found) {
		name_peer(p, "", str_of(found->pw_name));
		return;
	}
	snprintf(number, sizeof(number), "%u", (unsigned)uid);
	name_peer(p, "uid:", str_of(number));
}

static bool in_group(gid_t gid, gid_t own, const gid_t *groups, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (groups[i] == gid)
			return true;
	return gid == own;
}

int peer_of_socket(const struct api *a, int fd, struct peer *ret)
{
	struct ucred who;
	socklen_t n = sizeof(who), bytes = 0;
	gid_t *groups = NULL;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &n) < 0)
		return -errno;
	/* Asked with no room it says how much it wants. */
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &bytes) < 0 && errno != ERANGE)
		return -errno;
	if (bytes > GROUPS_MAX * sizeof(gid_t))
		return -E2BIG;
	groups = xmalloc(bytes);
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &bytes) < 0) {
		int r = -errno;
		free(groups);
		return r;
	}
	*ret = (struct peer){.trusted = who.uid == 0 || who.uid == geteuid()};
	name_user(ret, who.uid);
	snprintf(ret->owner, sizeof(ret->owner), "uid:%u", (unsigned)who.uid);
	ret->role = ret->trusted ? ISOD__V1__ROLE__ROLE_ADMIN : ISOD__V1__ROLE__ROLE_NONE;
	for (size_t i = 0; i < a->role_count && !ret->trusted; i++) {
		const struct role_rule *r = &a->roles[i];
		if ((r->by == ROLE_BY_UID && r->uid == who.uid) ||
		    (r->by == ROLE_BY_GID &&
		     in_group(r->gid, who.gid, groups, bytes / sizeof(gid_t)))) {
			ret->role = r->role;
			break;
		}
	}
	free(groups);
	return 0;
}

void peer_of_certificate(const struct api *a, const char *name, struct peer *ret)
{
	*ret = (struct peer){.role = ISOD__V1__ROLE__ROLE_NONE};
	name_peer(ret, "cert:", str_of(name));
	memcpy(ret->owner, ret->name, sizeof(ret->owner));
	for (size_t i = 0; i < a->role_count; i++) {
		const struct role_rule *r = &a->roles[i];
		if (r->by == ROLE_BY_CERTIFICATE && strcmp(r->certificate, name) == 0) {
			ret->role = r->role;
			break;
		}
	}
}
