/* The tokens of an HTTP Event Collector: a file of lines apart from isod.yaml, so that it can be readable by isod only. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "base/path.h"
#include "config/config_parts.h"

#define TOKENS_MAX      1000 /* each is compared with every request's */
#define TOKEN_FILE_MAX  ((size_t)1 << 20)
#define TOKEN_BYTES_MIN 8 /* shorter ones can be guessed through the network */
#define TOKEN_BYTES_MAX 256

struct token_reader {
	struct option_reader options; /* of the token file */
	struct listener_config *listener;
	struct yaml_node at; /* where something is wrong */
};

/* The next word of the line, and its column. */
static struct str next_word(struct str *rest, struct str line, int *ret_column)
{
	size_t n = 0;

	while (rest->n && (rest->p[0] == ' ' || rest->p[0] == '\t' || rest->p[0] == '\r'))
		*rest = str_skip(*rest, 1);
	while (n < rest->n && rest->p[n] != ' ' && rest->p[n] != '\t' && rest->p[n] != '\r')
		n++;
	struct str word = str_head(*rest, n);
	*ret_column = (int)(line.n - rest->n) + 1;
	*rest = str_skip(*rest, n);
	return word;
}

static bool good_token(struct token_reader *t, struct str token)
{
	if (token.n < TOKEN_BYTES_MIN || token.n > TOKEN_BYTES_MAX) {
		option_error(&t->options, &t->at,
		             "a token has %d to %d characters, this one has %zu", TOKEN_BYTES_MIN,
		             TOKEN_BYTES_MAX, token.n);
		return false;
	}
	for (size_t i = 0; i < token.n; i++)
		if (token.p[i] <= ' ' || token.p[i] > '~' || token.p[i] == ':') {
			option_error(&t->options, &t->at,
			             "a token has printable ASCII characters only, and no `:`");
			return false;
		}
	return true;
}

static void add_token(struct token_reader *t, struct str name, struct str token, bool acknowledge)
{
	struct listener_config *l = t->listener;
	struct hec_token new = {.acknowledge = acknowledge};

	sha256(&token, 1, new.digest);
	for (size_t i = 0; i < l->token_count; i++) {
		bool same = memcmp(l->tokens[i].digest, new.digest, SHA256_BYTES) == 0;
		if (!same && !str_eq(str_of(l->tokens[i].name), name))
			continue;
		option_error(&t->options, &t->at, "a token %s `%s` stands above already",
		             same ? "like that of" : "named", l->tokens[i].name);
		return;
	}
	if (l->token_count == TOKENS_MAX) {
		option_error(&t->options, &t->at, "a listener has at most %d tokens", TOKENS_MAX);
		return;
	}
	l->tokens = xrealloc(l->tokens, (l->token_count + 1) * sizeof(*l->tokens));
	new.name = xstrndup(name.p, name.n);
	l->tokens[l->token_count++] = new;
}

static void read_line(struct token_reader *t, struct str line)
{
	struct str rest = line;
	int at_token, at_ack, at_more;
	struct str name = next_word(&rest, line, &t->at.column);

	if (!name.n || name.p[0] == '#')
		return;
	struct str token = next_word(&rest, line, &at_token);
	struct str ack = next_word(&rest, line, &at_ack);
	struct str more = next_word(&rest, line, &at_more);
	char *text = xstrndup(name.p, name.n);
	bool good = config_check_name(&t->options, &t->at, "a token", text);
	free(text);
	if (!token.n) {
		option_error(&t->options, &t->at, "a token is missing behind the name");
		return;
	}
	t->at.column = at_token;
	good = good_token(t, token) && good;
	bool bad_ack = ack.n && !str_eq(ack, STR("ack"));
	if (bad_ack || more.n)
		t->at.column = bad_ack ? at_ack : at_more;
	if (bad_ack || more.n)
		option_error(&t->options, &t->at, "behind a token stands `ack` or nothing");
	else if (good)
		add_token(t, name, token, ack.n > 0);
}

static void warn_if_open(struct option_reader *r, const struct yaml_node *at, const char *file)
{
	struct stat st;

	if (stat(file, &st) == 0 && (st.st_mode & S_IROTH))
		option_warning(r, at, "%s can be read by everybody on this machine", file);
}

void config_read_tokens(struct option_reader *r, struct listener_config *l,
                        const struct yaml_node *node)
{
	const struct yaml_node *at = option_at(node, NULL, "tokens");
	struct token_reader t = {.options = {.file = l->token_file, .diags = r->diags},
	                         .listener = l};
	size_t errors = r->diags->errors;
	struct buf text;

	if (!l->token_file) {
		option_error(r, node, "a hec listener needs `tokens`");
		return;
	}
	buf_init(&text, TOKEN_FILE_MAX);
	int e = path_read(l->token_file, &text);
	if (e < 0)
		option_error(r, at, "%s: %s", l->token_file, strerror(-e));
	warn_if_open(r, at, l->token_file);
	for (struct str rest = buf_str(&text); e == 0 && rest.n;) {
		t.at.line++;
		read_line(&t, str_split(&rest, '\n'));
	}
	if (e == 0 && l->token_count == 0 && r->diags->errors == errors)
		option_error(r, at, "%s holds no token: nobody could send", l->token_file);
	buf_release(&text);
}

void config_free_tokens(struct listener_config *l)
{
	for (size_t i = 0; i < l->token_count; i++)
		free(l->tokens[i].name);
	free(l->tokens);
	l->tokens = NULL;
	l->token_count = 0;
}
