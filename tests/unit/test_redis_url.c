/* Where a Redis is: what a URL may say, and that no error shows a password. */
#include <criterion/criterion.h>
#include <errno.h>

#include "base/redis_url.h"

struct good {
	const char *url;
	bool tls;
	const char *host, *port, *path, *user, *password;
	unsigned db;
	const char *text;
};

static void same(const char *what, const char *got, const char *wanted)
{
	cr_assert((got == NULL) == (wanted == NULL) && (!got || strcmp(got, wanted) == 0),
	          "%s: \"%s\", not \"%s\"", what, got ? got : "(none)", wanted ? wanted : "(none)");
}

Test(redis_url, good)
{
	static const struct good cases[] = {
		{"redis://db.example", false, "db.example", "6379", NULL, NULL, NULL, 0,
	         "redis://db.example:6379/0"},
		{"redis://127.0.0.1:7000/3", false, "127.0.0.1", "7000", NULL, NULL, NULL, 3,
	         "redis://127.0.0.1:7000/3"},
		{"redis://db/", false, "db", "6379", NULL, NULL, NULL, 0, "redis://db:6379/0"},
		{"rediss://isod@db:6380", true, "db", "6380", NULL, "isod", NULL, 0,
	         "rediss://isod@db:6380/0"},
		{"redis://:se%63ret@db", false, "db", "6379", NULL, NULL, "secret", 0,
	         "redis://db:6379/0"},
		{"redis://u:p@s:/s@[::1]:7/1", false, "::1", "7", NULL, "u", "p@s:/s", 1,
	         "redis://u@[::1]:7/1"},
		{"redis://[fe80::1%eth0]", false, "fe80::1%eth0", "6379", NULL, NULL, NULL, 0,
	         "redis://[fe80::1%eth0]:6379/0"},
		{"unix:///run/redis/redis.sock", false, NULL, NULL, "/run/redis/redis.sock", NULL,
	         NULL, 0, "/run/redis/redis.sock"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct good *g = &cases[i];
		struct redis_url u;
		char error[256] = "";
		int r = redis_url_parse(str_of(g->url), &u, error, sizeof(error));
		cr_assert_eq(r, 0, "%s: %s", g->url, error);
		cr_assert_eq(u.tls, g->tls, "%s", g->url);
		cr_assert_eq(u.db, g->db, "%s", g->url);
		same(g->url, u.host, g->host);
		same(g->url, u.port, g->port);
		same(g->url, u.path, g->path);
		same(g->url, u.user, g->user);
		same(g->url, u.password, g->password);
		same(g->url, u.text, g->text);
		redis_url_release(&u);
	}
}

Test(redis_url, bad)
{
	static const char *const cases[] = {
		"",
		"redis",
		"redis:",
		"redis://",
		"redis:///3",
		"http://db",
		"REDIS://db",
		"unix://relative",
		"redis://db:0",
		"redis://db:65536",
		"redis://db:hunter2",
		"redis://:hunter2",
		"redis://user:hunter2",
		"redis://db:-1",
		"redis://db/x",
		"redis://db/-1",
		"redis://db/99999999",
		"redis://db?x=hunter2",
		"redis://db/0?hunter2",
		"redis://db/0#f",
		"redis://::1",
		"redis://[::1",
		"redis://[::1]7",
		"redis://[]:7",
		"redis://d b",
		"redis://db,db2",
		"redis://:hunter2%@db",
		"redis://:hunter2%4@db",
		"redis://:hunter2%zz@db",
		"redis://:hunter2%00@db",
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct redis_url u = {0};
		char error[256] = "";
		cr_assert_eq(redis_url_parse(str_of(cases[i]), &u, error, sizeof(error)), -EINVAL,
		             "\"%s\" is taken", cases[i]);
		cr_assert(error[0] && !strstr(error, "hunter2"), "\"%s\": \"%s\"", cases[i], error);
		cr_assert_null(u.text);
	}
}

Test(redis_url, long_and_nul)
{
	char text[2000] = "redis://db", error[300];
	struct redis_url u;

	cr_assert_eq(redis_url_parse(str_make(text, sizeof(text)), &u, error, sizeof(error)),
	             -EINVAL);
	cr_assert_eq(redis_url_parse(str_make(text, 11), &u, error, sizeof(error)), -EINVAL);
	memset(text, 'a', sizeof(text));
	memcpy(text, "unix:///", 8);
	cr_assert_eq(redis_url_parse(str_make(text, 8 + 107), &u, error, sizeof(error)), -EINVAL);
	cr_assert(strstr(error, "at most 107 bytes"), "%s", error);
	cr_assert_eq(redis_url_parse(str_make(text, 7 + 107), &u, error, sizeof(error)), 0, "%s",
	             error);
	redis_url_release(&u);
}
